"""A training run: its folder, what it trains, where, and who hears of it."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from torch import nn

from ops.rescalers.system import System
from ops.training.photographs import FrozenPhotographs
from ops.training.settings import TrainingSettings

CHECKPOINTS = "checkpoints"


class Stopped(Exception):  # nobody catches it for an error
    """A run was asked to stop, and did, with a checkpoint written; the message says how far it is."""


class Place(Struct, frozen=True, kw_only=True):
    """Where a loop runs: its device, and which of how many workers it is.

    `wrap` makes a module whose gradients are averaged over all workers of one that has its own. `averaged` returns the
    means of numbers over all workers, the same on each: what they decide by, they decide together.
    """

    device: str = "cpu"
    rank: int = 0
    workers: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module
    averaged: Callable[[list[float]], list[float]] = lambda numbers: numbers


class Progress(Struct, frozen=True, kw_only=True):
    """How far a run is: steps done of a stage, the loss of the last, and seconds that are left of the stage."""

    stage: int
    objective: str
    step: int
    steps: int
    loss: float
    seconds_left: float


class Run(Struct, frozen=True, kw_only=True):
    """All that a loop needs. `digests` are, for each stage, that of all that decides its bits up to its end.

    `told` hears of progress. `validated` is called with stage and steps done while the averaged weights are in the
    system, and returns what it measured. Only the first worker calls either. `stopping` is asked after each step: once
    it says yes on any worker, the run writes a checkpoint and ends with Stopped.
    """

    folder: Path
    settings: TrainingSettings
    system: System
    photographs: FrozenPhotographs
    digests: tuple[str, ...]
    place: Place = Place()
    told: Callable[[Progress], None] = lambda _: None
    validated: Callable[[int, int], dict[str, float]] = lambda *_: {}
    stopping: Callable[[], bool] = lambda: False

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.folder / CHECKPOINTS
