"""The same picture without metadata that upsets its decoder: broken metadata never fails pixels."""

from collections.abc import Iterator

from ops.decoding.boxes import boxes, find, jpeg2000_colours
from ops.decoding.endings import jpeg_segments
from ops.decoding.png import Chunk, png_chunks, png_profile

# What a PNG looks like depends on these; the rest is said about it. Animation chunks are left out on purpose.
PNG_KEPT = {b"tRNS": "transparent colour", b"eXIf": "EXIF", b"iCCP": "ICC profile"}
ICC_BYTES = 1 << 20  # Pillow refuses to unpack more
# Bytes of the chunk tRNS by the colour type of the PNG: gray, RGB.
TRANSPARENCY_BYTES = {0: 2, 2: 6}
LEAST_COLOUR_BYTES = 7  # of the box colr in JPEG 2000: what Pillow reads of every one

JFIF, EXIF, ICC, ADOBE, COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
# JFIF and Adobe segments say how the colours are coded; shorter ones say nothing and upset Pillow.
LEAST_BYTES = {JFIF: 18, ADOBE: 16}


def repairs(name: str, encoded: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield ever barer versions of the file, each with a sentence that says what was left out."""
    if name == "PNG":
        yield _bare_png(encoded)
    elif name == "JPEG":
        yield _bare_jpeg(encoded, {JFIF, EXIF, ICC, ADOBE}), "broken metadata ignored: comments and private segments"
        yield _bare_jpeg(encoded, {JFIF, ADOBE}), "broken metadata ignored: EXIF, ICC, XMP and private segments"
    elif name in {"AVIF", "HEIF"}:
        yield _without_exif_item(encoded), "broken EXIF ignored"
    elif name == "JPEG2000":
        yield _bare_jp2(encoded), "broken metadata ignored: resolution, and colour boxes that are too short"


def _bare_png(encoded: bytes) -> tuple[bytes, str]:
    pieces, dropped = [encoded[:8]], ["text", "other chunks that are not pixels"]
    for chunk in png_chunks(encoded):
        sound = chunk.kind in PNG_KEPT and chunk.intact(encoded) and _is_sound(chunk, encoded)
        if chunk.critical or (sound and not _is_long_profile(chunk, encoded)):
            pieces.append(encoded[chunk.start : chunk.stop])
        elif chunk.kind in PNG_KEPT and not sound:
            dropped.append(PNG_KEPT[chunk.kind])
        if chunk.kind == b"IEND":
            break
    return b"".join(pieces), f"broken metadata ignored: {', '.join(dropped)}"


def _is_sound(chunk: Chunk, encoded: bytes) -> bool:
    if chunk.kind == b"tRNS":
        return len(chunk.content(encoded)) >= TRANSPARENCY_BYTES.get(encoded[25], 0)
    return chunk.kind != b"iCCP" or png_profile(encoded) is not None


def _is_long_profile(chunk: Chunk, encoded: bytes) -> bool:
    """Whether Pillow would refuse this chunk for its length; the profile is then read from the whole file."""
    return chunk.kind == b"iCCP" and len(png_profile(encoded) or b"") >= ICC_BYTES


def _bare_jp2(encoded: bytes) -> bytes:
    """Rename the boxes of JP2 that only say something about the picture; every offset stays."""
    bare, header = bytearray(encoded), find(encoded, b"jp2h")
    inside = list(boxes(encoded, header.start, min(header.stop, len(encoded)))) if header else []
    short = [part for part in jpeg2000_colours(encoded) if part.stop - part.start < LEAST_COLOUR_BYTES]
    for part in [*(part for part in inside if part.kind == b"res "), *short]:
        if bare[part.start - 4 : part.start] == part.kind:
            bare[part.start - 4 : part.start] = b"free"
    return bytes(bare)


def _bare_jpeg(encoded: bytes, kept: set[int]) -> bytes:
    pieces, end = [encoded[:2]], 2
    try:
        for marker, start, stop in jpeg_segments(encoded):
            end = stop
            about_pixels = not (JFIF <= marker <= 0xEF or marker == COMMENT)
            if about_pixels or (marker in kept and stop - start >= LEAST_BYTES.get(marker, 0)):
                pieces.append(encoded[start:stop])
    except IndexError:
        return encoded
    return b"".join([*pieces, encoded[end:]])


def _without_exif_item(encoded: bytes) -> bytes:
    """Rename the EXIF item, so that no decoder looks at it; every offset stays."""
    at = encoded.find(b"infe")
    while at >= 0:
        if encoded[at + 12 : at + 16] == b"Exif":
            return encoded[: at + 12] + b"skip" + encoded[at + 16 :]
        at = encoded.find(b"infe", at + 4)
    return encoded
