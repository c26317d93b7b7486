"""From a band of a loaded picture, whatever its mode, to 8-bit sRGB and alpha."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from PIL import Image

from ops.decoding.profiles import lab_to_srgb, read_profile
from ops.images import FailureCode, ImageError

Plane: TypeAlias = NDArray[np.uint8]
ToRGB: TypeAlias = Callable[[Image.Image], Image.Image]

# Pillow's modes without and with alpha, and the mode of the colours after alpha is split off.
COLOURS = {
    "1": "L", "L": "L", "LA": "L", "La": "L", "I;16": "L", "I;16B": "L", "I;16L": "L", "I;16N": "L",
    "P": "RGB", "PA": "RGB", "RGB": "RGB", "RGBA": "RGB", "RGBa": "RGB", "RGBX": "RGB", "YCbCr": "RGB",
    "CMYK": "CMYK", "LAB": "LAB",
}  # fmt: skip
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


class Look(Struct):
    """How the stored numbers of one picture are to be read."""

    mode: str
    bit_depth: int
    inverted: bool = False  # a TIFF of 16 bit gray in which zero is white, which Pillow leaves as it is
    white: int = 65535  # the number that stands for white in 16 bit gray
    levels: list[int] | None = None  # for each channel 256 numbers, in place of those that the decoder gives
    gray: bool = False  # one channel of gray that the decoder gives three times
    key: tuple[int, ...] | None = None  # the colour that is transparent, in the numbers of the file
    palette_alpha: bool = False
    opaque: bool = False  # what the alpha channel holds is none
    to_rgb: ToRGB | None = None


def read_look(
    picture: Image.Image, bit_depth: int, icc: bytes | None, choices: list[str], *, gray: bool = False
) -> Look:
    """Decide how the picture's colours become sRGB, and note each decision; raises `ImageError` for other modes."""
    check_mode(picture.mode)
    look = Look(picture.mode, bit_depth, white=_white(picture, bit_depth), gray=gray)
    _read_transparency(picture, look, choices)
    if picture.mode.startswith("I;16"):
        choices.append(f"{bit_depth} bit gray scaled to 8 bit and rounded")
    elif bit_depth > 8:
        choices.append(f"{bit_depth} bit per channel reduced to 8 bit by the decoder")
    look.to_rgb = _choose_transform("L" if gray else COLOURS[picture.mode], icc, choices)
    return look


def check_mode(mode: str) -> None:
    """Raise `ImageError` for pictures whose numbers are not levels of a display."""
    if mode not in COLOURS:
        what = {"F": "floating point", "I": "32 bit or signed integer"}.get(mode, f"of mode {mode}")
        reason = f"the numbers are {what}, and nothing says which is white; convert to 8 or 16 bit unsigned"
        raise ImageError(FailureCode.UNSUPPORTED, reason)


def band_to_rgb(band: Image.Image, look: Look) -> tuple[Plane, Plane | None]:
    """Return (rows, width, 3) or (rows, width, 1) sRGB of one band, and (rows, width) alpha or None."""
    alpha = None
    band = band.point(look.levels) if look.levels else band
    if look.palette_alpha or band.mode == "PA":
        band = band.convert("RGBA")
    band = band.convert(PREMULTIPLIED[band.mode]) if band.mode in PREMULTIPLIED else band
    if look.key is not None:
        alpha = _alpha_of_key(np.asarray(band), look.key)
    if band.mode in {"LA", "RGBA"} and not look.opaque:
        alpha = np.asarray(band.getchannel("A"))
    colours = _without_alpha(band, look)
    colours = look.to_rgb(colours) if look.to_rgb else colours
    plane = np.asarray(colours)
    return (plane[..., np.newaxis] if plane.ndim == 2 else plane), alpha


def compose(pixels: Plane, alpha: Plane, background: tuple[int, int, int]) -> Plane:
    """Return the pixels over a background, both taken as sRGB values, rounded."""
    opacity = alpha[..., np.newaxis].astype(np.uint16)
    # The sum is at most 255 * 255 + 128, and x / 255 = (x + (x >> 8)) >> 8 for x that has 128 added.
    mixed = pixels * opacity + np.array(background, np.uint16) * (255 - opacity) + np.uint16(128)
    return ((mixed + (mixed >> 8)) >> 8).astype(np.uint8)


def _without_alpha(band: Image.Image, look: Look) -> Image.Image:
    if band.mode.startswith("I;16"):
        return _eight_bit(band, look)
    if look.gray:
        return band.getchannel(0)
    if band.mode in {"LA", "1"}:
        return band.convert("L")
    if band.mode in {"P", "RGBA", "RGBX", "YCbCr"}:
        return band.convert("RGB")
    return band


def _eight_bit(band: Image.Image, look: Look) -> Image.Image:
    white = look.white
    levels = np.minimum(np.asarray(band).astype(np.uint32), white)
    levels = white - levels if look.inverted else levels
    return Image.fromarray(((levels * 255 + white // 2) // white).astype(np.uint8))


def _white(picture: Image.Image, bit_depth: int) -> int:
    """Return what stands for white in 16 bit gray: of 12 bit, TIFF leaves the numbers, and JPEG 2000 shifts them."""
    if picture.format == "TIFF" and bit_depth == 12:
        return 4095
    unused = 16 - bit_depth if picture.format == "JPEG2000" and bit_depth < 16 else 0
    return 65535 >> unused << unused


def _read_transparency(picture: Image.Image, look: Look, choices: list[str]) -> None:
    transparency = picture.info.get("transparency")
    if picture.mode == "P" and transparency is not None:
        look.palette_alpha = _palette_alpha(picture, transparency, choices)
    elif transparency is not None:
        look.key = _key(transparency, look, choices)
    if picture.format == "BMP" and picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (0, 0):
        look.opaque = True
        choices.append("alpha ignored: it is 0 everywhere, as programs leave it that mean none")


def _palette_alpha(picture: Image.Image, transparency: object, choices: list[str]) -> bool:
    """Return whether an entry of the palette has alpha; what is said of more than 256 entries is cut off."""
    if isinstance(transparency, bytes) and len(transparency) > 256:
        picture.info["transparency"] = transparency[:256]
    elif not isinstance(transparency, int) or transparency < 256:
        return True
    choices.append("alpha of palette entries beyond 256 ignored")
    return isinstance(transparency, bytes)


def _alpha_of_key(stored: NDArray[np.generic], key: tuple[int, ...]) -> Plane:
    same = stored == key[0] if len(key) == 1 else (stored == np.array(key)).all(axis=-1)
    return np.where(same, 0, 255).astype(np.uint8)


def _key(transparency: object, look: Look, choices: list[str]) -> tuple[int, ...] | None:
    """Return the transparent colour in the numbers that Pillow holds, which are those of the file times a scale."""
    key = transparency if isinstance(transparency, tuple) else (transparency,)
    expected = {"1": 1, "L": 1, "I;16": 1, "RGB": 3}.get(look.mode)
    levels = [level for level in key if isinstance(level, int)]
    if len(levels) != expected or len(key) != expected:
        choices.append("transparent colour ignored: it does not fit the picture")
        return None
    if look.mode == "RGB" and look.bit_depth == 16:
        choices.append("transparent colour of 16 bit ignored: the decoder keeps 8 bit")
        return None
    if look.mode == "1":  # Pillow says 255 for white and holds 1
        return (min(levels[0], 1),)
    scale = 255 // ((1 << look.bit_depth) - 1) if look.mode == "L" and look.bit_depth in {2, 4} else 1
    return tuple(level * scale for level in levels)


def _choose_transform(colours: str, icc: bytes | None, choices: list[str]) -> ToRGB | None:
    if icc:
        try:
            return _of_profile(colours, icc, choices)
        except ValueError as error:
            choices.append(f"ICC profile ignored: {error}")
    if colours == "CMYK":
        choices.append("CMYK without a usable profile converted by the plain formula (1 - ink) * (1 - black)")
        return lambda band: band.convert("RGB")
    if colours == "LAB":
        choices.append("L*a*b* converted to sRGB, relative colorimetric")
        return lab_to_srgb().apply
    return None


def _of_profile(colours: str, icc: bytes, choices: list[str]) -> ToRGB | None:
    profile = read_profile(icc)
    through_rgb = colours == "L" and profile.space == "RGB"
    if profile.space != colours and not through_rgb:
        raise ValueError(f"{profile.name!r} is for {profile.space}, the picture is {colours}")
    if profile.transform is None:
        return None
    choices.append(
        f"ICC profile {profile.name!r} converted to sRGB, relative colorimetric with black point compensation"
    )
    apply = profile.transform.apply
    return (lambda band: apply(band.convert("RGB"))) if through_rgb else apply
