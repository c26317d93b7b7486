"""Autoencoders and U-Nets alike, whoever wrote them: Stable Diffusion's through diffusers, and the compact ones."""

from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor

from ops.networks import stable_diffusion, vae_strips
from ops.networks.compact_unet import CompactUnet, CompactUnetShape
from ops.networks.compact_vae import CompactVae, CompactVaeShape
from ops.networks.stable_diffusion import UnetShape, VaeShape

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

AnyVaeShape: TypeAlias = VaeShape | CompactVaeShape
AnyUnetShape: TypeAlias = UnetShape | CompactUnetShape
AnyVae: TypeAlias = "AutoencoderKL | CompactVae"
AnyUnet: TypeAlias = "UNet2DConditionModel | CompactUnet"


def build_vae(shape: AnyVaeShape) -> AnyVae:
    """Return an autoencoder; where torch's default device is `meta`, without memory."""
    return CompactVae(shape) if isinstance(shape, CompactVaeShape) else stable_diffusion.build_vae(shape)


def build_unet(shape: AnyUnetShape) -> AnyUnet:
    """Return a U-Net; where torch's default device is `meta`, without memory."""
    return CompactUnet(shape) if isinstance(shape, CompactUnetShape) else stable_diffusion.build_unet(shape)


def encode_moments(vae: AnyVae, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and log-variance, (1, c, h / 8, w / 8) each, of an image (1, 3, h, w) from -1 to 1."""
    return vae.moments(x) if isinstance(vae, CompactVae) else vae_strips.encode_moments(vae, x)


def decode(vae: AnyVae, z: Tensor) -> Tensor:
    """Return the image (1, 3, 8 h, 8 w), about -1 to 1, of unscaled latents (1, c, h, w)."""
    return vae.decode(z) if isinstance(vae, CompactVae) else vae_strips.decode(vae, z)


def predict(unet: AnyUnet, c: Tensor, t: Tensor, tokens: Tensor | None) -> Tensor:
    """Return what a U-Net predicts for scaled latents c (b, c, h, w) at time-steps t (b,), which are never rounded.

    `tokens` (1 or b, n, cross_width) is what it attends to; a compact one to none. Sides must be multiples of the
    shape's `block`.
    """
    if isinstance(unet, CompactUnet):
        return unet(c, t)
    if tokens is None:
        raise ValueError("this U-Net attends to tokens: give those of the empty prompt")
    return stable_diffusion.predict(unet, c, t, tokens)
