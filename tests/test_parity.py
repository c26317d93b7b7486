"""Networks against what their authors publish, written here a second time: plain torch, and diffusers' own modules."""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from msgspec.structs import replace
from torch import Tensor
from torch.nn import functional

from ops.codecs.base import Runtime
from ops.codecs.latent import parity
from tests.learned import small_weights

SCALING = 0.18215
CLOSE = 1e-4

VAE: dict[str, Any] = {
    "block_out_channels": (8, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
UNET: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "block_out_channels": (16, 32), "layers_per_block": 1,
    "attention_head_dim": (2, 4), "cross_attention_dim": 32, "use_linear_projection": True, "norm_num_groups": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Layers as small as these are faster so, most of all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("scale", [4, 8, 16, 32])
def test_tadm_is_the_published_forward_pass_at_every_scale(scale: int) -> None:
    assert_same(lively(f"tadm-x{scale}"), 100, 75)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_tiles_are_denoised_alone_at_their_own_time_steps_and_merged_as_published(prediction: str) -> None:
    timesteps = assert_same(lively("tadm-x16", (24, 8), prediction=prediction), 250, 420)
    assert len(timesteps) == 2 * 3
    assert max(timesteps) - min(timesteps) > 1


def test_squares_of_a_narrow_image_are_as_wide_as_it_is() -> None:
    assert len(assert_same(lively("tadm-x16", (24, 8)), 430, 128)) == 6


def test_a_square_that_is_narrower_than_two_overlaps_still_overlaps_as_published() -> None:
    assert len(assert_same(lively("tadm-x16", (32, 16)), 190, 384)) == 4


def test_a_narrow_image_no_larger_than_a_tile_in_area_is_denoised_whole() -> None:
    assert len(assert_same(lively("tadm-x8", (24, 8)), 64, 500)) == 1


@pytest.mark.parametrize(("height", "width"), [(1150, 128), (70, 2240)])
def test_large_images_are_encoded_in_the_published_pieces_and_decoded_whole(height: int, width: int) -> None:
    pair = lively("tadm-x16")
    assert_same(pair, height, width)
    vae, x = Published(pair[1].state_dict(), pair[0]).vae, padded(picture(height, width))
    assert (SplitEncoder(vae)(x) - vae.encoder(x)).abs().max() > 100 * CLOSE


@pytest.mark.parametrize(("scale", "side"), [(16, 256), (32, 512)])
def test_faitheir_is_the_forward_pass_that_its_paper_describes(scale: int, side: int) -> None:
    assert_same(lively(f"faitheir-x{scale}"), side, side)


@torch.inference_mode()
def assert_same(pair: tuple[Any, Any], height: int, width: int) -> list[float]:
    """Compare thumbnails and images, which must show something; return the time-steps of the tiles."""
    config, system = pair
    second = (Published if config.name == "tadm" else Described)(system.state_dict(), config)
    x, posterior_noise, quantisation_noise = picture(height, width), *noises(height, width, config.scale)
    y, expected_y = (one.down(x, posterior_noise, quantisation_noise) for one in (system, second))
    grown, expected = (one.up(expected_y, height, width) for one in (system, second))
    for one in (expected_y, expected):
        assert one.std() > 0.05
        assert (one.abs() < 1).float().mean() > 0.8
    assert y.shape == expected_y.shape
    assert (y - expected_y).abs().max() < CLOSE
    assert grown.shape == expected.shape == x.shape
    assert (grown - expected).abs().max() < CLOSE
    return second.timesteps


def lively(spelling: str, tile: tuple[int, int] = (96, 32), **networks: object) -> tuple[Any, Any]:
    """Return a config and its system, in which no tensor is at rest and values keep within their range."""
    config, url = small_weights(spelling, 0, **networks)
    config = replace(parity(config), tile=tile[0], overlap=tile[1])
    return config, enlivened(config.load(Runtime(weights=(url,)))._system)


# With these, latents have about the spread of real ones, and time-steps differ from tile to tile.
GAINS = {"rescaling.final_module": 4.0, "timestep": 3.0}


@torch.no_grad()
def enlivened(system: Any) -> Any:
    """Return a system, its tensors changed in place: nothing is zero, norms are uneven, what was random counts."""
    generator = torch.Generator().manual_seed(1)
    for name, one in system.named_parameters():
        noise = torch.randn(one.shape, generator=generator)
        if "norm" in name:
            one.copy_(0.2 * noise + (1.0 if name.endswith("weight") else 0.0))
        elif not one.any():
            one.copy_(noise * (0.3 if name.endswith("prior") else 0.1 if one.ndim == 1 else one[0].numel() ** -0.5))
        elif one.ndim > 1:
            one.mul_(next((gain for prefix, gain in GAINS.items() if name.startswith(prefix)), 1.0))
    system.vae.quant_conv.weight[:4] *= 8
    system.vae.quant_conv.bias[4:] -= 3
    return system


def picture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(1, 3, height // 8 + 2, width // 8 + 2, generator=generator)
    fine = torch.randn(1, 3, height, width, generator=generator)
    return (functional.interpolate(coarse, (height, width), mode="bicubic") / 2 + fine / 20).clamp(-1, 1)


def noises(height: int, width: int, scale: int) -> tuple[Tensor, Tensor]:
    """Return normal noise of the padded image's latents, and uniform noise of its thumbnail."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = (-(-side // 64) * 64 for side in (height, width))
    normal = torch.randn(1, 4, rows // 8, columns // 8, generator=generator)
    return normal, torch.rand(1, 3, rows // scale, columns // scale, generator=generator) - 0.5


class State(dict[str, Tensor]):
    """Tensors by name, and layers that find their own."""

    def under(self, prefix: str) -> "State":
        return State({name.removeprefix(prefix): one for name, one in self.items() if name.startswith(prefix)})

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight = self[f"{name}.weight"]
        return functional.conv2d(x, weight, self[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def block(self, name: str, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.conv(f"{name}.conv_in", x), 0.1)

    def plain(self, name: str, x: Tensor) -> Tensor:
        return x + self.conv(f"{name}.conv2", self.conv(f"{name}.conv1", x).relu())

    def dense(self, name: str, x: Tensor) -> Tensor:
        """A dense block of five convolutions, each of which sees what all before it gave."""
        for number in range(1, 5):
            x = torch.cat([x, functional.leaky_relu(self.conv(f"{name}.conv{number}", x), 0.2)], 1)
        return self.conv(f"{name}.conv5", x)

    def numbers(self, prefix: str) -> range:
        return range(1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in self if name.startswith(prefix)))


class Published:
    """TADM as its authors' inference runs it, in full precision and with given noise."""

    def __init__(self, state: dict[str, Tensor], config: Any) -> None:
        self.state, self.scale, self.prediction = State(state), config.scale, config.prediction
        self.tile, self.overlap = config.tile, config.overlap
        self.vae, self.unet = _diffusers(self.state, VAE, UNET)
        self.rescaling = self.state.under("rescaling.")
        self.timesteps: list[float] = []

    def down(self, x: Tensor, posterior_noise: Tensor, quantisation_noise: Tensor) -> Tensor:
        x = padded(x)
        z = _encoded(self.vae, x, posterior_noise) / SCALING
        branches = [self._sequence("down_module", x), self._sequence("latent_module", z)]
        y = self._sequence("fusing_module", torch.cat(branches, 1))
        for i in self.rescaling.numbers("inv_module."):
            y = self._coupled(f"inv_module.{i}", y)
        return _quantised(y, quantisation_noise)

    def up(self, y: Tensor, height: int, width: int) -> Tensor:
        for i in reversed(self.rescaling.numbers("inv_module.")):
            y = self._uncoupled(f"inv_module.{i}", y)
        c = self._sequence("final_module", y) * SCALING
        x = self.vae.decode(self._denoised(c) / SCALING).sample.clamp(-1, 1)
        return x[:, :, :height, :width]

    def _sequence(self, module: str, x: Tensor) -> Tensor:
        """Run what is numbered: a number without tensors is a shuffle between the latent's grid and the thumbnail's."""
        state = self.rescaling
        shrinks = (self.scale > 8) == (module == "latent_module")
        for i in state.numbers(f"{module}."):
            name = f"{module}.{i}"
            if f"{name}.conv_in.weight" in state:
                x = state.block(name, x)
            elif f"{name}.downsample.1.weight" in state:
                x = state.conv(f"{name}.downsample.1", functional.pixel_unshuffle(x, 2))
            elif f"{name}.res_block.0.weight" in state:
                inner = functional.leaky_relu(state.conv(f"{name}.res_block.0", x), 0.1)
                x = x + state.conv(f"{name}.res_block.2", inner)
            else:
                x = functional.pixel_unshuffle(x, 2) if shrinks else functional.pixel_shuffle(x, 2)
        return x

    def _coupled(self, name: str, x: Tensor) -> Tensor:
        y = x[:, :1] + self.rescaling.dense(f"{name}.F", x[:, 1:])
        return torch.cat([y, x[:, 1:] * self._stretch(name, y) + self.rescaling.dense(f"{name}.G", y)], 1)

    def _uncoupled(self, name: str, x: Tensor) -> Tensor:
        rest = (x[:, 1:] - self.rescaling.dense(f"{name}.G", x[:, :1])) / self._stretch(name, x[:, :1])
        return torch.cat([x[:, :1] - self.rescaling.dense(f"{name}.F", rest), rest], 1)

    def _stretch(self, name: str, x: Tensor) -> Tensor:
        return torch.exp(2 * torch.sigmoid(self.rescaling.dense(f"{name}.H", x)) - 1)

    def _denoised(self, c: Tensor) -> Tensor:
        """Return clean scaled latents: in one piece, or in squares that are weighted by where they are."""
        height, width = c.shape[-2:]
        if height * width <= self.tile**2:
            return self._clean(c)
        side = min(self.tile, height, width)
        weights = _weights(side)
        total, weight = torch.zeros_like(c, dtype=torch.float64), torch.zeros_like(c, dtype=torch.float64)
        for left in _offsets(width, side, self.overlap):
            for top in _offsets(height, side, self.overlap):
                rows, columns = slice(top, top + side), slice(left, left + side)
                total[..., rows, columns] += weights * self._clean(c[..., rows, columns])
                weight[..., rows, columns] += weights
        return (total / weight).float()

    def _clean(self, c: Tensor) -> Tensor:
        t = self._timestep(c)
        self.timesteps.append(float(t))
        e = self.unet(c, t, encoder_hidden_states=self.state["prompt"][None]).sample
        signal, noise = 0.97548790, 0.22005306
        fixed = signal * c - noise * e if self.prediction == "v" else (c - noise * e) / signal
        return fixed + self._learned(c, e, t)

    def _timestep(self, c: Tensor) -> Tensor:
        state = self.state.under("timestep.")
        x = state.block("noise_esti.0", c)
        for i in state.numbers("noise_esti.")[1:]:
            x = state.plain(f"noise_esti.{i}", x)
        x = torch.cat([x.mean((-2, -1)), x.std((-2, -1), correction=1)], 1)
        for i in (0, 2, 4, 6):
            x = state.linear(f"time_predict.fuse_mlp.{i}", x).relu()
        x = state.linear("time_predict.fuse_mlp.9", state.linear("time_predict.fuse_mlp.8", x))
        return torch.sigmoid(x)[:, 0] * 190 + 10

    def _learned(self, c: Tensor, e: Tensor, t: Tensor) -> Tensor:
        state = self.state.under("scheduler.")
        half = state["time_embedding.linear_1.weight"].shape[1] // 2
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / (half - 1))
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        inner = functional.silu(state.linear("time_embedding.linear_1", waves))
        embedding = state.linear("time_embedding.linear_2", inner)[:, :, None, None]
        x = state.block("resnet_blocks.0", torch.cat([c, e], 1))
        for i in state.numbers("resnet_blocks.")[1:]:
            x = state.plain(f"resnet_blocks.{i}", x) + embedding
        return state.block("zero_conv_out", x)


class Described:
    """FaithEIR as its paper describes it, smaller than a tile."""

    def __init__(self, state: dict[str, Tensor], config: Any) -> None:
        self.state, self.factor = State(state), config.scale // 8
        self.vae, self.unet = _diffusers(self.state, VAE, UNET)
        self.timesteps = [999.0]

    def down(self, x: Tensor, posterior_noise: Tensor, quantisation_noise: Tensor) -> Tensor:
        z = functional.pixel_unshuffle(_encoded(self.vae, x, posterior_noise), self.factor)
        y = torch.einsum("ij,bjhw->bihw", self.state["reversible.transform.weight"], z)
        for i in range(3):
            e, f, g, h = (f"reversible.blocks.{i}.{name}" for name in "EFGH")
            first = y[:, :3] + self.state.dense(e, y[:, 3:]) - self.state.dense(f, y[:, 3:])
            stretch = torch.exp(2 * torch.sigmoid(self.state.dense(h, first)) - 1)
            y = torch.cat([first, y[:, 3:] * stretch + self.state.dense(g, first)], 1)
        return _quantised(y[:, :3], quantisation_noise)

    def up(self, y: Tensor, height: int, width: int) -> Tensor:
        tokens = self.state.linear("semantics.layers.0", y.permute(0, 2, 3, 1).reshape(1, -1, 3)).relu()
        tokens = self.state.linear("semantics.layers.2", tokens)
        x = torch.cat([y, self.state["reversible.detail.prior"]], 1)
        for i in reversed(range(3)):
            e, f, g, h = (f"reversible.blocks.{i}.{name}" for name in "EFGH")
            stretch = torch.exp(2 * torch.sigmoid(self.state.dense(h, x[:, :3])) - 1)
            rest = (x[:, 3:] - self.state.dense(g, x[:, :3])) / stretch
            x = torch.cat([x[:, :3] + self.state.dense(f, rest) - self.state.dense(e, rest), rest], 1)
        z = torch.einsum("ij,bihw->bjhw", self.state["reversible.transform.weight"], x)
        c = functional.pixel_shuffle(z, self.factor)
        e = self.unet(c, torch.tensor(self.timesteps), encoder_hidden_states=tokens).sample
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        kept = float((1 - betas).prod())
        assert kept == pytest.approx(0.00466010, abs=1e-8)
        clean = (c - math.sqrt(1 - kept) * e) / math.sqrt(kept)
        return self.vae.decode(clean / SCALING).sample.clamp(-1, 1)[:, :, :height, :width]


class SplitEncoder:
    """Diffusers' encoder on pieces: a norm's mean and variance are averages of the pieces' own, weighted by pixels."""

    def __init__(self, vae: Any, side: int = 1024, margin: int = 32) -> None:
        self.vae, self.side, self.margin = vae, side, margin

    def __call__(self, x: Tensor) -> Tensor:
        rows, columns = self._spans(x.shape[-2]), self._spans(x.shape[-1])
        pieces = [x[..., row[0] : row[1], column[0] : column[1]] for row in rows for column in columns]
        spans = [(row, column) for row in rows for column in columns]
        z = torch.zeros(1, 8, x.shape[-2] // 8, x.shape[-1] // 8)
        for piece, (row, column) in zip(self._moments(pieces), spans, strict=True):
            (top, _, inner_top, bottom), (left, _, inner_left, right) = (
                [at // 8 for at in one] for one in (row, column)
            )
            kept = piece[..., inner_top - top : bottom - top, inner_left - left : right - left]
            z[..., inner_top:bottom, inner_left:right] = kept
        return z

    def _spans(self, length: int) -> list[tuple[int, int, int, int]]:
        """Return what pieces see, from and to, and what is kept of each, from and to."""
        margin, number = self.margin, max(1, math.ceil((length - 2 * self.margin) / self.side))
        step = self._rounded(math.ceil((length - 2 * margin) / number))
        cuts = [(margin + i * step, min(margin + (i + 1) * step, length)) for i in range(number)]
        return [
            (
                max(0, start - margin),
                min(length, stop + margin),
                start if start > margin else 0,
                stop if stop < length - margin else length,
            )
            for start, stop in cuts
        ]

    def _rounded(self, step: int) -> int:
        for unit in (32, 16, 8, 4, 2):
            if math.ceil(step / unit) * unit <= self.side:
                return math.ceil(step / unit) * unit
        return step

    def _moments(self, x: list[Tensor]) -> list[Tensor]:
        encoder = self.vae.encoder
        x = [encoder.conv_in(one) for one in x]
        for block in encoder.down_blocks:
            for residual in block.resnets:
                x = self._residual(residual, x)
            for halving in block.downsamplers or ():
                x = [halving(one) for one in x]
        x = self._residual(encoder.mid_block.resnets[0], x)
        x = self._attended(encoder.mid_block.attentions[0], x)
        x = self._residual(encoder.mid_block.resnets[1], x)
        return [encoder.conv_out(functional.silu(one)) for one in self._normed(encoder.conv_norm_out, x)]

    def _residual(self, block: Any, x: list[Tensor]) -> list[Tensor]:
        inner = [block.conv1(functional.silu(one)) for one in self._normed(block.norm1, x)]
        inner = [block.conv2(functional.silu(one)) for one in self._normed(block.norm2, inner)]
        kept = x if block.conv_shortcut is None else [block.conv_shortcut(one) for one in x]
        return [one + other for one, other in zip(kept, inner, strict=True)]

    def _attended(self, attention: Any, x: list[Tensor]) -> list[Tensor]:
        """Each piece attends to itself alone, with one head."""
        attended = []
        for one, normed in zip(x, self._normed(attention.group_norm, x), strict=True):
            flat = normed.flatten(2).transpose(1, 2)
            query, key, value = attention.to_q(flat), attention.to_k(flat), attention.to_v(flat)
            weights = (query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1)
            attended.append(one + attention.to_out[0](weights @ value).transpose(1, 2).reshape(one.shape))
        return attended

    def _normed(self, norm: Any, x: list[Tensor]) -> list[Tensor]:
        shares = torch.tensor([one.shape[-2] * one.shape[-1] for one in x], dtype=torch.float32)
        shares = (shares / shares.sum())[:, None]
        grouped = [one.reshape(norm.num_groups, -1) for one in x]
        mean = (shares * torch.stack([one.mean(1) for one in grouped])).sum(0)[:, None]
        variance = (shares * torch.stack([one.var(1, correction=0) for one in grouped])).sum(0)[:, None]
        scaled = [
            ((one - mean) / (variance + 1e-6).sqrt()).reshape(like.shape) for one, like in zip(grouped, x, strict=True)
        ]
        return [one * norm.weight[:, None, None] + norm.bias[:, None, None] for one in scaled]


def _diffusers(state: State, vae: dict[str, Any], unet: dict[str, Any]) -> tuple[Any, Any]:
    with torch.device("meta"):
        modules = AutoencoderKL(**vae).eval(), UNet2DConditionModel(**unet).eval()
    for module, prefix in zip(modules, ("vae.", "unet."), strict=True):
        module.load_state_dict(state.under(prefix), assign=True)
    return modules


def padded(x: Tensor) -> Tensor:
    bottom, right = (-side % 64 for side in x.shape[-2:])
    return functional.pad(x, (0, right, 0, bottom), mode="reflect")


def _encoded(vae: Any, x: Tensor, noise: Tensor) -> Tensor:
    """Return a sample of scaled latents; large images go through the encoder in pieces."""
    if max(x.shape[-2:]) <= 1024 + 2 * 32:
        posterior = vae.encode(x).latent_dist
        mean, deviation = posterior.mean, posterior.std
    else:
        mean, logarithm = vae.quant_conv(SplitEncoder(vae)(x)).chunk(2, 1)
        deviation = torch.exp(0.5 * logarithm.clamp(-30, 20))
    return (mean + deviation * noise) * SCALING


def _quantised(y: Tensor, noise: Tensor) -> Tensor:
    return (((y + 1) / 2 * 255 + noise).clamp(0, 255) / 255 - 0.5) / 0.5


def _offsets(length: int, side: int, overlap: int) -> Iterator[int]:
    for i in count():
        start = i * (side - overlap)
        if start + side >= length:
            yield length - side
            return
        yield start


def _weights(side: int) -> Tensor:
    """Gaussians, of which the one down the rows has its middle half a latent further."""
    at = torch.arange(side, dtype=torch.float64)
    across, along = (
        torch.exp(-((at - middle) ** 2) / (side**2 * 2 * 0.01)) / math.sqrt(2 * math.pi * 0.01)
        for middle in ((side - 1) / 2, side / 2)
    )
    return along[:, None] * across
