"""`regrow estimate`: what a job will take, in words and as a document."""

import sys
from typing import TYPE_CHECKING

from msgspec import Struct

from clusters.budget import Budget, budget_for
from clusters.costs import actor_hours, duration, on_actors
from clusters.description import Cluster
from clusters.machine import this_machine
from clusters.quotes import Quote
from clusters.stages import worker_bytes
from jobs.errors import UsageError
from jobs.output import write_facts, write_json, write_lines
from jobs.quoting import quote_facts, quote_for
from jobs.words import count, megapixels, percent, size_words
from jobs.words import duration as time_words
from ops.census import Census
from ops.preflight import Preflight

if TYPE_CHECKING:
    from jobs.requests import AnyRequest
    from pipelines.estimate import Asked, Estimate

ON = (1, 8, 64)


class OnActors(Struct, frozen=True, kw_only=True):
    """How long a job takes on so many actors: GPUs, or processors' threads in groups."""

    actors: int
    seconds: float
    cost: float | None = None


class EstimateResult(Struct, frozen=True, kw_only=True):
    """An estimate as a document. Seconds of steps are those of one stream, thread or device for all of the job.

    `here` is this machine; `units` are the parts of the job that an actor takes whole. `cost` is in the currency of the
    price that was given, for an hour of one actor. `cluster` is the quote of the one that was named.
    """

    kind: str
    what: str
    images: int
    pixels: int
    bytes_in: int
    bytes_out: int
    census: Census | None
    tried_images: int
    tried_pixels: int
    device: str
    steps: dict[str, float]
    start_seconds: float
    slowest: str
    slowest_share: float
    here: OnActors
    threads: int
    on: list[OnActors]
    units: int
    thread_hours: float
    device_hours: float
    worker_bytes: int
    quality: Preflight | None
    cluster: Quote | None = None


def estimate_job(
    request: "AnyRequest", asked: "Asked", price: float | None, cluster: Cluster | None = None, *, json: bool
) -> int:
    """Estimate what a request takes, here and on a cluster, and show it; return the exit status.

    Raises UsageError for what has no estimate, ClusterError for a cluster that cannot run it.
    """
    from jobs.runs.earlier import seen_by_last  # noqa: PLC0415  with pipelines
    from pipelines.estimating import estimate  # noqa: PLC0415  with numpy and pyarrow
    from pipelines.requests import ArchiveRequest, EvaluateRequest, ReconstructRequest  # noqa: PLC0415

    if not isinstance(request, ArchiveRequest | ReconstructRequest | EvaluateRequest):
        raise UsageError("estimates are of jobs of kind archive, reconstruct and evaluate: name one of those")
    since = seen_by_last(request, _say) if isinstance(request, ReconstructRequest) else None
    result = described(estimate(request, asked, since), budget_for(this_machine()), price, cluster)
    if json:
        write_json(result)
    else:
        write_lines([f"{result.kind}, {result.what}: an estimate, nothing was run"])
        write_facts(facts(result))
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"regrow: {line}\n")


def dry_run_of(request: "AnyRequest", *, json: bool) -> int:
    """Estimate what a command would do, in place of doing it."""
    from pipelines.estimate import Asked  # noqa: PLC0415  with numpy and pyarrow

    return estimate_job(request, Asked(), None, json=json)


def described(found: "Estimate", budget: Budget, price: float | None, cluster: Cluster | None = None) -> EstimateResult:
    """Return an estimate on a budget, and on a cluster, as a document."""
    here = duration(found.work, budget)
    hours = {
        slot: sum(step.seconds for step in found.work.steps if step.slot == slot) / 3600
        for slot in ("thread", "device")
    }
    return EstimateResult(
        kind=found.kind,
        what=found.what,
        images=found.num_images,
        pixels=found.pixels,
        bytes_in=found.bytes_in,
        bytes_out=found.bytes_out,
        census=found.census,
        tried_images=found.trial.num_images,
        tried_pixels=found.trial.pixels,
        device=found.device,
        steps={step.name: step.seconds for step in found.work.steps},
        start_seconds=found.work.start_seconds,
        slowest=here.slowest,
        slowest_share=here.share,
        here=_on(found, budget, price),
        threads=budget.threads,
        on=[_on(found, on_actors(budget, number), price) for number in ON if number <= max(1, found.work.num_units)],
        units=found.work.num_units,
        thread_hours=hours["thread"],
        device_hours=hours["device"],
        worker_bytes=worker_bytes(budget) + found.weights_bytes,
        quality=found.trial.quality,
        cluster=None if cluster is None else quote_for(found, cluster),
    )


def _on(found: "Estimate", budget: Budget, price: float | None) -> OnActors:
    taken = duration(found.work, budget)
    cost = None if price is None else price * actor_hours(taken, budget)
    return OnActors(actors=budget.num_actors, seconds=taken.seconds, cost=cost)


def facts(result: EstimateResult) -> list[tuple[str, str]]:
    """Return names and values, for people."""
    of = f" of {count(result.threads, 'thread')}" if not result.device_hours else ""
    noun = "actor" if of else "GPU"
    tried = ", ".join(
        f"{name} {percent(seconds, sum(result.steps.values()))}" for name, seconds in result.steps.items()
    )
    work = [f"{_hours(result.thread_hours)} of a processor's thread"] if result.thread_hours else []
    work += [f"{_hours(result.device_hours)} of a GPU"] if result.device_hours else []
    return [
        ("images", _images(result)),
        ("pixels", _pixels(result)),
        ("reads", size_words(result.bytes_in)),
        ("writes", f"about {size_words(result.bytes_out)}" if result.bytes_out else "scores"),
        (
            "tried",
            f"{count(result.tried_images, 'image')}, {megapixels(result.tried_pixels)}, on {result.device}: {tried}",
        ),
        ("work", " and ".join(work)),
        ("here", f"about {_taken(result.here)}, {time_words(result.start_seconds)} of it to start; {_slowest(result)}"),
        *((f"on {one.actors}", f"{_taken(one)} ({count(one.actors, noun)}{of})") for one in result.on),
        *([("", f"more than {result.units:,} have nothing to do")] if result.units < ON[-1] else []),
        *(quote_facts(result.cluster) if result.cluster else ()),
        ("memory", f"at most {size_words(result.worker_bytes)} a worker"),
        *([("quality", result.quality.line())] if result.quality else []),
    ]


def _hours(hours: float) -> str:
    """Return hours as such, which are what clusters bill; of a small job seconds or minutes."""
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return time_words(hours * 3600) if hours >= 1 / 3600 else f"{hours * 3600:.1g} s"


def _images(result: EstimateResult) -> str:
    census = result.census
    if census is None:
        return f"{result.images:,}, sizes by the catalog"
    if census.is_exact:
        return f"{result.images:,}, every header read{_unreadable(census)}"
    return f"{result.images:,}, headers of {census.num_sampled:,} read{_unreadable(census)}"


def _unreadable(census: Census) -> str:
    return f", {census.num_unreadable:,} of them unreadable" if census.num_unreadable else ""


def _pixels(result: EstimateResult) -> str:
    census = result.census
    if census is None or census.is_exact:
        return megapixels(result.pixels)
    low, high = census.interval
    return f"about {megapixels(result.pixels)} (95 % interval {megapixels(low)} to {megapixels(high)})"


def _taken(one: OnActors) -> str:
    return time_words(one.seconds) + ("" if one.cost is None else f", cost {one.cost:,.2f}")


def _slowest(result: EstimateResult) -> str:
    return f"the slowest step is to {result.slowest}"


def asked_from(headers: int, seconds: float, speed: float | None, *, judge: bool) -> "Asked":
    """Return how an estimate is made. Raises UsageError for numbers that make none."""
    from pipelines.estimate import Asked  # noqa: PLC0415  with numpy and pyarrow

    if speed is not None and speed <= 0:
        raise UsageError(f"--speed {speed:g}: write megapixels a second above 0")
    return Asked(headers=headers, seconds=seconds, speed=speed, judge=judge)
