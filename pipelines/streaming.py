"""Rows of work through two stages: fetches on processors, then actors on the device. One row is one chunk."""

import copy
import logging
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import pyarrow as pa
from msgspec.structs import replace

from clusters.budget import Budget
from clusters.logs import Logged, in_worker, logged_here
from ops.archive.layout import ArchiveError
from ops.codecs.base import Runtime
from ops.here import usable_device
from pipelines.events import failed_words
from pipelines.feeding import fed
from pipelines.metrics import count, job_of, timed
from pipelines.rows import Row, name_of, read_receipt, row_of, table_of

_LOG = logging.getLogger(__name__)
# While one chunk's last images are worked on and its part is put, the next one's first keep the threads busy.
CALLS_AT_ONCE = 2
# Enough to have the next chunk at hand when one is done; each waiting chunk costs up to 64 MiB.
TASKS_IN_FLIGHT = CALLS_AT_ONCE + 1


class Stages(NamedTuple):
    """What is done to each row: `fetch(row, task)` in tasks, then `actor(task, runtime)(row)`.

    An actor is called by CALLS_AT_ONCE threads at a time.
    """

    fetch: Callable[..., Row]
    actor: type
    task: Any


def stream(work: pa.Table, stages: Stages, budget: Budget, no_progress_seconds: float) -> Generator[Row]:
    """Yield what the actors return, one small row per row of work, each as soon as it is finished.

    Needs a Ray session. Raises what a stage raised: nothing is dropped (max_errored_blocks stays 0).
    """
    import ray  # noqa: PLC0415  the environment must stand before it is imported

    runtime = Runtime(
        device="cuda" if budget.actor_gpus else "cpu", pixel_budget=budget.pixel_budget,
        large_pixels=budget.large_pixels, threads=budget.threads,
    )  # fmt: skip
    needs = (
        f"an actor needs {budget.actor_cpus:g} processors, {budget.actor_gpus:g} GPUs and "
        f"{budget.actor_memory >> 20} MiB"
    )
    fetches = min(budget.num_fetches, work.num_rows)
    with told(no_progress_seconds, needs):
        dataset = (
            fed(work, fetches)
            .map_batches(
                partial(_fetch, stages=stages, logged=logged_here()),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.TaskPoolStrategy(size=fetches),
                num_cpus=budget.fetch_cpus,
            )
            .map_batches(
                _Actor,
                fn_constructor_args=(stages, runtime, logged_here()),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    size=min(budget.num_actors, work.num_rows),
                    max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT,
                    max_concurrent_calls_per_actor=CALLS_AT_ONCE,
                    enable_true_multi_threading=True,
                ),
                num_cpus=budget.actor_cpus,
                num_gpus=budget.actor_gpus or None,
                memory=budget.actor_memory,
            )
        )
        # Ray's own iteration over rows reads a batch ahead: a row that is done would wait here for the next one.
        tables = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
        with closing(cast("Generator[pa.Table]", tables)):  # whoever stops early stops the dataset
            for table in tables:
                yield from cast("pa.Table", table).to_pylist()


@contextmanager
def told(no_progress_seconds: float, needs: str) -> Iterator[None]:
    """Set Ray Data's context for datasets that are made and read in the block; raise its errors as ArchiveError.

    `needs` says what one worker takes: what a run that makes no progress may be waiting for.
    """
    from ray.data.exceptions import ExecutionTimeoutError  # noqa: PLC0415
    from ray.exceptions import RayError  # noqa: PLC0415

    with _context(no_progress_seconds):
        try:
            yield
        except ExecutionTimeoutError as error:
            raise ArchiveError(
                f"nothing was finished in {no_progress_seconds:.0f} s; {needs}: `ray status` shows what is free"
            ) from error
        except RayError as error:
            raise _explained(error) from error


def _fetch(table: pa.Table, stages: Stages, logged: Logged) -> pa.Table:
    row = row_of(table)
    with in_worker(logged, name_of(row)), timed(job_of(stages.actor), "fetch"):
        return table_of(stages.fetch(row, stages.task))


class _Actor:
    """The second stage, on tables of one row."""

    def __init__(self, stages: Stages, runtime: Runtime, logged: Logged | None = None) -> None:
        self._job, self._logged = job_of(stages.actor), logged
        with in_worker(logged):
            # Only the worker knows what its torch can use: the driver counted files of devices, or asked Ray.
            self._work = stages.actor(stages.task, replace(runtime, device=usable_device(runtime.device)))

    def __call__(self, table: pa.Table) -> pa.Table:
        row = row_of(table)
        with in_worker(self._logged, name_of(row)):
            # The last line of a worker that was killed names the chunk that it had in hand.
            _LOG.info("%s begins", self._job)
            with timed(self._job, "work"):
                done = self._work(row)
            count(self._job, done)
            _log_done(self._job, done)
        return table_of(done)


def _log_done(job: str, done: Row) -> None:
    if "receipt" not in done:
        return
    receipt = read_receipt(done)
    level = logging.WARNING if receipt.failures else logging.INFO
    said = f", {failed_words(receipt)}" if receipt.failures else ""
    _LOG.log(level, "%s has done %d images in %.1f s%s", job, receipt.num_images, receipt.seconds, said)


def _explained(error: Exception) -> ArchiveError:
    """Return what a worker raised as an error of one line; what is done stays done, so running again resumes.

    Ray hands over the worker's exception as text only: traceback after traceback, each one's cause before it.
    """
    text = str(error)
    ours = re.findall(rf"^(?:\w+\.)*{ArchiveError.__name__}: (.+)$", text, re.MULTILINE)
    if ours:
        return ArchiveError(ours[-1])
    first_traceback = text.split("\nThe above exception was the direct cause", 1)[0]
    said = (first_traceback.strip().splitlines() or [type(error).__name__])[-1]
    return ArchiveError(f"a worker failed: {said}; what is done is kept: mend the cause and run the same command again")


@contextmanager
def _context(no_progress_seconds: float) -> Iterator[None]:
    """Set Ray Data's context for datasets made in the block; the caller's is put back."""
    from ray.data import DataContext  # noqa: PLC0415

    before = DataContext.get_current()
    context = copy.deepcopy(before)
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    context.target_max_block_size = 1  # what a stage makes of a row goes on at once, as a block of its own
    context.execution_no_progress_timeout_s = no_progress_seconds
    DataContext._set_current(context)  # noqa: SLF001  there is no public way to restore a context
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # errors are raised, and told in our words
    try:
        yield
    finally:
        DataContext._set_current(before)  # noqa: SLF001
        logger.setLevel(level)
