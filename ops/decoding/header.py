"""What the header of an image says, without its pixels."""

from msgspec import Struct
from PIL import ExifTags, TiffImagePlugin

from ops.decoding.exif import orientation
from ops.decoding.facts import count_frames
from ops.decoding.failures import explain
from ops.decoding.formats import open_picture, sniff
from ops.decoding.jxl import jxl_size
from ops.decoding.limits import Limits, check_encoded
from ops.decoding.metadata import TURNED_BY_DECODER
from ops.decoding.orientation import displayed_size
from ops.images import ImageError


class Header(Struct, frozen=True):
    """Format, size in pixels as displayed, mode as in the file (empty for JPEG XL, which hides it) and frames."""

    format: str
    width: int
    height: int
    mode: str
    frames: int


def probe(encoded: bytes) -> Header:
    """Return the header; decodes no pixel and has no limits. Raises `ImageError`."""
    check_encoded(encoded, Limits())
    name = sniff(encoded)
    try:
        return _jxl_header(encoded) if name == "JXL" else _pillow_header(name, encoded)
    except ImageError:
        raise
    except Exception as error:  # plug-ins raise anything; the reason is kept
        raise explain(name, encoded, error) from error


def _jxl_header(encoded: bytes) -> Header:
    width, height = jxl_size(encoded)
    return Header("JXL", width, height, "", 1)


def _pillow_header(name: str, encoded: bytes) -> Header:
    picture = open_picture(encoded, name)
    turned = 1
    exif = picture.info.get("exif")
    if name not in TURNED_BY_DECODER and isinstance(exif, bytes):
        try:
            turned = orientation(exif)
        except ValueError:  # decode ignores a broken block as well
            turned = 1
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and ExifTags.Base.Orientation not in picture.tag_v2:
        # The size of others is turned already; of these, which only XMP turns, when they are loaded.
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
    width, height = displayed_size(*picture.size, turned)
    return Header(name, width, height, picture.mode, count_frames(name, picture, encoded))
