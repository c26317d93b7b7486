"""The gallery's pictures: crops at true pixels where the error is greatest, made small enough for one file."""

import math
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image

from jobs.page import data_uri
from jobs.report.findings import GalleryImage
from ops.codecs.base import Box
from ops.images import Pixels
from ops.metrics.edges import edges
from ops.thumbnails import decode_thumbnail, encode_lossless, save_image

CELL = 8
# Multiples of a cell; three of the first stand side by side at true pixels on a page of 84rem.
CROPS = ((400, 304), (320, 240), (240, 176))
MOST_BYTES = 14_000_000  # of pictures in base64; the rest of a page is below a megabyte
OVERVIEW_SIDE = 240
LARGEST_THUMBNAIL = 640
QUALITY = 90
FACTORS = (1, 2, 4, 8, 16)
BROWSERS = ("image/webp", "image/png", "image/jpeg", "image/avif")


class Picture(Struct, frozen=True, kw_only=True):
    """A picture of the page: `url` holds it, `name` says what it is, `candidate` whose scores belong to it."""

    name: str
    url: str
    width: int
    height: int
    candidate: str = ""


class Place(NamedTuple):
    """Where a crop lies in an image of `width` and `height` pixels."""

    box: Box
    width: int
    height: int


class Exhibit(Struct, frozen=True, kw_only=True):
    """One image of the gallery, ready for a page.

    `pictures` are the original's crop and the reconstructions', `derived` the difference, times `factor`, and maps of
    edges. `thumbnail_note` is empty, or says why the thumbnail is not shown as it is kept.
    """

    key: str
    why: str
    place: Place
    overview: Picture
    thumbnail: Picture | None
    thumbnail_note: str
    pictures: list[Picture]
    derived: list[Picture]
    factor: int

    def num_bytes(self) -> int:
        """Return what its pictures take of the page."""
        whole = [self.overview, self.thumbnail, *self.pictures, *self.derived]
        return sum(len(picture.url) for picture in whole if picture)


def exhibits(gallery: list[GalleryImage], most_bytes: int = MOST_BYTES) -> tuple[list[Exhibit], int]:
    """Return the gallery with the largest crops that fit, and how many images had to be left out all the same."""
    made: list[Exhibit] = []
    for crop in CROPS:
        made = [_exhibit(image, crop) for image in gallery]
        if sum(one.num_bytes() for one in made) <= most_bytes:
            return made, 0
    fitting = int(np.searchsorted(np.cumsum([one.num_bytes() for one in made]), most_bytes, side="right"))
    return made[:fitting], len(made) - fitting


def cut_to_crop(image: GalleryImage) -> GalleryImage:
    """Return an image with no more of its pixels than a page shows: the largest crop, and a small picture of all."""
    height, width = image.reference.shape[:2]
    box = worst_box(image.reference, _first(image), CROPS[0])
    return replace(
        image,
        reference=_cut(image.reference, box).copy(),
        shown=[replace(one, pixels=_cut(one.pixels, box).copy()) for one in image.shown],
        left=box.left,
        top=box.top,
        whole=(width, height),
        overview=shrunk(image.reference, OVERVIEW_SIDE),
    )


def _first(image: GalleryImage) -> Pixels:
    """Return the reconstruction that decides where a crop lies: that of the codec under test, if there is one."""
    return image.shown[0].pixels if image.shown else np.zeros_like(image.reference)


def worst_box(reference: Pixels, reconstruction: Pixels, crop: tuple[int, int]) -> Box:
    """Return where, of boxes of this width and height on a grid of 8 pixels, the squared errors are greatest."""
    height, width = reference.shape[:2]
    across, down = min(crop[0], width), min(crop[1], height)
    cells = _cell_errors(reference, reconstruction)
    wide, tall = math.ceil(across / CELL), math.ceil(down / CELL)
    sums = np.pad(cells.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    boxes = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    row, column = np.unravel_index(int(boxes.argmax()), boxes.shape)
    left, top = min(int(column) * CELL, width - across), min(int(row) * CELL, height - down)
    return Box(left, top, left + across, top + down)


def _cell_errors(reference: Pixels, reconstruction: Pixels) -> NDArray[np.int64]:
    """Return the sum of squared errors of each 8x8 cell, 8 rows of the image at a time."""
    height, width = reference.shape[:2]
    lefts = np.arange(0, width, CELL)
    rows = []
    for top in range(0, height, CELL):
        difference = reference[top : top + CELL].astype(np.int32) - reconstruction[top : top + CELL]
        columns = np.einsum("hwc,hwc->w", difference, difference, dtype=np.int64)
        rows.append(np.add.reduceat(columns, lefts))
    return np.stack(rows)


def _exhibit(image: GalleryImage, crop: tuple[int, int]) -> Exhibit:
    """Return an image's pictures, cut where the first that is shown, the codec under test, errs most."""
    reference = image.reference
    first = image.shown[0] if image.shown else None
    box = worst_box(reference, _first(image), crop)
    width, height = image.whole or (reference.shape[1], reference.shape[0])
    lies = Box(box.left + image.left, box.top + image.top, box.right + image.left, box.bottom + image.top)
    overview = image.overview if image.overview is not None else shrunk(reference, OVERVIEW_SIDE)
    original = _cut(reference, box)
    derived, factor = [_picture("edges", _grey(edges(original)))], 1
    if first:
        regrown = _cut(first.pixels, box)
        difference, factor = amplified(original, regrown)
        derived = [
            _picture("difference", difference, first.candidate),
            *derived,
            _picture("edges", _grey(edges(regrown)), first.candidate),
        ]
    thumbnail, note = _thumbnail(image)
    shown = [_picture("reconstruction", _cut(one.pixels, box), one.candidate) for one in image.shown]
    return Exhibit(
        key=image.key, why=image.why, place=Place(lies, width, height), factor=factor,
        overview=_picture("overview", overview), thumbnail=thumbnail, thumbnail_note=note,
        pictures=[_picture("original", original), *shown], derived=derived,
    )  # fmt: skip


def amplified(reference: Pixels, reconstruction: Pixels) -> tuple[Pixels, int]:
    """Return the absolute difference and what it is multiplied by: the most that keeps 99 % of it within 255."""
    difference = np.abs(reference.astype(np.int16) - reconstruction)
    most = float(np.quantile(difference, 0.99))
    factor = max((one for one in FACTORS if one * most <= 255), default=1)
    return np.minimum(difference * factor, 255).astype(np.uint8), factor


def _thumbnail(image: GalleryImage) -> tuple[Picture | None, str]:
    """Return the thumbnail as it is kept, or what a page can show of it, and why it is not that."""
    if not image.thumbnail:
        return None, "there is no thumbnail"
    pixels = decode_thumbnail(image.thumbnail)
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_THUMBNAIL:
        return _picture("thumbnail", shrunk(pixels, LARGEST_THUMBNAIL)), f"shrunk from {width} x {height} for this page"
    if image.media_type in BROWSERS:
        url = data_uri(image.thumbnail, image.media_type)
        return Picture(name="thumbnail", url=url, width=width, height=height), ""
    encoded, media_type = encode_lossless(pixels, "auto", b"")
    url = data_uri(encoded, media_type)
    return Picture(name="thumbnail", url=url, width=width, height=height), "rewritten without loss for browsers"


def _picture(name: str, pixels: Pixels, candidate: str = "") -> Picture:
    height, width = pixels.shape[:2]
    return Picture(name=name, url=picture_url(pixels), width=width, height=height, candidate=candidate)


def picture_url(pixels: Pixels) -> str:
    """Return a picture as a URL that holds it, recompressed."""
    return data_uri(save_image(Image.fromarray(pixels), "WEBP", quality=QUALITY, method=4), "image/webp")


def shrunk(pixels: Pixels, side: int = OVERVIEW_SIDE) -> Pixels:
    """Return a small picture of an image, at most so many pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _cut(pixels: Pixels, box: Box) -> Pixels:
    return pixels[box.top : box.bottom, box.left : box.right]


def _grey(plane: NDArray[np.uint8]) -> Pixels:
    # Bright on dark, as papers print them.
    return np.stack([plane] * 3, axis=-1)
