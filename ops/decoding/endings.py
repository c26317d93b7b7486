"""Whether the bytes of an image end before the format says they should."""

from collections.abc import Callable, Iterator

from ops.decoding import boxes, exif
from ops.decoding.items import MAY_BE_ZEROS, items
from ops.decoding.png import png_chunks
from ops.images import FailureCode, ImageError

LONE_MARKERS = {0x01, *range(0xD0, 0xDA)}
# What holds the pixels of a WebP, and what holds or describes those of an AVIF or HEIF.
WEBP_PIXELS = {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}
MEDIA_CONTENT = {b"ftyp", b"meta", b"moov", b"mdat"}
LEAST_ZEROS = 16  # no picture is so short and nothing but zeros


def ends_early(name: str, encoded: bytes) -> bool:
    """Return whether the file of this format stops too soon; False where that cannot be told."""
    try:
        return CHECKS[name](encoded)
    except (IndexError, ValueError):
        # A walk that runs out of bytes or meets nonsense cannot tell.
        return False


def check_png(encoded: bytes) -> None:
    """Raise `ImageError` where a PNG is cut, or where a chunk of its pixels fails its checksum."""
    for chunk in png_chunks(encoded):
        if chunk.stop > len(encoded):
            break
        if chunk.critical and not chunk.intact(encoded):
            kind = chunk.kind.decode("ascii", "replace")
            raise ImageError(FailureCode.CORRUPT, f"PNG: the checksum of chunk {kind} at byte {chunk.start} is wrong")
        if chunk.kind == b"IEND":
            return
    raise ImageError(FailureCode.TRUNCATED, f"PNG: ends at byte {len(encoded)}, before its last chunk; fetch it again")


def jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, stop) of the segments of a JPEG up to its first scan; raises `IndexError` at the end."""
    at = 2
    while True:
        while encoded[at] != 0xFF or encoded[at + 1] in {0x00, 0xFF}:
            at += 1
        marker = encoded[at + 1]
        stop = at + 2 if marker in LONE_MARKERS else at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        yield marker, at, stop
        if marker in {0xDA, 0xD9}:
            return
        at = stop


def _jpeg(encoded: bytes) -> bool:
    try:
        marker, _, scan = list(jpeg_segments(encoded))[-1]
    except IndexError:
        return True
    return marker == 0xDA and encoded.find(b"\xff\xd9", scan) < 0


def _png(encoded: bytes) -> bool:
    return not any(chunk.kind == b"IEND" and chunk.stop <= len(encoded) for chunk in png_chunks(encoded))


def _gif(encoded: bytes) -> bool:
    return not encoded.rstrip(b"\0").endswith(b";")


def _bmp(encoded: bytes) -> bool:
    claimed, compression = int.from_bytes(encoded[2:6], "little"), int.from_bytes(encoded[30:34], "little")
    if compression in {1, 2} or int.from_bytes(encoded[14:18], "little") == 12:
        return claimed > len(encoded)
    width, height = (int.from_bytes(encoded[at : at + 4], "little", signed=True) for at in (18, 22))
    row = (width * int.from_bytes(encoded[28:30], "little") + 31) // 32 * 4
    return int.from_bytes(encoded[10:14], "little") + row * abs(height) > len(encoded)


def _webp(encoded: bytes) -> bool:
    """Look at the chunks of pixels: what follows the RIFF chunk, and zeros in metadata, are no matter of them."""
    at, stop = 12, int.from_bytes(encoded[4:8], "little") + 8
    if stop > len(encoded):
        return True
    pixels = []
    while at + 8 <= stop:
        kind, size = encoded[at : at + 4], int.from_bytes(encoded[at + 4 : at + 8], "little")
        if kind == bytes(4):
            return True
        if kind in WEBP_PIXELS:
            pixels.append(_ends_in_zeros(encoded, at + 8, at + 8 + size))
        at += 8 + size + size % 2
    return not pixels or any(pixels)


def _media(encoded: bytes) -> bool:
    """Look where the items lie: other bytes behind the last box, and zeros in metadata, are no matter of the pixels."""
    content = {part.kind: part for part in boxes.boxes(encoded) if part.kind in MEDIA_CONTENT}
    if any(part.stop > len(encoded) for part in content.values()):
        return True
    if b"moov" in content:  # of a sequence only the end is looked at
        return b"mdat" not in content or _ends_in_zeros(encoded, content[b"mdat"].start, content[b"mdat"].stop)
    if b"meta" not in content:
        return True
    found = items(encoded, content[b"meta"])
    unwritten = (_ends_in_zeros(encoded, item.start, item.stop) for item in found if item.kind not in MAY_BE_ZEROS)
    return any(item.stop > len(encoded) for item in found) or any(unwritten)


def _ends_in_zeros(encoded: bytes, start: int, stop: int) -> bool:
    """Whether the end was never written, as in unfinished downloads: compressed pixels hold no 4,096 zero bytes."""
    last = encoded[max(start, stop - 4096) : stop]
    return len(last) >= LEAST_ZEROS and not any(last)


def _tiff(encoded: bytes) -> bool:
    order = "little" if encoded[:1] == b"I" else "big"
    if encoded[2:4] in {b"+\0", b"\0+"}:
        return int.from_bytes(encoded[8:16], order) + 2 > len(encoded)
    try:
        return not exif.fields(encoded, order, int.from_bytes(encoded[4:8], order))
    except ValueError:
        return True


def _jxl(encoded: bytes) -> bool:
    return encoded[:1] == b"\0" and boxes.last_box_is_cut(encoded)


CHECKS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": _tiff,
    "AVIF": _media,
    "HEIF": _media,
    "JPEG2000": boxes.jpeg2000_ends_early,
    "JXL": _jxl,
}
