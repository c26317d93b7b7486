"""Widths of the systems: as published, and small ones of the same classes, on which every law runs in seconds."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ops.networks.rescaling import RescalingShape
from ops.networks.reversible import ReversibleShape
from ops.networks.semantics import SemanticsShape
from ops.networks.stable_diffusion import UnetShape, VaeShape
from ops.rescalers.faitheir import FaithEirShape
from ops.rescalers.tadm import TadmShape

if TYPE_CHECKING:
    from ops.codecs.faitheir import FaithEirConfig
    from ops.codecs.tadm import TadmConfig

SMALL_RESCALING: dict[str, int] = {"guide": 4, "width": 16, "blocks": 1, "couplings": 2, "growth": 8}
SMALL_REST: dict[str, int] = {
    "timestep_width": 8,
    "timestep_blocks": 1,
    "timestep_hidden": 16,
    "scheduler_width": 8,
    "scheduler_blocks": 1,
}


def tadm_shape(config: "TadmConfig") -> TadmShape:
    """Return the widths of TADM for a config."""
    small = config.size == "small"
    rescaling = RescalingShape(scale=config.scale, guidance=config.guidance, invertible=config.invertible)
    if config.space == "pixel":
        rescaling = replace(rescaling, latent_channels=3, latent_factor=1)
    shape = TadmShape(
        rescaling=replace(rescaling, **SMALL_RESCALING) if small else rescaling,
        vae=vae_shape(small=small),
        unet=unet_shape(small=small) if config.diffusion else None,
    )
    return replace(shape, **SMALL_REST) if small else shape


def vae_shape(*, small: bool) -> VaeShape:
    """Return the widths of the autoencoder."""
    return VaeShape.small() if small else VaeShape()


def unet_shape(*, small: bool) -> UnetShape:
    """Return the widths of the U-Net."""
    return UnetShape.small() if small else UnetShape()


def faitheir_shape(config: "FaithEirConfig") -> FaithEirShape:
    """Return the widths of FaithEIR for a config."""
    small = config.size == "small"
    unet = unet_shape(small=small)
    return FaithEirShape(
        reversible=ReversibleShape(
            scale=config.scale,
            transform=config.transform,
            transform_stages=config.transform_stages,
            detail=config.detail,
            detail_size=config.detail_size,
            detail_seed=config.seed,
            growth=8 if small else 32,
        ),
        semantics=SemanticsShape(kind=config.semantics, width=unet.cross_width, hidden=(16,) if small else (256, 512)),
        vae=vae_shape(small=small),
        unet=unet,
    )
