"""`regrow train`: a job file read, and the run that it asks for, here or under Ray."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from jobs.codec_weights import facts as weights_facts
from jobs.errors import UsageError
from jobs.output import write_facts, write_lines
from jobs.strict_yaml import nearest, read_struct
from jobs.training_watch import TrainingWatch
from jobs.words import count, duration
from ops.codecs.names import CodecError, codec_from
from ops.stores import absolute, open_store
from ops.stores.routing import check_named
from ops.training.settings import TrainingSettings
from ops.weights.base_places import located

if TYPE_CHECKING:
    from ops.training.checking import Checked
    from ops.training.complete import Trained

JOBS = Path(__file__).parent / "training"
INTERRUPTED = 128


class TrainingJobError(UsageError):
    """A job that is not there or cannot be understood; the message names file, field and what is allowed."""


class Where(Struct, frozen=True, kw_only=True):
    """Where a run is computed. `workers` 0 is this process, without Ray; `command` is what the user typed."""

    device: str = "auto"
    threads: int | None = None
    workers: int = 0
    address: str | None = None
    quiet: bool = False
    command: Sequence[str] = ()


def known_jobs() -> list[str]:
    """Return the names of the jobs that come with regrow."""
    return sorted(path.stem for path in JOBS.glob("*.yaml"))


def read_training(name_or_path: str) -> TrainingSettings:
    """Return the settings of a job that comes with regrow, by its name, or of a YAML file at a path or URL.

    Relative places in it begin at the working directory. Raises TrainingJobError for an unknown name and for what is
    wrong in a file, OSError where it cannot be read.
    """
    check_named(name_or_path, "job")
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return _decoded(name_or_path, open_store(absolute(name_or_path)).read(absolute(name_or_path)))
    if name_or_path not in known_jobs():
        known = ", ".join(known_jobs())
        near = nearest(name_or_path, known_jobs())
        raise TrainingJobError(f"no job {name_or_path!r}{near}: there are {known}, or name a .yaml file")
    return _decoded(name_or_path, (JOBS / f"{name_or_path}.yaml").read_bytes())


def folder_for(job: str, out: str) -> Path:
    """Return the folder of a run: the one that is named, or one in `runs` called as its job."""
    if "://" in out:
        raise UsageError(f"--out {out}: a run's folder is a local one, which may be mounted")
    return Path(out or Path("runs") / Path(job).stem).expanduser()


def check_job(settings: TrainingSettings, where: Where) -> int:
    """Try a job out, without training: say what it would train on and what; return the exit status."""
    from ops.training.checking import checked  # noqa: PLC0415  it imports torch

    found = checked(settings, device_for(where), max(1, where.workers))
    if not where.quiet:
        write_lines(["The job can be trained"])
        write_facts(_checked_facts(found))
    return 0


def train_job(settings: TrainingSettings, folder: Path, where: Where) -> int:
    """Train, or go on, until the run is finished or asked to stop; return the exit status."""
    from ops.training.complete import is_finished  # noqa: PLC0415  it imports torch
    from ops.training.run import Stopped  # noqa: PLC0415

    if where.address and not where.workers:
        raise UsageError("--cluster says where workers are: add --workers N, or leave it out")
    was_finished = is_finished(folder, settings)
    with TrainingWatch(quiet=where.quiet) as watch:
        try:
            trained = (
                _under_ray(settings, folder, where, watch) if where.workers else _here(settings, folder, where, watch)
            )
        except Stopped as stopped:
            watch.end()
            again = shlex.join(["regrow", *where.command])
            sys.stderr.write(f"Stopped: {stopped}, and kept. To go on:\n  {again}\n")
            return INTERRUPTED + watch.asked.number
    if not where.quiet:
        _tell(trained, folder, was_finished=was_finished)
    return 0


def device_for(where: Where) -> str:
    """Return the device that is meant. Raises UsageError for a GPU that torch cannot use."""
    from ops.here import IDLE_GPU, has_cuda  # noqa: PLC0415  it imports numpy and codecs

    if where.device == "cuda" and not where.address and not has_cuda():
        raise UsageError(f"--device cuda: {IDLE_GPU}")
    return ("cuda" if has_cuda() else "cpu") if where.device == "auto" else where.device


def _here(settings: TrainingSettings, folder: Path, where: Where, watch: TrainingWatch) -> "Trained":
    from ops.training.complete import complete  # noqa: PLC0415  it imports torch
    from ops.training.run import Place  # noqa: PLC0415
    from ops.training.threads import with_threads  # noqa: PLC0415
    from ops.training.validation import validation  # noqa: PLC0415

    place = Place(device=device_for(where))
    with with_threads(where.threads), watch.asked:
        trained = complete(
            folder,
            settings,
            place,
            told=watch.told,
            validated=validation(folder, settings),
            stopping=watch.asked.is_asked,
            ready=watch.begin,
        )
    if trained is None:
        raise AssertionError("one worker is the first")
    return trained


def _under_ray(settings: TrainingSettings, folder: Path, where: Where, watch: TrainingWatch) -> "Trained":
    from pipelines.train import TrainRequest, train  # noqa: PLC0415  only it needs Ray

    request = TrainRequest(
        settings=settings, folder=str(folder.absolute()), workers=where.workers, threads=where.threads,
        gpus=where.device == "cuda" or (where.device == "auto" and device_for(where) == "cuda"), address=where.address,
    )  # fmt: skip
    with watch.asked:
        watch.begin()
        return train(request, watch.told, watch.asked.is_asked_beside_ray)


def _decoded(where: str, content: bytes) -> TrainingSettings:
    try:
        settings = read_struct(content, TrainingSettings)
        codec_from(settings.codec)
    except (UsageError, CodecError) as error:
        raise TrainingJobError(f"{where}: {error}") from error
    if not settings.stages:
        raise TrainingJobError(f"{where}: field stages is empty: name what is to be trained, stage by stage")
    photographs = settings.photographs
    placed = replace(photographs, sources=tuple(absolute(source) for source in photographs.sources))
    start_from = settings.start_from and absolute(settings.start_from)
    start_parts = {part: located(place) for part, place in settings.start_parts.items()}
    return replace(settings, photographs=placed, start_from=start_from, start_parts=start_parts)


def _checked_facts(found: "Checked") -> list[tuple[str, str]]:
    groups = ", ".join(f"{name or 'all'} {number}" for name, number in found.groups.items())
    return [
        ("networks", f"{found.codec}, {count(found.parameters, 'number')}"),
        ("photographs", f"{count(sum(found.groups.values()), 'photograph')} ({groups})"),
        ("held out", f"{found.held_out:,}"),
        ("left out", f"{found.left_out:,}"),
        *((f"stage {at}", words) for at, words in enumerate(found.stages)),
    ]


def _tell(trained: "Trained", folder: Path, *, was_finished: bool) -> None:
    name = str(trained.weights.settings.get("name"))
    spelled = f"{name}-x{trained.weights.settings.get('scale')}"
    said = "was finished before: nothing was left to train" if was_finished else "is finished"
    write_lines([f"{folder} {said}"])
    write_facts(
        [
            *weights_facts(trained.weights),
            ("trained for", ", ".join(duration(seconds) for seconds in trained.seconds)),
            ("card", str(folder / "CARD.md")),
            ("use", f"regrow archive PHOTOS ARCHIVE --codec {spelled} --weights {folder / 'weights.safetensors'}"),
        ]
    )
