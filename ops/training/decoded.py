"""Decoded photographs, kept as long as there is room; and which of them cannot be had."""

import logging
import threading
from collections import OrderedDict

from ops.decoding import decode
from ops.images import Failure, ImageError, Pixels
from ops.sources import fetch
from ops.training.photographs import FrozenPhotographs, TrainingPhotograph


class DecodedPhotographs:
    """The pixels of a frozen list, the most recently used of them in memory: up to `megapixels`, 3 MB each.

    Any number of threads may ask. `failures` says of which keys no pixels can be had, and why; each is told in the
    log once, and not tried again. A store that does not answer is asked three times before that is a failure.
    """

    def __init__(self, frozen: FrozenPhotographs, megapixels: int) -> None:
        self._photographs, self._room = frozen.photographs, megapixels * 1_000_000
        self._kept: OrderedDict[int, Pixels] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self.failures: dict[str, str] = {}

    def pixels(self, at: int) -> Pixels | None:
        """Return uint8 sRGB (height, width, 3), as displayed, of the photograph at a place; None where it failed."""
        photograph = self._photographs[at]
        with self._lock:
            if photograph.key in self.failures:
                return None
            if at in self._kept:
                self._kept.move_to_end(at)
                return self._kept[at]
        pixels = _decoded(photograph)
        if isinstance(pixels, str):
            self._fail(photograph.key, pixels)
            return None
        self._keep(at, pixels)
        return pixels

    def _keep(self, at: int, pixels: Pixels) -> None:
        num_pixels = pixels.size // 3
        with self._lock:
            if at in self._kept or num_pixels > self._room:
                return
            while self._held + num_pixels > self._room:
                _, oldest = self._kept.popitem(last=False)
                self._held -= oldest.size // 3
            self._kept[at] = pixels
            self._held += num_pixels

    def _fail(self, key: str, reason: str) -> None:
        with self._lock:
            if key in self.failures:
                return
            self.failures[key] = reason
        logging.getLogger(__name__).warning("photograph %s is passed over: %s", key, reason)


def _decoded(photograph: TrainingPhotograph) -> Pixels | str:
    """Return the pixels, or why there are none."""
    [encoded] = fetch([photograph.entry], 1)
    if isinstance(encoded, Failure):
        return encoded.message
    try:
        pixels = decode(encoded, metadata="none").pixels
    except ImageError as error:
        return error.failure.message
    height, width = pixels.shape[:2]
    if (width, height) != (photograph.width, photograph.height):
        return f"{width}x{height} pixels, where {photograph.width}x{photograph.height} were listed"
    return pixels
