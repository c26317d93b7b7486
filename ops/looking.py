"""One image on demand, without Ray: its reconstruction, its thumbnail as browsers show it, keys near a wrong one."""

import difflib
import io
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageColor

from ops.archive.layout import ArchiveError
from ops.archive.reading import Archive, CatalogRow, read_image_rows
from ops.codecs.base import Box, Codec
from ops.images import Failure, Pixels
from ops.pictures import uncomposite
from ops.regrowing import payload_of
from ops.thumbnails import decode_plane, open_picture

Picture: TypeAlias = Pixels | Image.Image

# A hint is worth a look at one catalog file, not at 50 of them.
HINT_IMAGES = 100_000
BROWSER_TYPES = ("image/webp", "image/png", "image/jpeg", "image/avif")


class Shown(NamedTuple):
    """A picture that browsers can show, with its size in pixels."""

    encoded: bytes
    media_type: str
    width: int
    height: int


def regrow_image(
    archive: Archive, row: CatalogRow, codec: Codec, region: tuple[int, int, int, int] | None
) -> Image.Image:
    """Return an image grown back, or a region of it (left, top, right, bottom): RGB, or RGBA where alpha was kept.

    Raises ArchiveError for a row without a thumbnail, or one that is damaged.
    """
    if not row.good:
        raise ArchiveError(f"{row.key!r} has no thumbnail, it failed with {row.status}: look at its facts.message")
    image = read_image_rows(archive.location, [row], archive.version)[0]
    if isinstance(image, Failure):
        raise ArchiveError(image.message)
    payload = payload_of(image)
    box = None if region is None else Box(*region)
    pixels = codec.decode([payload])[0] if box is None else codec.decode_region(payload, box)
    if image.alpha is None:
        return Image.fromarray(pixels)
    alpha = decode_plane(image.alpha)
    if box is not None:
        alpha = alpha[box.top : box.bottom, box.left : box.right]
    red, green, blue = ImageColor.getrgb(archive.document.reading.background)[:3]
    return Image.fromarray(uncomposite(pixels, alpha, (red, green, blue)))


def to_pixels(picture: Picture) -> Pixels:
    """Return an array as it is, and a PIL image as pixels, with transparency laid over white."""
    if isinstance(picture, np.ndarray):
        return picture
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def browser_picture(encoded: bytes, media_type: str) -> Shown:
    """Return a thumbnail as browsers can show it: its own file, or a PNG of it where they do not know its type."""
    picture = open_picture(encoded)
    if media_type not in BROWSER_TYPES:
        written = io.BytesIO()
        picture.save(written, "PNG")
        encoded, media_type = written.getvalue(), "image/png"
    return Shown(encoded, media_type, *picture.size)


def nearest_keys(archive: Archive, key: str) -> list[str]:
    """Return up to three keys that a user may have meant; none for an archive too large to be read for a hint."""
    if len(archive) > HINT_IMAGES:
        return []
    keys = [found for table in archive.select() for found in table["key"].to_pylist()]
    name = key.rsplit("/", 1)[-1]
    same_name = [found for found in keys if found.rsplit("/", 1)[-1] == name]
    return same_name[:3] or difflib.get_close_matches(key, keys[:10_000], n=3, cutoff=0.7)
