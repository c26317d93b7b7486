"""Training on several workers: the loop of one process, in each of them, under Ray Train's TorchTrainer."""

import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from clusters.session import ray_session
from ops.training.errors import TrainingError
from ops.training.settings import TrainingSettings

if TYPE_CHECKING:
    from ops.training.complete import Trained
    from ops.training.run import Progress

# In the run's folder, while it is trained: how far it is, and that it is to stop.
PROGRESS, STOP, RAY = "progress.json", "stop", "ray"
SECONDS_BETWEEN_LOOKS = 0.5


class TrainRequest(Struct, frozen=True, kw_only=True):
    """What to train, on how many workers, each with a GPU or `threads` processors (1 by default).

    `folder` is an absolute path that is the same place on all machines.
    """

    settings: TrainingSettings
    folder: str
    workers: int
    threads: int | None = None
    gpus: bool = False
    address: str | None = None


class _Outcome(Struct, frozen=True, kw_only=True):
    """What the first worker returns: its result as JSON, or where it stopped."""

    trained: bytes = b""
    stopped: str = ""


def train(
    request: TrainRequest,
    told: "Callable[[Progress], None]" = lambda _: None,
    asked: Callable[[], bool] = lambda: False,
) -> "Trained":
    """Train until the run is finished, or stop behind a step once `asked` says so; all files are as of one process.

    Raises Stopped, and what the first worker that failed has raised, such as TrainingError; ConnectionError without a
    cluster.
    """
    folder = Path(request.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (PROGRESS, STOP):
        (folder / name).unlink(missing_ok=True)
    probe = folder / f"probe-{secrets.token_hex(8)}"
    probe.touch()
    try:
        with ray_session(request.address, accelerated=request.gpus):
            _check_room(request)
            return _result(_watched(_fit, request, probe.name, told, asked))
    finally:
        for name in (PROGRESS, STOP, probe.name):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / RAY, ignore_errors=True)


def _check_room(request: TrainRequest) -> None:
    """Raise TrainingError where this machine has too little: Ray would wait for it for ever."""
    import ray  # noqa: PLC0415  the session has prepared its environment

    kind, wanted = ("GPU", request.workers) if request.gpus else ("CPU", request.workers * (request.threads or 1))
    there = ray.cluster_resources().get(kind, 0)
    if not request.address and there < wanted:
        raise TrainingError(f"{request.workers} workers need {wanted} {kind}s, but there are {there:g}: use fewer")


def _watched(
    fit: Callable[[TrainRequest, str], Any],
    request: TrainRequest,
    probe: str,
    told: "Callable[[Progress], None]",
    asked: Callable[[], bool],
) -> Any:
    """Fit in a thread of its own, where Ray takes no signals, and tell what the first worker writes down."""
    folder, last = Path(request.folder), b""
    with ThreadPoolExecutor(1, "fit") as threads:
        fitted: Future[Any] = threads.submit(fit, request, probe)
        while True:
            with suppress(NotYet):
                return fitted.result(SECONDS_BETWEEN_LOOKS)
            if asked():
                (folder / STOP).touch()
            last = _tell(folder / PROGRESS, last, told)


def _tell(path: Path, last: bytes, told: "Callable[[Progress], None]") -> bytes:
    from ops.training.run import Progress  # noqa: PLC0415  it imports torch

    with suppress(OSError, msgspec.DecodeError):  # not there yet, or half of it
        found = path.read_bytes()
        if found != last:
            told(msgspec.json.decode(found, type=Progress))
            return found
    return last


def _fit(request: TrainRequest, probe: str) -> Any:
    """Return what the first worker returned. Raises what a worker raised."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError  # noqa: PLC0415
    from ray.train.torch import TorchTrainer  # noqa: PLC0415
    from ray.train.v2.api.config import LoggingConfig  # noqa: PLC0415

    trainer = TorchTrainer(
        _work,
        train_loop_config={"request": msgspec.json.encode(request), "probe": probe},
        scaling_config=ScalingConfig(
            num_workers=request.workers,
            use_gpu=request.gpus,
            resources_per_worker=None if request.gpus else {"CPU": request.threads or 1},
        ),
        run_config=RunConfig(
            name=RAY,
            storage_path=request.folder,
            failure_config=FailureConfig(max_failures=0),
            logging_config=LoggingConfig(log_level="CRITICAL"),
        ),
    )
    try:
        return trainer.fit().return_value
    except TrainingFailedError as error:
        raise _own(error) from None


def _own(error: Exception) -> BaseException:
    """Return what the first worker that said why has raised, in place of Ray's account of all of them."""
    failures = [getattr(one, "_base_exc", one) for _, one in sorted(getattr(error, "worker_failures", {}).items())]
    named = [one for one in failures if isinstance(one, TrainingError)]
    return next(iter(named or failures), error)


def _result(returned: Any) -> "Trained":
    from ops.training.complete import Trained  # noqa: PLC0415  it imports torch
    from ops.training.run import Stopped  # noqa: PLC0415

    outcome = msgspec.msgpack.decode(returned, type=_Outcome)
    if outcome.stopped:
        raise Stopped(outcome.stopped)
    return msgspec.json.decode(outcome.trained, type=Trained)


def _work(told: dict[str, Any]) -> bytes:
    """Be one worker."""
    from ray.train.torch import get_device  # noqa: PLC0415

    from ops.training.complete import complete  # noqa: PLC0415  it imports torch
    from ops.training.run import Stopped  # noqa: PLC0415
    from ops.training.start import make_ready  # noqa: PLC0415
    from ops.training.threads import with_threads  # noqa: PLC0415
    from ops.training.together import place_among_others, wait_for_others  # noqa: PLC0415
    from ops.training.validation import validation  # noqa: PLC0415

    request = msgspec.json.decode(told["request"], type=TrainRequest)
    folder, settings = Path(request.folder), request.settings
    place = place_among_others(str(get_device()) if request.gpus else "cpu")
    _check_shared(folder, told["probe"], place.rank)
    if place.rank == 0:
        make_ready(folder, settings)
    wait_for_others()
    first = place.rank == 0
    try:
        with with_threads(request.threads):
            trained = complete(
                folder,
                settings,
                place,
                told=_writing(folder / PROGRESS),
                validated=validation(folder, settings),
                stopping=(folder / STOP).exists if first else (lambda: False),
            )
    except Stopped as stopped:
        return msgspec.msgpack.encode(_Outcome(stopped=str(stopped)))
    return msgspec.msgpack.encode(_Outcome(trained=msgspec.json.encode(trained)))


def _check_shared(folder: Path, probe: str, rank: int) -> None:
    if not (folder / probe).exists():
        raise TrainingError(
            f"worker {rank} does not find in {folder} what was written there: use a folder that all machines share"
        )


def _writing(path: Path) -> "Callable[[Progress], None]":
    """Return what writes progress down, whole, for whoever looks."""
    aside = path.with_name(path.name + ".new")

    def write(progress: "Progress") -> None:
        aside.write_bytes(msgspec.json.encode(progress))
        aside.replace(path)

    return write
