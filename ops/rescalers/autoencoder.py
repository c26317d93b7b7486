"""The autoencoder alone: what is lost where nothing is rescaled, which bounds every codec in its latents."""

import torch
from torch import Tensor

from ops.networks.latent_networks import AnyVaeShape, build_vae
from ops.rescalers.geometry import FACTOR
from ops.rescalers.passes import Passes
from ops.rescalers.system import System


class Autoencoder(System):
    """Encode, decode, nothing between. Its state dict: vae. The latents themselves are what is kept."""

    def __init__(self, shape: AnyVaeShape, passes: Passes) -> None:
        super().__init__(FACTOR, passes, shape)
        self.denoises = False
        self.vae = build_vae(shape)

    def shrink(self, x: Tensor, z: Tensor) -> Tensor:
        """Return means of 8x8 pixels: a picture to look at, not needed on the way back."""
        del z
        return torch.nn.functional.avg_pool2d(x, FACTOR).to(self.device)

    def grow(self, y: Tensor) -> Tensor:
        """Return scaled latents of latents, which here are what grows."""
        return y * self.scaling
