"""Widths of the systems: as published, and small ones of the same classes, on which every law runs in seconds."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ops.networks.compact_unet import CompactUnetShape
from ops.networks.compact_vae import CompactVaeShape
from ops.networks.latent_networks import AnyUnetShape, AnyVaeShape
from ops.networks.rescaling import RescalingShape
from ops.networks.reversible import ReversibleShape
from ops.networks.semantics import SemanticsShape
from ops.networks.stable_diffusion import UnetShape, VaeShape
from ops.rescalers.faitheir import FaithEirShape
from ops.rescalers.tadm import TadmShape

if TYPE_CHECKING:
    from ops.codecs.faitheir import FaithEirConfig
    from ops.codecs.learned import Size
    from ops.codecs.tadm import TadmConfig

SMALL_RESCALING: dict[str, Any] = {"guide": 4, "width": 16, "blocks": 1, "couplings": 2, "growth": 8}
NANO_RESCALING: dict[str, Any] = {
    "guide": 6,
    "width": 96,
    "blocks": 4,
    "couplings": 4,
    "growth": 16,
    "leaky_ends": False,
    "means": True,
}
SMALL_REST: dict[str, Any] = {
    "timestep_width": 8,
    "timestep_blocks": 1,
    "timestep_hidden": 16,
    "scheduler_width": 8,
    "scheduler_blocks": 1,
}
NANO_AT_32: dict[str, Any] = {"guide": 4, "width": 80}
"""At 32x the guide ends eight times as wide again as it begins: 16 MiB in 16 bits are to hold all."""

NANO_REST: dict[str, Any] = {
    "timesteps": (10.0, 600.0),
    "timestep_width": 32,
    "timestep_blocks": 2,
    "timestep_hidden": 128,
    "scheduler_width": 48,
    "scheduler_blocks": 2,
}
"""Latents of so small a rescaling are far from the true ones: up to step 600 of the schedule."""
RESCALING: dict["Size", dict[str, Any]] = {"full": {}, "small": SMALL_RESCALING, "nano": NANO_RESCALING}
REST: dict["Size", dict[str, Any]] = {"full": {}, "small": SMALL_REST, "nano": NANO_REST}
GROWTH: dict["Size", int] = {"full": 32, "small": 8, "nano": 16}


def tadm_shape(config: "TadmConfig") -> TadmShape:
    """Return the widths of TADM for a config."""
    vae = vae_shape(config.size)
    rescaling = RescalingShape(
        scale=config.scale,
        latent_channels=vae.latent_channels,
        guidance=config.guidance,
        invertible=config.invertible,
    )
    if config.space == "pixel":
        rescaling = replace(rescaling, latent_channels=3, latent_factor=1)
    narrower = NANO_AT_32 if (config.size, config.scale) == ("nano", 32) else {}
    shape = TadmShape(
        rescaling=replace(rescaling, **RESCALING[config.size] | narrower),
        vae=vae,
        unet=unet_shape(config.size) if config.diffusion else None,
    )
    return replace(shape, **REST[config.size])


def vae_shape(size: "Size") -> AnyVaeShape:
    """Return the widths of the autoencoder."""
    if size == "nano":
        return CompactVaeShape()
    return VaeShape.small() if size == "small" else VaeShape()


def unet_shape(size: "Size") -> AnyUnetShape:
    """Return the widths of the U-Net."""
    if size == "nano":
        return CompactUnetShape()
    return UnetShape.small() if size == "small" else UnetShape()


def faitheir_shape(config: "FaithEirConfig") -> FaithEirShape:
    """Return the widths of FaithEIR for a config."""
    small = config.size == "small"
    unet, vae = unet_shape(config.size), vae_shape(config.size)
    return FaithEirShape(
        reversible=ReversibleShape(
            scale=config.scale,
            latent_channels=vae.latent_channels,
            transform=config.transform,
            transform_stages=config.transform_stages,
            detail=config.detail,
            detail_size=config.detail_size,
            detail_seed=config.seed,
            growth=GROWTH[config.size],
        ),
        semantics=SemanticsShape(kind=config.semantics, width=unet.cross_width, hidden=(16,) if small else (256, 512)),
        vae=vae,
        unet=unet,
    )
