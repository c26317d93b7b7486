"""A watchdog: a worker that does not finish its chunk in time is ended, so that another may try it carefully."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ops.evaluation.document import Judging
from ops.large import waited_seconds

EXIT_STATUS = 86


def seconds_for(num_images: int, num_bytes: int, *, pixels: int = 0, careful: bool) -> float:
    """Return how long a chunk may take: far beyond any honest one, from its images, encoded bytes and pixels.

    A careful one may also wait for each image's time limit: two minutes, and a second per megapixel.
    """
    seconds = 300 + 20 * num_images + num_bytes / 50_000 + pixels / 200_000
    return seconds + 130 * num_images + num_bytes / 100_000 + pixels / 1_000_000 if careful else seconds


def judging_seconds(judging: Judging, num_images: int, pixels: int) -> float:
    """Return how long judging so much may take: LPIPS and DISTS take ten seconds a megapixel on one processor."""
    return 600 + (60.0 * num_images + 1e-4 * pixels) * (1 + len(judging.candidates))


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer, not counting what it waited for other workers' large images."""
    done = threading.Event()
    # A thread stuck in a decoder cannot be interrupted; only the process can.
    threading.Thread(target=_watch, args=(seconds, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(seconds: float, done: threading.Event) -> None:
    end = time.monotonic() + seconds
    waited = waited_seconds()
    while not done.wait(max(left := end + waited_seconds() - waited - time.monotonic(), 0)):
        if left <= 0:
            os._exit(EXIT_STATUS)
