"""What a job will take, put together of what it reads and of a trial of a few images."""

from typing import NamedTuple

from msgspec import Struct

from clusters.costs import Slot, Step, Work
from ops.archive.layout import ArchiveError
from ops.census import Census
from ops.trial import Trial
from pipelines.documents import CodecHere

# Ray's start and end, and that of an actor's process, without what it loads; on two processors.
RAY_SECONDS = 7.0


class Asked(NamedTuple):
    """How an estimate is made: headers read at most, seconds of trial, and megapixels a second where they are known.

    `speed` is that of one actor, mostly a GPU's, in what codec or judge do. `judge`: say how good a codec is, too.
    """

    headers: int = 1_000
    seconds: float = 20.0
    speed: float | None = None
    judge: bool = True


class Estimate(Struct, frozen=True, kw_only=True):
    """What a job will read and write, and the work that it is. Where sizes were not all read, `census` says so.

    `what` is the codec, or how many candidates are judged; `device` is where images were tried. `accelerated`: whether
    a run of it takes GPUs where there are any.
    """

    kind: str
    what: str
    num_images: int
    pixels: int
    bytes_in: int
    bytes_out: int
    work: Work
    trial: Trial
    device: str
    weights_bytes: int = 0
    census: Census | None = None
    accelerated: bool = False


class Job(NamedTuple):
    """What is known of a job before anything is tried; units are what an actor takes whole."""

    num_images: int
    pixels: int
    num_bytes: int
    num_units: int
    main: str
    """The step that a device takes over."""


def composed(
    kind: str, what: str, job: Job, trial: Trial, asked: Asked, *, device: str, loading: float,
    census: Census | None = None, here: CodecHere | None = None, accelerated: bool = False,
) -> Estimate:  # fmt: skip
    """Return an estimate. `loading` are the seconds that it took to load the codec, which every actor does once.

    Raises ArchiveError where no image could be tried.
    """
    if not trial.num_images:
        raise ArchiveError("none of the images that were tried could be read: nothing can be said of the others")
    steps = tuple(_step(name, job, trial, asked, device) for name in trial.seconds)
    out = trial.bytes_out * job.pixels / trial.pixels
    return Estimate(
        kind=kind,
        what=what,
        num_images=job.num_images,
        pixels=job.pixels,
        bytes_in=job.num_bytes,
        bytes_out=round(out),
        work=Work(steps=steps, num_images=job.num_images, num_units=job.num_units, start_seconds=RAY_SECONDS + loading),
        trial=trial,
        device=device,
        weights_bytes=here.weights.size_bytes if here is not None and here.weights is not None else 0,
        census=census,
        accelerated=accelerated,
    )


def _step(name: str, job: Job, trial: Trial, asked: Asked, device: str) -> Step:
    """Return a step of the whole job: a fetch grows with bytes, all else with pixels."""
    seconds = trial.seconds[name]
    if name == "fetch":
        return Step(name=name, seconds=seconds * job.num_bytes / max(1, trial.bytes_in), slot="stream")
    if name == job.main and asked.speed is not None:
        return Step(name=name, seconds=job.pixels / 1e6 / asked.speed, slot="device")
    slot: Slot = "device" if name == job.main and device != "cpu" else "thread"
    return Step(name=name, seconds=seconds * job.pixels / trial.pixels, slot=slot)
