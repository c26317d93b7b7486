"""Where the pictures and the metadata of an AVIF or HEIF file lie: its items (ISO/IEC 14496-12, 8.11)."""

from collections.abc import Iterator
from typing import NamedTuple

from ops.decoding.boxes import Part, boxes

# Items that may end in zeros: metadata, and pixels that are not compressed.
MAY_BE_ZEROS = {b"Exif", b"mime", b"uri ", b"unci"}


class Item(NamedTuple):
    """A stretch of an item that lies in the file itself: of which kind it is, and where it starts and should stop."""

    kind: bytes
    start: int
    stop: int


class _Numbers:
    """Numbers from bytes, one after another."""

    def __init__(self, encoded: bytes, at: int) -> None:
        self.encoded, self.at = encoded, at

    def take(self, size: int) -> int:
        """Return the next number of so many bytes; raises `ValueError` at the end of the file."""
        if self.at + size > len(self.encoded):
            raise ValueError(f"ends at byte {len(self.encoded)}, a number was expected at {self.at}")
        self.at += size
        return int.from_bytes(self.encoded[self.at - size : self.at], "big")


def items(encoded: bytes, meta: Part) -> list[Item]:
    """Return the stretches that a box `meta` names; raises `ValueError` where it is cut."""
    inside = {part.kind: part for part in boxes(encoded, meta.start + 4, meta.stop)}
    if b"iloc" not in inside:
        return []
    kinds = _kinds(encoded, inside[b"iinf"]) if b"iinf" in inside else {}
    return [
        Item(kinds.get(number, b""), start, stop) for number, start, stop in _stretches(encoded, inside[b"iloc"].start)
    ]


def _stretches(encoded: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield item, start and stop of a box `iloc`."""
    numbers = _Numbers(encoded, at)
    version = numbers.take(4) >> 24
    sizes = numbers.take(2)
    of_offset, of_length, of_base, of_index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    wide = 4 if version == 2 else 2
    for _ in range(numbers.take(wide)):
        item = numbers.take(wide)
        method = numbers.take(2) & 15 if version else 0
        numbers.take(2)
        base = numbers.take(of_base)
        for _ in range(numbers.take(2)):
            numbers.take(of_index if version else 0)
            start = base + numbers.take(of_offset)
            stop = start + numbers.take(of_length)
            if method == 0:  # others lie in the box `idat`, or in other items
                yield item, start, stop


def _kinds(encoded: bytes, part: Part) -> dict[int, bytes]:
    """Return the kind of each item of a box `iinf`; older versions say none."""
    first = part.start + (8 if encoded[part.start] else 6)
    found = {}
    for entry in boxes(encoded, first, part.stop):
        version = encoded[entry.start]
        if version >= 2:
            wide = 4 if version == 3 else 2
            at = entry.start + 4
            found[int.from_bytes(encoded[at : at + wide], "big")] = encoded[at + wide + 2 : at + wide + 6]
    return found
