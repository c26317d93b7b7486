"""What work takes and costs on a cluster that is described: its nodes, its hours, its prices as they are stated."""

import math
from collections.abc import Sequence

from msgspec import Struct

from clusters.budget import Budget, actors_on
from clusters.costs import Duration, Work, duration
from clusters.description import Cluster, NodeGroup
from clusters.stages import CannotFit, budget_for_planned, check_fits, check_holds, planned_text


class GroupHours(Struct, frozen=True, kw_only=True):
    """What the nodes of one group stand for: hours of all of them together, of their GPUs and CPUs, and the price."""

    group: str
    nodes: int
    spot: bool
    node_hours: float
    gpu_hours: float
    cpu_hours: float
    cost: float


class Quote(Struct, frozen=True, kw_only=True):
    """How long work takes on a cluster and what that costs, were all the nodes that it uses there from start to end.

    `actors` is how many have work. `cost` is in the currency of the description; `slowest` the step that takes longest
    there, working for a `slowest_share` of the time.
    """

    cluster: str
    currency: str
    actors: int
    threads: int
    seconds: float
    slowest: str
    slowest_share: float
    price_per_hour: float
    cost: float
    groups: tuple[GroupHours, ...]


class Wants(Struct, frozen=True, kw_only=True):
    """What work wants of a cluster.

    `accelerated`: GPUs, where there are any; without, its driver leaves nodes with GPUs out. `timed_on_gpu`: its steps
    were timed on a GPU that is here. `weights_bytes` and `most_pixels` are those of its codec and of its largest image.
    """

    accelerated: bool
    timed_on_gpu: bool = False
    weights_bytes: int = 0
    most_pixels: int = 0


def quoted(cluster: Cluster, work: Work, wants: Wants) -> Quote:
    """Return what work takes on a cluster, with as many nodes as it has use for.

    Raises CannotFit where the cluster cannot run it, with the numbers, and where its speed there is not known.
    """
    check_fits(cluster)
    hosts, others = _hosts(cluster, accelerated=wants.accelerated)
    for group in hosts:
        check_holds(
            group, cluster.threads, weights_bytes=wants.weights_bytes, pixels=wants.most_pixels,
            on_gpus=wants.accelerated,
        )  # fmt: skip
    budget = budget_for_planned(planned_text(cluster), accelerated=wants.accelerated)
    _check_speed(budget, work, wants, hosts)
    taken = duration(work, budget)
    nodes = _standing(cluster, budget, hosts, others, min(budget.num_actors, max(1, work.num_units)))
    return _quote(cluster, budget, taken, nodes, work)


def _hosts(cluster: Cluster, *, accelerated: bool) -> tuple[list[NodeGroup], list[NodeGroup]]:
    """Return the groups whose nodes take actors, and the others, as budget_for_planned divides them."""
    workers = [group for group in cluster.workers if group.most]
    with_gpus, plain = [group for group in workers if group.gpus], [group for group in workers if not group.gpus]
    if accelerated:
        return (with_gpus, plain) if with_gpus else (plain, [])
    return (plain, with_gpus) if plain else (with_gpus, [])


def _check_speed(budget: Budget, work: Work, wants: Wants, hosts: Sequence[NodeGroup]) -> None:
    if budget.actor_gpus and not any(step.slot == "device" for step in work.steps):
        raise CannotFit(
            f"its actors work on {_accelerators(hosts)}, and nothing was timed on a GPU here: say --speed, in "
            "megapixels a second of one of them"
        )
    if not budget.actor_gpus and wants.timed_on_gpu:
        raise CannotFit(
            f"it has no GPU, and the trial ran on one: say --speed, in megapixels a second of one of its "
            f"{budget.num_actors} actors, or unset the GPU with CUDA_VISIBLE_DEVICES="
        )


def _standing(
    cluster: Cluster, budget: Budget, hosts: Sequence[NodeGroup], others: Sequence[NodeGroup], actors: int
) -> dict[str, int]:
    """Return how many nodes of each group stand: those that `actors` need, those that fetches may, and the least."""
    nodes = {group.name: group.min for group in cluster.groups}
    for group in hosts:
        on_each = max(1, actors_on(group.machine, budget))
        used = min(group.most, math.ceil(actors / on_each))
        nodes[group.name] = max(group.min, used)
        actors = max(0, actors - used * on_each)
    if budget.actor_gpus:  # fetches find processors with the actors, too, and an autoscaler may add nodes for them
        cpus = budget.num_fetches * budget.fetch_cpus
        for group in others:
            nodes[group.name] = max(group.min, min(group.most, math.ceil(cpus / group.cpus)))
            cpus = max(0.0, cpus - nodes[group.name] * group.cpus)
    return nodes


def _quote(cluster: Cluster, budget: Budget, taken: Duration, nodes: dict[str, int], work: Work) -> Quote:
    hours = taken.seconds / 3600
    groups = [_group_hours(group, nodes[group.name], hours) for group in cluster.groups]
    return Quote(
        cluster=cluster.name,
        currency=cluster.currency,
        actors=min(budget.num_actors, max(1, work.num_units)),
        threads=budget.threads,
        seconds=taken.seconds,
        slowest=taken.slowest,
        slowest_share=taken.share,
        price_per_hour=sum(group.price_per_hour * nodes[group.name] for group in cluster.groups),
        cost=sum(group.cost for group in groups),
        groups=tuple(groups),
    )


def _group_hours(group: NodeGroup, nodes: int, hours: float) -> GroupHours:
    return GroupHours(
        group=group.name,
        nodes=nodes,
        spot=group.spot,
        node_hours=nodes * hours,
        gpu_hours=nodes * group.gpus * hours,
        cpu_hours=nodes * group.cpus * hours,
        cost=nodes * group.price_per_hour * hours,
    )


def _accelerators(groups: Sequence[NodeGroup]) -> str:
    return " and ".join(sorted({f"GPUs of {group.accelerator}" if group.accelerator else "GPUs" for group in groups}))
