"""Encoded bytes of any admitted format to pixels: 8-bit sRGB, upright, in bands into one array."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, ImageColor, ImageFile

from ops.decoding import colour, facts
from ops.decoding.failures import explain
from ops.decoding.formats import sniff
from ops.decoding.limits import Limits, check_encoded
from ops.decoding.loading import load_picture
from ops.decoding.metadata import MetadataPolicy, keep, orientation_to_apply, read_metadata
from ops.decoding.orientation import displayed_size, place, turn
from ops.images import ImageError, Pixels

# A band of 256 Ki pixels stays in the processor's cache on its way from Pillow's four bytes per pixel to our three.
BAND_PIXELS = 1 << 18

# H.273 numbers that are sRGB or say nothing: primaries BT.709 and unspecified, transfers that displays show like sRGB.
PLAIN_PRIMARIES = {0, 1, 2}
PLAIN_TRANSFERS = {0, 1, 2, 6, 13, 14, 15}


class Ground(NamedTuple):
    """What alpha is laid over: as it was named, and in sRGB."""

    name: str
    colour: tuple[int, int, int]


class Decoded(Struct):
    """An image as it is seen, and what was decided on the way.

    `pixels` is uint8 sRGB (height, width, 3), `alpha` uint8 (height, width) or None where all is opaque; `mode`,
    `bit_depth` per channel and `frames` are those of the file; `orientation` is 1 to 8 as found and applied;
    `choices` holds a sentence per decision; `exif`, `icc` and `xmp` are as in the file, by policy.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None
    format: str
    mode: str
    bit_depth: int
    frames: int
    orientation: int
    choices: list[str]
    exif: bytes | None
    icc: bytes | None
    xmp: bytes | None


def decode(
    encoded: bytes,
    limits: Limits = Limits(),  # noqa: B008 -- frozen
    background: str = "#ffffff",
    metadata: MetadataPolicy = "keep",
) -> Decoded:
    """Return the first picture of a file, upright, in 8-bit sRGB, with alpha laid over `background`.

    Raises `ImageError`: what was wrong with these bytes, and what would help; `ValueError` for an unknown background.
    """
    over = _background(background)
    check_encoded(encoded, limits)
    name = sniff(encoded)
    try:
        return _decode(name, encoded, limits, Ground(background, over), metadata)
    except ImageError:
        raise
    except Exception as error:  # Pillow and what it found raise anything; the reason is kept
        raise explain(name, encoded, error) from error


def _decode(name: str, encoded: bytes, limits: Limits, ground: Ground, metadata: MetadataPolicy) -> Decoded:
    choices: list[str] = []
    picture, turned = load_picture(name, encoded, limits, choices)
    found = read_metadata(picture, encoded)
    depth, frames = facts.bit_depth(name, picture, encoded), facts.count_frames(name, picture, encoded)
    orientation = orientation_to_apply(name, picture, found.exif, choices)
    look = colour.read_look(picture, depth, found.icc, choices, gray=facts.gray_as_rgb(picture, encoded))
    look.inverted = facts.zero_is_white(picture)
    look.levels = facts.stretched_levels(name, picture, encoded)
    choices += _notes(name, picture, encoded, turned, frames)
    pixels, alpha = _in_bands(picture, look, orientation, ground.colour)
    if alpha is not None:
        choices.append(f"alpha laid over {ground.name}")
    kept = keep(found, metadata, choices)
    return Decoded(
        pixels=pixels,
        alpha=alpha,
        format=name,
        mode=picture.mode,
        bit_depth=depth,
        frames=frames,
        orientation=max(orientation, turned),
        choices=choices,
        exif=kept.exif,
        icc=kept.icc,
        xmp=kept.xmp,
    )


def _in_bands(
    picture: Image.Image, look: colour.Look, orientation: int, background: tuple[int, int, int]
) -> tuple[Pixels, NDArray[np.uint8] | None]:
    """Return pixels and alpha as displayed. No second array of the whole picture is made on the way."""
    width, height = picture.size
    across, down = displayed_size(width, height, orientation)
    pixels, alpha = np.empty((down, across, 3), np.uint8), None
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = turn(picture.crop((0, top, width, bottom)), orientation)
        colours, opacity = colour.band_to_rgb(band, look)
        if opacity is not None and alpha is None and int(opacity.min()) < 255:
            alpha = np.full((down, across), 255, np.uint8)
        if opacity is not None and alpha is not None:
            place(alpha, orientation, top, bottom)[...] = opacity
            colours = colour.compose(colours, opacity, background)
        place(pixels, orientation, top, bottom)[...] = colours
    return pixels, alpha


def _notes(name: str, picture: ImageFile.ImageFile, encoded: bytes, turned: int, frames: int) -> Iterator[str]:
    """Yield what the format brings along, and what is not done about it."""
    if turned > 1:
        yield f"orientation {turned} applied"
    if frames > 1:
        yield f"first of {frames} pictures taken"
    if name == "JPEG" and picture.mode == "CMYK" and "adobe" not in picture.info:
        yield "CMYK taken as inverted, as Adobe writes it, though nothing says so"
    if isinstance(picture, GifImagePlugin.GifImageFile):
        yield from _uncovered(picture)
    coded = facts.coding_colours(name, picture, encoded)
    if coded and (coded[0] not in PLAIN_PRIMARIES or coded[1] not in PLAIN_TRANSFERS):
        yield f"colours shown as sRGB though coded with primaries {coded[0]} and transfer {coded[1]} (H.273)"


def _uncovered(picture: GifImagePlugin.GifImageFile) -> Iterator[str]:
    left, top, right, bottom = picture.dispose_extent or (0, 0, *picture.size)
    if (left, top, right, bottom) != (0, 0, *picture.size) and "transparency" not in picture.info:
        covered = f"{right - left}x{bottom - top} of {picture.width}x{picture.height}"
        yield f"the first picture covers {covered}; the rest shows the first colour of the palette"


def _background(colour_name: str) -> tuple[int, int, int]:
    return ImageColor.getrgb(colour_name)[:3]
