"""FID, KID and their kin: the formulas, the patches that they stand on, the networks whose features they compare."""

import hashlib
import io
import itertools
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate, max_pool2d, relu

from ops.codecs.base import Runtime
from ops.metrics.base import Inapplicable, Unavailable
from ops.metrics.fid import FidConfig, frechet_distance
from ops.metrics.kid import KidConfig, squared_mmd
from ops.metrics.patches import EVERY_RANK, chosen, cut, keep_lowest, num_patches, positions, rank, threshold_for
from ops.networks.features import load_inception
from ops.networks.inception import Grid8, Grid35, InceptionV3, resize_as_tensorflow
from ops.networks.strict import load_strictly
from ops.weights import WeightsError, known_file, load_tensors
from ops.weights.cache import encode, place
from tests.makers import noise, photo

ROOT = Path(__file__).parents[1]
DISTANCES = [FidConfig(), KidConfig()]


def gaussian(number: int, mean: np.ndarray, covariance: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return features whose mean and unbiased covariance are these, not only in expectation."""
    x = np.random.default_rng(seed).normal(size=(number, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def by_eigenvalues(x: np.ndarray, y: np.ndarray) -> float:
    """Return equation 6 of the paper, with the trace of the root from the eigenvalues of the product."""
    eigenvalues = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T))
    root = np.sqrt(eigenvalues.real.clip(0)).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * root


def features(number: int, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, width)).astype(np.float32)


def test_fid_of_gaussians_is_its_closed_form():
    zero, ones = np.zeros(3), np.ones(3)
    a, b = np.diag([1.0, 4.0, 9.0]), np.diag([16.0, 1.0, 0.25])
    distance = frechet_distance(gaussian(50, zero, a), gaussian(60, 2 * ones, b, seed=1))
    assert distance == pytest.approx(12 + (1 - 4) ** 2 + (2 - 1) ** 2 + (3 - 0.5) ** 2, abs=1e-9)


def test_fid_of_gaussians_that_are_turned_against_each_other():
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    distance = frechet_distance(gaussian(40, np.zeros(2), a), gaussian(40, np.zeros(2), b, seed=1))
    assert distance == pytest.approx(5 + 6 - 2 * root, abs=1e-9)


@pytest.mark.parametrize(("number", "width"), [(40, 6), (7, 6), (6, 6), (5, 40), (2, 12)])
def test_fid_agrees_with_the_eigenvalues_of_the_product_at_full_and_at_deficient_rank(number, width):
    x, y = features(number, width), features(number, width, seed=1) * 2 + 1
    assert FidConfig().finish(x, y) == pytest.approx(by_eigenvalues(x.astype(float), y.astype(float)), rel=1e-6)


def test_fid_of_a_set_with_itself_is_zero_and_never_below():
    for number in (3, 8, 30):
        assert 0 <= FidConfig().finish(features(number), features(number)) < 1e-9


def test_fid_depends_neither_on_order_nor_on_which_is_the_reference():
    x, y = features(30), features(30, seed=1) + 0.5
    distance = FidConfig().finish(x, y)
    assert FidConfig().finish(x[::-1], np.roll(y, 7, axis=0)) == pytest.approx(distance, rel=1e-9)
    assert FidConfig().finish(y, x) == pytest.approx(distance, rel=1e-9)


def test_fid_of_more_features_than_fit_in_a_block_is_the_same():
    x, y = features(5000, 3), features(5000, 3, seed=1) + 0.1
    assert FidConfig().finish(x, y) == pytest.approx(by_eigenvalues(x.astype(float), y.astype(float)), rel=1e-6)


def naive_kid(x: np.ndarray, y: np.ndarray, degree: int = 3) -> float:
    """Return the unbiased estimate of section 4 of the paper, pair by pair."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** degree

    def among(z: np.ndarray) -> float:
        pairs = [(i, j) for i, j in itertools.product(range(len(z)), repeat=2) if i != j]
        return sum(kernel(z[i], z[j]) for i, j in pairs) / len(pairs)

    return among(x) + among(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize("degree", [1, 3])
def test_kid_of_few_features_is_the_papers_formula_over_all_of_them(degree):
    x, y = features(9), features(9, seed=1) + 0.3
    assert KidConfig(degree=degree).finish(x, y) == pytest.approx(naive_kid(x, y, degree), abs=1e-12)
    assert squared_mmd(x, y[:6], degree) == pytest.approx(naive_kid(x, y[:6], degree), abs=1e-12)


def test_kid_of_many_features_is_the_mean_over_the_subsets_that_torch_fidelity_draws():
    x, y = features(12), features(12, seed=1) + 0.3
    draw = np.random.RandomState(2020)
    subsets = [(draw.choice(12, 5, replace=False), draw.choice(12, 5, replace=False)) for _ in range(7)]
    expected = np.mean([naive_kid(x[a], y[b]) for a, b in subsets])
    config = KidConfig(subsets=7, subset_size=5)
    assert config.finish(x, y) == pytest.approx(expected, abs=1e-12)
    assert config.finish(x, y) == config.finish(x.copy(), y.copy())


def test_kid_is_near_zero_for_sets_of_one_kind_and_not_for_others():
    x, alike, other = features(400), features(400, seed=1), features(400, seed=2) * 1.5 + 0.5
    config = KidConfig(subsets=20, subset_size=200)
    assert abs(config.finish(x, alike)) < 0.05
    assert config.finish(x, other) > 1


@pytest.mark.parametrize("config", DISTANCES, ids=lambda config: config.name)
def test_fewer_than_two_patches_have_no_distance_and_the_reason_is_told(config):
    for x, y in [(features(1), features(1)), (features(5), features(1)), (np.empty((0, 0), np.float32),) * 2]:
        with pytest.raises(Inapplicable, match=rf"at least 2 patches .* {len(x)} of references and {len(y)} of rec"):
            config.finish(x, y)


@pytest.mark.parametrize("config", DISTANCES, ids=lambda config: config.name)
def test_features_that_are_no_numbers_have_no_distance_and_those_of_two_networks_are_refused(config):
    broken = features(5)
    broken[2, 3] = np.nan
    with pytest.raises(Inapplicable, match="not finite"):
        config.finish(features(5), broken)
    with pytest.raises(ValueError, match=r"\(5, 8\) and \(5, 9\)"):
        config.finish(features(5), features(5, 9))


@pytest.mark.parametrize(
    ("config", "column", "heading", "verified"),
    [
        (FidConfig(), "fid", "FID/256", False),
        (KidConfig(patch=0), "kid_whole", "KID (whole images)", False),
        (KidConfig(patch=128), "kid_128", "KID/128", False),
        (FidConfig(network="vgg16"), "fd_vgg16", "FD (VGG16)", True),
        (KidConfig(network="vgg16", patch=0), "kd_vgg16_whole", "KD (VGG16, whole images)", True),
    ],
)
def test_only_features_of_inception_are_called_fid_and_kid(config, column, heading, verified):
    assert (config.column, config.heading, config.verified) == (column, heading, verified)
    assert not config.higher_is_better


def test_a_patch_that_the_networks_cannot_take_is_refused_when_the_settings_are_read():
    with pytest.raises(msgspec.ValidationError, match="patch 15 is too small"):
        msgspec.convert({"name": "fid", "patch": 15}, FidConfig)
    assert msgspec.convert({"name": "kid", "network": "vgg16"}, KidConfig) == KidConfig(network="vgg16")


def test_settings_of_metrics_are_read_without_torch():
    modules = ", ".join(f"ops.metrics.{name}" for name in ("fid", "kid", "patches", "musiq", "clipiqa"))
    code = f"import sys, {modules}; print({{'torch', 'safetensors'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"


def test_patches_lie_side_by_side_and_once_more_shifted_by_half_a_patch():
    names = [position.name for position in positions(600, 400, 256)]
    assert names == ["0,0", "256,0", "128,128"]
    assert [position.name for position in positions(64, 48, 16)][:5] == ["0,0", "16,0", "32,0", "48,0", "0,16"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((255, 999), 0), ((256, 256), 1), ((383, 900), 3), ((384, 384), 2), ((2040, 1356), 35 + 28), ((3, 5), 0)],
)
def test_an_image_has_as_many_patches_as_update_patch_fid_cuts(size, expected):
    assert num_patches(*size, 256) == len(positions(*size, 256)) == expected


def test_the_whole_image_is_one_patch_of_size_nought():
    image = photo(7, 5)
    (position,) = positions(7, 5, 0)
    assert (position.name, num_patches(7, 5, 0)) == ("whole", 1)
    assert np.array_equal(cut(image, position), image)


def test_a_patch_holds_the_pixels_at_its_position():
    image = noise(64, 48)
    position = next(position for position in positions(64, 48, 16) if position.name == "24,8")
    assert np.array_equal(cut(image, position), image[8:24, 24:40])


def test_which_patches_are_drawn_follows_from_key_and_position_alone():
    drawn = hashlib.sha256(b"a/b.jpg\x00256,0").digest()
    assert rank("a/b.jpg", "256,0") == int.from_bytes(drawn[:8], "big")
    half = EVERY_RANK // 2
    kept = [position.name for position in chosen("k", 600, 400, 32, half)]
    assert kept == [one.name for one in positions(600, 400, 32) if rank("k", one.name) < half]
    assert 0.4 < len(kept) / num_patches(600, 400, 32) < 0.6
    assert chosen("k", 600, 400, 32, 0) == []
    assert chosen("k", 600, 400, 32, EVERY_RANK) == positions(600, 400, 32)


def test_a_tenth_more_is_admitted_than_is_kept_and_all_of_a_small_set():
    assert threshold_for(50_000) == threshold_for(10, most=10) == threshold_for(0) == EVERY_RANK
    assert threshold_for(52_000) == EVERY_RANK  # 55,000 would be more than there are
    assert threshold_for(1_000_000) / EVERY_RANK == pytest.approx(0.055)
    ranks = [rank(str(number), "0,0") for number in range(20_000)]
    admitted = sum(one < threshold_for(20_000, most=5000) for one in ranks)
    assert 5000 < admitted < 6000


def test_the_lowest_ranks_are_kept_in_the_order_of_their_keys():
    ranks = [5, EVERY_RANK - 1, 0, 7, 5, 6]
    assert keep_lowest(ranks, 3).tolist() == [0, 2, 4]
    assert keep_lowest(ranks, 2).tolist() == [0, 2]  # of equal ones the first
    assert keep_lowest(ranks).tolist() == list(range(6))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As every protocol has it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def inception() -> InceptionV3:
    torch.manual_seed(0)
    network = InceptionV3()
    for name, tensor in network.state_dict().items():
        if name.endswith("bn.weight"):
            tensor.fill_(1.7)  # or a hundred layers of small random kernels leave nothing
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.05)
    return network.requires_grad_(False)


def test_inception_has_the_parameters_of_the_published_network(inception):
    # torchvision's has 23,834,568 without its auxiliary head and for 1000 classes; here they are 1008.
    assert sum(tensor.numel() for tensor in inception.parameters()) == 23_834_568 + 8 * 2049
    names = set(inception.state_dict())
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch1x1.bn.running_var", "Mixed_6e.branch7x7dbl_5.conv.weight",
            "Mixed_7a.branch7x7x3_4.bn.bias", "Mixed_7c.branch3x3dbl_3b.conv.weight", "fc.bias"} < names  # fmt: skip


def test_a_patch_has_2048_features_the_same_to_the_last_bit_alone_or_beside_others(inception):
    extractor = load_inception(inception.state_dict(), "fid-inception", "cpu")
    patch, other = noise(64, 48), photo(300, 310)
    alone = extractor.features([patch])
    with torch.autocast("cpu", torch.bfloat16):  # is none of a metric's
        _, beside = extractor.features([other, patch])
    assert alone.shape == (1, 2048)
    assert alone.dtype == np.float32
    assert np.array_equal(alone[0], beside)
    assert np.isfinite(alone).all()
    assert alone.std() > 0


def test_missing_misshapen_and_foreign_tensors_are_named(inception):
    tensors = inception.state_dict()
    lacking = {name: tensor for name, tensor in tensors.items() if name != "Mixed_6c.branch_pool.conv.weight"}
    for wrong, said in [
        (lacking, "the tensor Mixed_6c.branch_pool.conv.weight is missing"),
        (tensors | {"fc.bias": torch.zeros(1000)}, r"fc.bias has the shape \(1000,\), not \(1008,\)"),
        (tensors | {"AuxLogits.fc.bias": torch.zeros(1000)}, "AuxLogits.fc.bias belongs to no layer"),
    ]:
        with pytest.raises(Unavailable, match=f"fid-inception do not fit: .*{said}.*regrow weights pull fid-inception"):
            load_strictly(InceptionV3(), wrong, "fid-inception", "cpu")


def test_the_official_file_is_read_with_and_without_what_training_left_in_it(inception):
    tensors = inception.state_dict()
    counts = {f"{name[:-12]}num_batches_tracked": torch.tensor(0) for name in tensors if name.endswith("running_mean")}
    file = io.BytesIO()
    torch.save(tensors | counts, file)
    read = known_file("fid-inception").read(file.getvalue())
    assert read.keys() == tensors.keys()
    file = io.BytesIO()
    torch.save({"fc.bias": tensors["fc.bias"]}, file)
    with pytest.raises(
        WeightsError, match=r"no weights of InceptionV3: the tensor Conv2d_1a_3x3.conv.weight is missing"
    ):
        known_file("fid-inception").read(file.getvalue())
    with pytest.raises(WeightsError, match="no file of tensors"):
        known_file("fid-inception").read(b"<html>not found</html>")


@pytest.mark.parametrize("config", DISTANCES, ids=lambda config: config.name)
def test_without_its_weights_the_metric_says_in_a_line_how_to_get_them(config, tmp_path, monkeypatch):
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path))
    for act in (lambda: config.load(Runtime()), config.weights_digest):
        with pytest.raises(
            Unavailable, match=r"fid-inception are not in .*regrow weights pull fid-inception"
        ) as raised:
            act()
        assert "\n" not in str(raised.value)


def test_with_its_weights_in_the_cache_the_metric_is_loaded_and_shares_its_features(inception, tmp_path, monkeypatch):
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path))
    known = known_file("fid-inception")
    with open(place(known.name), "wb") as file:  # noqa: PTH123  the place may be a URL
        file.write(encode(known, inception.state_dict()))
    fid, kid = (config.load(Runtime()) for config in DISTANCES)
    assert fid.extractor == kid.extractor
    assert FidConfig().weights_digest() == KidConfig().weights_digest()
    assert fid.features([photo(40, 40)]).shape == (1, 2048)


def test_resizing_is_that_of_tensorflow_which_starts_at_the_first_pixel():
    pixels = torch.rand(1, 1, 3, 4)
    resized = resize_as_tensorflow(pixels, 7, 9)[0, 0].numpy()
    for row, column in itertools.product(range(7), range(9)):
        y, x = row * 3 / 7, column * 4 / 9
        top, left = int(y), int(x)
        bottom, right = min(top + 1, 2), min(left + 1, 3)
        a, b, c, d = (float(pixels[0, 0, i, j]) for i in (top, bottom) for j in (left, right))
        upper, lower = a + (b - a) * (x - left), c + (d - c) * (x - left)
        assert resized[row, column] == pytest.approx(upper + (lower - upper) * (y - top), abs=1e-6)
    assert not np.allclose(resized, interpolate(pixels, (7, 9), mode="bilinear")[0, 0])
    assert torch.equal(resize_as_tensorflow(pixels, 3, 4), pixels)


def reference_convolution(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return convolution, normalisation by equation and ReLU, without the code under test."""
    y = conv2d(x, block.conv.weight, stride=block.conv.stride, padding=block.conv.padding)
    mean, variance, weight, bias = (
        tensor[:, None, None]
        for tensor in (block.bn.running_mean, block.bn.running_var, block.bn.weight, block.bn.bias)
    )
    return relu((y - mean) / torch.sqrt(variance + 0.001) * weight + bias)


def mean_of_neighbours(x: torch.Tensor) -> torch.Tensor:
    """Return the mean of each 3x3 neighbourhood over the positions that are inside the image only."""
    inside = conv2d(torch.ones_like(x[:, :1]), torch.ones(1, 1, 3, 3), padding=1)
    sums = conv2d(x, torch.ones(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])
    return sums / inside


def test_average_pooling_leaves_the_padding_out_and_the_last_block_takes_the_maximum(inception):
    x = torch.rand(1, 192, 5, 6)
    block: Grid35 = inception.Mixed_5b
    pooled = reference_convolution(block.branch_pool, mean_of_neighbours(x))
    double = reference_convolution(block.branch3x3dbl_2, reference_convolution(block.branch3x3dbl_1, x))
    parts = [
        reference_convolution(block.branch1x1, x),
        reference_convolution(block.branch5x5_2, reference_convolution(block.branch5x5_1, x)),
        reference_convolution(block.branch3x3dbl_3, double),
        pooled,
    ]
    assert torch.allclose(block(x), torch.cat(parts, dim=1), atol=1e-5)
    for block, channels, pool in [
        (inception.Mixed_7b, 1280, mean_of_neighbours),
        (inception.Mixed_7c, 2048, lambda x: max_pool2d(x, 3, 1, 1)),
    ]:
        assert isinstance(block, Grid8)
        x = torch.rand(1, channels, 4, 3)
        assert torch.allclose(block(x)[:, -192:], reference_convolution(block.branch_pool, pool(x)), atol=1e-5)


def vgg16_features(tensors: dict[str, torch.Tensor], patch: np.ndarray) -> np.ndarray:
    """Return the mean of relu5_3, by thirteen convolutions and four poolings in a row."""
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = ((torch.from_numpy(patch.copy()).permute(2, 0, 1) / 255 - mean) / deviation)[None]
    for at in range(13):
        x = max_pool2d(x, 2) if at in {2, 4, 7, 10} else x
        x = relu(conv2d(x, tensors[f"convs.{at}.weight"], tensors[f"convs.{at}.bias"], padding=1))
    return x.mean(dim=(0, 2, 3)).numpy()


@pytest.mark.parametrize(("width", "height"), [(64, 48), (33, 300), (16, 16)])
def test_features_of_vgg16_are_means_of_its_last_convolution_also_of_images_taller_than_a_strip(width, height):
    metric = FidConfig(network="vgg16").load(Runtime())
    patch = noise(width, height)
    found = metric.features([photo(64, 64), patch])
    assert found.shape == (2, 512)
    assert np.array_equal(found[1], metric.features([patch])[0])
    assert found[1] == pytest.approx(vgg16_features(load_tensors("lpips-vgg"), patch), abs=1e-4, rel=1e-4)


def test_an_image_too_small_for_vgg16_is_told():
    config = FidConfig(network="vgg16", patch=0)
    assert config.smallest_side == 16
    with pytest.raises(Inapplicable, match="16 pixels a side; the patch has 40x15"):
        config.load(Runtime()).features([photo(40, 15)])
