"""TADM's decoupled feature rescaling: image and latent down to a thumbnail, and a thumbnail back to a latent.

Wang et al., ICCV 2025; equations are those of OSIRDiff, its second preprint. Names of children are those of the
published checkpoints. All is float32.
"""

import math
from typing import Literal

import torch
from msgspec import Struct
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from ops.networks.blocks import ConvBlock, Downsample, ResidualBlock, zeroed
from ops.networks.coupling import CouplingBlock

COLOURS = 3
# Pixels per latent and side of Stable Diffusion's autoencoder, for which the branches are made.
FACTOR = 8
HALVINGS = {4: -1, 8: 0, 16: 1, 32: 2}


class RescalingShape(Struct, frozen=True, kw_only=True):
    """What decides the modules of a rescaling; the defaults are the published ones.

    `latent_factor` is how many pixels, per side, a latent stands for. At 1, with three `latent_channels`, the latent
    is the image itself: rescaling in pixel space, an ablation (table 2), for which its squares of 8x8 pixels are
    folded into channels; the published branches do the rest. `guidance`: whether the image guides the thumbnail
    beside the latent. `invertible`: whether coupling blocks lie between fused features and thumbnail. Of `nano`, not
    published: without `leaky_ends` both branches end in plain convolutions; with `means`, what is fused is added to the
    means of the image's squares, so that an untrained thumbnail is a small picture already.
    """

    scale: Literal[4, 8, 16, 32]
    latent_channels: int = 4
    latent_factor: int = 8
    guide: int = 16
    width: int = 128
    blocks: int = 8
    couplings: int = 12
    growth: int = 32
    guidance: bool = True
    invertible: bool = True
    leaky_ends: bool = True
    means: bool = False

    @property
    def halvings(self) -> int:
        """How often the latent is halved down to the thumbnail; -1 for a thumbnail of twice its sides."""
        if self.scale not in HALVINGS:
            raise ValueError(f"there is no rescaling by {self.scale}: use 4, 8, 16 or 32")
        shrinks = 4 ** max(1, HALVINGS[self.scale])
        if self.width % shrinks:
            raise ValueError(
                f"a width of {self.width} is no multiple of {shrinks}, as scale {self.scale} needs: use one"
            )
        return HALVINGS[self.scale]

    @property
    def fold(self) -> int:
        """How many latents per side are folded into channels, so that a place stands for 8x8 pixels."""
        fold, left = divmod(FACTOR, self.latent_factor)
        if left:
            raise ValueError(f"{self.latent_factor} pixels per latent do not divide {FACTOR}: use {FACTOR} or 1")
        return fold

    @property
    def places(self) -> int:
        """Channels of a latent once folded."""
        return self.latent_channels * self.fold**2


class FeatureRescaling(nn.Module):
    """The module of one scale. Latents are as the autoencoder gives them, not multiplied by 0.18215.

    Height and width of images are multiples of 8 and of the scale.
    """

    def __init__(self, shape: RescalingShape) -> None:
        super().__init__()
        self.shape = shape
        if shape.guidance:
            self.down_module = _guidance(shape)
        self.latent_module = _to_features(shape)
        self.fusing_module = _fusion(shape)
        self.final_module = _to_latents(shape)
        if shape.invertible:
            self.inv_module = nn.ModuleList(CouplingBlock(COLOURS, 1, shape.growth) for _ in range(shape.couplings))

    def guide(self, x: Tensor) -> Tensor:
        """Return the pixel guidance (b, guide, h / scale, w / scale) of images (b, 3, h, w) from -1 to 1.

        With `means`, three more channels: the means of squares.
        """
        guide = self.down_module(x)
        return torch.cat([guide, avg_pool2d(x, self.shape.scale)], dim=1) if self.shape.means else guide

    def down(self, x: Tensor, z: Tensor) -> Tensor:
        """Return thumbnails (b, 3, h / scale, w / scale), nominally from -1 to 1 and unquantised (equation 4)."""
        return self.down_from(self.guide(x) if self.shape.guidance else None, z)

    def down_from(self, guide: Tensor | None, z: Tensor) -> Tensor:
        """Return thumbnails of latents (b, c, h, w) and their images' guidance, which is None without it."""
        return self.coupled(self.fused(guide, z))

    def fused(self, guide: Tensor | None, z: Tensor) -> Tensor:
        """Return the features (b, 3, h, w) of both branches, which couplings make a thumbnail of, in float32."""
        if (guide is not None) != self.shape.guidance:
            raise ValueError(f"guidance is {self.shape.guidance} in this module: pass {_wanted(self.shape)}")
        features = self.latent_module(pixel_unshuffle(z, self.shape.fold))
        y = self._fused(guide, features)
        return y.to(torch.promote_types(y.dtype, torch.float32))

    def coupled(self, y: Tensor) -> Tensor:
        """Return thumbnails of fused features."""
        with torch.autocast(y.device.type, enabled=False):  # an 8-bit level is finer than bfloat16
            for block in self.couplings():
                y = block(y)
        return y

    def up(self, y: Tensor) -> Tensor:
        """Return latents (b, c, h, w) of thumbnails (b, 3, h, w) from -1 to 1 (equation 5)."""
        with torch.autocast(y.device.type, enabled=False):
            for block in reversed(self.couplings()):
                y = block.inverse(y)
        return self.unfused(y)

    def unfused(self, y: Tensor) -> Tensor:
        """Return latents of fused features."""
        return pixel_shuffle(self.final_module(y), self.shape.fold)

    def _fused(self, guide: Tensor | None, features: Tensor) -> Tensor:
        if guide is None:
            return self.fusing_module(features)
        y = self.fusing_module(torch.cat([guide[:, : self.shape.guide], features], dim=1))
        return y + guide[:, self.shape.guide :] if self.shape.means else y

    def couplings(self) -> list[CouplingBlock]:
        """Return the coupling blocks, in their order downwards."""
        return list(self.inv_module) if self.shape.invertible else []  # pyright: ignore[reportReturnType]


def _wanted(shape: RescalingShape) -> str:
    return "what guide() returns" if shape.guidance else "None"


def _guidance(shape: RescalingShape) -> nn.Sequential:
    """Return the branch from pixels: halved until the thumbnail's size, the channels doubled each time."""
    width = shape.guide
    layers: list[nn.Module] = [ConvBlock(COLOURS, width)]
    for _ in range(int(math.log2(shape.scale))):
        layers += [Downsample(width), ResidualBlock(2 * width)]
        width *= 2
    return nn.Sequential(*layers, ConvBlock(width, shape.guide))


def _to_features(shape: RescalingShape) -> nn.Sequential:
    """Return the branch from folded latents to as many places as the thumbnail has."""
    width = shape.width
    layers = _widened(shape.places, shape)
    if shape.halvings < 0:
        layers += [nn.PixelShuffle(2), ConvBlock(width // 4, width)]
    if shape.halvings == 0:
        layers += [ConvBlock(width, width)]
    for _ in range(shape.halvings):
        layers += [nn.PixelUnshuffle(2), ConvBlock(4 * width, width)]
    return nn.Sequential(*layers)


def _fusion(shape: RescalingShape) -> nn.Sequential:
    """Return the layers from both branches, pixels' first, to the three channels that become the thumbnail."""
    channels = shape.width + (shape.guide if shape.guidance else 0)
    blocks = [ResidualBlock(channels) for _ in range(shape.blocks)]
    last = ConvBlock(channels, COLOURS, leaky=shape.leaky_ends)
    if shape.means:
        zeroed(last.conv_in)
    return nn.Sequential(*blocks, last)


def _to_latents(shape: RescalingShape) -> nn.Sequential:
    """Return the branch from the thumbnail's three channels to folded latents; its end is leaky, too, as published."""
    width = shape.width
    layers = _widened(COLOURS, shape)
    if shape.halvings < 0:
        layers += [nn.PixelUnshuffle(2)]
        width *= 4
    for at in range(shape.halvings):
        width //= 4
        layers += [nn.PixelShuffle(2)] if at == 0 else [ConvBlock(4 * width, 4 * width), nn.PixelShuffle(2)]
    return nn.Sequential(*layers, ConvBlock(width, shape.places, leaky=shape.leaky_ends))


def _widened(inputs: int, shape: RescalingShape) -> list[nn.Module]:
    return [ConvBlock(inputs, shape.width), *(ResidualBlock(shape.width) for _ in range(shape.blocks))]
