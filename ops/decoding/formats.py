"""Which format some bytes are, told by the bytes alone, and which class of Pillow reads it."""

import importlib
import io

from PIL import ImageFile

from ops.images import FailureCode, ImageError

MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
}

# The classes are made directly: Image.open would try formats that we do not admit (EPS runs Ghostscript),
# check sizes against a global of Pillow's, and turn JPEGs with a broken multi-picture index away.
READERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "HEIF": ("pillow_heif.as_plugin", "HeifImageFile"),
    "JXL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}

PLUGINS = {"HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin"}

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"heif"}

FOREIGN = {
    b"8BPS": "a Photoshop document; save it as TIFF or PNG",
    b"%!PS": "PostScript; export it as PNG or TIFF",
    b"%PDF": "a PDF; export its pages as PNG or TIFF",
    b"\0\0\x01\0": "a Windows icon; export it as PNG",
    b"v/1\x01": "OpenEXR, which holds light, not pixels; tone-map it to PNG or TIFF",
    b"#?RADIANCE": "Radiance HDR, which holds light, not pixels; tone-map it to PNG or TIFF",
    b"FUJIFILMCCD-RAW": "a raw camera file; develop it to TIFF or JPEG",
    b"DDS ": "a DirectDraw texture; export it as PNG",
    b"qoif": "QOI; export it as PNG",
}

HTML = "an HTML page, probably an error page of the server saved under an image's name; download it again"
SVG = "XML or SVG, which has no pixels; export it as PNG"

STRANGERS = {
    b"<!doctype html": HTML,
    b"<html": HTML,
    b"<head": HTML,
    b"<body": HTML,
    b"<svg": SVG,
    b"<?xml": SVG,
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with `git lfs pull`",
    b"\x1f\x8b": "gzip; unpack it first",
    b"pk\x03\x04": "a zip archive; read it as a shard",
    b"{": "JSON text, probably an error message of the server; download it again",
}


def sniff(encoded: bytes) -> str:
    """Return the format's name, such as `JPEG`; raise `ImageError` that says what the bytes are instead."""
    name = _format_of(encoded[:4096])
    if name is None:
        raise _stranger(encoded)
    return name


def open_picture(encoded: bytes, name: str) -> ImageFile.ImageFile:
    """Return the unloaded picture. Raises whatever the plug-in raises, and `ImageError` without the plug-in."""
    module, reader = READERS[name]
    try:
        picture_file = getattr(importlib.import_module(module), reader)
    except ImportError as error:
        package = PLUGINS.get(name, "pillow")
        reason = f"{name} needs {package} ({error}); run `pip install {package}`"
        raise ImageError(FailureCode.NO_PLUGIN, reason) from error
    return picture_file(io.BytesIO(encoded), "")


def _format_of(head: bytes) -> str | None:
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in {12, 40, 52, 56, 64, 108, 124}:
        return "BMP"
    return _format_of_brands(head) if head[4:8] == b"ftyp" else None


def _format_of_brands(head: bytes) -> str | None:
    end = max(16, min(int.from_bytes(head[:4], "big"), len(head)))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if head[8:12] in HEIF_BRANDS:
        return "HEIF"
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    # A bare `mif1` says only that it is a HEIF container; libheif knows most of what may be inside.
    return "HEIF" if brands & {*HEIF_BRANDS, b"mif1", b"msf1"} else None


def _stranger(encoded: bytes) -> ImageError:
    head = encoded[:512]
    if any(magic.startswith(encoded) for magic in (*MAGIC, b"RIFF")) or _begins_only(encoded):
        return ImageError(
            FailureCode.TRUNCATED, f"only {len(encoded)} bytes, the beginning of an image; fetch it again"
        )
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            return ImageError(FailureCode.UNSUPPORTED, f"this is {what}")
    return ImageError(FailureCode.NOT_AN_IMAGE, f"{_description(head)} (begins with {head[:12]!r})")


def _begins_only(encoded: bytes) -> bool:
    """Whether the bytes end before a format that is told by more than its first bytes could be told."""
    return (encoded[:2] == b"BM" and len(encoded) < 18) or (
        len(encoded) < 16 and (encoded[:4] == b"RIFF" or encoded[4:8] == b"ftyp")
    )


def _description(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what in STRANGERS.items():
        if text.startswith(magic):
            return what
    if head[4:8] == b"ftyp":
        return "a video or another ISO media file; extract a frame as an image"
    if not any(head):
        return "only zero bytes, probably a download that never finished; fetch it again"
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "text, not an image; check the address or the file"
    return "no format that we know begins like this; convert it to JPEG, PNG, WebP or TIFF"
