"""Stable Diffusion's networks from their settings, and the autoencoder run otherwise than diffusers runs it."""

import copy
import socket
import weakref

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ops.networks.stable_diffusion import UnetShape, VaeShape, build_unet, build_vae, predict
from ops.networks.vae_split import encode_split, pieces, raised, shared_statistics
from ops.networks.vae_strips import decode, encode_moments


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (75, 139), (72, 328), (200, 128)])
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


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors that live at once, at their most. Works without memory, on torch's device `meta`."""

    def __init__(self):
        super().__init__()
        self.sizes, self.alive, self.peak = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return made

    def count(self, storage):
        name = storage._cdata
        if name not in self.sizes:
            self.sizes[name] = storage.nbytes(), weakref.ref(storage, lambda _: self.drop(name))
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)

    def drop(self, name):
        self.alive -= self.sizes.pop(name)[0]


def peak(run, *args):
    with torch.no_grad(), Alive() as alive:
        run(*args)
    return alive.peak


def test_strips_take_about_half_of_diffusers_memory():
    with torch.device("meta"):
        full = build_vae(VaeShape()).requires_grad_(False)
        z, x = torch.empty(1, 4, 64, 128), torch.empty(1, 3, 512, 1024)
    assert peak(decode, full, z) < 0.6 * peak(full.decode, z)
    assert peak(encode_moments, full, x) < 0.5 * peak(full.encode, x)


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


class Shared(nn.Module):
    """A group norm of averaged statistics once they are known; until then it notes those of a tile, and stops."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.noted, self.averages = norm, [], None

    def forward(self, x):
        groups = x.unflatten(1, (self.norm.num_groups, -1)).flatten(2)[0]
        if self.averages is None:
            self.noted.append((groups.mean(dim=1), groups.var(dim=1, correction=0)))
            raise StopAsyncIteration
        mean, variance = (one[:, None] for one in self.averages)
        normalised = ((groups - mean) / (variance + self.norm.eps).sqrt()).reshape(x.shape)
        shape = (1, -1, *[1] * (x.ndim - 2))
        return normalised * self.norm.weight.reshape(shape) + self.norm.bias.reshape(shape)


def shared_norms(network):
    """Replace every group norm, diffusers' modules being left as they are; return them."""
    found = []
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                found.append(Shared(child))
                setattr(module, name, found[-1])
    return found


def tile_by_tile(encoder, tiles):
    """Return what diffusers' own encoder makes of tiles, one norm after the other being settled for all of them."""
    norms = shared_norms(encoder)
    for _ in norms:
        for tile in tiles:
            with pytest.raises(StopAsyncIteration):
                encoder(tile)
        (norm,) = [norm for norm in norms if norm.noted and norm.averages is None]
        weights = [
            tile.shape[2] * tile.shape[3] / sum(tile.shape[2] * tile.shape[3] for tile in tiles) for tile in tiles
        ]
        norm.averages = [sum(w * one[n] for w, one in zip(weights, norm.noted, strict=True)) for n in range(2)]
    return [encoder(tile) for tile in tiles]


def test_tiles_share_every_norm_and_nothing_else(vae):
    x = torch.rand(1, 3, 136, 232) * torch.linspace(0, 2, 232) - 1
    mean, logvar = encode_split(vae, x, tile=64)
    # As pieces of a side lie: pixels read, latents given, of 64 pixels between pads of 32.
    rows = [((0, 128), (0, 12)), ((64, 136), (12, 17))]
    columns = [((0, 128), (0, 12)), ((64, 192), (12, 20)), ((128, 232), (20, 29))]
    places = [(row, column) for row in rows for column in columns]
    made = tile_by_tile(
        copy.deepcopy(vae.encoder), [x[:, :, slice(*row[0]), slice(*column[0])] for row, column in places]
    )
    expected = torch.empty(1, 8, 17, 29)
    for ((top, _), (first, last)), ((left, _), (begin, end)), tile in (
        (row, column, tile) for (row, column), tile in zip(places, made, strict=True)
    ):
        inside = tile[:, :, first - top // 8 : last - top // 8, begin - left // 8 : end - left // 8]
        expected[:, :, first:last, begin:end] = inside
    expected = vae.quant_conv(expected)
    assert (torch.cat([mean, logvar], dim=1) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("side", [64, 1096, 1152, 2112, 2176, 5000, 8192])
def test_the_authors_split_gives_every_latent_once_from_pixels_that_hold_it(side):
    found = pieces(side)
    assert [piece.first_latent for piece in found] == [0, *(piece.last_latent for piece in found[:-1])]
    assert found[-1].last_latent == side // 8
    for piece in found:
        assert piece.first <= 8 * piece.first_latent < 8 * piece.last_latent <= piece.last
        assert piece.last - piece.first <= 1024 + 2 * 32


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


def test_a_time_step_is_embedded_in_full_precision_for_a_unet_of_half():
    unet = build_unet(UnetShape.small()).eval().requires_grad_(False)
    nn.Module.to(unet, torch.bfloat16)
    seen = []
    unet.time_embedding.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    predict(unet, torch.randn(1, 4, 8, 8).bfloat16(), torch.tensor([137.3]), torch.randn(1, 3, 32).bfloat16())
    angles = 137.3 * 10_000 ** (-torch.arange(8, dtype=torch.float64) / 8)
    assert (seen[0][0].double() - torch.cat([angles.cos(), angles.sin()])).abs().max() < 2**-8


def test_tokens_of_one_image_serve_a_batch():
    torch.manual_seed(2)
    unet = build_unet(UnetShape.small()).eval().requires_grad_(False)
    c, t, tokens = torch.randn(2, 4, 8, 12), torch.tensor([20.0, 90.0]), torch.randn(2, 77, 32)
    assert torch.equal(predict(unet, c, t, tokens[:1]), predict(unet, c, t, tokens[:1].repeat(2, 1, 1)))
    assert not torch.equal(predict(unet, c, t, tokens[:1]), predict(unet, c, t, tokens))


def test_networks_are_built_without_a_network_and_attend_in_one_kernel(monkeypatch):
    def refuse(*_args, **_settings):
        raise AssertionError("asked for a network")

    monkeypatch.setattr(socket, "socket", refuse)
    networks = build_unet(UnetShape.small()), build_vae(VaeShape.small())
    attentions = [module for network in networks for module in network.modules() if isinstance(module, Attention)]
    assert len(attentions) > 2
    assert all(type(module.processor) is AttnProcessor2_0 for module in attentions)
    assert sum(count(network) for network in networks) < 700_000
