"""Thumbnails as image files: lossless, the same bytes every time, with XMP inside."""

import io
import struct
from collections.abc import Iterator
from types import ModuleType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.WebPImagePlugin import WebPImageFile

from ops.images import FailureCode, ImageError, Pixels

Plane: TypeAlias = NDArray[np.uint8]
"""One channel, such as alpha: uint8 of shape (height, width)."""

ThumbnailType: TypeAlias = Literal["auto", "image/webp", "image/png", "image/jxl"]

WEBP_SIDE = 16_383
# Pillow refuses to open a WebP beyond twice its bomb limit, and that limit belongs to the whole process.
WEBP_PIXELS = 178_956_970
# The largest picture of unknown origin: the largest source admitted by default, which a codec may keep undiminished.
PICTURE_PIXELS = 400_000_000
BAND_ROWS = 256
# Noise at quality 100 without subsampling takes less than four.
JPEG_PIXEL_BYTES = 8

# What Pillow's plug-ins raise over damaged files.
_DAMAGE = (
    OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, RuntimeError, EOFError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
_JXL_HEADS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a")


def encode_lossless(pixels: Pixels, media_type: ThumbnailType, xmp: bytes) -> tuple[bytes, str]:
    """Return the image file and its media type.

    `auto` is WebP, and PNG where WebP cannot hold the image (16,383 pixels a side). JPEG XL is never chosen
    unasked, so that the type follows from the image alone. Raises ImageError(refused) beyond a format's limits.
    """
    height, width = pixels.shape[:2]
    fits_webp = max(height, width) <= WEBP_SIDE and height * width <= WEBP_PIXELS
    if media_type == "auto":
        media_type = "image/webp" if fits_webp else "image/png"
    if media_type == "image/webp" and not fits_webp:
        message = f"{width}x{height} is beyond WebP's {WEBP_SIDE} pixels a side: use image/png or auto"
        raise ImageError(FailureCode.REFUSED, message)
    image = Image.fromarray(pixels)
    if media_type == "image/webp":
        # Six photographs of 47,000 pixels: 8.6 ms and 94.7 kB each. Method 4, quality 75 takes 60 ms for 92.8 kB,
        # method 0 1.3 ms for 99.4 kB; to decode the 12 megapixels that such a thumbnail stands for takes 100 ms.
        return save_image(image, "WEBP", lossless=True, method=2, quality=20, xmp=xmp), media_type
    if media_type == "image/png":
        # Measured as above: 7.2 ms and 103.3 kB; level 9 gives the same bytes.
        return save_image(image, "PNG", compress_level=6, pnginfo=png_xmp(xmp)), media_type
    jxl_plugin()
    # Effort 3: 8.2 ms and 91.4 kB; effort 7 takes 70 ms for 90.9 kB.
    return save_image(image, "JXL", lossless=True, effort=3, num_threads=1, xmp=xmp), media_type


def decode_thumbnail(encoded: bytes, size: tuple[int, int] | None = None) -> Pixels:
    """Return the thumbnail's pixels, exactly as they were encoded.

    Where `size` (width, height) is given, a file of another size is refused before its pixels take memory.
    Raises ImageError: not_an_image, no_plugin, corrupt.
    """
    image = open_picture(encoded, size)
    try:
        image.load()
    except _DAMAGE as error:
        raise ImageError(FailureCode.CORRUPT, f"the thumbnail cannot be decoded: {error}") from error
    return _to_pixels(image)


def encode_plane(plane: Plane) -> bytes:
    """Return an alpha plane as a grey PNG: lossless, with no limit of size that an image would meet."""
    # Planes are as large as the source and mostly flat, where level 6 is as fast as level 1.
    return save_image(Image.fromarray(plane), "PNG", compress_level=6)


def decode_plane(encoded: bytes) -> Plane:
    """Return the plane that `encode_plane` was given. Raises ImageError(corrupt)."""
    try:
        return np.asarray(PngImageFile(io.BytesIO(encoded)))
    except _DAMAGE as error:
        raise ImageError(FailureCode.CORRUPT, f"the alpha plane cannot be decoded: {error}") from error


def open_picture(encoded: bytes, size: tuple[int, int] | None = None) -> ImageFile.ImageFile:
    """Open a WebP, PNG, JPEG, AVIF or JPEG XL file by its first bytes, without decoding where the format allows.

    The picture must be of this size (width, height), or, where none is given, within 400 megapixels.
    Raises ImageError: not_an_image, no_plugin, corrupt, too_large.
    """
    kind = _kind(encoded)
    # The classes themselves, not Image.open: its bomb limit is global, and sizes are checked by the caller.
    try:
        image = kind(io.BytesIO(encoded))
    except _DAMAGE as error:
        raise ImageError(FailureCode.CORRUPT, f"the picture cannot be opened: {error}") from error
    if size is not None and image.size != size:
        raise ImageError(FailureCode.CORRUPT, f"the thumbnail is {image.size}, not {size}: fetch it again")
    if size is None and image.width * image.height > PICTURE_PIXELS:
        message = f"{image.width}x{image.height} is beyond {PICTURE_PIXELS} pixels: no thumbnail of ours is so large"
        raise ImageError(FailureCode.TOO_LARGE, message)
    return image


def embedded_xmp(encoded: bytes) -> bytes:
    """Return the XMP packet of an image file, or nothing. Raises ImageError as `open_picture`."""
    if encoded.startswith(_JXL_HEADS):
        return next((body for kind, body in _jxl_boxes(encoded) if kind == b"xml "), b"")
    xmp = open_picture(encoded).info.get("xmp", b"")
    return xmp.encode() if isinstance(xmp, str) else xmp


def save_image(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Return the image file as bytes; `options` are Pillow's."""
    file = io.BytesIO()
    image.save(file, file_format, **options)  # pyright: ignore[reportArgumentType]  # Pillow types options as Any
    return file.getvalue()


def save_jpeg(image: Image.Image, **options: object) -> bytes:
    """Return a JPEG that may be progressive or optimised, for which libjpeg wants one buffer that holds all of it.

    Pillow guesses one byte per pixel (two from quality 95), too little for noise. Its one setting for that, MAXBLOCK,
    belongs to the whole process and changes the bytes of PNGs that other threads write.
    """
    try:
        return save_image(image, "JPEG", **options)
    except OSError:
        file = io.BytesIO()
        tile = ImageFile._Tile("jpeg", (0, 0, *image.size), 0, image.mode)  # noqa: SLF001
        # The failed attempt has left its settings, with all that stands in the header, in image.encoderconfig.
        ImageFile._save(image, file, [tile], JPEG_PIXEL_BYTES * image.width * image.height + (1 << 20))  # noqa: SLF001
        return file.getvalue()


def png_xmp(xmp: bytes) -> PngInfo:
    """Return the chunk that carries XMP in a PNG; none for empty XMP."""
    chunks = PngInfo()
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return chunks


def jxl_plugin() -> ModuleType:
    """Import Pillow's plug-in for JPEG XL. Raises ImageError(no_plugin) with the remedy where it is not installed."""
    try:
        from pillow_jxl import JpegXLImagePlugin  # noqa: PLC0415  # an extra
    except ImportError as error:
        message = "JPEG XL needs its Pillow plug-in: pip install pillow-jxl-plugin"
        raise ImageError(FailureCode.NO_PLUGIN, message) from error
    return JpegXLImagePlugin


def _kind(encoded: bytes) -> type[ImageFile.ImageFile]:
    if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        return WebPImageFile
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if encoded.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if encoded[4:12] in {b"ftypavif", b"ftypavis"}:
        return AvifImageFile
    if encoded.startswith(_JXL_HEADS):
        return jxl_plugin().JXLImageFile
    message = f"begins with {encoded[:12]!r}: a thumbnail is WebP, PNG, JPEG, AVIF or JPEG XL"
    raise ImageError(FailureCode.NOT_AN_IMAGE, message)


def _to_pixels(image: Image.Image) -> Pixels:
    """Copy band by band: 7 bytes per pixel in all, where np.asarray takes 10."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND_ROWS):
        band = image.crop((0, top, width, min(top + BAND_ROWS, height)))
        pixels[top : top + BAND_ROWS] = np.asarray(band.convert("RGB"))
    return pixels


def _jxl_boxes(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each box of a JPEG XL container; its Pillow plug-in writes XMP but does not read it."""
    at = 0
    while at + 8 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        head = 8
        if length == 1 and at + 16 <= len(encoded):
            length, head = struct.unpack_from(">Q", encoded, at + 8)[0], 16
        end = len(encoded) if length == 0 else at + length
        if end < at + head:
            return
        yield kind, encoded[at + head : end]
        at = end
