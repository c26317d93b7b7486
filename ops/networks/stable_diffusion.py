"""Stable Diffusion's U-Net and autoencoder, through diffusers, built from settings alone: nothing is downloaded."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from torch import Tensor

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

SCALING = 0.18215
"""A U-Net's latents are the autoencoder's times this (Rombach et al. 2022)."""


class UnetShape(Struct, frozen=True, kw_only=True):
    """Widths of a U-Net, those of Stable Diffusion 2.1 and SD-Turbo by default: 865.910724 M parameters.

    `heads` are attention heads per level. All levels but the last attend to tokens of `cross_width`; each halves.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    heads: tuple[int, ...] = (5, 10, 20, 20)
    layers: int = 2
    cross_width: int = 1024
    groups: int = 32
    latent_channels: int = 4

    @classmethod
    def small(cls) -> "UnetShape":
        """Return two levels of a few channels, for tests."""
        return cls(channels=(16, 32), heads=(2, 4), layers=1, cross_width=32, groups=8)

    @property
    def block(self) -> int:
        """What sides of a latent must be multiples of, for halving and doubling to meet."""
        return 2 ** (len(self.channels) - 1)


class VaeShape(Struct, frozen=True, kw_only=True):
    """Widths of an autoencoder, by default Stable Diffusion's: 83.653863 M parameters. All levels but one halve."""

    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    groups: int = 32
    latent_channels: int = 4

    @property
    def scaling(self) -> float:
        """By what a latent is multiplied before the U-Net sees it."""
        return SCALING

    @classmethod
    def small(cls) -> "VaeShape":
        """Return the same levels with a few channels, for tests."""
        return cls(channels=(8, 16, 16, 16), layers=1, groups=4)


def build_unet(shape: UnetShape) -> "UNet2DConditionModel":
    """Return a U-Net; where torch's default device is `meta`, without memory."""
    from diffusers.models.unets import unet_2d_condition  # noqa: PLC0415  seconds, which shapes alone need not wait

    inner = len(shape.channels) - 1
    settings: dict[str, Any] = {
        "in_channels": shape.latent_channels,
        "out_channels": shape.latent_channels,
        "block_out_channels": shape.channels,
        "layers_per_block": shape.layers,
        "attention_head_dim": shape.heads,  # their number: diffusers keeps the name for old files
        "cross_attention_dim": shape.cross_width,
        "use_linear_projection": True,
        "norm_num_groups": shape.groups,
        "down_block_types": ("CrossAttnDownBlock2D",) * inner + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * inner,
    }
    return unet_2d_condition.UNet2DConditionModel(**settings)


def build_vae(shape: VaeShape) -> "AutoencoderKL":
    """Return an autoencoder; where torch's default device is `meta`, without memory."""
    from diffusers.models.autoencoders import autoencoder_kl  # noqa: PLC0415  as above

    levels = len(shape.channels)
    settings: dict[str, Any] = {
        "block_out_channels": shape.channels,
        "layers_per_block": shape.layers,
        "norm_num_groups": shape.groups,
        "latent_channels": shape.latent_channels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "scaling_factor": SCALING,
    }
    return autoencoder_kl.AutoencoderKL(**settings)


def predict(unet: "UNet2DConditionModel", c: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
    """Return what a U-Net predicts for scaled latents c (b, 4, h, w) at time-steps t (b,), which are never rounded.

    `tokens` (1 or b, n, cross_width) is what it attends to. Sides must be multiples of the shape's `block`.
    """
    return unet(c, t, encoder_hidden_states=tokens.expand(c.shape[0], -1, -1), return_dict=False)[0]
