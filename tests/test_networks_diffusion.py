"""Stable Diffusion's networks from their settings, and the autoencoder run otherwise than diffusers runs it."""

import pytest
import torch

from ops.networks.stable_diffusion import UnetShape, VaeShape, build_unet, build_vae, predict
from ops.networks.vae_split import encode_split, pieces, raised, shared_statistics
from ops.networks.vae_strips import decode, encode_moments


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    made = build_vae(VaeShape.small()).eval().requires_grad_(False)
    for parameter in made.parameters():  # norms start as the identity, which would hide them
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_networks_have_stable_diffusions_parameters():
    with torch.device("meta"):
        unet, full = build_unet(UnetShape()), build_vae(VaeShape())
    assert count(unet) == 865_910_724
    assert count(full) == 83_653_863
    assert count(full.encoder) == 34_163_592
    assert count(full.decoder) == 49_490_179
    assert count(full.quant_conv) + count(full.post_quant_conv) == 72 + 20


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (72, 328), (200, 128)])
@pytest.mark.parametrize("strip", [3_000, 20_000, 1 << 25])
def test_strips_of_rows_give_what_the_whole_image_gives(vae, height, width, strip):
    x = torch.rand(1, 3, height, width) * 2 - 1
    kept = x.clone()
    expected = vae.encode(x).latent_dist
    mean, logvar = encode_moments(vae, x, strip)
    assert (mean - expected.mean).abs().max() <= 1e-5 * expected.mean.abs().max()
    assert (logvar - expected.logvar).abs().max() <= 1e-5 * expected.logvar.abs().max()
    z = expected.mean.clone()
    whole = vae.decode(z).sample
    assert (decode(vae, z, strip) - whole).abs().max() <= 1e-5 * whole.abs().max()
    assert torch.equal(x, kept)
    assert torch.equal(z, expected.mean)


def test_statistics_hold_for_values_far_from_zero(vae):
    z = torch.rand(1, 4, 16, 40) + 300
    whole = vae.decode(z).sample
    assert (decode(vae, z, 3_000) - whole).abs().max() <= 2e-4 * whole.abs().max()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_the_full_one(vae, precision):
    z = torch.randn(1, 4, 12, 20)
    whole = vae.decode(z).sample
    half = build_vae(VaeShape.small())
    half.load_state_dict(vae.state_dict())
    torch.nn.Module.to(half, precision)
    made = decode(half.eval().requires_grad_(False), z.to(precision), 5_000)
    assert made.dtype is precision
    assert (made.float() - whole).abs().mean() < 0.03 * whole.abs().mean()


def test_the_authors_split_lies_where_theirs_does():
    assert [(piece.first, piece.last) for piece in pieces(2048)] == [(0, 1056), (992, 2048)]
    assert [(piece.first_latent, piece.last_latent) for piece in pieces(2048)] == [(0, 128), (128, 256)]
    assert [(piece.first, piece.last) for piece in pieces(1408)] == [(0, 736), (672, 1408)]
    assert [raised(side, 1024) for side in (672, 993, 1010, 1024)] == [672, 1024, 1024, 1024]
    assert raised(1001, 1003) == 1002  # 32, 16, 8 and 4 would be too large


def test_a_split_of_one_tile_is_the_whole_and_of_several_is_not(vae):
    x = torch.rand(1, 3, 128, 200) * 2 - 1
    whole = vae.encode(x).latent_dist.mean
    assert (encode_split(vae, x)[0] - whole).abs().max() <= 1e-5 * whole.abs().max()
    split, _ = encode_split(vae, x, tile=64, pad=16)
    assert split.shape == whole.shape
    assert torch.isfinite(split).all()
    difference = (split - whole).abs()
    assert 0.01 < difference.mean() / whole.abs().mean() < 1


def test_statistics_of_tiles_are_averages_by_pixels():
    tiles = [torch.randn(1, 8, 10, 4) * 3 + 1, torch.randn(1, 8, 5, 6) - 2]
    mean, variance = shared_statistics(tiles, 2)
    for group in range(2):
        parts = [tile[0, 4 * group : 4 * group + 4].flatten() for tile in tiles]
        expected = [(40 * f(parts[0]) + 30 * f(parts[1])) / 70 for f in (torch.mean, lambda x: x.var(correction=0))]
        assert mean[group] == pytest.approx(float(expected[0]), rel=1e-5)
        assert variance[group] == pytest.approx(float(expected[1]), rel=1e-5)


def test_a_time_step_between_two_whole_ones_is_not_rounded():
    torch.manual_seed(1)
    unet = build_unet(UnetShape.small()).eval().requires_grad_(False)
    c, tokens = torch.randn(1, 4, 16, 16), torch.randn(1, 77, UnetShape.small().cross_width)
    at = [predict(unet, c, torch.tensor([t]), tokens) for t in (50.0, 50.5, 51.0)]
    assert not torch.equal(at[0], at[1])
    assert not torch.equal(at[1], at[2])
    both = predict(unet, c.repeat(2, 1, 1, 1), torch.tensor([50.0, 51.0]), tokens)
    assert torch.allclose(both, torch.cat([at[0], at[2]]), atol=1e-5)


def test_sides_of_a_latent_must_be_multiples_of_the_block():
    assert UnetShape().block == 8
    assert UnetShape.small().block == 2
