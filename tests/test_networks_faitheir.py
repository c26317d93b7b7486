"""FaithEIR's networks: the published counts, the equations computed another way, and every ablation of the paper."""

import math
from collections.abc import Iterator
from itertools import product
from statistics import NormalDist

import pytest
import torch
from msgspec.structs import fields, replace
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, linear, relu

from ops.networks import reversible, semantics
from ops.networks.details import build_prior, normal_draw, uniform_draw
from ops.networks.reversible import ReversibleRescaling, ReversibleShape
from ops.networks.semantics import SemanticsShape, build_semantics
from ops.networks.transforms import HaarTransform, LearnedTransform

# Of the paper's 985.03 M, what SD-Turbo (U-Net and VAE) and LoRA of rank 32 and 16 leave, to the rounding of that.
LEFT_OVER = 1_553_941
LEFT_OVER_ROUNDING = 5_000


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def filled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every tensor random values that keep activations in size; orthogonal matrices stay."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        for tensor in [] if isinstance(module, LearnedTransform) else module.parameters(recurse=False):
            bound = 1 / math.sqrt(max(tensor[0].numel(), 1))
            nn.init.uniform_(tensor, -bound, bound, generator=generator)
    return network.requires_grad_(False)


def latent(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense_block(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """IRN's dense block: every convolution sees all that came before."""
    seen = [x]
    for at in range(1, 6):
        weight, bias = (weights[f"{name}.conv{at}.{part}"] for part in ("weight", "bias"))
        made = conv2d(torch.cat(seen, dim=1), weight, bias, padding=1)
        seen.append(made if at == 5 else leaky_relu(made, 0.2))
    return seen[-1]


def enhanced_block(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """SAIN's E-InvBlock by its equations, with a clamp of 1."""
    x1, x2 = x[:, :3], x[:, 3:]
    y1 = x1 + dense_block(weights, f"{name}.E", x2) - dense_block(weights, f"{name}.F", x2)
    s = torch.tanh(dense_block(weights, f"{name}.H", y1) / 2)  # 2 sigmoid(a) - 1
    return torch.cat([y1, x2 * torch.exp(s) + dense_block(weights, f"{name}.G", y1)], dim=1)


def learned_transform(weight: Tensor, z: Tensor, factor: int) -> Tensor:
    """Equation 3, place by place."""
    b, c, h, w = z.shape
    y = z.new_empty(b, c * factor**2, h // factor, w // factor)
    for i, row, column in product(range(b), range(h // factor), range(w // factor)):
        cell = z[i, :, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        y[i, :, row, column] = weight @ cell.reshape(-1)
    return y


def test_the_counts_are_those_that_the_paper_leaves_for_these_modules():
    with torch.device("meta"):
        rescaling, embedder = ReversibleRescaling(ReversibleShape()), build_semantics(SemanticsShape())
    parts = [count(part) for part in (rescaling.blocks, rescaling.transform, rescaling.detail, embedder)]
    assert parts == [890_580, 256, 13 * 16 * 16, 657_920]
    assert abs(sum(parts) - LEFT_OVER) < LEFT_OVER_ROUNDING


def test_the_state_dict_has_the_stated_prefixes():
    keys = set(ReversibleRescaling(ReversibleShape()).state_dict())
    blocks = {
        f"blocks.{at}.{part}.conv{layer}.{tensor}"
        for at, part, layer, tensor in product(range(3), "EFGH", range(1, 6), ("weight", "bias"))
    }
    assert keys == {"transform.weight", "detail.prior", *blocks}
    twice = ReversibleRescaling(ReversibleShape(scale=32, transform_stages="twice", detail="mixture"))
    assert set(twice.state_dict()) == {"transform.0.weight", "transform.1.weight", "detail.mixture", *blocks}


@pytest.mark.parametrize(
    ("module", "shape"),
    [(reversible, ReversibleShape()), (semantics, SemanticsShape())],
    ids=["reversible", "semantics"],
)
def test_what_is_inferred_is_a_setting(module, shape):
    assert set(module.INFERRED) <= {field.name for field in fields(shape)}


def test_the_whole_way_down_is_the_papers_equations():
    rescaling = filled(ReversibleRescaling(ReversibleShape())).double()
    weights, z = rescaling.state_dict(), latent(2, 4, 8, 12).double()
    x = learned_transform(weights["transform.weight"], z, 2)
    for at in range(3):
        x = enhanced_block(weights, f"blocks.{at}", x)
    y, discarded = rescaling(z)
    assert not torch.allclose(y, learned_transform(weights["transform.weight"], z, 2)[:, :3], atol=0.1)
    torch.testing.assert_close(torch.cat([y, discarded], dim=1), x, rtol=0, atol=1e-12)
    assert torch.equal(rescaling.down(z), y)


@pytest.mark.parametrize("scale", [16, 32])
@pytest.mark.parametrize(("transform", "stages"), [("haar", "once"), ("learned", "once"), ("learned", "twice")])
def test_it_inverts_to_a_hundred_thousandth(scale, transform, stages):
    shape = ReversibleShape(scale=scale, transform=transform, transform_stages=stages, growth=8)
    if (scale, stages) == (16, "twice"):
        with pytest.raises(ValueError, match="no two stages: use transform_stages once"):
            ReversibleRescaling(shape)
        return
    rescaling = filled(ReversibleRescaling(shape))
    z = latent(2, 4, 24, 32)
    y, discarded = rescaling(z)
    assert y.shape == (2, 3, 24 * 8 // scale, 32 * 8 // scale)
    assert discarded.shape[1] == rescaling.detail.channels == 4 * (scale // 8) ** 2 - 3
    torch.testing.assert_close(rescaling.inverse(y, discarded), z, rtol=0, atol=1e-5)


def test_at_full_width_it_inverts_too_and_the_way_up_fills_in_the_prior():
    rescaling = filled(ReversibleRescaling(ReversibleShape()))
    z = latent(1, 4, 16, 24)
    y, discarded = rescaling(z)
    torch.testing.assert_close(rescaling.inverse(y, discarded), z, rtol=0, atol=1e-5)
    assert torch.equal(rescaling.up(y), rescaling.inverse(y, rescaling.detail(y)))
    torch.testing.assert_close(rescaling.down(rescaling.up(y)), y, rtol=0, atol=1e-5)


def test_the_way_up_hands_seeds_on_and_the_clamp_reaches_the_couplings():
    shape = ReversibleShape(detail="normal", detail_seed=5, growth=4)
    rescaling, y = filled(ReversibleRescaling(shape)), latent(2, 3, 4, 6)
    seeded = rescaling.up(y, [5, 6])
    assert torch.equal(seeded, rescaling.inverse(y, rescaling.detail(y, [5, 6])))
    torch.testing.assert_close(seeded[0], rescaling.up(y)[0], rtol=0, atol=1e-5)
    assert not torch.allclose(seeded[1], rescaling.up(y)[1], atol=0.1)
    additive = filled(ReversibleRescaling(replace(shape, clamp=0.0)))
    assert not torch.allclose(additive.up(y), rescaling.up(y), atol=0.01)


@pytest.mark.parametrize("kind", ["none", "learned", "pixel"])
@pytest.mark.parametrize("detail", ["zero", "learned", "random", "normal", "mixture"])
@pytest.mark.parametrize("transform", ["haar", "learned"])
def test_every_ablation_runs(transform, detail, kind):
    small = ReversibleShape(transform=transform, detail=detail, growth=4, blocks=2, detail_size=2)
    rescaling = filled(ReversibleRescaling(small))
    embedder = filled(build_semantics(SemanticsShape(kind=kind, width=8, hidden=(6,), tokens=5)))
    y = rescaling.down(latent(2, 4, 8, 12))
    z, tokens = rescaling.up(y), embedder(y)
    assert y.shape == (2, 3, 4, 6)
    assert z.shape == (2, 4, 8, 12)
    assert tokens.shape == (2, {"none": 1, "learned": 5, "pixel": 24}[kind], 8)
    assert all(torch.isfinite(made).all() for made in (y, z, tokens))
    # Alone as in company: draws depend on no neighbour.
    assert torch.equal(rescaling.detail(y)[1:], rescaling.detail(y[1:]))


def test_haar_is_the_convolution_of_irn_and_comes_back():
    x = latent(2, 4, 8, 12)
    signs = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]])
    bands = [conv2d(x.flatten(0, 1)[:, None], band[None, None].float() / 4, stride=2) for band in signs]
    expected = torch.cat([band.unflatten(0, (2, 4))[:, :, 0] for band in bands], dim=1)
    torch.testing.assert_close(HaarTransform(2)(x), expected)
    torch.testing.assert_close(HaarTransform(4)(x), HaarTransform(2)(HaarTransform(2)(x)), rtol=0, atol=0)
    for factor in (2, 4):
        torch.testing.assert_close(HaarTransform(factor).inverse(HaarTransform(factor)(x)), x, rtol=0, atol=1e-6)
    whole = (x * 64).round()
    assert torch.equal(HaarTransform(4).inverse(HaarTransform(4)(whole)), whole)
    with pytest.raises(ValueError, match="no factor 3: use 2 or 4"):
        HaarTransform(3)


def test_the_learned_transform_is_orthogonal_until_moved_and_can_be_brought_back():
    torch.manual_seed(0)
    transform, x = LearnedTransform(4, 4), latent(1, 4, 8, 8)
    assert transform.orthogonality() < 1e-6
    torch.testing.assert_close(transform.inverse(transform(x)), x, rtol=0, atol=1e-5)
    with torch.no_grad():
        transform.weight.add_(latent(64, 64) * 0.01)
    moved = transform.weight.detach().clone()
    assert transform.orthogonality() > 1e-2
    assert (transform.inverse(transform(x)) - x).abs().max() > 1e-2
    transform.reproject()
    assert transform.orthogonality() < 1e-6
    torch.testing.assert_close(transform.inverse(transform(x)), x, rtol=0, atol=1e-5)
    # The nearest: what is left between them is symmetric (the polar decomposition), which holds for no other.
    between = transform.weight.detach().T @ moved
    torch.testing.assert_close(between, between.T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform", ["haar", "learned"])
def test_a_latent_that_does_not_divide_is_refused(transform):
    rescaling = ReversibleRescaling(ReversibleShape(scale=32, transform=transform, growth=2, blocks=1))
    with pytest.raises(ValueError, match="a latent of 8x6 does not divide by 4: pad the image"):
        rescaling.down(latent(1, 4, 6, 8))


def test_wrong_channels_and_wrong_scales_are_refused():
    rescaling = ReversibleRescaling(ReversibleShape(growth=2, blocks=1))
    with pytest.raises(ValueError, match="4 and 13 channels are no thumbnail and what it discards: give 3 and 13"):
        rescaling.up(latent(1, 4, 6, 8))
    with pytest.raises(ValueError, match="scale 16 is not 2 or 4 times the latent's factor 16"):
        ReversibleRescaling(ReversibleShape(latent_factor=16))


def splitmix(seed: int, steps: int) -> int:
    """The output of SplitMix64 after so many steps, by integers without end."""
    wrap = (1 << 64) - 1
    state = (seed + steps * 0x9E3779B97F4A7C15) & wrap
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & wrap
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & wrap
    return state ^ (state >> 31)


def test_draws_are_splitmix_by_place_through_the_inverse_normal():
    drawn = normal_draw(7, 3, 4, 5)
    for channel, row, column in product(range(3), range(4), range(5)):
        bits = splitmix(splitmix(7, 0), ((channel << 40) | (row << 20) | column) + 1)
        expected = NormalDist().inv_cdf(((bits >> 12) + 0.5) / 2**52)
        assert float(drawn[channel, row, column]) == pytest.approx(expected, abs=1e-6)


def test_draws_are_normal_independent_and_the_same_in_a_crop():
    drawn = normal_draw(0, 13, 96, 96)
    assert torch.equal(drawn[:2, :9, :7], normal_draw(0, 2, 9, 7))
    number = math.sqrt(drawn.numel())
    assert abs(float(drawn.mean())) < 4 / number
    assert abs(float((drawn**2).mean()) - 1) < 6 / number
    assert abs(float((drawn**4).mean()) - 3) < 40 / number
    for shifted in (drawn.roll(1, 0), drawn.roll(1, 1), drawn.roll(1, 2), normal_draw(1, 13, 96, 96)):
        assert abs(float((drawn * shifted).mean())) < 4 / number
    uniform = uniform_draw(3, 1, 64, 64)
    assert 0 < uniform.min() < uniform.max() < 1
    with pytest.raises(ValueError, match="too many to draw"):
        uniform_draw(0, 1, 1, 1 << 20)


@pytest.mark.parametrize("kind", ["normal", "mixture"])
def test_each_image_has_the_draws_of_its_seed_wherever_it_stands(kind):
    prior, y = build_prior(kind, 5, seed=9), torch.zeros(3, 3, 6, 7)
    together = prior(y, [4, 9, 4])
    assert torch.equal(together[0], together[2])
    assert torch.equal(together[:1], prior(y[:1], 4))
    assert torch.equal(together[1:2], prior(y[:1]))
    assert not torch.equal(together[0], together[1])
    with pytest.raises(ValueError, match="2 seeds for 3 thumbnails: give one for all, or one for each"):
        prior(y, [1, 2])


def test_the_mixture_draws_its_components_by_their_weights_and_learns_all_three_rows():
    prior = build_prior("mixture", 4, components=2)
    with torch.no_grad():
        prior.mixture.copy_(torch.tensor([[math.log(0.25), math.log(0.75)], [-5.0, 3.0], [math.log(0.5), 0.0]]))
    drawn = prior(torch.zeros(1, 3, 100, 100))
    low, high = drawn[drawn < -2], drawn[drawn > -2]
    assert len(low) / drawn.numel() == pytest.approx(0.25, abs=0.01)
    assert [float(part.detach().mean()) for part in (low, high)] == pytest.approx([-5, 3], abs=0.03)
    assert [float(part.detach().std()) for part in (low, high)] == pytest.approx([0.5, 1], abs=0.02)
    (drawn**2).mean().backward()
    assert (prior.mixture.grad.abs() > 1e-3).all()


def test_the_learned_prior_starts_at_zeros_and_is_stretched_to_the_thumbnail():
    y = torch.zeros(2, 3, 4, 8)
    prior = build_prior("learned", 13, size=2)
    assert torch.equal(prior(y), build_prior("zero", 13)(y))
    with torch.no_grad():
        prior.prior[:] = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    expected = torch.tensor([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    torch.testing.assert_close(prior(y), expected.expand(2, 13, 4, 8))
    single = filled(build_prior("learned", 13, size=1))
    assert torch.equal(single(y), single.prior.expand(2, 13, 4, 8))


def test_the_random_prior_is_one_tensor_for_all_images_whatever_their_seeds():
    prior, y = build_prior("random", 13, size=6, seed=2), torch.zeros(2, 3, 6, 6)
    assert not prior.state_dict()
    assert torch.equal(prior(y, [5, 6])[0], normal_draw(2, 13, 6, 6))
    assert torch.equal(prior(y, [5, 6])[0], prior(y)[1])
    assert not torch.equal(prior(y), build_prior("random", 13, size=6, seed=3)(y))


def test_pixel_semantics_are_a_token_per_pixel_row_by_row():
    embedder, y = filled(build_semantics(SemanticsShape())), latent(2, 3, 4, 5)
    tokens, weights = embedder(y), embedder.state_dict()
    assert tokens.shape == (2, 20, 1024)
    x = y[1, :, 2, 3]
    for at in (0, 2, 4):
        x = linear(x if at == 0 else relu(x), weights[f"layers.{at}.weight"], weights[f"layers.{at}.bias"])
    torch.testing.assert_close(tokens[1, 2 * 5 + 3], x)


def test_learned_and_no_semantics_look_at_no_image():
    y = latent(2, 3, 4, 5)
    torch.manual_seed(0)
    learned = build_semantics(SemanticsShape(kind="learned"))
    assert learned(y).shape == (2, 77, 1024)
    assert float(learned.tokens.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert torch.equal(learned(y)[0], learned(-y)[1])
    assert torch.equal(build_semantics(replace(SemanticsShape(), kind="none"))(y), torch.zeros(2, 1, 1024))
