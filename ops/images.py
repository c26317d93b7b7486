"""The nouns that travel: source images, pixels, and failures with a code."""

from enum import StrEnum
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""A decoded image: uint8 sRGB of shape (height, width, 3)."""


class FailureCode(StrEnum):
    """Why an image has no thumbnail. The list is fixed by archive format 1; rows hold the values."""

    EMPTY = "empty"  # no bytes at all
    NOT_AN_IMAGE = "not_an_image"  # no format that we know begins like this
    UNSUPPORTED = "unsupported"  # a known format, but this variety of it cannot be decoded here
    NO_PLUGIN = "no_plugin"  # a known format whose Pillow plug-in is not installed
    TRUNCATED = "truncated"  # the bytes end too early
    CORRUPT = "corrupt"  # the decoder gave up
    TOO_LARGE = "too_large"  # beyond the limits of pixels, side or bytes
    UNREADABLE = "unreadable"  # the source would not give the bytes
    VANISHED = "vanished"  # planned, but no longer at the source
    CHANGED = "changed"  # at the source, but not as it was planned
    REFUSED = "refused"  # the codec cannot hold this image
    TIMED_OUT = "timed_out"  # took longer than the limit in careful mode
    OUT_OF_MEMORY = "out_of_memory"  # took more memory than the limit in careful mode
    KILLED_WORKER = "killed_worker"  # its worker died with it, every time


class Failure(Struct, frozen=True):
    """An image that could not be archived: the code is for machines, the message for people."""

    code: FailureCode
    message: str


class ImageError(Exception):
    """Raised inside ops where one image fails; the caller turns it into a row."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.failure = Failure(code, message)


class SourceImage(Struct, frozen=True):
    """An encoded image as its source holds it."""

    key: str
    uri: str
    encoded: bytes
