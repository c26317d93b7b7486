"""A job tried out without training it: photographs listed, networks made, one crop through each stage."""

import tempfile
from collections import Counter
from pathlib import Path

from msgspec import Struct

from ops.training.crops import Crops
from ops.training.loop import RunningStage
from ops.training.run import Place, Run
from ops.training.settings import TrainingSettings
from ops.training.start import prepared, trained_config


class Checked(Struct, frozen=True, kw_only=True):
    """What a job would train, on how many photographs of each group, and a line on each stage."""

    codec: str
    parameters: int
    groups: dict[str, int]
    held_out: int
    left_out: int
    stages: tuple[str, ...]


def checked(settings: TrainingSettings, device: str, workers: int = 1) -> Checked:
    """Return what a job comes to. Raises what training it would: TrainingError, Unavailable and others."""
    with tempfile.TemporaryDirectory(prefix="regrow-check-") as folder:
        run = prepared(Path(folder), settings, Place(device=device, workers=workers))
        return Checked(
            codec=trained_config(settings).spelling(),
            parameters=sum(tensor.numel() for tensor in run.system.state_dict().values()),
            groups=dict(sorted(Counter(one.group for one in run.photographs.photographs).items())),
            held_out=len(run.photographs.held_out),
            left_out=len(run.photographs.left_out),
            stages=tuple(_tried(run, at) for at in range(len(settings.stages))),
        )


def _tried(run: Run, at: int) -> str:
    """Return a line on a stage, once a crop went through it."""
    stage = run.settings.stages[at]
    running = RunningStage(run, at, None, {})
    crops = Crops(run.photographs, stage.crop, run.settings.seed).batch(at, 0, [0])
    values = running.values(crops)
    running.settle()  # no step was done, so that nothing changes, but the next stage finds the networks plain
    losses = ", ".join(f"{weight:g} {term} (now {values[term]:.3g})" for term, weight in stage.losses.items() if weight)
    return (
        f"{stage.objective}: {stage.steps:,} steps of {stage.batch} crops of {stage.crop.side}, "
        f"{running.num_learning:,} numbers learn; {losses}"
    )
