"""Pixel metrics, error maps and edges against direct formulas, golden scores and known values."""

import math
import tracemalloc

import msgspec
import numpy as np
import pytest

from ops.codecs.base import Runtime
from ops.metrics import ms_ssim as ms_ssim_module
from ops.metrics import psnr as psnr_module
from ops.metrics import ssim as ssim_module
from ops.metrics.base import Inapplicable, MetricConfig
from ops.metrics.edges import edges
from ops.metrics.error_map import error_map, read_error_map
from ops.metrics.ms_ssim import MsSsimConfig
from ops.metrics.psnr import PsnrConfig, psnr
from ops.metrics.ssim import SsimConfig, ssim

PSNRS = [PsnrConfig(), PsnrConfig(colour="y"), PsnrConfig(colour="y", range="limited")]
SSIMS = [SsimConfig(), SsimConfig(colour="y"), SsimConfig(colour="y", range="limited")]
TADM = SsimConfig(colour="y", range="limited", rounded=True, clipped=True)
MS_SSIMS = [MsSsimConfig(), MsSsimConfig(colour="y")]
EVERY = [*PSNRS, PsnrConfig(epsilon=1e-8), *SSIMS, TADM, *MS_SSIMS]


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


def score(config: MetricConfig, x: np.ndarray, y: np.ndarray) -> float:
    return config.load(Runtime()).score(x, y)  # pyright: ignore[reportAttributeAccessIssue]


def made_up(height: int = 190, width: int = 213) -> tuple[np.ndarray, np.ndarray]:
    """Return a pair made of whole numbers alone: waves and a checkered fold, and the same shifted and coarser."""
    i, j, c = np.ogrid[:height, :width, :3]
    x = (i * i // 40 + j * (3 + c) + 40 * ((i // 12 + j // 20) % 2)) % 256
    y = (np.roll(x, 1, axis=1) // 8 * 8 + (7 * i + 5 * j + c) % 16) % 256
    return x.astype(np.uint8), y.astype(np.uint8)


def whole_y(x: np.ndarray, limited: bool, rounded: bool = False) -> np.ndarray:
    """Return Y as MATLAB documents rgb2ycbcr, or BT.601 as it stands."""
    y = 16 + x / 255 @ np.array([65.481, 128.553, 24.966]) if limited else x @ np.array([0.299, 0.587, 0.114])
    return np.round(y) if rounded else y


def channels(config: MetricConfig, x: np.ndarray) -> list[np.ndarray]:
    if config.colour == "rgb":
        return [x[:, :, c].astype(float) for c in range(3)]
    return [whole_y(x, getattr(config, "range", "full") == "limited", getattr(config, "rounded", False))]


def terms(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return light, and contrast with structure, of all windows of whole planes, by two-dimensional windows."""
    at = np.arange(-5, 6)
    window = np.exp(-(at[:, None] ** 2 + at**2) / 4.5)
    window /= window.sum()

    def mean(plane: np.ndarray) -> np.ndarray:
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(plane, (11, 11)), window)

    a, b = mean(x), mean(y)
    spread = mean(x * x) - a * a + mean(y * y) - b * b
    light = (2 * a * b + 6.5025) / (a * a + b * b + 6.5025)
    return light, (2 * (mean(x * y) - a * b) + 58.5225) / (spread + 58.5225)


def plain(config: MetricConfig, x: np.ndarray, y: np.ndarray) -> float:
    """Return a metric on whole images, by its formula and nothing cleverer."""
    scores = []
    for a, b in zip(channels(config, x), channels(config, y), strict=True):
        if isinstance(config, SsimConfig):
            light, contrast = terms(a, b)
            scores.append((light * np.maximum(contrast, 0 if config.clipped else -2)).mean())
        elif isinstance(config, MsSsimConfig):
            scores.append(plain_ms_ssim(a, b))
        else:
            scores.append(((a - b) ** 2).mean() / 65025)
    mean = sum(scores) / len(scores)
    return -10 * math.log10(mean + config.epsilon) if isinstance(config, PsnrConfig) else mean


def plain_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    product = 1.0
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        light, contrast = terms(a, b)
        product *= max((light * contrast if scale == 4 else contrast).mean(), 0) ** weight
        a, b = half(a), half(b)
    return product


def half(plane: np.ndarray) -> np.ndarray:
    """Return means of 2x2; MATLAB's `symmetric` repeats an odd last row or column."""
    even = plane[[*range(len(plane)), *[-1] * (len(plane) % 2)]]
    even = even[:, [*range(plane.shape[1]), *[-1] * (plane.shape[1] % 2)]]
    return even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean((1, 3))


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_every_metric_is_its_plain_formula(config):
    x, y = made_up()
    assert score(config, x, y) == pytest.approx(plain(config, x, y), abs=1e-9)
    assert score(config, x, y) == score(config, y, x)


GOLDEN = {
    "PsnrConfig(colour='rgb', range='full', epsilon=0.0)": 16.526730005631,
    "PsnrConfig(colour='y', range='full', epsilon=0.0)": 20.364976994158,
    "PsnrConfig(colour='y', range='limited', epsilon=0.0)": 21.686898306035,
    "PsnrConfig(colour='rgb', range='full', epsilon=1e-08)": 16.526728053732,
    "SsimConfig(colour='rgb', range='full', rounded=False, clipped=False)": 0.758396267783,
    "SsimConfig(colour='y', range='full', rounded=False, clipped=False)": 0.703556847226,
    "SsimConfig(colour='y', range='limited', rounded=False, clipped=False)": 0.713523666228,
    "SsimConfig(colour='y', range='limited', rounded=True, clipped=True)": 0.713250524935,
    "MsSsimConfig(colour='rgb')": 0.961262720845,
    "MsSsimConfig(colour='y')": 0.949914653360,
}


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_golden_scores(config):
    assert score(config, *made_up()) == pytest.approx(GOLDEN[str(config)], abs=1e-10)


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_scores_do_not_depend_on_the_height_of_bands_nor_on_what_surrounds_an_array(config, monkeypatch):
    x, y = made_up()
    alone = score(config, x, y)
    frame = np.zeros((200, 230, 3), np.uint8)
    frame[5:195, 8:221] = x
    assert score(config, frame[5:195, 8:221], y) == alone
    monkeypatch.setattr(psnr_module, "BLOCK_ROWS", 7)
    monkeypatch.setattr(psnr_module, "BLOCK_COLUMNS", 31)
    monkeypatch.setattr(ssim_module, "BAND_ROWS", 5)
    monkeypatch.setattr(ms_ssim_module, "BAND_ROWS", 3)
    assert score(config, x, y) == alone
    monkeypatch.setattr(ssim_module, "BAND_COLUMNS", 40)
    assert score(config, x, y) == pytest.approx(alone, abs=1e-13)


def test_columns_headings_and_units_name_what_was_taken():
    assert [config.column for config in [*PSNRS, *SSIMS, *MS_SSIMS]] == [
        "psnr_rgb", "psnr_y", "psnr_y_limited", "ssim_rgb", "ssim_y", "ssim_y_limited", "ms_ssim_rgb", "ms_ssim_y",
    ]  # fmt: skip
    assert [config.heading for config in PSNRS] == ["PSNR (RGB)", "PSNR (Y)", "PSNR (Y, limited)"]
    assert MS_SSIMS[1].heading == "MS-SSIM (Y)"
    assert (PSNRS[0].unit, SSIMS[0].unit) == ("dB", "")


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (PsnrConfig, {"range": "limited"}, "colour 'y'"),
        (SsimConfig, {"range": "limited"}, "colour 'y'"),
        (SsimConfig, {"rounded": True}, "colour 'y'"),
        (PsnrConfig, {"epsilon": -1e-8}, "epsilon -1e-08"),
        (PsnrConfig, {"epsilon": math.nan}, "epsilon nan"),
    ],
)
def test_settings_that_say_nothing_are_refused_in_code_and_in_files(kind, settings, said):
    with pytest.raises(ValueError, match=said):
        kind(**settings)
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({"name": kind.__struct_config__.tag, **settings}, kind)


def test_the_default_configs_are_the_functions():
    x, y = pair(70, 50)
    assert score(PsnrConfig(), x, y) == psnr(x, y)
    assert score(SsimConfig(), x, y) == ssim(x, y)


def test_psnr_of_limited_range_is_1_32_decibels_above_that_of_full_range():
    x, y = pair(64, 48)
    gap = score(PSNRS[2], x, y) - score(PSNRS[1], x, y)
    assert gap == pytest.approx(20 * math.log10(255 / 219), abs=1e-12)


def test_identical_images_have_infinite_psnr_or_that_of_epsilon_and_a_similarity_of_one():
    x, _ = made_up()
    assert [score(config, x, x) for config in PSNRS] == [math.inf] * 3
    assert score(PsnrConfig(epsilon=1e-8), x, x) == 80
    assert [score(config, x, x) for config in [*SSIMS, TADM, *MS_SSIMS]] == pytest.approx([1] * 6, abs=1e-12)


def test_grey_levels_that_differ_by_one_differ_by_one_in_y():
    x = np.full((5, 7, 3), 90, np.uint8)
    assert score(PSNRS[1], x, x + 1) == pytest.approx(48.1308036, abs=1e-7)


@pytest.mark.parametrize("levels", [(0, 0), (255, 255), (0, 255), (100, 120)])
@pytest.mark.parametrize("config", EVERY, ids=str)
def test_flat_images_have_a_score_that_is_a_number(config, levels):
    x, y = (np.full((176, 180, 3), level, np.uint8) for level in levels)
    made = score(config, x, y)
    assert not math.isnan(made)
    if levels[0] == levels[1] and not isinstance(config, PsnrConfig):
        assert made == pytest.approx(1, abs=1e-9)


def test_a_negative_contrast_counts_as_nothing_where_it_is_clipped():
    x, _ = made_up()
    inverted = 255 - x
    assert score(SsimConfig(colour="y"), x, inverted) < -0.3
    assert 0 <= score(SsimConfig(colour="y", clipped=True), x, inverted) < 0.1
    assert score(MsSsimConfig(), x, inverted) == 0


def test_ms_ssim_of_an_image_below_176_pixels_is_refused_with_its_size():
    assert MsSsimConfig().smallest_side == 176
    x = np.zeros((176, 176, 3), np.uint8)
    assert score(MsSsimConfig(), x, x) == 1
    with pytest.raises(Inapplicable, match=r"300x175 .* 176 pixels a side"):
        score(MsSsimConfig(), *pair(175, 300))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 3)])
@pytest.mark.parametrize("config", [*PSNRS, *SSIMS, TADM], ids=str)
def test_the_smallest_images_have_a_score(config, size):
    assert math.isfinite(score(config, *pair(*size)))


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_no_metric_takes_much_beside_the_pixels(config):
    x, y = np.full((1000, 3000, 3), 7, np.uint8), np.full((1000, 3000, 3), 9, np.uint8)
    tracemalloc.start()
    score(config, x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 18e6  # which the pair takes


def test_an_error_map_holds_the_root_mean_square_of_each_cell():
    x, y = made_up(96, 70)
    kept = error_map(x, y)
    assert len(kept) == 2048
    errors = read_error_map(kept)
    assert (errors.shape, errors.dtype) == ((32, 32), np.float32)
    for row, column in [(0, 0), (7, 31), (31, 13)]:
        cell = np.s_[row * 3 : row * 3 + 3, column * 70 // 32 : (column + 1) * 70 // 32]
        expected = math.sqrt(((x[cell].astype(float) - y[cell]) ** 2).mean())
        assert errors[row, column] == pytest.approx(expected, rel=2**-11)


def test_an_error_map_of_a_narrow_image_repeats_its_pixels():
    x = np.zeros((1, 3, 3), np.uint8)
    y = x + np.array([10, 20, 30], np.uint8).reshape(1, 3, 1)
    errors = read_error_map(error_map(x, y))
    assert errors[0].tolist() == [10] * 11 + [20] * 11 + [30] * 10
    assert (errors == errors[0]).all()


def test_an_error_map_shows_where_the_error_is():
    x, _ = made_up(320, 640)
    y = x.copy()
    y[100:110, 200:220] ^= 128
    errors = read_error_map(error_map(x, y))
    assert np.argwhere(errors).tolist() == [[10, 10]]
    assert errors.max() == 128


@pytest.mark.parametrize("kept", [b"", b"\0" * 2047, b"\0" * 20])
def test_bytes_that_are_no_error_map_are_refused(kept):
    with pytest.raises(ValueError, match=f"{len(kept)} bytes are no error map"):
        read_error_map(kept)


def test_edges_of_a_step_have_its_height_and_flat_areas_have_none():
    x = np.zeros((300, 20, 3), np.uint8)
    x[:, 10:] = 200
    strength = edges(x)
    assert strength.dtype == np.uint8
    assert strength[:, 9:11].tolist() == [[200, 200]] * 300
    assert strength[:, :9].max() == strength[:, 11:].max() == 0


def test_edges_are_sobels_gradient_of_y():
    x, _ = made_up(280, 40)
    y = np.pad(whole_y(x, limited=False), 1, mode="edge")
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    for row, column in [(0, 0), (127, 5), (128, 39), (279, 20)]:
        around = y[row : row + 3, column : column + 3]
        expected = min(math.hypot((around * across).sum(), (around * across.T).sum()), 255)
        assert edges(x)[row, column] == pytest.approx(expected, abs=0.5001)
    assert edges(np.full((1, 1, 3), 9, np.uint8)).tolist() == [[0]]
