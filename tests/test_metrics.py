"""PSNR and SSIM against direct formulas and known values."""

import math

import numpy as np
import pytest

from ops.metrics.psnr import psnr
from ops.metrics.ssim import ssim


def pair(height: int, width: int, noise: float = 20) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(height * 1000 + width)
    reference = random.integers(0, 256, (height, width, 3), np.uint8)
    return reference, np.clip(reference + random.normal(0, noise, reference.shape), 0, 255).astype(np.uint8)


def naive_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Return equation 13 of the paper, window by window, with the covariance as a mean of products of deviations."""
    rows, columns = (min(11, side if side % 2 else side - 1) for side in x.shape[:2])
    window = np.array(
        [
            [math.exp(-((i - rows // 2) ** 2 + (j - columns // 2) ** 2) / 4.5) for j in range(columns)]
            for i in range(rows)
        ]
    )
    window /= window.sum()
    scores = []
    for c in range(3):
        for top in range(x.shape[0] - rows + 1):
            for left in range(x.shape[1] - columns + 1):
                a = x[top : top + rows, left : left + columns, c].astype(float)
                b = y[top : top + rows, left : left + columns, c].astype(float)
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
                covariance = (window * (a - mean_a) * (b - mean_b)).sum()
                light = (2 * mean_a * mean_b + 6.5025) / (mean_a**2 + mean_b**2 + 6.5025)
                scores.append(light * (2 * covariance + 58.5225) / (var_a + var_b + 58.5225))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("size", [(11, 11), (17, 30), (40, 13), (12, 11), (10, 30), (30, 4), (1, 20), (2, 2), (1, 1)])
def test_ssim_is_the_papers_formula(size):
    x, y = pair(*size)
    assert ssim(x, y) == pytest.approx(naive_ssim(x, y), abs=1e-10)


def test_ssim_of_an_image_with_itself_is_one():
    x, _ = pair(33, 50)
    assert ssim(x, x) == pytest.approx(1, abs=1e-12)


def test_ssim_of_two_flat_images_is_their_light_alone():
    x, y = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 120, np.uint8)
    assert ssim(x, y) == pytest.approx((2 * 100 * 120 + 6.5025) / (100**2 + 120**2 + 6.5025), abs=1e-10)


def test_ssim_is_symmetric_and_falls_with_noise():
    scores = [ssim(*pair(40, 60, noise)) for noise in (2, 10, 40)]
    assert scores == sorted(scores, reverse=True)
    x, y = pair(40, 60)
    assert ssim(x, y) == pytest.approx(ssim(y, x), abs=1e-12)


def test_ssim_of_a_tall_image_is_the_mean_over_all_its_bands():
    x, y = pair(150, 11)
    assert ssim(x, y) == pytest.approx(naive_ssim(x, y), abs=1e-10)


def test_psnr_is_ten_times_the_logarithm_of_the_mean_square():
    x, y = pair(300, 40)
    error = np.mean((x.astype(float) - y.astype(float)) ** 2)
    assert psnr(x, y) == pytest.approx(10 * math.log10(65025 / error), abs=1e-12)
    assert psnr(x, y) == psnr(y, x)


def test_psnr_of_known_pairs():
    x = np.zeros((5, 7, 3), np.uint8)
    assert psnr(x, x) == math.inf
    assert psnr(x, x + 255) == 0
    assert psnr(x, x + 1) == pytest.approx(48.1308036, abs=1e-7)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_of_different_shapes_are_refused_with_both(metric):
    with pytest.raises(ValueError, match=r"\(5, 7, 3\).*\(7, 5, 3\)"):
        metric(np.zeros((5, 7, 3), np.uint8), np.zeros((7, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="one shape"):
        metric(np.zeros((5, 7), np.uint8), np.zeros((5, 7), np.uint8))
