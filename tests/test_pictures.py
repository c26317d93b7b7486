"""Reconstructions as files: what a viewer would see of pixels, alpha, colour space and metadata."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ops.images import FailureCode, ImageError
from ops.pictures import srgb_profile, uncomposite, upright_exif, write_picture

PIXELS = np.random.default_rng(2).integers(0, 256, (31, 45, 3), np.uint8)
SMOOTH = np.kron(PIXELS[:4, :6], np.ones((8, 8, 1), np.uint8))
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
SUFFIXES = ["png", "jpg", "webp", "tiff"]
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)


def camera_exif(prefix: bytes = b"Exif\x00\x00") -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    return prefix + exif.tobytes().removeprefix(b"Exif\x00\x00")


def opened(encoded: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(encoded))
    image.load()
    return image


def composite(rgba: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    a = rgba[..., 3:].astype(float) / 255
    return np.rint(rgba[..., :3] * a + np.array(background) * (1 - a)).astype(int)


@every_suffix
def test_a_picture_keeps_pixels_mark_exif_and_says_srgb(suffix):
    image = opened(write_picture(SMOOTH, None, suffix, XMP, camera_exif()))
    seen = np.asarray(image.convert("RGB")).astype(int)
    assert image.size == (48, 32)
    assert np.abs(seen - SMOOTH).max() == 0 if suffix in {"png", "tiff"} else np.abs(seen - SMOOTH).mean() < 8
    assert image.info["xmp"] == XMP
    exif = image.getexif()
    assert (exif[0x0112], exif[0x010F], exif.get_ifd(0x8769)[0x9003]) == (1, "Maker", "2024:01:02 03:04:05")
    assert image.info.get("srgb") == 0 if suffix == "png" else image.info["icc_profile"] == srgb_profile()


@every_suffix
def test_a_picture_without_exif_has_none_and_is_the_same_bytes_each_time(suffix):
    encoded = write_picture(PIXELS, None, suffix, XMP, None)
    assert encoded == write_picture(PIXELS, None, suffix, XMP, None)
    assert 0x0112 not in opened(encoded).getexif()


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_alpha_is_put_back_and_shows_the_pixels_on_the_background(suffix):
    alpha = np.repeat(np.arange(48, dtype=np.uint8)[None] * 5, 32, axis=0)
    pixels = composite(np.dstack([SMOOTH, alpha]), (255, 255, 255)).astype(np.uint8)
    rgba = np.asarray(opened(write_picture(pixels, alpha, suffix, XMP)))
    assert np.array_equal(rgba[..., 3], alpha)
    error = np.abs(composite(rgba, (255, 255, 255)) - pixels)
    assert error.mean() < 8 if suffix == "webp" else error.max() <= 1


def test_jpeg_stays_composited():
    encoded = write_picture(SMOOTH, np.zeros((32, 48), np.uint8), "jpg", XMP)
    assert encoded == write_picture(SMOOTH, None, "jpg", XMP)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(0, 255)] * 3))
def test_uncomposited_pixels_composited_again_are_the_pixels(seed, background):
    random = np.random.default_rng(seed)
    colours, alpha = random.integers(0, 256, (9, 200, 3), np.uint8), random.integers(0, 256, (9, 200), np.uint8)
    pixels = composite(np.dstack([colours, alpha]), background).astype(np.uint8)
    again = uncomposite(pixels, alpha, background)
    assert np.abs(composite(again, background) - pixels).max() <= 1


def test_colours_that_no_alpha_could_give_are_clipped():
    rgba = uncomposite(np.zeros((1, 1, 3), np.uint8), np.full((1, 1), 10, np.uint8), (255, 255, 255))
    assert rgba.tolist() == [[[0, 0, 0, 10]]]


@pytest.mark.parametrize(("suffix", "width"), [("jpg", 65_501), ("webp", 16_384)])
def test_a_size_that_the_format_cannot_hold_is_refused_and_png_holds_it(suffix, width):
    wide = np.zeros((1, width, 3), np.uint8)
    with pytest.raises(ImageError, match=f"{width}x1.*{suffix}: write png") as error:
        write_picture(wide, None, suffix, XMP)
    assert error.value.failure.code is FailureCode.REFUSED
    assert opened(write_picture(wide, None, "png", XMP)).size == (width, 1)


def test_metadata_that_a_jpeg_cannot_hold_is_refused():
    with pytest.raises(ImageError, match="EXIF do not fit into a jpg"):
        write_picture(PIXELS, None, "jpg", XMP, camera_exif() + bytes(70_000))


@pytest.mark.parametrize("prefix", [b"", b"Exif\x00\x00"])
def test_exif_changes_in_nothing_but_its_orientation(prefix):
    before, after = camera_exif(), upright_exif(camera_exif(prefix))
    assert len(after) == len(before)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SUFFIXES), st.binary(max_size=60), st.integers(0, 120))
def test_damaged_exif_never_costs_the_picture(suffix, noise, cut):
    for exif in (camera_exif()[:cut] + noise, noise):
        opened(write_picture(PIXELS[:2, :3], None, suffix, XMP, exif))


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [(266, 3, 2), (284, 3, 2), (338, 3, 2), (338, 3, 0), (339, 3, 2), (317, 3, 2), (258, 3, 16), (262, 3, 6),
     (322, 3, 16), (259, 3, 6),
     (254, 4, 1), (273, 4, 99_999), (279, 4, 5), (324, 4, 8), (330, 4, 8), (347, 4, 8), (513, 4, 8)],
)  # fmt: skip
def test_what_exif_says_of_stored_pixels_does_not_touch_those_of_a_tiff(tag, kind, value):
    entries = [struct.pack("<HHII", 0x010F, 2, 4, int.from_bytes(b"Abc\0", "little"))]
    entries.append(struct.pack("<HHII", tag, kind, 1, value))
    table = struct.pack("<H", 2) + b"".join(sorted(entries, key=lambda entry: entry[1::-1])) + bytes(4)
    image = opened(write_picture(PIXELS, None, "tiff", XMP, b"Exif\0\0II*\0\x08\0\0\0" + table))
    assert np.array_equal(np.asarray(image), PIXELS)
    assert image.getexif()[0x010F] == "Abc"
    assert image.info["icc_profile"] == srgb_profile()


def test_alpha_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="one height and width"):
        write_picture(PIXELS, np.zeros((3, 3), np.uint8), "png", XMP)
