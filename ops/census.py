"""What a source holds: its images and bytes by the listing, its pixels by the headers of a sample."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from ops.decoding import Header
from ops.images import Failure
from ops.probing import probed
from ops.readers.base import Entry
from ops.resampling import counts_drawn, seeded

RESAMPLES = 1_000


class Census(Struct, frozen=True, kw_only=True):
    """What there is. `pixels` is an estimate unless every header was read, and `interval` its 95 % interval.

    `num_unreadable` of `num_sampled` headers could not be read. `largest` are the pixels of the largest image of the
    sample, `formats` its images by format. Bytes of images whose list does not tell them are those of the sample's.
    """

    num_images: int
    num_bytes: int
    num_sampled: int
    num_unreadable: int
    pixels: int
    interval: tuple[int, int]
    largest: int
    formats: dict[str, int]

    @property
    def is_exact(self) -> bool:
        """Whether every header was read."""
        return self.num_sampled == self.num_images


class Sampled(NamedTuple):
    """One image of the sample, with its encoded bytes as its size."""

    entry: Entry
    header: Header | Failure

    @property
    def pixels(self) -> int:
        """Its pixels; none where its header could not be read."""
        return 0 if isinstance(self.header, Failure) else self.header.width * self.header.height


def take_census(entries: Iterable[Entry], most_headers: int) -> tuple[Census, list[Sampled]]:
    """Count a source's entries, and read the headers of at most so many of them, the same ones each time.

    Memory follows the sample, not the source. Returns the sample, too, in a random order that its keys decide.
    """
    chosen: list[tuple[int, int, Entry]] = []
    num_images = num_bytes = num_untold = 0
    for entry in entries:
        num_images += 1
        num_bytes += entry.expected_bytes
        num_untold += not entry.expected_bytes
        ranked = (-rank(entry.key), num_images, entry)
        (heapq.heappush if len(chosen) < most_headers else heapq.heappushpop)(chosen, ranked)
    sample = [Sampled(*one) for one in probed(entry for _, _, entry in sorted(chosen, reverse=True))]
    if num_untold and sample:
        num_bytes += num_untold * sum(one.entry.size for one in sample) // len(sample)
    return _census(num_images, num_bytes, sample), sample


def _census(num_images: int, num_bytes: int, sample: Sequence[Sampled]) -> Census:
    headers = [one.header for one in sample if not isinstance(one.header, Failure)]
    pixels, low, high = _pixels(num_images, num_bytes, sample)
    return Census(
        num_images=num_images,
        num_bytes=num_bytes,
        num_sampled=len(sample),
        num_unreadable=len(sample) - len(headers),
        pixels=pixels,
        interval=(low, high),
        largest=max((one.pixels for one in sample), default=0),
        formats=dict(Counter(header.format for header in headers).most_common()),
    )


def _pixels(num_images: int, num_bytes: int, sample: Sequence[Sampled]) -> tuple[int, int, int]:
    """Return the pixels of all images and their interval: by those per byte or per image, whichever varies less."""
    pixels = np.array([one.pixels for one in sample], np.float64)
    sizes = np.array([one.entry.size for one in sample], np.float64)
    if len(sample) == num_images or not len(sample):
        exact = int(pixels.sum())
        return exact, exact, exact
    counts = counts_drawn(seeded(), RESAMPLES, len(sample))
    ways = [(num_images, np.ones(len(sample)))] + ([(num_bytes, sizes)] if sizes.min() > 0 else [])
    estimates = [
        (total * pixels.sum() / size.sum(), total * (counts @ pixels) / (counts @ size)) for total, size in ways
    ]
    found, drawn = min(estimates, key=lambda one: one[1].std())
    low, high = np.percentile(drawn, [2.5, 97.5])
    return round(found), round(float(low)), round(float(high))


def rank(key: str) -> int:
    """Return a number that a key decides, and that has nothing to do with where it stands: the least are a sample."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
