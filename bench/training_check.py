"""`make train-check`: each stage trained for some seconds on the smallest networks, to see that its loss falls."""

import math
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, variance
from typing import Any, NamedTuple

from ops.training.settings import CropSettings, Photographs, Rate, Rhythm, Stage, TrainingSettings

PHOTOGRAPHS = Path(__file__).parents[1] / "photos" / "samples"
# Most of a photograph in each crop, so that losses differ little by what a step happens to see.
CROP = CropSettings(side=64, scales=(0.05, 0.1))
# How many standard errors a loss must fall by.
CERTAIN = 3.0


class Check(NamedTuple):
    """Stages of one codec, one after the other, and to what share of its beginning the loss of each must fall."""

    codec: dict[str, Any]
    stages: tuple[tuple[Stage, float], ...]


def main() -> int:
    """Train, write a line on each stage, and return 1 where a loss did not fall."""
    import torch  # noqa: PLC0415  the base install has none

    torch.set_num_threads(1)
    begun = time.monotonic()
    failed = [line for check in checks() for line in _checked(check)]
    print(f"train-check: {time.monotonic() - begun:.0f} s")
    for line in failed:
        sys.stderr.write(f"train-check: {line}\n")
    return 1 if failed else 0


def checks() -> list[Check]:
    """Return what is checked: the small TADM, nano for a few steps, and the small FaithEIR."""
    small = {"scale": 16, "size": "small"}
    tadm, nano = {"name": "tadm", **small}, {"name": "nano", "scale": 16}
    losses = {"l1": 1.0, "guidance_l1": 1.0}
    return [
        Check(tadm, _before(80, 40, 40, rate=3e-3)),
        Check(tadm, _generation(60, rate=3e-3)),
        Check(tadm, _joint(40, rate=3e-3)),
        Check(nano, _before(30, 20, 20, rate=1e-3)),
        Check(nano, _generation(40, rate=1e-3)),
        Check(nano, _joint(30, rate=5e-4)),
        Check({"name": "faitheir", **small}, ((_stage("faitheir", 60, 3e-3, losses), 0.9),)),
    ]


def _before(*steps: int, rate: float) -> tuple[tuple[Stage, float], ...]:
    autoencoder, denoiser, rescaling = steps
    return (
        (_stage("autoencoder", autoencoder, rate, {"l1": 1.0, "kl": 1e-4}), 0.85),
        (_stage("denoiser", denoiser, rate, {"noise_mse": 1.0}), 0.95),
        (_stage("rescaling", rescaling, rate, {"latent_l1": 1.0, "guidance_l1": 1.0}), 0.8),
    )


# The stages behind those begin with random networks here: behind the others they would have little left to fall by.
def _generation(steps: int, rate: float) -> tuple[tuple[Stage, float], ...]:
    return ((_stage("generation", steps, rate, {"l1": 1.0, "timestep": 0.5}), 0.9),)


def _joint(steps: int, rate: float) -> tuple[tuple[Stage, float], ...]:
    losses = {"l1": 1.0, "guidance_l1": 1.0, "latent_l1": 0.1, "timestep": 0.5}
    return ((_stage("joint", steps, rate, losses), 0.9),)


def _stage(objective: Any, steps: int, rate: float, losses: dict[str, float]) -> Stage:
    return Stage(
        objective=objective, steps=steps, batch=4, crop=CROP, losses=losses, average=0.9,
        rate=Rate(start=rate, warmup=5, cosine_to=rate / 10),
    )  # fmt: skip


def _checked(check: Check) -> list[str]:
    """Return a line for each stage whose loss did not fall."""
    from ops.training.curves import read_points  # noqa: PLC0415
    from ops.training.loop import train  # noqa: PLC0415  it imports torch
    from ops.training.run import Place  # noqa: PLC0415
    from ops.training.start import prepared  # noqa: PLC0415

    settings = TrainingSettings(
        codec=check.codec,
        photographs=Photographs(sources=(str(PHOTOGRAPHS),)),
        stages=tuple(stage for stage, _ in check.stages),
        rhythm=Rhythm(curve=1, validate=1 << 30, checkpoint=1 << 30),
    )
    with tempfile.TemporaryDirectory(prefix="regrow-train-check-") as folder:
        train(prepared(Path(folder), settings, Place()))
        points = read_points(Path(folder) / "curves.jsonl")
    lines = []
    for at, (stage, share) in enumerate(check.stages):
        losses = [point["loss"] for point in points if point["stage"] == at]
        seconds = points_seconds(points, at)
        first, last, errors = fall(losses)
        name = f"{check.codec['name']} {stage.objective}"
        said = f"loss {first:.4f} to {last:.4f}, {errors:.0f} standard errors"
        print(f"{name:<20} {stage.steps:>4} steps, {seconds:>4.0f} s: {said}", flush=True)
        if not (last < share * first and errors > CERTAIN):
            lines.append(
                f"the loss of {name} was {first:.4f} and is {last:.4f}, {errors:.1f} standard errors below: it must be "
                f"below {share:g} of what it was, by more than {CERTAIN:g}"
            )
    return lines


def fall(losses: list[float]) -> tuple[float, float, float]:
    """Return the means of the first and of the last tenth, and by how many standard errors the one is above the other.

    A tenth is three steps at the least.
    """
    number = max(3, len(losses) // 10)
    first, last = losses[:number], losses[-number:]
    error = math.sqrt((variance(first) + variance(last)) / number)
    return fmean(first), fmean(last), (fmean(first) - fmean(last)) / error


def points_seconds(points: list[dict[str, Any]], at: int) -> float:
    """Return how long a stage took; a point has the mean seconds of a step so far."""
    own = [point for point in points if point["stage"] == at]
    return own[-1]["seconds"] * len(own)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
