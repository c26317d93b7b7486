"""Losses of training: perceptual ones are the metrics, with gradients; a grid that games them is told.

The weights must be there: `regrow weights pull` brings them. Without, these tests fail and say so.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ops.codecs.base import Runtime
from ops.metrics.dists import DistsConfig
from ops.metrics.lpips import LpipsConfig
from ops.metrics.sharing import score_sharing
from ops.training.draws import generator
from ops.training.image_losses import ImageLosses
from ops.training.peaks import peaks
from ops.training.perceptual import build_perceptual
from ops.training.settings import Stage
from ops.training.texture import PERIODS, grid_energy, grid_levels
from ops.weights import load_tensors

pytestmark = pytest.mark.usefixtures("one_thread")
SAMPLES = sorted((Path(__file__).parents[1] / "photos" / "samples").glob("*.jpg"))
METRICS = {"lpips_alex": LpipsConfig(), "lpips_vgg": LpipsConfig(network="vgg"), "dists": DistsConfig()}
TERMS = pytest.mark.parametrize("term", METRICS)


@pytest.fixture(scope="module")
def losses():
    return {term: build_perceptual(term, "cpu") for term in METRICS}


def photograph(at: int, width: int, height: int) -> Image.Image:
    return Image.open(SAMPLES[at]).convert("RGB").crop((600, 500, 600 + width, 500 + height))


def enlarged(image: Image.Image, times: int, way: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    """The image as it is after it was made small."""
    small = image.resize((image.width // times, image.height // times), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(image.size, way))


def pair(at: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    image = photograph(at, width, height)
    return np.asarray(image), enlarged(image, 6)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1


def value_and_gradient(loss, x, y, dtype=None):
    y = y.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        values = loss(x, y)
    values.sum().backward()
    return values.detach(), y.grad


@TERMS
def test_a_loss_is_the_metric_on_photographs_of_any_size(losses, term):
    metric = METRICS[term].load(Runtime())
    for at, (width, height) in enumerate([(64, 64), (31, 47), (97, 45), (130, 161)]):
        x, y = pair(at, width, height)
        expected = score_sharing([metric], x, [y])[0][0]
        assert losses[term](tensor(x), tensor(y)).item() == pytest.approx(expected, abs=1e-5)


@TERMS
def test_each_picture_of_a_batch_has_its_own_distance(losses, term):
    pairs = [pair(at, 64, 48) for at in (0, 3)]
    x, y = (torch.cat([tensor(two[side]) for two in pairs]) for side in (0, 1))
    alone = [losses[term](tensor(a), tensor(b)).item() for a, b in pairs]
    assert losses[term](x, y).tolist() == pytest.approx(alone, abs=1e-6)


def plain(loss, term: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The papers' formulas over the features, which autograd derives."""
    pairs = list(zip(loss._taps(x, torch.float32), loss._taps(y, torch.float32), strict=True))
    if term != "dists":
        tensors = load_tensors(term.replace("_", "-"))
        units = [[one / one.norm(dim=1, keepdim=True).clamp(min=1e-10) for one in two] for two in pairs]
        return sum(
            ((a - b) ** 2 * tensors[f"heads.{at}"][:, None, None]).sum(1).mean() for at, (a, b) in enumerate(units)
        )
    weights = load_tensors("dists")
    similar = []
    for a, b in ([one[0].flatten(1) for one in two] for two in pairs):
        mean_a, mean_b = a.mean(1), b.mean(1)
        covariance = (a * b).mean(1) - mean_a * mean_b
        similar.append((2 * mean_a * mean_b + 1e-6) / (mean_a**2 + mean_b**2 + 1e-6))
        similar.append((2 * covariance + 1e-6) / (a.var(1, correction=0) + b.var(1, correction=0) + 1e-6))
    together = weights["alpha"] @ torch.cat(similar[::2]) + weights["beta"] @ torch.cat(similar[1::2])
    return 1 - together / (weights["alpha"].sum() + weights["beta"].sum())


@TERMS
def test_the_gradient_is_that_of_the_papers_formula(losses, term):
    x, y = (tensor(one) for one in pair(1, 75, 60))
    value, gradient = value_and_gradient(losses[term], x, y)
    expected, slope = value_and_gradient(lambda *two: plain(losses[term], term, *two), x, y)
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    assert (gradient - slope).norm() < 1e-3 * slope.norm()


@TERMS
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["float32", "bfloat16"])
def test_equal_and_constant_pictures_have_finite_gradients(losses, term, dtype):
    photo = tensor(np.asarray(photograph(0, 64, 64)))
    black, white = torch.full_like(photo, -1), torch.ones_like(photo)
    for x, y in [(photo, photo), (black, black), (black, white), (photo, black), (black, photo)]:
        value, gradient = value_and_gradient(losses[term], x, y, dtype)
        assert gradient.isfinite().all()
        assert (value.item() == 0) == (x is y)
        assert bool(gradient.any()) == (x is not y)


@TERMS
def test_bfloat16_keeps_value_and_direction(losses, term):
    x, y = (tensor(one) for one in pair(3, 128, 128))
    value, gradient = value_and_gradient(losses[term], x, y)
    rough, rough_gradient = value_and_gradient(losses[term], x, y, torch.bfloat16)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(value.item(), abs=0.003)
    assert torch.cosine_similarity(gradient.flatten(), rough_gradient.flatten(), dim=0) > 0.75


@TERMS
def test_a_loss_trains_the_reconstruction_and_nothing_else(losses, term):
    x, y = (tensor(one).requires_grad_() for one in pair(0, 64, 64))
    losses[term](x, y).sum().backward()
    assert x.grad is None
    assert y.grad is not None
    assert not list(losses[term].parameters())
    assert not losses[term].state_dict()


def test_pictures_of_two_shapes_or_too_small_are_told(losses):
    with pytest.raises(ValueError, match="at least 31"):
        losses["lpips_alex"](torch.zeros(1, 3, 30, 40), torch.zeros(1, 3, 30, 40))
    with pytest.raises(ValueError, match="one shape"):
        losses["dists"](torch.zeros(1, 3, 32, 40), torch.zeros(1, 3, 40, 32))


def stage(**fields) -> Stage:
    weights = {"l1": 1.0, "lpips_alex": 1.0, "lpips_vgg": 1.0, "dists": 1.0}
    return Stage(**{"objective": "joint", "steps": 1, "batch": 4, "losses": weights, **fields})


def places(step: int, first: int, number: int) -> list[np.random.Generator]:
    return [generator(0, step, first + at, purpose="cuts") for at in range(number)]


def batch(side: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [pair(at, side, side) for at in (0, 1, 3, 4)]
    return tuple(torch.cat([tensor(two[of]) for two in pairs]) for of in (0, 1))


@pytest.mark.parametrize("fields", [{}, {"vgg_images": 2, "vgg_side": 64}], ids=["all of it", "parts"])
def test_shares_of_a_batch_have_together_what_the_whole_has(fields):
    x, y = batch()
    losses = ImageLosses(stage(**fields), "cpu")
    whole = losses(x, y, 0, places(7, 0, 4))
    halves = [losses(x[at : at + 2], y[at : at + 2], at, places(7, at, 2)) for at in (0, 2)]
    assert whole.keys() == {"l1", "lpips_alex", "lpips_vgg", "dists"}
    for term, value in whole.items():
        assert (halves[0][term] + halves[1][term]).item() / 2 == pytest.approx(value.item(), abs=1e-5)


def test_perceptual_losses_see_another_part_at_each_step_and_the_same_part_of_both_pictures():
    x, y = batch()
    losses = ImageLosses(stage(vgg_images=1, vgg_side=64), "cpu")
    at_steps = [losses(x, y, 0, places(step, 0, 4)) for step in (0, 0, 1)]
    for term in ("lpips_alex", "lpips_vgg", "dists"):
        first, again, later = (values[term].item() for values in at_steps)
        assert first == again != later
    assert at_steps[0]["l1"] == at_steps[2]["l1"]
    assert max(losses(x, x, 0, places(0, 0, 4)).values()) < 1e-6


def test_parts_that_do_not_lie_evenly_in_a_batch_are_refused():
    with pytest.raises(ValueError, match="vgg_images 3 of a batch of 4"):
        stage(vgg_images=3)


def with_grid(pixels: np.ndarray, period: int) -> np.ndarray:
    """Squares of half a period, one level lighter and darker."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]] // (period // 2)
    return np.clip(pixels + np.where((x + y) % 2, 1, -1)[:, :, None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("at", range(len(SAMPLES)))
def test_photographs_have_no_grid_and_a_faint_one_is_told(at):
    image = photograph(at, 512, 512)
    x, smooth = np.asarray(image), enlarged(image, 8)
    for plain in (x, enlarged(image, 2), smooth, enlarged(image, 16)):
        energy = grid_energy(x, plain)
        assert max(energy[period] for period in (4, 8, 16)) < 2
        assert energy[2] < 5
    for period in (4, 8):
        assert grid_energy(x, with_grid(x, period))[period] > 4
        assert grid_energy(x, with_grid(smooth, period))[period] > 50
    assert grid_energy(x, enlarged(image, 8, Image.Resampling.NEAREST))[8] > 20


def with_waves(pixels: np.ndarray, levels: float) -> np.ndarray:
    """Crossing waves that drift against any lattice, of so many levels as root mean square."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    waves = np.sin(2 * np.pi * 0.222 * x) * np.sin(2 * np.pi * 0.217 * y) * 2 * levels
    return np.clip(np.rint(pixels + waves[:, :, None]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("at", range(len(SAMPLES)))
def test_the_strength_of_a_regular_texture_is_told_in_levels(at):
    image = photograph(at, 512, 512)
    x, smooth = np.asarray(image), enlarged(image, 8)
    assert grid_levels(x, x) == 0
    assert grid_levels(x, smooth) < 0.5  # a bicubic filter has a little of its own
    for period in (2, 4, 8):
        assert grid_levels(smooth, with_grid(smooth, period)) == pytest.approx(1, abs=0.3)
    assert grid_levels(x, with_waves(smooth, 3)) == pytest.approx(3, abs=1)
    assert grid_levels(x, with_waves(x, 6)) == pytest.approx(6, abs=2)  # also where the picture is busy itself


def test_the_loss_on_peaks_is_the_strength_of_a_regular_texture_and_its_slope_takes_it_away():
    pixels, smaller = pair(0, 256, 256)
    x, smooth, waved = tensor(pixels), tensor(smaller), tensor(with_waves(pixels, 4))
    assert peaks(x, x).item() == 0
    assert peaks(smooth, x).item() * 127.5 < 0.3
    y = waved.clone().requires_grad_()
    value = peaks(y, x)
    assert value.item() * 127.5 == pytest.approx(4, abs=1.5)
    value.backward()
    moved = y.detach() - 0.01 * y.grad / y.grad.square().mean().sqrt()
    assert peaks(moved, x) < 0.9 * value
    # Of several crops it is the mean.
    assert peaks(torch.cat([waved, x]), torch.cat([x, x])).item() == pytest.approx(value.item() / 2, rel=0.01)


def test_a_grid_is_told_at_its_own_period_and_not_where_the_reference_has_it():
    x = np.asarray(photograph(0, 256, 192))
    gridded = with_grid(x, 8)
    energy = grid_energy(x, gridded)
    assert max(energy, key=lambda period: energy[period]) == 8
    assert max(grid_energy(gridded, gridded).values()) <= 1
    assert max(grid_energy(gridded, x).values()) < 2


def test_the_smallest_picture_has_a_grid_energy_and_wrong_ones_are_told():
    x = np.asarray(photograph(0, 64, 64))
    assert list(grid_energy(x, x)) == list(PERIODS)
    with pytest.raises(ValueError, match="use 64 a side"):
        grid_energy(x[:63], x[:63])
    with pytest.raises(ValueError, match="no grid of period 3"):
        grid_energy(x, x, periods=(2, 3))
