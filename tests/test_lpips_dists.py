"""LPIPS and DISTS against their authors' own code, the papers' formulas in double precision, and themselves in strips.

The weights must be there: `regrow weights pull` brings them. Without, these tests fail and say so.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

from ops.codecs.base import Runtime
from ops.metrics import sharing
from ops.metrics.base import Inapplicable, Unavailable
from ops.metrics.dists import DistsConfig
from ops.metrics.lpips import LpipsConfig
from ops.metrics.sharing import score_sharing, strip_rows
from ops.networks.alexnet import load_alexnet
from ops.networks.vgg16 import load_vgg16
from ops.weights import load_tensors
from tests.makers import noise, photo

ALEX, VGG, DISTS = LpipsConfig(), LpipsConfig(network="vgg"), DistsConfig()
pytestmark = pytest.mark.usefixtures("one_thread")
CONFIGS = {config.column: config for config in (ALEX, VGG, DISTS)}
METRICS = pytest.mark.parametrize("column", CONFIGS)
SAMPLE = Path(__file__).parents[1] / "photos" / "samples" / "krank-level-06.jpg"

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def loaded():
    return {column: config.load(Runtime()) for column, config in CONFIGS.items()}


def made_up(width: int = 96, height: int = 64) -> Pair:
    reference = photo(width, height)
    rough = noise(width, height, seed=7) // 8
    return reference, np.clip(reference.astype(int) + rough - 16, 0, 255).astype(np.uint8)


def score(metric, reference: np.ndarray, reconstruction: np.ndarray):
    return score_sharing([metric], reference, [reconstruction])[0][0]


# What the authors' own code gives: lpips 0.1.4 and DISTS-pytorch 0.1, run in double precision over these weights.
def smooth() -> Pair:
    reference = photo(96, 64)
    return reference, np.clip(reference.astype(int) + noise(96, 64) // 8 - 16, 0, 255).astype(np.uint8)


def flat() -> Pair:
    return np.full((40, 40, 3), 100, np.uint8), np.full((40, 40, 3), 140, np.uint8)


def sample() -> Pair:
    crop = Image.open(SAMPLE).convert("RGB").crop((300, 200, 621, 455))
    small = crop.resize((40, 32), Image.Resampling.BICUBIC)
    return np.asarray(crop), np.asarray(small.resize(crop.size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (smooth(), (0.1481480833, 0.3149209591, 0.2864178230)),
        ((noise(45, 37), noise(45, 37, seed=1)), (0.0726336739, 0.3281451913, 0.1991520813)),
        (flat(), (0.0773061513, 0.0679447616, 0.1317160584)),
        (sample(), (0.4344040889, 0.3292052815, 0.2508769090)),
    ],
    ids=["smooth", "noise", "flat", "photograph"],
)
def test_scores_are_those_of_the_authors_own_code(loaded, pair, expected):
    scores = [score(loaded[column], *pair) for column in ("lpips_alex", "lpips_vgg", "dists")]
    assert scores == pytest.approx(expected, abs=1e-6)


def test_the_published_scores_of_the_authors_examples(loaded):
    """Their pictures may not be handed on: name a folder of them in REGROW_GOLDEN_IMAGES (assets.md 1 and 2)."""
    folder = os.environ.get("REGROW_GOLDEN_IMAGES")
    published = {
        ("ex_ref.png", "ex_p0.png", "lpips_alex"): 0.722,
        ("ex_ref.png", "ex_p1.png", "lpips_alex"): 0.138,
        ("r0.png", "r1.png", "dists"): 0.3347,
    }
    for (reference, reconstruction, column), expected in published.items():
        if folder:
            pair = [np.asarray(Image.open(Path(folder) / name).convert("RGB")) for name in (reference, reconstruction)]
            digits = len(str(expected).partition(".")[2])
            assert round(score(loaded[column], *pair), digits) == expected
        assert column in loaded
    # The least that those values rest on: torchvision's VGG16, not Caffe's, whose first biases are 0.73 and 0.06.
    biases = load_tensors("lpips-vgg")["convs.0.bias"][:4]
    assert biases.tolist() == pytest.approx([0.4034, 0.3778, 0.4644, -0.3228], abs=5e-5)


# The papers' formulas, on whole images, in double precision, each written anew.
def taps_of(column: str, pixels: np.ndarray) -> list[torch.Tensor]:
    weights = {name: tensor.double() for name, tensor in load_tensors(weights_of(column)).items()}
    picture = torch.tensor(pixels.copy()).double().permute(2, 0, 1)[None] / 255
    channels = zip(picture[0], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    x = torch.stack([(channel - mean) / deviation for channel, mean, deviation in channels])[None]
    taps = [picture] if column == "dists" else []
    alex = column == "lpips_alex"
    for at in range(5 if alex else 13):
        if at in ((1, 2) if alex else (2, 4, 7, 10)):
            x = hann_pool(x) if column == "dists" else max_pool2d(x, 3 if alex else 2, 2)
        stride, padding = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[at] if alex else (1, 1)
        kernel, bias = weights[f"convs.{at}.weight"], weights[f"convs.{at}.bias"]
        x = conv2d(pad(x, (padding,) * 4), kernel, bias, stride).clamp(min=0)
        if alex or at in (1, 3, 6, 9, 12):
            taps.append(x)
    return taps


def weights_of(column: str) -> str:
    return "lpips-alex" if column == "lpips_alex" else "lpips-vgg"


def hann_pool(x: torch.Tensor) -> torch.Tensor:
    """A Hann window of three is a box of two, twice."""
    return torch.sqrt(avg_pool2d(avg_pool2d(pad(x**2, (1, 1, 1, 1)), 2, 1), 2, 1)[:, :, ::2, ::2] + 1e-12)


def formula(column: str, reference: np.ndarray, reconstruction: np.ndarray) -> float:
    pairs = list(zip(taps_of(column, reference), taps_of(column, reconstruction), strict=True))
    if column == "dists":
        return dists_of(pairs)
    heads = [load_tensors(weights_of(column))[f"heads.{at}"].double() for at in range(5)]
    return sum(lpips_of(x, y, head) for (x, y), head in zip(pairs, heads, strict=True))


def lpips_of(x: torch.Tensor, y: torch.Tensor, head: torch.Tensor) -> float:
    x, y = (one / one.norm(dim=1, keepdim=True).clamp(min=1e-10) for one in (x, y))
    return float(torch.einsum("bchw,c->bhw", (x - y) ** 2, head).mean())


def dists_of(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    weights = {name: tensor.double() for name, tensor in load_tensors("dists").items()}
    total, at, similar = weights["alpha"].sum() + weights["beta"].sum(), 0, torch.zeros(())
    for x, y in pairs:
        x, y, channels = x[0].flatten(1), y[0].flatten(1), slice(at, at + x.shape[1])  # noqa: PLW2901  the papers' letters
        a, b = x.mean(1), y.mean(1)
        covariance = ((x - a[:, None]) * (y - b[:, None])).mean(1)
        texture = (2 * a * b + 1e-6) / (a**2 + b**2 + 1e-6)
        structure = (2 * covariance + 1e-6) / (x.var(1, correction=0) + y.var(1, correction=0) + 1e-6)
        similar = similar + (weights["alpha"][channels] * texture + weights["beta"][channels] * structure).sum() / total
        at = channels.stop
    return float(1 - similar)


@METRICS
@pytest.mark.parametrize("size", [(31, 31), (64, 64), (33, 70), (97, 45)])
def test_scores_are_the_papers_formulas(loaded, column, size):
    pair = made_up(*size)
    assert score(loaded[column], *pair) == pytest.approx(formula(column, *pair), abs=1e-6)


def test_dists_takes_images_as_small_as_one_stride_of_its_deepest_layer(loaded):
    pair = made_up(16, 17)
    assert score(loaded["dists"], *pair) == pytest.approx(formula("dists", *pair), abs=1e-6)


@METRICS
@pytest.mark.parametrize("rows", [1, 5, 16, 32, 50])
def test_strips_of_any_height_give_the_score_of_the_whole_image(loaded, column, rows, monkeypatch):
    pair = made_up(75, 101)
    whole = score(loaded[column], *pair)
    monkeypatch.setattr(sharing, "STRIP_PIXELS", rows * 75)
    assert strip_rows(101, 75) < 101
    assert score(loaded[column], *pair) == pytest.approx(whole, abs=1e-6)


def test_an_image_of_several_strips_has_the_formulas_score(loaded):
    pair = made_up(640, 331)
    assert strip_rows(331, 640) < 331
    assert score(loaded["lpips_alex"], *pair) == pytest.approx(formula("lpips_alex", *pair), abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(4320, 7680), (64, 64), (65_535, 16), (16, 65_535)])
def test_a_strip_is_bounded_whatever_the_image(height, width):
    assert 1 <= strip_rows(height, width) <= height
    assert strip_rows(height, width) * width <= 1 << 16


@METRICS
def test_equal_images_score_exactly_zero(loaded, column):
    for picture in (photo(), noise(), np.zeros((40, 40, 3), np.uint8)):
        assert score(loaded[column], picture, picture.copy()) == 0


@METRICS
def test_scores_are_symmetric_and_grow_with_the_noise(loaded, column):
    reference = photo(64, 64)
    rough = noise(64, 64, seed=3).astype(int) - 128
    others = [np.clip(reference + rough // part, 0, 255).astype(np.uint8) for part in (32, 8, 2)]
    (scores,) = score_sharing([loaded[column]], reference, others)
    assert scores == sorted(scores)
    assert score(loaded[column], others[2], reference) == pytest.approx(scores[2], abs=1e-9)


def test_a_score_has_the_same_bits_alone_and_beside_others(loaded, monkeypatch):
    monkeypatch.setattr(sharing, "STRIP_PIXELS", 32 * 75)  # several strips
    reference, first = made_up(75, 101)
    others = [first, noise(75, 101, seed=5), reference, first]
    again = VGG.load(Runtime())
    together = score_sharing([loaded["lpips_vgg"], again], reference, others)
    alone = [score(loaded["lpips_vgg"], reference, other) for other in others]
    assert together == [alone, alone]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda other: score(loaded["lpips_vgg"], reference, other), others)) == alone


@METRICS
def test_views_and_arrays_that_cannot_be_written_are_scored_like_copies(loaded, column):
    reference, other = made_up(80, 80)
    expected = score(loaded[column], reference[4:68, 10:74][::-1].copy(), other[4:68, 10:74][::-1].copy())
    reference.setflags(write=False)
    assert score(loaded[column], reference[4:68, 10:74][::-1], other[4:68, 10:74][::-1]) == expected


@METRICS
def test_an_image_below_the_smallest_side_has_a_reason_instead_of_a_score(loaded, column):
    side = CONFIGS[column].smallest_side
    pair = made_up(40, side - 1)
    ((reason, again),) = score_sharing([loaded[column]], pair[0], [pair[1], pair[1]])
    assert isinstance(reason, Inapplicable)
    assert isinstance(again, Inapplicable)
    assert f"40x{side - 1}" in str(reason)
    assert str(side) in str(reason)
    assert isinstance(score(loaded[column], *made_up(40, side)), float)


def test_nothing_to_compare_gives_empty_lists(loaded):
    assert score_sharing([loaded["dists"]], photo(), []) == [[]]
    assert score_sharing([], photo(), [photo()]) == []


def test_images_of_different_shapes_and_metrics_of_different_networks_are_refused(loaded):
    with pytest.raises(ValueError, match=r"\(64, 96, 3\).*\(96, 64, 3\)"):
        score(loaded["dists"], photo(96, 64), photo(64, 96))
    with pytest.raises(ValueError, match="alexnet, vgg16-l2"):
        score_sharing([loaded["lpips_alex"], loaded["dists"]], photo(), [photo()])


@METRICS
def test_without_weights_the_remedy_is_told(column, monkeypatch, tmp_path):
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match=rf"not in {tmp_path}; run `regrow weights pull [a-z-]+`"):
        CONFIGS[column].load(Runtime())


def test_settings_name_columns_headings_and_the_weights_that_run():
    assert [(c.column, c.heading, c.higher_is_better) for c in CONFIGS.values()] == [
        ("lpips_alex", "LPIPS (AlexNet)", False),
        ("lpips_vgg", "LPIPS (VGG16)", False),
        ("dists", "DISTS", False),
    ]
    assert ALEX.settings() == {"name": "lpips", "network": "alex"}
    assert [config.weights_digest()[:16] for config in CONFIGS.values()] == [
        "e17b68d796d19838",
        "e800ddcbb95bf685",
        "7f8307c2affa2f85",
    ]


@pytest.mark.parametrize(("load", "name"), [(load_alexnet, "lpips-alex"), (load_vgg16, "lpips-vgg")])
def test_a_network_names_the_tensor_that_is_missing_or_of_another_shape(load, name):
    tensors = load_tensors(name)
    lacking = {key: tensor for key, tensor in tensors.items() if key != "convs.3.bias"}
    with pytest.raises(Unavailable, match=rf"convs\.3\.bias is missing.*weights pull {name}"):
        load(lacking, "cpu")
    with pytest.raises(Unavailable, match=r"convs\.1\.weight"):
        load({**tensors, "convs.1.weight": torch.zeros(3, 3)}, "cpu")
