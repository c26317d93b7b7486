"""Makers of small images of every format and defect, the same on every run."""

import importlib
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "HEIF", "JXL")
LOSSLESS = ("PNG", "WEBP", "TIFF", "BMP", "JPEG2000", "JXL")


def photo(width: int = 96, height: int = 64, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return a smooth picture with an own colour in each corner, uint8 (height, width, channels)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 6, channels), dtype=np.uint8)
    planes = [
        Image.fromarray(coarse[..., at]).resize((width, height), Image.Resampling.BICUBIC) for at in range(channels)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def noise(width: int = 96, height: int = 64, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return a picture that no codec can shorten, uint8 (height, width, channels)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encode(picture: np.ndarray | Image.Image, name: str = "PNG", **options: Any) -> bytes:
    """Return the picture in a format, losslessly where the format can and nothing else is asked."""
    register_plugins(name)
    image = (
        picture
        if isinstance(picture, Image.Image)
        else Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    )
    if name in {"WEBP", "JXL"} and "quality" not in options:
        options.setdefault("lossless", True)
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def register_plugins(name: str) -> None:
    """Make Pillow able to write HEIF or JPEG XL."""
    if name == "HEIF":
        importlib.import_module("pillow_heif").register_heif_opener()
    if name == "JXL":
        importlib.import_module("pillow_jxl")


def exif(orientation: int | None = None, gps: bool = False, **texts: str) -> bytes:
    """Return an EXIF block with JPEG's prefix."""
    block = Image.Exif()
    if orientation is not None:
        block[0x0112] = orientation
    if gps:
        block.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    if "make" in texts:
        block[0x010F] = texts["make"]
    return b"Exif\0\0" + block.tobytes()


def rgb_profile(name: str, primaries: list[tuple[float, float]], gamma: float) -> bytes:
    """Return a matrix profile of ICC version 2 with these chromaticities of red, green and blue, white D65."""
    colorants = _adapted(primaries)
    tags = {b"desc": _text(name), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz((0.9642, 1.0, 0.8249))}
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))
    for letter, column in zip((b"r", b"g", b"b"), colorants.T, strict=True):
        tags[letter + b"XYZ"] = _xyz(tuple(column))
        tags[letter + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def gray_profile(gamma: float) -> bytes:
    """Return a profile of ICC version 2 for gray of this gamma."""
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))
    white = _xyz((0.9642, 1.0, 0.8249))
    return _profile(b"GRAY", {b"desc": _text("gray"), b"cprt": b"text\0\0\0\0none\0", b"wtpt": white, b"kTRC": curve})


def png_chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """Return a chunk of a PNG, with a wrong checksum if one is given."""
    right = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", right)


def png_with(chunk: bytes, picture: np.ndarray | None = None) -> bytes:
    """Return a PNG with another chunk after its header."""
    whole = encode(photo() if picture is None else picture, "PNG")
    return whole[:33] + chunk + whole[33:]


def jpeg_with(marker: int, content: bytes, picture: np.ndarray | None = None) -> bytes:
    """Return a JPEG with another segment after its first marker."""
    whole = encode(photo() if picture is None else picture, "JPEG")
    return whole[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + whole[2:]


def _adapted(primaries: list[tuple[float, float]]) -> np.ndarray:
    """Return the colorants adapted to D50 by Bradford, columns red, green, blue."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    white, d50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.9642, 1.0, 0.8249])
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    xyz = xyz * np.linalg.solve(xyz, white)
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white)) @ bradford
    return adapt @ xyz


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _text(text: str) -> bytes:
    ascii_text = text.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(ascii_text)) + ascii_text + bytes(78)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, content, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += tag + struct.pack(">II", at + len(content), len(value))
        content += padded
    body = struct.pack(">I", len(tags)) + table + content
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body


ADOBE_RGB = rgb_profile("wide", [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], 2.2)
DISPLAY_P3 = rgb_profile("p3", [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)], 2.2)
