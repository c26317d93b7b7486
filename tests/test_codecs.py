"""Laws of the codecs that need no network: exact sizes, regions equal to crops, the same bytes alone or together."""

import io
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from PIL import Image, ImageFile

from ops.codecs.base import Box, CodecConfig, Payload, Runtime
from ops.codecs.bicubic import BicubicConfig
from ops.codecs.conventional import AvifConfig, JpegConfig, JxlConfig, WebpConfig
from ops.codecs.resampling import BLOCK, grow, shrink
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.marks import MarkError, check_pixels, read_mark
from ops.thumbnails import decode_thumbnail

ONE_OF_EACH = [
    BicubicConfig(scale=7),
    BicubicConfig(scale=16, thumbnail="image/png"),
    JpegConfig(quality=50),
    JpegConfig(quality=50, scale=4),
    WebpConfig(quality=50, scale=2),
    AvifConfig(quality=50, scale=3, speed=9),
    JxlConfig(quality=50, scale=2, effort=3),
]
every_codec = pytest.mark.parametrize("config", ONE_OF_EACH, ids=lambda config: config.spelling())


def photo(height: int, width: int, seed: int = 0) -> Pixels:
    """Return smooth colours with some noise on top."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (9 + 4 * c) + seed) + np.cos(y / (7 + 3 * c)) for c in range(3)]
    noisy = 127 + 50 * np.stack(waves, axis=-1) + random.normal(0, 6, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encode(config: CodecConfig, pixels: Pixels) -> Payload:
    payload = config.load(Runtime()).encode([pixels])[0]
    assert isinstance(payload, Payload), payload
    return payload


@every_codec
@pytest.mark.parametrize("size", [(1, 1), (1, 67), (67, 1), (3, 5), (64, 48), (101, 83)])
def test_every_image_comes_back_at_exactly_its_size(config, size):
    payload = encode(config, photo(*size))
    (grown,) = config.load(Runtime()).decode([payload])
    assert grown.shape == (*size, 3)
    assert grown.dtype == np.uint8
    assert (payload.height, payload.width) == size


@every_codec
def test_payloads_are_the_same_alone_and_in_any_batch_and_by_any_threads(config):
    images = [photo(40 + 9 * n, 90 - 7 * n, n) for n in range(4)]
    alone = [encode(config, image) for image in images]
    together = config.load(Runtime(threads=3)).encode(images)
    backwards = config.load(Runtime(threads=2)).encode(images[::-1])
    assert together == alone
    assert backwards[::-1] == alone
    decoded = config.load(Runtime(threads=3)).decode(alone)
    for one, payload in zip(decoded, alone, strict=True):
        assert np.array_equal(one, config.load(Runtime()).decode([payload])[0])


@every_codec
def test_a_readonly_or_strided_array_gives_the_same_payload(config):
    image = photo(50, 60)
    wide = np.zeros((50, 120, 3), np.uint8)
    wide[:, ::2] = image
    image.flags.writeable = False
    assert encode(config, wide[:, ::2]) == encode(config, image)


@every_codec
def test_a_reconstruction_looks_like_its_source(config):
    image = photo(96, 128)
    (grown,) = config.load(Runtime()).decode([encode(config, image)])
    flat = np.abs(image.astype(int) - image.mean(axis=(0, 1)).astype(int)).mean()
    assert np.abs(image.astype(int) - grown).mean() < flat * 0.75


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_region_equals_the_crop_of_the_whole(data):
    scale = data.draw(st.sampled_from([2, 3, 7, 16, 33, 64]))
    width, height = (data.draw(st.integers(1, 1300)), data.draw(st.integers(1, 90)))
    if data.draw(st.booleans()):
        width, height = height, width
    config = BicubicConfig(scale=scale)
    codec, payload = config.load(Runtime()), encode(config, photo(height, width))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    (whole,) = codec.decode([payload])
    assert np.array_equal(codec.decode_region(payload, box), whole[box.top : box.bottom, box.left : box.right])


@every_codec
def test_a_region_across_blocks_equals_the_crop(config):
    payload = encode(config, photo(40, 2300))
    codec, box = config.load(Runtime()), Box(BLOCK - 30, 3, 2 * BLOCK + 30, 38)
    (whole,) = codec.decode([payload])
    assert np.array_equal(codec.decode_region(payload, box), whole[3:38, BLOCK - 30 : 2 * BLOCK + 30])


@pytest.mark.parametrize("box", [(-1, 0, 3, 3), (0, 0, 51, 3), (2, 2, 2, 4), (0, 0, 3, 41)])
def test_a_region_beyond_the_image_is_refused_with_its_numbers(box):
    codec, payload = BicubicConfig(scale=4).load(Runtime()), encode(BicubicConfig(scale=4), photo(40, 50))
    with pytest.raises(ValueError, match=r"not inside 50x40"):
        codec.decode_region(payload, Box(*box))


@pytest.mark.parametrize("scale", [2, 5, 16])
def test_blocks_leave_no_seam_and_bands_no_shift(scale):
    image = photo(BLOCK // 2 + 3 * scale, 2 * BLOCK, 3)
    small = shrink(image, scale)
    plain = Image.fromarray(image[: len(image) // scale * scale, : image.shape[1] // scale * scale])
    reference = np.asarray(plain.resize((plain.width // scale, plain.height // scale), Image.Resampling.BICUBIC))
    same = np.abs(reference.astype(int) - small[: reference.shape[0], : reference.shape[1]])
    assert same[:-3, :-3].max() <= 1
    grown = grow(small, scale, image.shape[1], len(image))
    whole = Image.fromarray(small).resize((small.shape[1] * scale, len(small) * scale), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(whole)[: len(image), : image.shape[1]].astype(int) - grown).max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 16, 64])
@pytest.mark.parametrize("width", [640, 641, 703])
def test_a_ramp_stays_where_it_is_whatever_the_size(scale, width):
    ramp = np.broadcast_to((np.arange(width) * 255 / width)[None, :, None], (70, width, 3)).round().astype(np.uint8)
    grown = grow(shrink(ramp, scale), scale, width, 70)
    inner = slice(3 * scale, width - 3 * scale)
    # A shift by one pixel would be 0.36 levels or more; rounding the few thumbnail pixels makes up to 0.21.
    assert abs((grown[:, inner].astype(float) - ramp[:, inner]).mean()) < 0.3


def test_one_colour_stays_that_colour_at_every_scale():
    for scale in range(2, 65):
        image = np.full((65, 131, 3), (3, 200, 254), np.uint8)
        assert np.array_equal(grow(shrink(image, scale), scale, 131, 65), image)


@every_codec
def test_every_thumbnail_says_how_to_regrow_it(config):
    payload = encode(config, photo(80, 120))
    mark = read_mark(payload.thumbnail)
    assert (mark.width, mark.height, mark.codec, mark.digest) == (120, 80, config.spelling(), config.digest())
    assert mark.scale == config.scale
    check_pixels(mark, decode_thumbnail(payload.thumbnail))


def test_a_thumbnail_that_was_resaved_with_loss_is_noticed():
    payload = encode(BicubicConfig(scale=4), photo(80, 120))
    changed = decode_thumbnail(payload.thumbnail).copy()
    changed[0, 0, 0] ^= 1
    with pytest.raises(MarkError, match="resaved with loss"):
        check_pixels(read_mark(payload.thumbnail), changed)


@pytest.mark.parametrize(
    ("config", "width"),
    [
        (JpegConfig(quality=50), 65_501),
        (WebpConfig(quality=50), 16_384),
        (WebpConfig(quality=50, scale=2), 32_767),
        (AvifConfig(quality=50), 32_769),
        (BicubicConfig(scale=2, thumbnail="image/webp"), 32_767),
    ],
    ids=lambda value: str(getattr(value, "spelling", lambda: value)()),
)
def test_what_a_format_cannot_hold_is_a_failure_beside_its_neighbours(config, width):
    wide, small = np.zeros((1, width, 3), np.uint8), photo(20, 30)
    first, failure, last = config.load(Runtime()).encode([small, wide, small])
    assert first == last == encode(config, small)
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.REFUSED
    assert "use" in failure.message


def test_a_codec_takes_the_largest_side_that_it_admits():
    for config, width in ((JpegConfig(quality=5), 65_500), (WebpConfig(quality=5), 16_383)):
        wide = np.zeros((1, width, 3), np.uint8)
        assert config.load(Runtime()).decode([encode(config, wide)])[0].shape == wide.shape


@pytest.mark.parametrize("size", [(300, 400), (1, 1), (700, 3)])
@pytest.mark.parametrize("quality", [50, 94, 95, 100])
def test_noise_that_jpeg_makes_larger_than_pillow_expects_is_encoded(quality, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    config = JpegConfig(quality=quality, subsampling="4:4:4")
    payload = encode(config, noise)
    check_pixels(read_mark(payload.thumbnail), decode_thumbnail(payload.thumbnail, size[::-1]))
    file = io.BytesIO()  # whose buffer is as large as a megapixel of noise takes
    with_room = Image.fromarray(noise)
    xmp = Image.open(io.BytesIO(payload.thumbnail)).info["xmp"]
    room = mock.patch.object(ImageFile, "MAXBLOCK", 4 << 20)
    with room:
        with_room.save(file, "JPEG", quality=quality, subsampling="4:4:4", progressive=True, optimize=True, xmp=xmp)
    assert file.getvalue() == payload.thumbnail


def test_a_thumbnail_of_another_size_is_refused_before_it_is_decoded():
    payload = structs.replace(encode(BicubicConfig(scale=4), photo(80, 120)), width=4000)
    with pytest.raises(ImageError, match=r"\(30, 20\), not \(1000, 20\)"):
        BicubicConfig(scale=4).load(Runtime()).decode([payload])


def test_jpeg_xl_without_its_plugin_says_how_to_get_it():
    code = """
import sys; sys.modules["pillow_jxl"] = None
from ops.codecs.base import Runtime
from ops.codecs.conventional import JxlConfig
try: JxlConfig(quality=50).load(Runtime())
except Exception as error: sys.stdout.write(str(error))
"""
    root = Path(__file__).parents[1]
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert "pip install pillow-jxl-plugin" in said
    assert "\n" not in said
