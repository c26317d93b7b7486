"""Boxes of ISO media files (AVIF, HEIF, JPEG 2000, JPEG XL) and what their headers say."""

from collections.abc import Iterator
from typing import NamedTuple

# The first two markers of every JPEG 2000 codestream.
CODESTREAM = b"\xff\x4f\xff\x51"


class Part(NamedTuple):
    """A box: its four-letter kind, and where its content starts and should stop in the file."""

    kind: bytes
    start: int
    stop: int


def boxes(encoded: bytes, start: int = 0, stop: int | None = None) -> Iterator[Part]:
    """Yield the boxes between `start` and `stop`; the last may stop beyond the end of a truncated file."""
    stop = len(encoded) if stop is None else stop
    while start + 8 <= stop:
        size, kind, content = (
            int.from_bytes(encoded[start : start + 4], "big"),
            encoded[start + 4 : start + 8],
            start + 8,
        )
        if size == 1:
            size, content = int.from_bytes(encoded[content : content + 8], "big"), content + 8
        end = stop if size == 0 else start + size
        if end < content:
            return
        yield Part(kind, content, end)
        start = end


def last_box_is_cut(encoded: bytes) -> bool:
    """Whether the file ends inside a box."""
    end = 0
    for part in boxes(encoded):
        end = part.stop
    return end > len(encoded) or 0 < len(encoded) - end < 8


def find(encoded: bytes, *path: bytes) -> Part | None:
    """Return the first box at a path of kinds, such as `find(encoded, b"jp2h", b"colr")`."""
    place = Part(b"", 0, len(encoded))
    for kind in path:
        inside = (part for part in boxes(encoded, place.start, min(place.stop, len(encoded))) if part.kind == kind)
        found = next(inside, None)
        if found is None:
            return None
        place = found
    return place


def jpeg2000_codestream(encoded: bytes) -> tuple[int, int]:
    """Return where the codestream of a JPEG 2000 file starts and should stop; raises `ValueError` without one."""
    if encoded.startswith(CODESTREAM):
        return 0, len(encoded)
    part = find(encoded, b"jp2c")
    if part and encoded.startswith(CODESTREAM, part.start):
        return part.start, part.stop
    # OpenJPEG does not mind a box whose length is wrong.
    at = encoded.find(b"jp2c" + CODESTREAM)
    if at < 0:
        raise ValueError("no codestream box jp2c")
    return at + 4, len(encoded)


def jpeg2000_size(encoded: bytes) -> tuple[int, int, int]:
    """Return width, height and bit depth from the codestream, which is what the decoder believes."""
    start, _ = jpeg2000_codestream(encoded)
    right, bottom, left, top = (int.from_bytes(encoded[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
    depth = (encoded[start + 42] & 0x7F) + 1 if len(encoded) > start + 42 else 8
    return right - left, bottom - top, depth


def jpeg2000_tile(encoded: bytes) -> tuple[int, int]:
    """Return the pixels of a tile and the number of components, from the codestream."""
    start, _ = jpeg2000_codestream(encoded)
    across, down = (int.from_bytes(encoded[start + at : start + at + 4], "big") for at in (24, 28))
    return across * down, int.from_bytes(encoded[start + 40 : start + 42], "big")


def jpeg2000_depths(encoded: bytes) -> list[int]:
    """Return the bits of each component, from the codestream."""
    start, _ = jpeg2000_codestream(encoded)
    _, components = jpeg2000_tile(encoded)
    return [(byte & 0x7F) + 1 for byte in encoded[start + 42 : start + 42 + 3 * components : 3]]


def jpeg2000_profile(encoded: bytes) -> bytes | None:
    """Return the ICC profile of a JP2 file, which Pillow does not read: restricted or, in JPX, any (methods 2, 3)."""
    for part in jpeg2000_colours(encoded):
        if encoded[part.start : part.start + 1] in {b"\x02", b"\x03"} and part.stop > part.start + 3:
            return encoded[part.start + 3 : part.stop]
    return None


def jpeg2000_colours(encoded: bytes) -> list[Part]:
    """Return the boxes of a JP2 file that say which colours its numbers are."""
    header = find(encoded, b"jp2h")
    inside = boxes(encoded, header.start, min(header.stop, len(encoded))) if header else ()
    return [part for part in inside if part.kind == b"colr"]


def jpeg2000_ends_early(encoded: bytes) -> bool:
    """Whether the codestream stops before its last tile part and its end marker do. OpenJPEG would not mind."""
    start, stop = jpeg2000_codestream(encoded)
    stop = min(stop, len(encoded))
    at = start + 2
    while at + 4 <= len(encoded):
        marker = encoded[at : at + 2]
        if marker == b"\xff\xd9":
            return False
        if marker == b"\xff\x90":
            length = int.from_bytes(encoded[at + 6 : at + 10], "big")
            if length == 0:  # the last tile part, as long as the rest
                return b"\xff\xd9" not in encoded[max(at, stop - 4) : stop]
            at += max(length, 12)
        else:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return encoded[at : at + 2] != b"\xff\xd9"


def pixel_depth(encoded: bytes) -> int:
    """Return the bits per channel that an AVIF or HEIF file states in its first `pixi` box, 8 without one."""
    at = encoded.find(b"pixi", 0, 1 << 16)
    if at < 0 or len(encoded) < at + 10:
        return 8
    return max(encoded[at + 9 : at + 9 + encoded[at + 8]], default=8) or 8


def coding_colours(encoded: bytes) -> tuple[int, int] | None:
    """Return (primaries, transfer) of H.273 from the first `nclx` colour box of an AVIF or HEIF file, or None."""
    at = encoded.find(b"colrnclx", 0, 1 << 16)
    if at < 0 or len(encoded) < at + 12:
        return None
    return int.from_bytes(encoded[at + 8 : at + 10], "big"), int.from_bytes(encoded[at + 10 : at + 12], "big")
