"""FaithEIR: latents through a learned reversible transform, then one step of SD-Turbo told what the thumbnail shows.

Wei et al., Faithful Extreme Image Rescaling with Learnable Reversible Transformation and Semantic Priors,
arXiv 2605.00605. Its code and weights are unreleased: this is built from the paper alone.
"""

import torch
from msgspec import Struct
from torch import Tensor

from ops.networks.latent_networks import AnyUnetShape, AnyVaeShape, build_unet, build_vae, predict
from ops.networks.reversible import ReversibleRescaling, ReversibleShape
from ops.networks.scheduler import clean_latent
from ops.networks.semantics import SemanticsShape, build_semantics
from ops.rescalers.passes import Passes
from ops.rescalers.system import System


class FaithEirShape(Struct, frozen=True, kw_only=True):
    """Widths of the networks."""

    reversible: ReversibleShape
    semantics: SemanticsShape
    vae: AnyVaeShape
    unet: AnyUnetShape


class FaithEir(System):
    """The whole system. Its state dict: vae, reversible, semantics, unet.

    Inferred, since the paper does not say: the reversible part sees latents times 0.18215, as SD-Turbo's relatives do.
    """

    def __init__(self, shape: FaithEirShape, passes: Passes, timestep: int) -> None:
        super().__init__(shape.reversible.scale, passes, shape.vae)
        self._timestep = timestep
        self.vae = build_vae(shape.vae)
        self.reversible = ReversibleRescaling(shape.reversible)
        self.semantics = build_semantics(shape.semantics)
        self.unet = build_unet(shape.unet)

    def shrink(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the first three channels of the reversible part (equation 1)."""
        del x
        return self.reversible.down(z * self.scaling)

    def grow(self, y: Tensor) -> Tensor:
        """Return the noisy latent of equation 2."""
        return self.reversible.up(y)

    def denoise(self, c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean latent of equation 6, at a fixed time-step, told by tokens of the thumbnail."""
        t = torch.full((c.shape[0],), float(self._timestep), device=c.device)
        e = predict(self.unet_for(c), c.to(self.unet.dtype), t, self.semantics(y).to(self.unet.dtype))
        return clean_latent(c, e.to(torch.float32), self._timestep, "epsilon"), t
