"""Broken, cut, misnamed and hostile files: the right code, or the right pixels, and never gray ones."""

import random
import struct
import zlib

import numpy as np
import pytest

from ops.decoding import Limits, decode, probe
from ops.images import FailureCode, ImageError
from tests import makers
from tests.makers import encode, noise, photo

FEW = Limits(pixels=1_000_000)

VARIANTS = {
    **{name: (name, {}) for name in makers.FORMATS},
    "progressive": ("JPEG", {"progressive": True}),
    "codestream": ("JPEG2000", {"no_jp2": True}),
    "lossy-webp": ("WEBP", {"quality": 80}),
    "lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "strips": ("TIFF", {"tiffinfo": {278: 16}}),
    "boxed-jxl": ("JXL", {"use_container": True}),
}


def failure_of(encoded: bytes, **options) -> tuple[FailureCode, str]:
    with pytest.raises(ImageError) as caught:
        decode(encoded, **options)
    return caught.value.failure.code, caught.value.failure.message


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_cut_file_is_never_taken_for_a_picture(variant):
    name, options = VARIANTS[variant]
    encoded = encode(noise(), name, **options)
    # libjxl tells no difference between a naked codestream that is cut and one that is wrong.
    expected = {FailureCode.TRUNCATED} | ({FailureCode.CORRUPT} if name == "JXL" else set())
    for share in np.linspace(0.01, 0.999, 25):
        code, message = failure_of(encoded[: int(len(encoded) * share)])
        assert code in expected, f"{share}: {message}"


def test_a_jpeg_whose_rest_was_never_downloaded_is_truncated():
    encoded = encode(noise(), "JPEG")
    assert failure_of(encoded[:2000] + bytes(len(encoded) - 2000))[0] == FailureCode.TRUNCATED


@pytest.mark.parametrize(
    ("encoded", "code", "words"),
    [
        (b"", FailureCode.EMPTY, "no bytes"),
        (b"\xff\xd8", FailureCode.TRUNCATED, "only 2 bytes"),
        (b"Dear reader,\nthis is text.", FailureCode.NOT_AN_IMAGE, "text"),
        (b"\n<!DOCTYPE html><html>404</html>", FailureCode.NOT_AN_IMAGE, "HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", FailureCode.NOT_AN_IMAGE, "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid", FailureCode.NOT_AN_IMAGE, "git lfs pull"),
        (bytes(1000), FailureCode.NOT_AN_IMAGE, "zero bytes"),
        (b"\0\0\0\x18ftypisom" + bytes(100), FailureCode.NOT_AN_IMAGE, "video"),
        (b"%PDF-1.7" + bytes(100), FailureCode.UNSUPPORTED, "PDF"),
        (b"8BPS" + bytes(100), FailureCode.UNSUPPORTED, "Photoshop"),
        (b"\x12\x34\x56\x78" * 10, FailureCode.NOT_AN_IMAGE, "no format"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(encoded, code, words):
    found, message = failure_of(encoded)
    assert found == code
    assert words in message
    with pytest.raises(ImageError):
        probe(encoded)


def test_a_missing_plug_in_is_named_with_the_remedy(monkeypatch):
    encoded = encode(photo(), "HEIF")
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif.as_plugin", None)
    code, message = failure_of(encoded)
    assert code == FailureCode.NO_PLUGIN
    assert "pip install pillow-heif" in message


TOO_MUCH_TEXT = b"Comment\0\0" + zlib.compress(bytes(5 << 20))
LONG_PROFILE = b"icc\0\0" + zlib.compress(bytes(5 << 20))


@pytest.mark.parametrize(
    "chunk",
    [
        makers.png_chunk(b"zTXt", TOO_MUCH_TEXT),
        makers.png_chunk(b"iCCP", LONG_PROFILE),
        makers.png_chunk(b"iCCP", b"icc\0\0broken"),
        makers.png_chunk(b"iCCP", b"icc\0\x07broken"),
        makers.png_chunk(b"eXIf", b"nonsense"),
        makers.png_chunk(b"tEXt", b"Comment\0hello", checksum=1),
        makers.png_chunk(b"pHYs", b"short"),
        makers.png_chunk(b"acTL", b""),
    ],
)
def test_broken_metadata_of_a_png_does_not_cost_its_pixels(chunk):
    decoded = decode(makers.png_with(chunk))
    assert np.array_equal(decoded.pixels, photo())


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        (0xE1, b"Exif\0\0garbage"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<broken"),
        (0xE2, b"ICC_PROFILE\0\x01\x02half a profile"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
        (0xEE, b"Adobe"),
        (0xE0, b"JFIF\0"),
    ],
)
def test_broken_metadata_of_a_jpeg_does_not_cost_its_pixels(marker, content):
    assert np.array_equal(decode(makers.jpeg_with(marker, content)).pixels, decode(encode(photo(), "JPEG")).pixels)


@pytest.mark.parametrize("name", ["WEBP", "TIFF", "AVIF", "HEIF"])
def test_broken_exif_does_not_cost_the_pixels_of_other_formats(name):
    whole = encode(photo(), name, exif=makers.exif(make="somebody"))
    start = whole.find(b"II*\0", 100) if name != "TIFF" else -1
    broken = whole if start < 0 else whole[:start] + b"\xff" * 8 + whole[start + 8 :]
    assert np.array_equal(decode(broken).pixels, decode(whole).pixels)


def test_a_wrong_checksum_in_the_pixels_of_a_png_is_corrupt():
    encoded = bytearray(encode(photo()))
    encoded[-20] ^= 1
    code, message = failure_of(bytes(encoded))
    assert code == FailureCode.CORRUPT
    assert "IDAT" in message


def test_a_png_that_unpacks_to_a_thousand_times_its_size_is_refused():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + makers.png_chunk(b"IHDR", header) + makers.png_chunk(b"IDAT", zlib.compress(bytes(9)))
    code, message = failure_of(bomb + makers.png_chunk(b"IEND", b""))
    assert code == FailureCode.TOO_LARGE
    assert "60000x60000" in message


def test_a_first_frame_that_is_larger_than_its_gif_is_held_against_the_limits():
    encoded = bytearray(encode(photo(), "GIF"))
    encoded[6:10] = struct.pack("<HH", 4, 4)
    assert failure_of(bytes(encoded), limits=Limits(pixels=6143))[0] == FailureCode.TOO_LARGE


def test_a_codestream_larger_than_its_jp2_header_is_held_against_the_limits():
    encoded = bytearray(encode(photo(), "JPEG2000"))
    at = encoded.index(b"\xff\x4f\xff\x51") + 8
    encoded[at : at + 8] = struct.pack(">II", 60_000, 60_000)
    assert failure_of(bytes(encoded))[0] == FailureCode.TOO_LARGE


def test_a_raw_camera_file_is_not_taken_for_its_preview():
    code, message = failure_of(encode(photo(), "TIFF", tiffinfo={50706: b"\x01\x04\0\0"}))
    assert code == FailureCode.UNSUPPORTED
    assert "preview" in message


def outcome(read, encoded: bytes) -> str:
    try:
        read(encoded)
    except ImageError as error:
        return error.failure.code
    return "whole"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", VARIANTS)
def test_flipped_bytes_end_in_pixels_or_in_a_failure(variant):
    name, options = VARIANTS[variant]
    # Pillow cannot write GPS into compressed TIFF.
    gps = "compression" not in options
    metadata = {"exif": makers.exif(6, gps), "icc_profile": makers.ADOBE_RGB} if name not in {"GIF", "BMP"} else {}
    whole = encode(photo(), name, **{**metadata, **options})
    rng = random.Random(variant)
    outcomes = set()
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(rng.choice([1, 3, 20])):
            broken[rng.randrange(len(broken) if rng.random() < 0.5 else min(len(broken), 300))] = rng.randrange(256)
        outcomes.add(outcome(lambda encoded: decode(encoded, FEW, metadata="no-location"), bytes(broken)))
        outcomes.add(outcome(probe, bytes(broken)))
    assert len(outcomes) > 1, outcomes
