"""What systems in the latents of an autoencoder share: encode, shrink, quantise; grow, denoise tile by tile, decode."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ops.networks.latent_networks import AnyVae, AnyVaeShape, encode_moments
from ops.networks.vae_split import encode_split
from ops.rescalers.geometry import BLOCK, FACTOR, whole
from ops.rescalers.growing import Growing, Plane, denoise_all
from ops.rescalers.levels import quantised
from ops.rescalers.padding import reflected
from ops.rescalers.passes import Passes
from ops.rescalers.tiles import Grid, Merged, Region, Tile, even_grid, fading, grid, official_grid


class TileFact(NamedTuple):
    """What is known of a tile: its predicted time-step, and the root mean square error of its latents, scaled."""

    tile: Tile
    timestep: float
    error: float


class System(nn.Module):
    """Networks over one autoencoder. A system says how latents shrink to a thumbnail and grow, how a tile is denoised.

    Latents z are as the autoencoder gives them; c = 0.18215 z is what a U-Net sees (Rombach et al. 2022).
    """

    vae: AnyVae
    # A system without a diffusion model decodes c as it is.
    denoises: bool = True
    # Whether tiles go through the U-Net in batches of one size, as suits an accelerator; on processors each goes alone.
    batched: bool = False
    # The U-Net through torch.compile, in a tuple, so that it is no child of its own.
    compiled: tuple[Callable[..., Any], ...] = ()

    def __init__(self, scale: int, passes: Passes, latents: AnyVaeShape) -> None:
        super().__init__()
        self.scaling, self.latent_channels = latents.scaling, latents.latent_channels
        self.scale, self.passes = scale, passes

    def shrink(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the thumbnail, float and not yet quantised, of a padded image and its latents."""
        raise NotImplementedError(f"{type(self).__name__} must say how latents shrink to a thumbnail")

    def grow(self, y: Tensor) -> Tensor:
        """Return scaled latents c of a padded thumbnail."""
        raise NotImplementedError(f"{type(self).__name__} must say how a thumbnail grows to latents")

    def denoise(self, c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return clean scaled latents and time-steps (b,) of tiles c (b, 4, h, w) and their parts of the thumbnail."""
        raise NotImplementedError(f"{type(self).__name__} must say how a tile is denoised, or that it never is")

    @property
    def device(self) -> torch.device:
        """Return where the networks are."""
        return next(self.parameters()).device

    @torch.inference_mode()
    def down(
        self, x: Tensor, posterior_noise: Tensor | None = None, quantisation_noise: Tensor | None = None
    ) -> Tensor:
        """Return the thumbnail (1, 3, h / scale, w / scale) of x (1, 3, h, w), from -1 to 1, both padded to 64 pixels.

        Noise is needed where `posterior` is `sample` (normal, of the padded image's latents) and where `quantiser` is
        `noise` (uniform from -0.5 to 0.5, of the thumbnail's shape). This is the published forward pass.
        """
        y, _ = self.shrunk(x, posterior_noise)
        return quantised(y, self.passes.quantiser, quantisation_noise)

    @torch.inference_mode()
    def up(self, y: Tensor, height: int, width: int, region: Region | None = None) -> Tensor:
        """Return the image (1, 3, height, width) of a thumbnail, or the crop of a region, from -1 to 1."""
        return self.up_all([Growing(y, height, width, region)])[0]

    @torch.inference_mode()
    def up_all(self, growing: Sequence[Growing]) -> list[Tensor]:
        """Return the images of thumbnails, whose tiles share passes through the U-Net."""
        planes = [Plane(self, one) for one in growing]
        denoise_all(self, planes)
        return [plane.decoded() for plane in planes]

    @torch.inference_mode()
    def shrunk(self, x: Tensor, posterior_noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the unquantised thumbnail and the latents of an image, which is padded by reflection."""
        x = reflected(x, whole(x.shape[2]), whole(x.shape[3]))
        z = self.encoded(x, posterior_noise)
        return self.shrink(x, z), z

    @torch.inference_mode()
    def encoded(self, x: Tensor, posterior_noise: Tensor | None = None) -> Tensor:
        """Return latents (1, 4, h / 8, w / 8), float32, of a padded image, cell by cell where it is larger than one."""
        if self.passes.posterior == "mode":
            return self._encoded(x, None)
        if posterior_noise is None:
            raise ValueError("posterior sample: pass the noise, normal, of the shape of the padded image's latents")
        return self._encoded(x, posterior_noise)

    @torch.inference_mode()
    def facts(self, z: Tensor, y: Tensor) -> list[TileFact]:
        """Return what is known of each tile of the U-Net: nothing, for a system that predicts no time-steps."""
        del z, y
        return []

    def unet_for(self, c: Tensor) -> Any:
        """Return what runs over tiles: compiled, where it is, for whole tiles alone.

        Compiling for each shape ends at a number of them, so that bytes would hang on which images came first.
        """
        whole_tile = c.shape[2] == c.shape[3] == self.passes.tile
        return self.compiled[0] if self.compiled and whole_tile else self.get_submodule("unet")

    def cells(self, height: int, width: int) -> Grid:
        """Return the cells of a plane of latents: a cell is encoded or decoded as a whole image is."""
        cell, overlap = self.passes.cell // FACTOR, self.passes.cell_overlap // FACTOR
        return even_grid(height, width, cell, overlap, BLOCK // FACTOR)

    def tiles(self, height: int, width: int) -> Grid:
        """Return the U-Net's tiles of a plane of latents."""
        lay = official_grid if self.passes.tiling == "official" else grid
        return lay(height, width, self.passes.tile, self.passes.overlap)

    def padded(self, y: Tensor, height: int, width: int) -> Tensor:
        """Return the thumbnail of an image of height x width with the border that it was cut off, mirrored anew."""
        return reflected(y.to(self.device), whole(height) // self.scale, whole(width) // self.scale)

    def cast(self, x: Tensor) -> Tensor:
        """Return a tensor where the autoencoder is, in its precision."""
        return x.to(self.device, next(self.vae.parameters()).dtype)

    def _encoded(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Return the posterior's mean, or with noise a draw."""
        if self.passes.encoding == "split-1024":
            return _drawn(encode_split(cast("Any", self.vae), self.cast(x)), noise)
        cells = self.cells(x.shape[2] // FACTOR, x.shape[3] // FACTOR)
        region = Region(0, 0, cells.height, cells.width)
        merged = Merged(self.latent_channels, region, cells, fading(self.passes.cell_overlap // FACTOR), self.device)
        for cell in cells.tiles():
            moments = encode_moments(self.vae, self.cast(cell.of(x, FACTOR)))
            merged.add(cell, _drawn(moments, None if noise is None else cell.of(noise)))
        return merged.result()


def _drawn(moments: tuple[Tensor, Tensor], noise: Tensor | None) -> Tensor:
    mean, logvar = (moment.to(torch.float32) for moment in moments)
    return mean if noise is None else mean + torch.exp(0.5 * logvar.clamp(-30, 20)) * noise.to(mean)
