"""What pixels come out of an image of each format, mode, colour space and orientation."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from ops.decoding import Limits, decode, probe
from ops.images import FailureCode, ImageError
from tests import makers
from tests.makers import encode, photo

TOLERANCE = {"JPEG": 16, "GIF": 60, "AVIF": 20, "HEIF": 24}


def closeness(pixels: np.ndarray, expected: np.ndarray) -> int:
    return int(np.abs(pixels.astype(int) - expected.astype(int)).max())


def failure_of(encoded: bytes, **options) -> tuple[FailureCode, str]:
    with pytest.raises(ImageError) as caught:
        decode(encoded, **options)
    return caught.value.failure.code, caught.value.failure.message


@pytest.mark.parametrize("name", makers.FORMATS)
def test_every_format_is_known_by_its_bytes_and_decodes_to_its_pixels(name):
    encoded = encode(photo(), name)
    decoded = decode(encoded)
    assert (decoded.format, decoded.pixels.shape, decoded.pixels.dtype) == (name, (64, 96, 3), np.uint8)
    assert decoded.pixels.flags.c_contiguous
    assert closeness(decoded.pixels, photo()) <= TOLERANCE.get(name, 0)
    assert decoded.alpha is None
    header = probe(encoded)
    assert (header.format, header.width, header.height, header.frames) == (name, 96, 64, 1)


def test_a_raw_codestream_of_jpeg_2000_decodes():
    assert np.array_equal(decode(encode(photo(), "JPEG2000", no_jp2=True)).pixels, photo())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied_once(name, orientation):
    encoded = encode(photo(), name, exif=makers.exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    decoded = decode(encoded)
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.orientation == orientation
    assert (orientation == 1) or any(f"orientation {orientation} applied" in choice for choice in decoded.choices)
    assert (probe(encoded).height, probe(encoded).width) == decoded.pixels.shape[:2]


@pytest.mark.parametrize("name", ["HEIF", "JXL"])
def test_formats_whose_decoder_turns_the_picture_are_not_turned_twice(name):
    encoded = encode(photo(), name, exif=makers.exif(6))
    expected = np.asarray(Image.open(io.BytesIO(encoded)))
    assert np.array_equal(decode(encoded).pixels, expected)


@pytest.mark.parametrize("height", [1, 299, 4000])
def test_bands_meet_without_a_seam(height):
    whole = makers.noise(333, height)
    encoded = encode(whole, "PNG", exif=makers.exif(6))
    assert np.array_equal(decode(encoded).pixels, np.rot90(whole, -1))


def test_gray_one_bit_and_palette_pictures_become_rgb():
    gray = photo(channels=1)
    assert np.array_equal(decode(encode(gray)).pixels, np.repeat(gray, 3, axis=2))
    bilevel = Image.fromarray(gray.squeeze() > 128)
    decoded = decode(encode(bilevel, "TIFF", compression="group4"))
    assert (decoded.mode, decoded.bit_depth) == ("1", 1)
    assert np.array_equal(decoded.pixels[..., 0] == 255, gray.squeeze() > 128)
    palette = Image.fromarray(photo()).quantize(16)
    assert np.array_equal(decode(encode(palette)).pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("name", "inverted"), [("PNG", False), ("TIFF", False), ("TIFF", True)])
def test_sixteen_bit_gray_is_scaled_and_rounded(name, inverted):
    levels = np.linspace(0, 65535, 96 * 64).astype(np.uint16).reshape(64, 96)
    encoded = encode(Image.fromarray(levels), name, **({"tiffinfo": {262: 0}} if inverted else {}))
    decoded = decode(encoded)
    expected = np.round((65535 - levels if inverted else levels) / 257).astype(np.uint8)
    assert np.array_equal(decoded.pixels[..., 1], expected)
    assert decoded.bit_depth == 16
    assert any("16 bit gray" in choice for choice in decoded.choices)


def test_sixteen_bit_rgb_is_reduced_and_said():
    levels = np.repeat(photo(), 2, axis=2).tobytes()  # each byte twice: v * 257
    rows = b"".join(b"\0" + levels[at : at + 96 * 6] for at in range(0, len(levels), 96 * 6))
    header = makers.png_chunk(b"IHDR", struct.pack(">IIBBBBB", 96, 64, 16, 2, 0, 0, 0))
    body = makers.png_chunk(b"IDAT", zlib.compress(rows)) + makers.png_chunk(b"IEND", b"")
    decoded = decode(b"\x89PNG\r\n\x1a\n" + header + body)
    assert np.array_equal(decoded.pixels, photo())
    assert any("16 bit per channel" in choice for choice in decoded.choices)


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF", "JPEG2000", "JXL"])
def test_alpha_is_laid_over_the_background_and_returned(name):
    rgba = makers.noise(channels=4)
    decoded = decode(encode(rgba, name, **({"exact": True} if name == "WEBP" else {})), background="#204060")
    opacity = rgba[..., 3:] / 255
    expected = rgba[..., :3] * opacity + np.array([0x20, 0x40, 0x60]) * (1 - opacity)
    assert closeness(decoded.pixels, np.round(expected)) <= 1
    assert decoded.alpha is not None
    assert np.array_equal(decoded.alpha, rgba[..., 3])
    assert any("#204060" in choice for choice in decoded.choices)


def test_an_alpha_plane_that_hides_nothing_is_not_returned():
    rgba = np.dstack([photo(), np.full((64, 96), 255, np.uint8)])
    assert decode(encode(rgba)).alpha is None


def test_transparent_palette_entries_and_colours_are_alpha():
    palette = Image.fromarray(photo()).quantize(8)
    hidden = np.asarray(palette) == 3
    for name in ("PNG", "GIF"):
        decoded = decode(encode(palette, name, transparency=3), background="#000000")
        assert decoded.alpha is not None
        assert decoded.pixels[decoded.alpha == 0].max() == 0
        assert (decoded.alpha == 0).sum() == hidden.sum()
    keyed = decode(encode(photo(channels=1), transparency=int(photo(channels=1)[0, 0, 0])))
    assert keyed.alpha is not None
    assert keyed.alpha[0, 0] == 0


def through_lcms(picture: np.ndarray | Image.Image, icc: bytes) -> np.ndarray:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture.squeeze())
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    out = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), intent, "RGB", flags=flags)
    assert out is not None
    return np.asarray(out)


@pytest.mark.parametrize("icc", [makers.ADOBE_RGB, makers.DISPLAY_P3])
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
def test_wide_gamut_is_converted_to_srgb(name, icc):
    decoded = decode(encode(photo(), name, icc_profile=icc))
    assert np.array_equal(decoded.pixels, through_lcms(photo(), icc))
    assert closeness(decoded.pixels, photo()) > 10
    assert any("converted to sRGB, relative colorimetric" in choice for choice in decoded.choices)
    assert decoded.icc == icc


def test_gray_profiles_are_converted_too():
    gray, icc = photo(channels=1), makers.gray_profile(1.0)
    assert np.array_equal(decode(encode(gray, icc_profile=icc)).pixels, through_lcms(gray, icc))


def test_a_profile_that_is_srgb_by_what_it_does_changes_nothing():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode(encode(photo(), icc_profile=icc))
    assert np.array_equal(decoded.pixels, photo())
    assert decoded.choices == []


def test_a_profile_for_other_colours_or_a_broken_one_is_ignored_and_said():
    for icc in (makers.gray_profile(2.2), b"no profile at all", makers.ADOBE_RGB[:200]):
        decoded = decode(encode(photo(), icc_profile=icc))
        assert np.array_equal(decoded.pixels, photo())
        assert any("ICC profile ignored" in choice for choice in decoded.choices)


def test_cmyk_without_a_profile_is_converted_and_said():
    cmyk = Image.fromarray(photo()).convert("CMYK")
    for name, tolerance in (("TIFF", 1), ("JPEG", 16)):
        decoded = decode(encode(cmyk, name))
        assert decoded.mode == "CMYK"
        assert closeness(decoded.pixels, photo()) <= tolerance
        assert any("CMYK without" in choice for choice in decoded.choices)


def test_lab_and_ycbcr_tiffs_come_back_as_they_were():
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(Image.fromarray(photo()))
    # Eight bits of L*a*b* hold dark blues coarsely.
    decoded = decode(encode(picture, "TIFF")).pixels
    assert np.abs(decoded.astype(int) - photo()).mean() < 2
    assert closeness(decode(encode(Image.fromarray(photo()).convert("YCbCr"), "TIFF")).pixels, photo()) <= 3


@pytest.mark.parametrize(("dtype", "word"), [(np.float32, "floating point"), (np.int32, "integer")])
def test_pictures_that_are_measurements_are_refused_with_the_reason(dtype, word):
    code, message = failure_of(encode(Image.fromarray(np.ones((8, 8), dtype)), "TIFF"))
    assert code == FailureCode.UNSUPPORTED
    assert word in message


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_picture_of_several_is_taken(name):
    pictures = [Image.fromarray(photo(seed=seed)) for seed in (0, 1, 2)]
    encoded = encode(pictures[0], name, save_all=True, append_images=pictures[1:])
    decoded = decode(encoded)
    assert decoded.frames == probe(encoded).frames == 3
    assert closeness(decoded.pixels, photo()) <= TOLERANCE.get(name, 0)
    assert "first of 3 pictures taken" in decoded.choices


@pytest.mark.parametrize("name", makers.FORMATS)
def test_limits_hold_before_pixels_are_decoded(name):
    encoded = encode(photo(), name)
    assert failure_of(encoded, limits=Limits(pixels=6143))[0] == FailureCode.TOO_LARGE
    code, message = failure_of(encoded, limits=Limits(side=95))
    assert code == FailureCode.TOO_LARGE
    assert "96x64" in message
    assert failure_of(encoded, limits=Limits(encoded_bytes=100))[0] == FailureCode.TOO_LARGE
    # JPEG 2000 takes 20 bytes per pixel where 12 are allowed.
    pixels = 6144 if name != "JPEG2000" else 10_240
    assert decode(encoded, limits=Limits(pixels=pixels, side=96)).pixels.shape == (64, 96, 3)


def test_jpeg_2000_is_admitted_by_the_memory_that_its_decoder_takes():
    code, message = failure_of(encode(photo(), "JPEG2000"), limits=Limits(pixels=10_239))
    assert code == FailureCode.TOO_LARGE
    assert "bytes to decode" in message
    tiled = encode(photo(), "JPEG2000", tile_size=(16, 16))
    assert np.array_equal(decode(tiled, limits=Limits(pixels=6144)).pixels, photo())


def test_the_profile_of_a_jp2_is_found_and_used():
    encoded = encode(photo(), "JPEG2000")
    at = encoded.index(b"colr") - 4
    colr = b"colr\x02\0\0" + makers.ADOBE_RGB
    header = encoded.index(b"jp2h") - 4
    grown = len(colr) + 4 - 15
    sized = struct.pack(">I", int.from_bytes(encoded[header : header + 4], "big") + grown)
    profiled = encoded[:header] + sized + encoded[header + 4 : at] + struct.pack(">I", len(colr) + 4) + colr
    decoded = decode(profiled + encoded[at + 15 :])
    assert np.array_equal(decoded.pixels, through_lcms(photo(), makers.ADOBE_RGB))


def test_a_jpeg_inside_jpeg_xl_is_turned_as_its_own_exif_says(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(photo(), "JPEG", exif=makers.exif(6)))
    file = io.BytesIO()
    Image.open(path).save(file, "JXL", lossless_jpeg=True)
    assert np.array_equal(decode(file.getvalue()).pixels, decode(path.read_bytes()).pixels)


def test_threads_decode_the_same_pixels():
    encoded = [encode(photo(seed=seed), "JPEG", icc_profile=makers.DISPLAY_P3) for seed in range(16)]
    alone = [decode(each).pixels for each in encoded]
    with ThreadPoolExecutor(8) as pool:
        together = [decoded.pixels for decoded in pool.map(decode, encoded)]
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_pillows_own_state_is_left_alone():
    before = Image.MAX_IMAGE_PIXELS
    for name in makers.FORMATS:
        decode(encode(photo(), name))
    assert before == Image.MAX_IMAGE_PIXELS
