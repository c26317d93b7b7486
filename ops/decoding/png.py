"""The chunks of a PNG, and the ICC profile among them."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

# Those of printing presses take two or three; what unpacks to more is none.
PROFILE_BYTES = 16 << 20


class Chunk(NamedTuple):
    """A chunk of a PNG: its kind, and where all of it and its content start and stop."""

    kind: bytes
    start: int
    stop: int

    @property
    def critical(self) -> bool:
        """Whether a picture cannot be decoded without it."""
        return not self.kind[0] & 0x20

    def content(self, encoded: bytes) -> memoryview:
        """Return what the chunk holds."""
        return memoryview(encoded)[self.start + 8 : self.stop - 4]

    def intact(self, encoded: bytes) -> bool:
        """Whether the chunk's checksum is right."""
        found = zlib.crc32(memoryview(encoded)[self.start + 4 : self.stop - 4])
        return found == int.from_bytes(encoded[self.stop - 4 : self.stop], "big")


def png_chunks(encoded: bytes) -> Iterator[Chunk]:
    """Yield the chunks up to the end of the file; the last may stop beyond it."""
    start = 8
    while start + 8 <= len(encoded):
        stop = start + 12 + int.from_bytes(encoded[start : start + 4], "big")
        yield Chunk(encoded[start + 4 : start + 8], start, stop)
        start = stop


def before_pixels(encoded: bytes, kind: bytes) -> Chunk | None:
    """Return the first chunk of this kind, where it comes before the pixels and is intact."""
    found = next((chunk for chunk in png_chunks(encoded) if chunk.kind in {kind, b"IDAT"}), None)
    return found if found and found.kind == kind and found.intact(encoded) else None


def png_profile(encoded: bytes) -> bytes | None:
    """Return the ICC profile, unpacked, or None where there is none or it is broken. Pillow reads none above 1 MiB."""
    chunk = before_pixels(encoded, b"iCCP")
    packed, unpacker = bytes(chunk.content(encoded)) if chunk else b"", zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[packed.index(b"\0") + 2 :], PROFILE_BYTES)
    except (ValueError, zlib.error):
        return None
    return profile if unpacker.eof else None
