"""A job tried out on a few images, one after the other in one thread: seconds and bytes of each step, and quality."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from msgspec import Struct

from ops.archive.layout import Reading
from ops.archive.rows import ImageRow
from ops.candidates import Kept
from ops.codecs.base import Codec, CodecConfig
from ops.decoding import decode
from ops.encoding import limits_of
from ops.images import Failure, ImageError, Pixels
from ops.judging import Judge
from ops.preflight import NUM_IMAGES, Preflight, compare, cut
from ops.readers.base import Entry
from ops.regrowing import Regrower, payload_of
from ops.sources import fetch

Tried = TypeVar("Tried")


class Trial(Struct, frozen=True, kw_only=True):
    """Sums over `num_images` of `pixels` in all: bytes read and written, and seconds by the names of steps.

    `quality` compares a codec with bicubic on a few of the images.
    """

    num_images: int
    pixels: int
    bytes_in: int
    bytes_out: int
    seconds: dict[str, float]
    quality: Preflight | None = None


class Read(NamedTuple):
    """An image of a source: its file and its pixels."""

    key: str
    encoded: bytes
    pixels: Pixels


class _Sums:
    """What adds up while images are tried, until about so many seconds have gone; one is always tried."""

    def __init__(self, seconds: float) -> None:
        self.num_images = self.pixels = self.bytes_in = self.bytes_out = 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._end = time.monotonic() + seconds

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - begun  # of one that fails nothing counts

    def add(self, pixels: int, bytes_in: int, bytes_out: int) -> None:
        self.num_images, self.pixels = self.num_images + 1, self.pixels + pixels
        self.bytes_in, self.bytes_out = self.bytes_in + bytes_in, self.bytes_out + bytes_out

    def over(self, things: Iterable[Tried]) -> Iterator[Tried]:
        for one in things:
            yield one
            if self.num_images and time.monotonic() > self._end:
                return

    def trial(self, quality: Preflight | None = None) -> Trial:
        return Trial(
            num_images=self.num_images, pixels=self.pixels, bytes_in=self.bytes_in, bytes_out=self.bytes_out,
            seconds=dict(self._seconds), quality=quality,
        )  # fmt: skip


def try_archiving(
    config: CodecConfig, codec: Codec, entries: Sequence[Entry], reading: Reading, seconds: float, *, judge: bool = True
) -> Trial:
    """Fetch, decode and encode images in turn; with `judge` regrow a few of them, which takes its own time."""
    sums, seen = _Sums(seconds), list[Pixels]()
    for entry in sums.over(entries):
        if (read := _read(entry, reading, sums)) is None:
            continue
        with sums.step("encode"):
            payload = codec.encode([read.pixels])[0]
        if isinstance(payload, Failure):
            continue
        sums.add(_size(read.pixels), len(read.encoded), len(payload.thumbnail))
        if judge and len(seen) < NUM_IMAGES:
            seen.append(cut(read.pixels))
    return sums.trial(compare(config, codec, seen) if seen else None)


def try_regrowing(regrower: Regrower, rows: Iterable[ImageRow], seconds: float) -> Trial:
    """Regrow images of an archive in turn, and write their pictures, but for putting them anywhere."""
    sums = _Sums(seconds)
    for row in sums.over(rows):
        with sums.step("regrow"):
            picture = next(iter(regrower.pictures([row])))
        if not isinstance(picture, Failure):
            sums.add((row.width or 0) * (row.height or 0), len(row.thumbnail or b""), len(picture))
    return sums.trial()


def try_judging(
    judge: Judge, entries: Sequence[Entry], reading: Reading, seconds: float, kept: Callable[[str], ImageRow | None]
) -> Trial:
    """Fetch, decode and judge references in turn; `kept` returns what an archive has of a key, if one is judged."""
    sums = _Sums(seconds)
    for entry in sums.over(entries):
        if (read := _read(entry, reading, sums)) is None:
            continue
        row = kept(entry.key)
        with sums.step("judge"):
            judge.judge(entry.key, read.pixels, read.encoded, None if row is None else Kept(payload_of(row), 0))
        sums.add(_size(read.pixels), len(read.encoded), 0)
    return sums.trial()


def _read(entry: Entry, reading: Reading, sums: _Sums) -> Read | None:
    """Return an image of a source; nothing for one that cannot be read."""
    with sums.step("fetch"):
        [encoded] = fetch([entry], 1, limits_of(reading))
    if isinstance(encoded, Failure):
        return None
    try:
        with sums.step("decode"):
            pixels = decode(encoded, limits_of(reading), reading.background, reading.metadata).pixels
    except (ImageError, MemoryError):
        return None
    return Read(entry.key, encoded, pixels)


def _size(pixels: Pixels) -> int:
    return pixels.shape[0] * pixels.shape[1]
