"""Conventional formats at the same bytes: what fits, what is larger, and that it is what the codecs give."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ops.baselines import Baseline, Fit, available_formats, fit, fit_rate
from ops.baselines.search import MOST_ENCODES, USUAL, WINDOW, highest_above, highest_fitting
from ops.codecs.base import Payload, Runtime
from ops.codecs.conventional import AvifConfig, JpegConfig, JxlConfig, WebpConfig
from ops.codecs.resampling import shrink
from ops.images import Failure, FailureCode
from ops.metrics.psnr import psnr
from tests.makers import noise, photo

ROOT = Path(__file__).parents[1]
CONFIGS = {"jpeg": JpegConfig, "webp": WebpConfig, "avif": AvifConfig, "jxl": JxlConfig}
TOP = {"jpeg": 100, "webp": 100, "avif": 100, "jxl": 99}
FORMATS = list(CONFIGS)


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    """A piece of a photograph, 384x256."""
    path = ROOT / "photos" / "samples" / "krank-level-06.jpg"
    return np.asarray(Image.open(path).convert("RGB"))[600:856, 800:1184]


def num_bytes(name: str, reference: np.ndarray, quality: int, scale: int) -> int:
    """Return what the format takes at this quality, encoded anew."""
    return len(CONFIGS[name](quality=quality, scale=scale).write(shrink(reference, scale), b"")[0])


def check_bound(made: Fit | Failure, reference: np.ndarray, limit: int) -> Fit:
    """Assert what a fit promises: it fits, and the next quality does not."""
    assert isinstance(made, Fit)
    assert made.pixels.shape == reference.shape
    assert made.down == (made.scale > 1)
    assert made.num_bytes == num_bytes(made.format, reference, made.quality, made.scale)
    assert made.larger == (made.num_bytes > limit)
    if made.larger:
        assert made.quality == 1
    elif made.quality < TOP[made.format]:
        assert num_bytes(made.format, reference, made.quality + 1, made.scale) > limit
    return made


def same(one: Fit | Failure, other: Fit | Failure) -> bool:
    assert isinstance(one, Fit)
    assert isinstance(other, Fit)
    facts = [(x.format, x.down, x.quality, x.scale, x.num_bytes, x.larger, x.pixels.tobytes()) for x in (one, other)]
    return facts[0] == facts[1]


def test_all_four_formats_can_be_written_here():
    assert available_formats() == (("jpeg", "webp", "avif", "jxl"), {})


@pytest.mark.parametrize("limit", [1500, 4000, 20_000])
@pytest.mark.parametrize("name", FORMATS)
def test_a_fit_takes_the_bytes_it_may_and_the_next_quality_takes_more(street, name, limit):
    full, down = fit(name, street, limit)
    assert check_bound(full, street, limit).scale == 1
    assert check_bound(down, street, limit).scale in (2, 4, 8)


@pytest.mark.parametrize("name", FORMATS)
def test_the_best_downscale_has_the_highest_psnr_of_those_that_fit(street, name):
    baseline = Baseline(name, street)
    alone = [baseline.down(2500, [scale]) for scale in (2, 4, 8)]
    scores = [psnr(street, made.pixels) for made in alone if isinstance(made, Fit) and not made.larger]
    down = baseline.down(2500)
    assert len(scores) >= 2
    assert isinstance(down, Fit)
    assert psnr(street, down.pixels) == max(scores)


@pytest.mark.parametrize("name", FORMATS)
def test_a_fit_is_what_the_codec_of_its_quality_and_scale_gives_in_a_leaner_file(street, name):
    for made in fit(name, street, 6000):
        assert isinstance(made, Fit)
        codec = CONFIGS[name](quality=made.quality, scale=made.scale).load(Runtime())
        (payload,) = codec.encode([street])
        assert isinstance(payload, Payload)
        assert np.array_equal(codec.decode([payload])[0], made.pixels)
        assert 300 < len(payload.thumbnail) - made.num_bytes < 600  # the mark


@pytest.mark.parametrize("name", FORMATS)
def test_where_nothing_fits_the_smallest_file_of_quality_one_is_marked_larger(street, name):
    full, down = fit(name, street, 10)
    assert check_bound(full, street, 10).larger
    assert check_bound(down, street, 10).larger
    assert isinstance(down, Fit)
    assert down.num_bytes == min(num_bytes(name, street, 1, scale) for scale in (2, 4, 8))
    assert fit(name, street, 0, scales=[4])[1].quality == 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", FORMATS)
def test_with_bytes_to_spare_the_quality_is_the_highest_there_is(name):
    full, down = fit(name, photo(), 1_000_000)
    assert isinstance(full, Fit)
    assert isinstance(down, Fit)
    assert (full.quality, full.larger, down.quality, down.scale) == (TOP[name], False, TOP[name], 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (90, 1), (3, 5)])
@pytest.mark.parametrize("name", FORMATS)
def test_the_smallest_images_have_fits(name, size):
    reference = photo(size[1], size[0])
    for limit in (30, 700):
        for made in fit(name, reference, limit):
            check_bound(made, reference, limit)


@pytest.mark.parametrize("name", FORMATS)
def test_a_fit_is_the_same_twice_and_whatever_was_asked_before(street, name):
    first = fit(name, street, 3000)
    busy = Baseline(name, street)
    for limit in (9000, 500, 2999):
        busy.down(limit)
        busy.full(limit)
    for one, other in zip(first, [busy.full(3000), busy.down(3000)], strict=True):
        assert same(one, other)


@pytest.mark.parametrize("name", FORMATS)
def test_a_rate_is_kept_and_more_bits_come_no_worse(street, name):
    scores = []
    for rate in (0.2, 0.6, 2.0):
        limit = math.floor(rate * 384 * 256 / 8)
        made = check_bound(fit_rate(name, street, rate), street, limit)
        assert not made.larger
        scores.append(psnr(street, made.pixels))
    assert scores == sorted(scores)


def test_a_rate_is_the_best_of_full_size_and_every_downscale(street):
    choices = [fit_rate("jpeg", street, 0.6, scales=[scale]) for scale in (1, 2, 4, 8)]
    best = max(psnr(street, made.pixels) for made in choices if isinstance(made, Fit) and not made.larger)
    made = fit_rate("jpeg", street, 0.6)
    assert isinstance(made, Fit)
    assert psnr(street, made.pixels) == best


@pytest.mark.parametrize(("name", "width", "limit"), [("webp", 16_400, "16383"), ("jpeg", 65_501, "65500")])
def test_an_image_beyond_a_formats_limits_is_a_failure_with_the_reason_and_its_downscale_is_not(name, width, limit):
    reference = photo(width, 3)
    full, down = fit(name, reference, 100_000)
    assert isinstance(full, Failure)
    assert full.code == FailureCode.REFUSED
    assert f"{width}x3" in full.message
    assert limit in full.message
    assert isinstance(down, Fit)
    assert down.scale == 2


def test_an_image_beyond_a_formats_limits_at_every_scale_fails_at_every_scale():
    full, down = fit("webp", np.zeros((1, 40_000, 3), np.uint8), 100_000, scales=[2])
    assert isinstance(full, Failure)
    assert isinstance(down, Failure)
    assert "20000x1" in down.message


def test_scales_that_are_none_are_refused():
    for scales in ([], [1, 2], [0]):
        with pytest.raises(ValueError, match="whole numbers from 2"):
            fit("jpeg", photo(), 1000, scales=scales)
    with pytest.raises(ValueError, match="whole numbers from 1"):
        fit_rate("jpeg", photo(), 1.0, scales=[])


def test_without_its_plug_in_jpeg_xl_is_left_out_and_fails_with_the_remedy():
    code = """
import sys; sys.modules["pillow_jxl"] = None
from ops.baselines import available_formats, fit
from tests.makers import photo
available = available_formats()
print(available.formats, available.left_out)
print([made.code.value for made in fit("jxl", photo(), 1000)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("('jpeg', 'webp', 'avif') {'jxl': ")
    assert "pip install pillow-jxl-plugin" in first
    assert second == "['no_plugin', 'no_plugin']"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("steepness", [0.0, 0.02, 0.2])
def test_a_search_ends_in_ten_encodes_whatever_the_sizes_are(name, steepness):
    sizes = [math.floor(900 * math.exp(steepness * quality)) + 5 * (quality // 3) for quality in range(101)]
    for limit in (0, 910, 1000, 3000, 10**12):
        asked = []

        def size_of(quality: int, asked: list[int] = asked) -> int:
            asked.append(quality)
            return sizes[quality]

        found = highest_fitting(size_of, limit, top=100, usual=USUAL[name], num_pixels=5000, busyness=1.0)
        assert len(asked) == len(set(asked)) <= MOST_ENCODES
        assert found == sum(size <= limit for size in sizes[1:])


def test_a_search_finds_a_quality_whose_next_exceeds_where_sizes_do_not_rise_strictly():
    sizes = [0, *(1000 + 20 * quality + 300 * (quality % 2) for quality in range(1, 101))]
    for limit in range(1000, 3500, 50):
        found = highest_fitting(sizes.__getitem__, limit, top=100, usual=USUAL["jxl"], num_pixels=9000, busyness=1.0)
        assert found == 0 or sizes[found] <= limit
        assert found == 100 or sizes[found + 1] > limit


def test_the_highest_of_the_next_six_is_taken_where_sizes_fall_again():
    sizes = [0, *(1000 + 10 * quality + 25 * (quality % 3) for quality in range(1, 101))]
    for limit in range(1000, 2100, 7):
        found = highest_fitting(sizes.__getitem__, limit, top=100, usual=USUAL["webp"], num_pixels=9000, busyness=1.0)
        fitting = [quality for quality in range(1, 101) if sizes[quality] <= limit]
        assert highest_above(found, sizes.__getitem__, limit, top=100, usual=USUAL["webp"]) == (
            max(fitting) if found else 0
        )


def test_nothing_is_tried_beyond_the_window_nor_behind_a_file_that_is_far_too_large():
    for steepness, most in ((0, WINDOW), (20, 3), (100, 1)):
        asked = []

        def size_of(quality: int, asked: list[int] = asked, steepness: int = steepness) -> int:
            asked.append(quality)
            return 1001 + steepness * (quality - 30)

        assert highest_above(30, size_of, 1000, top=100, usual=USUAL["avif"]) == 30
        assert asked == list(range(31, 31 + most))
    assert highest_above(0, size_of, 1000, top=100, usual=USUAL["avif"]) == 0


def test_a_picture_that_cannot_be_shortened_has_fits():
    for name in FORMATS:
        reference = noise(64, 48)
        for made in fit(name, reference, 900):
            check_bound(made, reference, 900)


def test_settings_that_were_found_give_the_same_file_again():
    reference = photo(200, 120, seed=3)
    for found in fit("webp", reference, 900):
        again = Baseline("webp", reference).at(found.settings)
        assert (again.num_bytes, again.settings) == (found.num_bytes, found.settings)
        assert np.array_equal(again.pixels, found.pixels)
