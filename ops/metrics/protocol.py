"""How scores are taken: a protocol says everything that changes their numbers."""

import hashlib
import math
import re
from collections import Counter
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ops.metrics.names import AnyMetric


class Protocol(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which metrics are taken of which pixels, and how their means are made.

    `border` pixels are cut at each side before scoring. `threads` are torch's per forward pass: they change last bits.
    `identical_psnr` is what an infinite PSNR counts for in a mean, in dB, since a mean with infinity says nothing; how
    often that was so is counted beside it. `images` and `departures` are for people: which images a publication took,
    and what of it is unknown or not reproduced.
    """

    name: str
    about: str
    metrics: list[AnyMetric]
    border: int = 0
    threads: int = 1
    identical_psnr: float = 100.0
    averaging: Literal["mean of images"] = "mean of images"
    images: str = "every image given"
    departures: list[str] = []

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):  # a part of paths in an archive
            raise ValueError(f"field name is {self.name!r}: write letters, digits, dots and dashes, at most 64")
        if not self.metrics:
            raise ValueError("field metrics is empty: name at least one, such as {name: psnr}")
        column, times = Counter(self.columns()).most_common(1)[0]
        if times > 1:
            raise ValueError(f"field metrics names {column} {times} times: keep one of them")
        if self.threads < 1:
            raise ValueError(f"field threads is {self.threads}: write a whole number from 1")
        if self.border < 0:
            raise ValueError(f"field border is {self.border}: write a whole number of pixels from 0")
        if not 0 < self.identical_psnr < math.inf:
            raise ValueError(
                f"field identical_psnr is {self.identical_psnr}: write a number of dB above 0, such as 100"
            )

    def columns(self) -> list[str]:
        """Return the columns of its scores, in order."""
        return [metric.column for metric in self.metrics]

    def digest(self) -> str:
        """Return the sha256, in hex, of everything that changes numbers; the order of the metrics does not.

        What stands at its default is left out, so that a field that is added later leaves old digests alone.
        """
        metrics = [
            {"name": metric.name, **_settings(metric)} for metric in sorted(self.metrics, key=lambda one: one.column)
        ]
        numbers = {name: value for name, value in _settings(self).items() if name not in _WORDS}
        return hashlib.sha256(msgspec.json.encode({**numbers, "metrics": metrics}, order="sorted")).hexdigest()


# Fields for people. They change no number.
_WORDS = ("name", "about", "images", "departures")


def _settings(struct: Struct) -> dict[str, Any]:
    """Return the fields that are not at their default, compared by value: pickling loses identity."""
    values = [(field, getattr(struct, field.name)) for field in msgspec.structs.fields(struct)]
    return {field.name: value for field, value in values if value != field.default}
