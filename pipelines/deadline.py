"""A watchdog: a worker that does not finish its chunk in time is ended, so that another may try it carefully."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ops.archive.plan import CHUNK_IMAGES
from ops.codecs.base import CodecConfig
from ops.codecs.learned import PATIENCE
from ops.codecs.names import codec_from
from ops.evaluation.document import Judging
from ops.large import waited_seconds

EXIT_STATUS = 86
# A learned codec takes a whole pass of its networks for the smallest image.
LEAST_PIXELS = 300_000
# By how much an accelerator is faster than one core, at the very least.
ACCELERATED = 20.0


def seconds_for(num_images: int, num_bytes: int, *, pixels: int = 0, careful: bool) -> float:
    """Return how long a chunk may take: far beyond any honest one, from its images, encoded bytes and pixels.

    A careful one may also wait for each image's time limit: two minutes, and a second per megapixel.
    """
    seconds = 300 + 20 * num_images + num_bytes / 50_000 + pixels / 200_000
    return seconds + 130 * num_images + num_bytes / 100_000 + pixels / 1_000_000 if careful else seconds


def codec_seconds(
    codec: CodecConfig, num_images: int, pixels: int, device: str, *, down: bool = False, up: bool = False
) -> float:
    """Return how much longer a codec may take for so much, beyond what every image is given, to encode or decode it."""
    pace = codec.seconds_per_megapixel
    seconds = (pace.down * down + pace.up * up) * (pixels + LEAST_PIXELS * num_images) / 1e6
    return seconds if device == "cpu" else seconds / ACCELERATED


def likely_seconds(codec: CodecConfig, num_images: int, pixels: int, device: str) -> float:
    """Return about how long a codec takes to encode and decode so much, one image after the other."""
    return codec_seconds(codec, num_images, pixels, device, down=True, up=True) / PATIENCE


def judging_seconds(judging: Judging, num_images: int, pixels: int, device: str = "cpu") -> float:
    """Return how long judging so much may take: LPIPS and DISTS take ten seconds a megapixel on one processor."""
    codecs = [codec_from(settings) for settings in judging.codecs]
    regrowing = sum(codec_seconds(codec, num_images, pixels, device, down=True, up=True) for codec in codecs)
    return 600 + (60.0 * num_images + 1e-4 * pixels) * (1 + len(judging.candidates)) + regrowing


def longest_seconds(codec: CodecConfig, judging: Judging | None, num_bytes: int, pixels: int) -> float:
    """Return how long a run may go without a chunk of at most so much being done: tried with care, on one core."""
    longest = seconds_for(CHUNK_IMAGES, num_bytes, careful=True)
    longest += 2 * codec_seconds(codec, CHUNK_IMAGES, pixels, "cpu", down=True)
    return longest + (2 * judging_seconds(judging, CHUNK_IMAGES, pixels) if judging else 0.0)


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
