"""What an estimate says of a cluster that is described: hours and cost of its groups, in words."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clusters.description import Cluster
from clusters.quotes import GroupHours, Quote, Wants, quoted
from clusters.stages import CannotFit, check_fits
from jobs.clusters import ClusterError, read_cluster
from jobs.errors import UsageError
from jobs.words import count, duration

if TYPE_CHECKING:
    from pipelines.estimate import Estimate


def cluster_for(name: str | None, price: float | None) -> Cluster | None:
    """Return the cluster that was named, if one was. Raises UsageError where prices come from two places.

    Raises ClusterError for a cluster that runs nothing: before a trial, not after it.
    """
    if name is None:
        return None
    if price is not None:
        raise UsageError(f"--price {price:g} and --cluster {name}, which has prices of its own: leave one out")
    cluster = read_cluster(name)
    try:
        check_fits(cluster)
    except CannotFit as error:
        raise ClusterError(f"{name}: {error}") from error
    return cluster


def quote_for(found: "Estimate", cluster: Cluster) -> Quote:
    """Return what an estimated job takes on a cluster. Raises ClusterError where it cannot run there."""
    wants = Wants(
        accelerated=found.accelerated,
        timed_on_gpu=found.device != "cpu",
        weights_bytes=found.weights_bytes,
        most_pixels=found.census.largest if found.census else 0,
    )
    try:
        return quoted(cluster, found.work, wants)
    except CannotFit as error:
        raise ClusterError(f"{cluster.name}: {error}") from error


def quote_facts(quote: Quote) -> Iterator[tuple[str, str]]:
    """Yield how long it takes on a cluster, what stands there meanwhile, and what that costs."""
    cost = f", cost {quote.cost:,.2f} {quote.currency}" if quote.price_per_hour else ""
    actors = f"{count(quote.actors, 'actor')} of {count(quote.threads, 'thread')}"
    slowest = f"the slowest step is to {quote.slowest}"
    yield f"on {quote.cluster}", f"about {duration(quote.seconds)}{cost} ({actors}); {slowest}"
    yield from (("", _group_words(one, quote.currency)) for one in quote.groups if one.nodes)


def _group_words(one: GroupHours, currency: str) -> str:
    kinds = (("GPU", one.gpu_hours), ("CPU", one.cpu_hours))
    hours = " and ".join(f"{hours:,.2f} {kind} hours" for kind, hours in kinds if hours)
    cost = f", {one.cost:,.2f} {currency}{' at the price of spot' if one.spot else ''}" if one.cost else ""
    return f"{count(one.nodes, 'node')} of {one.group}: {hours}{cost}"
