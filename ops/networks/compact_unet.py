"""A small U-Net of our own, for `nano`: convolutions alone, told the time-step by a scale and a shift per block."""

from itertools import pairwise

import torch
from msgspec import Struct
from torch import Tensor, nn
from torch.nn.functional import silu

from ops.networks.blocks import convolution, damped, zeroed
from ops.networks.compact_vae import Grown, Shrunk
from ops.networks.scheduler import sinusoid


class CompactUnetShape(Struct, frozen=True, kw_only=True):
    """Channels and blocks of each level, the first of the latents' own size, each next of half its sides."""

    channels: tuple[int, ...] = (96, 168, 192)
    blocks: tuple[int, ...] = (1, 2, 2)
    time_width: int = 64
    latent_channels: int = 16

    @property
    def block(self) -> int:
        """What sides of a latent must be multiples of, for halving and doubling to meet."""
        return 2 ** (len(self.channels) - 1)

    @property
    def cross_width(self) -> int:
        """It attends to no tokens."""
        return 0


class CompactUnet(nn.Module):
    """Latents (b, c, h, w) and time-steps (b,) to what is predicted of them, of the same shape."""

    def __init__(self, shape: CompactUnetShape) -> None:
        super().__init__()
        self.shape = shape
        widths, width = shape.channels, shape.time_width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.inlet = convolution(shape.latent_channels, widths[0])
        self.down = nn.ModuleList(self._level(at) for at in range(len(widths)))
        self.shrink = nn.ModuleList(Shrunk(a, b) for a, b in pairwise(widths))
        self.grow = nn.ModuleList(Grown(b, a) for a, b in pairwise(widths))
        self.join = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a in widths[:-1])
        self.up = nn.ModuleList(self._level(at) for at in range(len(widths) - 1))
        self.outlet = convolution(widths[0], shape.latent_channels)
        zeroed(self.outlet)

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision that it runs in."""
        return self.inlet.weight.dtype

    @property
    def alive(self) -> int:
        """Numbers alive at once for each place of a latent: what is kept for the way up, and a block's own."""
        return 6 * self.shape.channels[0]

    def forward(self, c: Tensor, t: Tensor) -> Tensor:
        time = self.time(sinusoid(t, self.shape.time_width).to(c.dtype))
        x, kept = self.inlet(c), []
        for at, level in enumerate(self.down):
            x = self.shrink[at - 1](x) if at else x
            x = _through(level, x, time)
            kept.append(x)
        for at in reversed(range(len(self.up))):
            x = self.join[at](torch.cat([kept[at], self.grow[at](x)], dim=1))
            x = _through(self.up[at], x, time)
        return self.outlet(silu(x))

    def _level(self, at: int) -> nn.ModuleList:
        width = self.shape.channels[at]
        return nn.ModuleList(TimedBlock(width, self.shape.time_width) for _ in range(self.shape.blocks[at]))


class TimedBlock(nn.Module):
    """The input plus two convolutions of it, between which the time-step scales and shifts each channel."""

    def __init__(self, channels: int, time_width: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels, channels)
        self.conv2 = convolution(channels, channels)
        self.told = nn.Linear(time_width, 2 * channels)
        damped(self.conv2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.told(time)[:, :, None, None].chunk(2, dim=1)
        return x + self.conv2(silu(self.conv1(silu(x)) * (1 + scale) + shift))


def _through(blocks: nn.Module, x: Tensor, time: Tensor) -> Tensor:
    for block in blocks.children():
        x = block(x, time)
    return x
