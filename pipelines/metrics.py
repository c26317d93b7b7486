"""Numbers that workers count for Prometheus, through Ray: images, megapixels, bytes, failures, seconds of stages."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pipelines.rows import Row, read_receipt

# As Ray exports them, each is called ray_NAME.
COUNTERS = {
    "regrow_images_total": "Images that are done, by outcome: good, failed, or skipped since they were there.",
    "regrow_failures_total": "Images that failed, by code.",
    "regrow_pixels_total": "Pixels of images that are done.",
    "regrow_read_bytes_total": "Bytes of originals, or of thumbnails that were regrown.",
    "regrow_thumbnail_bytes_total": "Bytes of thumbnails that were kept.",
    "regrow_picture_bytes_total": "Bytes of pictures that were regrown and put.",
}
SECONDS = "regrow_stage_seconds"
BUCKETS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
# By the actor's class: names that stay when code is renamed.
JOBS = {"EncodeChunk": "archive", "RegrowImages": "reconstruct", "JudgeWork": "evaluate"}


def job_of(actor: type) -> str:
    """Return what a pipeline with this actor is called in the metrics."""
    return JOBS.get(actor.__name__, actor.__name__)


@contextmanager
def timed(job: str, stage: str) -> Iterator[None]:
    """Count the seconds of a block as those of one row through a stage: fetch, or work. What raises counts, too."""
    begun = time.monotonic()
    try:
        yield
    finally:
        _seconds().observe(time.monotonic() - begun, {"job": job, "stage": stage})


def count(job: str, row: Row) -> None:
    """Count what the receipt in an actor's row says, if it has one."""
    if "receipt" not in row:
        return
    receipt = read_receipt(row)
    outcomes = {"good": receipt.num_good, "failed": len(receipt.failures), "skipped": receipt.num_skipped}
    for outcome, number in outcomes.items():
        _add("regrow_images_total", number, job=job, outcome=outcome)
    for code in receipt.failures:
        _add("regrow_failures_total", 1, job=job, code=code)
    _add("regrow_pixels_total", receipt.pixels, job=job)
    _add("regrow_read_bytes_total", receipt.source_bytes or receipt.thumbnail_bytes, job=job)
    _add("regrow_thumbnail_bytes_total", receipt.thumbnail_bytes if job == "archive" else 0, job=job)
    _add("regrow_picture_bytes_total", receipt.picture_bytes, job=job)


def _add(name: str, number: float, **tags: str) -> None:
    if number:
        _counter(name, tuple(tags)).inc(number, tags)


@cache
def _counter(name: str, tags: tuple[str, ...]) -> Any:
    from ray.util.metrics import Counter  # noqa: PLC0415  a worker has it

    return Counter(name, COUNTERS[name], tags)


@cache
def _seconds() -> Any:
    from ray.util.metrics import Histogram  # noqa: PLC0415  a worker has it

    return Histogram(SECONDS, "Seconds that one row of work takes in a stage.", BUCKETS, ("job", "stage"))
