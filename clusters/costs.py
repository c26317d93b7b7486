"""How long work takes on a machine or cluster, and what that costs: arithmetic over measured steps."""

import math
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from clusters.budget import Budget

# A fetch reads so many objects at a time, each by a stream of its own.
STREAMS = 8

Slot: TypeAlias = Literal["stream", "thread", "device"]


class Step(Struct, frozen=True, kw_only=True):
    """One step of a job: the seconds that it takes one slot to do all of it.

    A slot is a stream from a store, a thread of an actor's processor, or an actor's accelerator.
    """

    name: str
    seconds: float
    slot: Slot


class Work(Struct, frozen=True, kw_only=True):
    """What a job does: its steps, over images in units (chunks, groups) that one actor takes whole.

    `start_seconds` go by before the first of them: Ray's start, the codec's in each actor.
    """

    steps: tuple[Step, ...]
    num_images: int
    num_units: int
    start_seconds: float


class Duration(NamedTuple):
    """How long it takes, which step is the slowest, and what share of the time that one works."""

    seconds: float
    slowest: str
    share: float


def duration(work: Work, budget: Budget) -> Duration:
    """Return how long work takes on a budget: as long as its slowest kind of slot is busy, for stages overlap."""
    slots = _slots(work, budget)
    busy = {
        slot: sum(step.seconds for step in work.steps if step.slot == slot) / number for slot, number in slots.items()
    }
    seconds = max(busy.values())
    longest = max(work.steps, key=lambda step: step.seconds / slots[step.slot])
    share = longest.seconds / slots[longest.slot] / seconds if seconds else 0.0
    return Duration(work.start_seconds + seconds, longest.name, share)


def on_actors(budget: Budget, num_actors: int) -> Budget:
    """Return the budget of so many actors of the same kind."""
    return replace(budget, num_actors=num_actors, num_fetches=2 * num_actors)


def actor_hours(found: Duration, budget: Budget) -> float:
    """Return for how many hours actors stand, all together, which is what a cluster bills."""
    return budget.num_actors * found.seconds / 3600


def _slots(work: Work, budget: Budget) -> dict[Slot, float]:
    """Return how many slots of each kind have something to do: the last units leave some idle."""
    units = max(1, work.num_units)
    at_once = max(1, math.ceil(work.num_images / units))
    actors = _used(units, budget.num_actors)
    return {
        "stream": _used(units, budget.num_fetches) * min(STREAMS, at_once),
        "thread": actors * _used(at_once, budget.threads),
        "device": actors,
    }


def _used(things: int, slots: int) -> float:
    """Return how many slots work on average while things are done in rounds: 5 things on 4 slots take two rounds."""
    return things / math.ceil(things / slots)
