"""Rare forms of PNG, TIFF, BMP and GIF: transparency, orientation, uncovered parts, and what is said of them."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ops.decoding import decode, probe
from ops.images import FailureCode, ImageError
from tests import makers
from tests.makers import encode, photo

RED_AND_GREEN = makers.png_chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0]))


def png(width: int, depth: int, kind: int, row: bytes, *more: bytes) -> bytes:
    """Return a PNG of one row, of a colour type (0 gray, 2 RGB, 3 palette, 4 gray and alpha), with more chunks."""
    header = makers.png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0))
    body = makers.png_chunk(b"IDAT", zlib.compress(b"\0" + row)) + makers.png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + body


def test_alpha_of_more_entries_than_a_palette_has_is_ignored_and_said():
    for alpha, expected in ((b"\x80" * 300, [128, 128]), (b"\xff" * 280 + b"\0", None)):
        decoded = decode(png(2, 8, 3, b"\0\1", RED_AND_GREEN, makers.png_chunk(b"tRNS", alpha)), background="#000000")
        assert (None if decoded.alpha is None else decoded.alpha[0].tolist()) == expected
        assert decoded.pixels[0].tolist() == ([[128, 0, 0], [0, 128, 0]] if expected else [[255, 0, 0], [0, 255, 0]])
        assert "alpha of palette entries beyond 256 ignored" in decoded.choices


def test_whatever_an_image_makes_the_decoder_raise_is_its_failure(monkeypatch):
    def upset(*given, **asked):
        raise ArithmeticError("a new kind of damage")

    monkeypatch.setattr("ops.decoding.colour.band_to_rgb", upset)
    with pytest.raises(ImageError, match="PNG: a new kind of damage; the file is damaged") as caught:
        decode(encode(photo()))
    assert caught.value.failure.code == FailureCode.CORRUPT


@pytest.mark.parametrize("level", [0, 1])
def test_the_transparent_level_of_one_bit_is_alpha(level):
    decoded = decode(png(8, 1, 0, b"\xf0", makers.png_chunk(b"tRNS", bytes([0, level]))), background="#808080")
    assert decoded.alpha is not None
    assert (decoded.alpha[0] == 0).tolist() == ([True] * 4 + [False] * 4 if level else [False] * 4 + [True] * 4)


@pytest.mark.parametrize(("kind", "row"), [(0, b"\1\2"), (2, b"\1\2\3\4\5\6")])
def test_a_transparent_colour_that_is_cut_does_not_cost_the_pixels(kind, row):
    decoded = decode(png(2, 8, kind, row, makers.png_chunk(b"tRNS", b"\1")))
    assert decoded.pixels[0, 1].tolist() == ([2, 2, 2] if kind == 0 else [4, 5, 6])
    assert any("transparent colour" in choice for choice in decoded.choices)


def test_the_gray_profile_of_sixteen_bit_gray_with_alpha_is_used():
    profile = makers.png_chunk(b"iCCP", b"gray\0\0" + zlib.compress(makers.gray_profile(1.0)))
    eight = decode(png(2, 8, 4, bytes([0x40, 255, 0x80, 255]), profile))
    sixteen = decode(png(2, 16, 4, bytes([0x40, 0, 255, 255, 0x80, 0, 255, 255]), profile))
    assert np.array_equal(sixteen.pixels, eight.pixels)
    assert any("'gray' converted to sRGB" in choice for choice in sixteen.choices)


def test_a_long_profile_of_a_png_is_used():
    """Pillow reads no more than 1 MiB, and profiles with tables of printers and scanners are longer."""
    size = struct.pack(">I", len(makers.ADOBE_RGB) + (2 << 20))
    long = size + makers.ADOBE_RGB[4:] + np.random.default_rng(0).bytes(2 << 20)
    chunk = makers.png_chunk(b"iCCP", b"wide\0\0" + zlib.compress(long))
    decoded = decode(makers.png_with(chunk))
    assert decoded.icc == long
    assert np.array_equal(decoded.pixels, decode(encode(photo(), icc_profile=makers.ADOBE_RGB)).pixels)
    assert not any("ICC profile" in choice and "ignored" in choice for choice in decoded.choices)


def test_a_broken_profile_that_was_left_out_is_said():
    decoded = decode(makers.png_with(makers.png_chunk(b"iCCP", b"wide\0\x07broken")))
    assert any("ignored" in choice and "ICC profile" in choice for choice in decoded.choices)


def test_colours_that_a_png_codes_by_numbers_are_noted():
    assert "coded with primaries 9 and transfer 16 (H.273)" in " ".join(
        decode(makers.png_with(makers.png_chunk(b"cICP", bytes([9, 16, 0, 1])))).choices
    )
    assert decode(makers.png_with(makers.png_chunk(b"cICP", bytes([1, 13, 0, 1])))).choices == []


def tiff(pixels: bytes, width: int, *more: tuple[int, int, bytes], order: str = "<") -> bytes:
    """Return a TIFF of one row of RGB, whose pixels begin at byte 8, with more tags: number, type, content."""
    short, long = (lambda value: struct.pack(f"{order}H", value)), (lambda value: struct.pack(f"{order}I", value))
    tags = [(256, 3, short(width)), (257, 3, short(1)), (258, 3, short(8) * 3), (259, 3, short(1)), (262, 3, short(2)),
            (273, 4, long(8)), (277, 3, short(3)), (278, 3, short(1)), (279, 4, long(len(pixels))), *more]  # fmt: skip
    table, behind, start = b"", b"", 8 + len(pixels)
    for number, kind, content in sorted(tags):
        count = len(content) // {1: 1, 3: 2, 4: 4}[kind]
        value = content.ljust(4, b"\0")
        if len(content) > 4:
            value = long(start + 2 + 12 * len(tags) + 4 + len(behind))
            behind += content
        table += struct.pack(f"{order}HHI", number, kind, count) + value
    head = (b"II*\0" if order == "<" else b"MM\0*") + long(start)
    return head + pixels + short(len(tags)) + table + long(0) + behind


def test_a_tiff_whose_first_pixel_looks_like_a_mark_of_canon_is_a_picture():
    assert decode(tiff(b"CR\x02\0\1\2", 2)).pixels[0].tolist() == [[67, 82, 2], [0, 1, 2]]


def test_a_raw_file_of_canon_is_refused():
    with pytest.raises(ImageError, match="raw camera file"):
        decode(tiff(b"CR\x02\0\0\0\0\0", 2))


def test_a_tiff_that_is_turned_by_its_xmp_says_so():
    xmp = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    encoded = tiff(bytes(range(6)), 2, (700, 1, xmp))
    decoded, header = decode(encoded), probe(encoded)
    assert decoded.pixels.shape == (header.height, header.width, 3) == (2, 1, 3)
    assert decoded.orientation == 6
    assert "orientation 6 applied" in decoded.choices


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_an_orientation_of_any_integer_type_is_applied_in_either_byte_order(order, kind):
    content = struct.pack(order + {1: "B", 3: "H", 4: "I"}[kind], 6)
    exif = b"Exif\0\0" + tiff(b"", 1, (274, kind, content), order=order)
    assert decode(encode(photo(), "JPEG", exif=exif)).pixels.shape == (96, 64, 3)


def bmp_with_alpha(alpha: int) -> bytes:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 1, 1, 1, 32, 3, 4, 0, 0, 0, 0) + masks + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 126, 0, 0, 122) + header + bytes([1, 2, 3, alpha])


def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque():
    decoded = decode(bmp_with_alpha(0))
    assert decoded.pixels.tolist() == [[[3, 2, 1]]]
    assert decoded.alpha is None
    assert any("alpha ignored: it is 0 everywhere" in choice for choice in decoded.choices)
    half = decode(bmp_with_alpha(128))
    assert half.alpha is not None
    assert half.alpha.tolist() == [[128]]


def test_what_a_first_picture_leaves_uncovered_is_said():
    encoded = bytearray(encode(Image.fromarray(photo()).quantize(8), "GIF"))
    encoded[6:10] = struct.pack("<HH", 100, 80)
    assert (
        "the first picture covers 96x64 of 100x80; the rest shows the first colour of the palette"
        in decode(bytes(encoded)).choices
    )
    assert not any("covers" in choice for choice in decode(encode(photo(), "GIF")).choices)
