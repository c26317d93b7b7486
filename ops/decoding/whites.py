"""White of JPEG 2000 above 8 bits, which Pillow turns to black: it rounds 65,535 to 256 and keeps the low byte.

What became 0 by that is told from black by decoding once more, with a header that claims one bit more. The same
coefficients then give 64 for black and 192 for white, with nothing near either end.
"""

from collections.abc import Iterator

from PIL import Image, ImageChops, ImageFile

from ops.decoding import boxes
from ops.decoding.formats import open_picture
from ops.images import FailureCode, ImageError

SIZE, QUANTIZATION, QUANTIZATION_OF_COMPONENT, TILE = 0x51, 0x5C, 0x5D, 0x90
BAND_PIXELS = 1 << 20

# 0 to 255 where a number is 0, and where it is in the upper half.
IS_ZERO = [255] + [0] * 255
IS_HIGH = [0] * 128 + [255] * 128


def restore_whites(picture: ImageFile.ImageFile, encoded: bytes) -> None:
    """Set to 255, in a loaded picture, what is white in the file; raises `ImageError` and what the plug-in raises."""
    deep = any(depth > 8 for depth in boxes.jpeg2000_depths(encoded))
    if not deep or picture.mode.startswith("I;16") or not _has_zeros(picture):
        return
    higher = open_picture(_one_bit_deeper(encoded), "JPEG2000")
    higher.load()
    rows = max(1, BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        picture.paste(_restored(picture.crop(box), higher.crop(box)), box)


def _has_zeros(picture: Image.Image) -> bool:
    return any(picture.getchannel(channel).getextrema()[0] == 0 for channel in picture.getbands())


def _restored(band: Image.Image, higher: Image.Image) -> Image.Image:
    channels = [
        ImageChops.lighter(channel, ImageChops.darker(channel.point(IS_ZERO), other.point(IS_HIGH)))
        for channel, other in zip(band.split(), higher.split(), strict=True)
    ]
    return Image.merge(band.mode, channels)


def _one_bit_deeper(encoded: bytes) -> bytes:
    """Return the file with one bit more for each component above 8 bits; raises `ImageError` where that cannot be."""
    deeper, num_components = bytearray(encoded), boxes.jpeg2000_tile(encoded)[1]
    for marker, content, stop in _segments(encoded):
        if marker == SIZE:
            for at in range(content + 36, content + 36 + 3 * num_components, 3):
                deeper[at] += (deeper[at] & 0x7F) >= 8
        elif marker == QUANTIZATION:
            _keep_steps(deeper, content, stop)
        elif marker == QUANTIZATION_OF_COMPONENT:
            _keep_steps(deeper, content + (1 if num_components < 257 else 2), stop)
    return bytes(deeper)


def _keep_steps(deeper: bytearray, style: int, stop: int) -> None:
    """Let quantization steps stay as large as they are, though they are said in relation to the depth.

    An exponent that is larger by one claims one bit plane more, which a guard bit less takes back (ISO/IEC 15444-1, E).
    """
    if deeper[style] & 31 == 0:  # reversible: no steps
        return
    if deeper[style] >> 5 == 0 or any(exponent >> 3 == 31 for exponent in deeper[style + 1 : stop : 2]):
        reason = "JPEG 2000 above 8 bit whose decoder turns white to black; save it as PNG or TIFF"
        raise ImageError(FailureCode.UNSUPPORTED, reason)
    deeper[style] -= 1 << 5
    for at in range(style + 1, stop, 2):
        deeper[at] += 1 << 3


def _segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start of the content and stop of each segment in the main header of a codestream."""
    at = boxes.jpeg2000_codestream(encoded)[0] + 2
    while at + 4 <= len(encoded) and encoded[at + 1] != TILE:
        stop = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        yield encoded[at + 1], at + 4, stop
        at = stop
