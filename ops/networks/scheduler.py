"""From a prediction of the U-Net to a clean latent: the closed form of one step, and TADM's learned correction.

Equation 12 of OSIRDiff, TADM's second preprint, adds them: the first at a fixed step, the second at the predicted one.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ops.networks.blocks import ConvBlock, PlainBlock, zeroed

Prediction: TypeAlias = Literal["epsilon", "v"]

STEPS = 1000
# Stable Diffusion's schedule, `scaled_linear`.
FIRST_BETA, LAST_BETA = 0.00085, 0.012
LONGEST_PERIOD = 10_000


def alphas_cumprod() -> Tensor:
    """Return the products of 1 - beta up to each step, (1000,), float64, of Stable Diffusion 2 and SD-Turbo.

    They are rounded to float32 on the way, as in diffusers, on whose values the published weights were trained: at
    step 50 exact products would move a clean latent by 2e-6.
    """
    roots = torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, STEPS, dtype=torch.float32, device="cpu")
    return torch.cumprod(1 - roots**2, dim=0).to(torch.float64)


def clean_latent(c: Tensor, e: Tensor, t: int | Tensor, prediction: Prediction) -> Tensor:
    """Return the clean latents of noisy ones c (b, c, h, w), of which a network predicted noise, or velocity, e.

    `t` is one step for all or a tensor (b,), from 0 to 999; between whole steps their products of alphas are
    interpolated. This is what diffusers' DDPMScheduler makes of a single step; newer versions of it refuse 50. Raises
    ValueError for other steps, and other predictions than epsilon and v.
    """
    signal, noise = signal_and_noise(t) if isinstance(t, int) else _of_each(t, c)
    if prediction == "epsilon":
        return (c - noise * e) / signal
    if prediction == "v":
        return signal * c - noise * e
    raise ValueError(f"there is no prediction {prediction!r}: use epsilon or v")


def signal_and_noise(t: float) -> tuple[float, float]:
    """Return by how much a step multiplies the clean latent, and the noise."""
    if not 0 <= t <= STEPS - 1:
        raise ValueError(f"there is no time-step {t}: use 0 to {STEPS - 1}")
    alphas, below = alphas_cumprod(), math.floor(t)
    alpha = float(torch.lerp(alphas[below], alphas[math.ceil(t)], t - below))
    return math.sqrt(alpha), math.sqrt(1 - alpha)


class LearnedScheduler(nn.Module):
    """The correction (b, 4, h, w) of scaled latents c, the U-Net's e and time-steps t (b,); nothing when untrained.

    Names of children are those of the published checkpoints (block `state_dict_refiner`).
    """

    def __init__(self, latent_channels: int = 4, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.time_embedding = _TimeEmbedding(width)
        self.resnet_blocks = nn.ModuleList(
            [ConvBlock(2 * latent_channels, width), *(PlainBlock(width) for _ in range(blocks))]
        )
        # Its leaky ReLU stays, as published.
        self.zero_conv_out = ConvBlock(width, latent_channels)
        zeroed(self.zero_conv_out.conv_in)

    def forward(self, c: Tensor, e: Tensor, t: Tensor) -> Tensor:
        time = self.time_embedding(t)[:, :, None, None]
        first, *others = self.resnet_blocks
        x = first(torch.cat([c, e], dim=1))
        for block in others:
            x = block(x) + time
        return self.zero_conv_out(x)


class _TimeEmbedding(nn.Module):
    """Time-steps (b,) to vectors (b, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        return self.linear_2(silu(self.linear_1(sinusoid(t, self.width))))


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Return sines, then cosines, (b, width), float32, of time-steps (b,), at periods from 2 pi to 10,000 times that.

    In diffusers: Timesteps(width, flip_sin_to_cos=False, downscale_freq_shift=1). Raises ValueError for a width
    that has no two frequencies.
    """
    half, odd = divmod(width, 2)
    if odd or half < 2:
        raise ValueError(f"a time-step has no embedding of {width} channels: use an even number from 4")
    exponents = -math.log(LONGEST_PERIOD) * torch.arange(half, dtype=torch.float32, device=t.device) / (half - 1)
    angles = t.to(torch.float32)[:, None] * torch.exp(exponents)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def _of_each(t: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return signal and noise, (b, 1, 1, 1) each, where c is; in float64 until then."""
    if t.shape != (len(c),):
        raise ValueError(f"time-steps of the shape {tuple(t.shape)} for {len(c)} latents: give one for each")
    pairs = torch.tensor([signal_and_noise(step) for step in t.tolist()], dtype=torch.float64, device="cpu")
    signal, noise = pairs.to(c)[:, :, None, None, None].unbind(1)
    return signal, noise
