"""Reconstructions as image files: alpha back in its place, sRGB said, marked as made."""

import functools
import struct
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageCms

from ops.images import FailureCode, ImageError, Pixels
from ops.thumbnails import Plane, png_xmp, save_image

Suffix: TypeAlias = Literal["png", "jpg", "webp", "tiff"]
Colour: TypeAlias = tuple[int, int, int]

# Width or height in pixels: libjpeg's own limit, WebP's, and what PNG and TIFF count to.
SIDE_LIMITS: dict[Suffix, int] = {"png": (1 << 31) - 1, "jpg": 65_500, "webp": 16_383, "tiff": (1 << 31) - 1}
TIFF_BYTES = (1 << 32) - (1 << 24)  # offsets of 32 bits, and room for tables
JPEG_SEGMENT = 65_533

_BAND_ROWS = 128
_ORIENTATION, _EXIF_HEAD = 0x0112, b"Exif\x00\x00"
_XMP_TAG = 700
# What a TIFF may take over of EXIF's first table: document name, description, maker, model, orientation, resolution,
# page name, unit, software, date, artist, computer, copyright, the tables Exif and GPS, Windows' title to subject,
# and rating. All other tags there say how pixels are stored, and would be taken for those of the TIFF.
_TIFF_TAGS = {
    269, 270, 271, 272, _ORIENTATION, 282, 283, 285, 296, 305, 306, 315, 316, 33432, 34665, 34853,
    *range(40091, 40096), 18246, 18249,
}  # fmt: skip


def write_picture(
    pixels: Pixels,
    alpha: Plane | None,
    suffix: Suffix,
    mark_xmp: bytes,
    exif: bytes | None = None,
    *,
    quality: int = 90,
    background: Colour = (255, 255, 255),
) -> bytes:
    """Return the image file, in sRGB, with `mark_xmp` in it and `exif` set upright.

    `alpha`, of shape (height, width), is put back where the format has it, and the background on which the pixels
    were composited is taken out of them; JPEG stays composited. `quality` is for JPEG and WebP, 1 to 100. PNG says
    sRGB in its own chunk of 13 bytes; the others carry a profile of 588, without which some viewers guess. EXIF that
    cannot be parsed is left out. TIFF is uncompressed. Raises ImageError(refused) for what the format cannot hold.
    """
    _check(pixels, alpha, suffix)
    upright = upright_exif(exif) if exif else b""
    if suffix == "jpg":
        _check_segments(mark_xmp, upright)
        image = Image.fromarray(pixels)
        options = {"quality": quality, "subsampling": "4:4:4" if quality >= 90 else "4:2:0"}
        return save_image(image, "JPEG", xmp=mark_xmp, exif=upright, icc_profile=srgb_profile(), **options)
    image = Image.fromarray(pixels if alpha is None else uncomposite(pixels, alpha, background))
    if suffix == "webp":
        return save_image(
            image, "WEBP", quality=quality, method=3, exact=True, xmp=mark_xmp, exif=upright, icc_profile=srgb_profile()
        )
    if suffix == "tiff":
        return _write_tiff(image, mark_xmp, upright)
    chunks = png_xmp(mark_xmp)
    chunks.add(b"sRGB", b"\x00")  # rendering intent: perceptual
    # Three megapixels regrown: level 4 takes 0.24 s for 2.03 MB, level 6 0.63 s for 1.94, level 1 0.16 s for 2.46.
    return save_image(image, "PNG", compress_level=4, pnginfo=chunks, exif=upright)


def uncomposite(pixels: Pixels, alpha: Plane, background: Colour) -> Plane:
    """Return uint8 RGBA of shape (height, width, 4) that gives `pixels` when composited on `background` again.

    Inverts p = c a + b (1 - a) and clips; where nothing shows (a = 0), the colour is that of the pixels.
    """
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    ground = np.array(background, np.float32)
    for top in range(0, len(alpha), _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        band, a = pixels[rows].astype(np.float32), alpha[rows, :, np.newaxis]
        colour = ground + (band - ground) * (np.float32(255) / np.maximum(a, 1))
        rgba[rows, :, :3] = np.where(a == 0, band, np.clip(np.rint(colour), 0, 255))
        rgba[rows, :, 3] = alpha[rows]
    return rgba


def upright_exif(exif: bytes) -> bytes:
    """Return the EXIF block with orientation 1 and every other byte as it was; nothing if it cannot be parsed.

    It is changed in place: written anew, offsets inside makers' notes would point astray.
    """
    body = bytearray(exif.removeprefix(_EXIF_HEAD))
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(bytes(body[:4]))
    if order is None:
        return b""
    try:
        _turn_upright(body, order)
    except struct.error:
        return b""
    return _EXIF_HEAD + bytes(body)


@functools.cache
def srgb_profile() -> bytes:
    """Return littleCMS's sRGB profile, 588 bytes, with its date of making blanked: the same bytes every day."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)


def _turn_upright(body: bytearray, order: str) -> None:
    """Set the orientation of the picture and of the preview in it: the first two directories."""
    at = struct.unpack_from(f"{order}I", body, 4)[0]
    for _ in range(2):
        if at == 0:
            return
        count = struct.unpack_from(f"{order}H", body, at)[0]
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", body, entry)[0] == _ORIENTATION:
                struct.pack_into(f"{order}HIHH", body, entry + 2, 3, 1, 1, 0)  # one SHORT of value 1
        at = struct.unpack_from(f"{order}I", body, at + 2 + 12 * count)[0]


def _write_tiff(image: Image.Image, mark_xmp: bytes, exif: bytes) -> bytes:
    # Uncompressed: Pillow's compressed TIFFs cannot hold EXIF (libtiff refuses its offset).
    # In a TIFF, EXIF and XMP are tags of one table.
    tags = Image.Exif()
    tags.load(exif)
    for tag in set(tags) - _TIFF_TAGS:
        del tags[tag]
    tags[_XMP_TAG] = mark_xmp
    try:
        return save_image(image, "TIFF", exif=tags, icc_profile=srgb_profile())
    except (KeyError, TypeError, ValueError, OverflowError, SyntaxError, struct.error):
        if not exif:
            raise
        return _write_tiff(image, mark_xmp, b"")


def _check(pixels: Pixels, alpha: Plane | None, suffix: Suffix) -> None:
    height, width = pixels.shape[:2]
    if alpha is not None and alpha.shape != (height, width):
        raise ValueError(f"alpha {alpha.shape} and pixels {pixels.shape} must be of one height and width")
    if max(height, width) > SIDE_LIMITS[suffix]:
        message = f"{width}x{height} is beyond {SIDE_LIMITS[suffix]} pixels a side, the limit of {suffix}: write png"
        raise ImageError(FailureCode.REFUSED, message)
    if suffix == "tiff" and height * width * (3 if alpha is None else 4) > TIFF_BYTES:
        raise ImageError(FailureCode.REFUSED, f"{width}x{height} is beyond the 4 GiB of tiff: write png")


def _check_segments(xmp: bytes, exif: bytes) -> None:
    for what, size in (("XMP", len(xmp) + 29), ("EXIF", len(exif))):
        if size > JPEG_SEGMENT:
            raise ImageError(FailureCode.REFUSED, f"{size} bytes of {what} do not fit into a jpg: write png")
