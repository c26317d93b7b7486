"""TADM: latents rescaled through a decoupled module, then one step of Stable Diffusion at a predicted time-step.

Wang et al., Timestep-Aware Diffusion Model for Extreme Image Rescaling, ICCV 2025; OSIRDiff is its second preprint.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from msgspec import Struct
from torch import Tensor

from ops.networks.rescaling import FeatureRescaling, RescalingShape
from ops.networks.scheduler import LearnedScheduler, clean_latent
from ops.networks.stable_diffusion import SCALING, UnetShape, VaeShape, build_unet, build_vae, predict
from ops.networks.timestep import TimestepPrediction
from ops.rescalers.growing import Growing
from ops.rescalers.passes import Passes
from ops.rescalers.system import System, TileFact

TOKENS = 77
# Rows of the image that the pixel guidance sees at once, halo apart, times its width.
BAND_PIXELS = 1 << 22

Prediction: TypeAlias = Literal["epsilon", "v"]
Step: TypeAlias = Literal["predicted"] | int


class TadmShape(Struct, frozen=True, kw_only=True):
    """Widths of the networks. Without `unet` there is no diffusion prior: what was rescaled is decoded as it is."""

    rescaling: RescalingShape
    vae: VaeShape
    unet: UnetShape | None
    timestep_width: int = 32
    timestep_blocks: int = 6
    timestep_hidden: int = 512
    scheduler_width: int = 64
    scheduler_blocks: int = 6


class TadmRules(Struct, frozen=True, kw_only=True):
    """How the networks are read. `fixed_step` is t0 of equation 12; `timestep` what the U-Net and scheduler are told.

    `timestep_input`: the time-step prediction sees latents times 0.18215 (as in the authors' tests), or as they are.
    """

    prediction: Prediction
    timestep: Step
    timestep_input: Literal["scaled", "unscaled"]
    fixed_step: int


class Tadm(System):
    """The whole system. Its state dict: vae, rescaling, unet, timestep, scheduler, and the empty prompt's embedding.

    In pixel space (an ablation of the paper, table 2) the image itself is rescaled, and encoded on the way back.
    """

    prompt: Tensor

    def __init__(self, shape: TadmShape, passes: Passes, rules: TadmRules) -> None:
        super().__init__(shape.rescaling.scale, passes)
        self._rules = rules
        self.in_pixels = shape.rescaling.latent_factor == 1
        self.denoises = shape.unet is not None
        self.rescaling = FeatureRescaling(shape.rescaling)
        if self.denoises or not self.in_pixels:
            self.vae = build_vae(shape.vae)
        if shape.unet is not None:
            self.unet = build_unet(shape.unet)
            self.timestep = TimestepPrediction(
                width=shape.timestep_width, blocks=shape.timestep_blocks, hidden=shape.timestep_hidden
            )
            self.scheduler = LearnedScheduler(width=shape.scheduler_width, blocks=shape.scheduler_blocks)
            self.register_buffer("prompt", torch.randn(TOKENS, shape.unet.cross_width))

    def encoded(self, x: Tensor, posterior_noise: Tensor | None = None) -> Tensor:
        return x.to(self.device) if self.in_pixels else super().encoded(x, posterior_noise)

    @torch.inference_mode()
    def up_all(self, growing: Sequence[Growing]) -> list[Tensor]:
        """Return the images of thumbnails; in pixel space without a diffusion prior they need no decoding."""
        if self.denoises or not self.in_pixels:
            return super().up_all(growing)
        return [_cropped(self.rescaling.up(self.padded(one.y, one.height, one.width)), one) for one in growing]

    def shrink(self, x: Tensor, z: Tensor) -> Tensor:
        return self.rescaling.down_from(self._guide(x), z)

    def grow(self, y: Tensor) -> Tensor:
        z = self.rescaling.up(y)
        if self.in_pixels and self.denoises:
            z = self._encoded(z.clamp(-1, 1), None)
        return z * SCALING

    def denoise(self, c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return z0 of equation 12: the fixed step from t0, and the learned scheduler's correction.

        At a fixed time-step (OSIRDiff's section 4.3.4) that of equation 9 alone: neither prediction nor correction.
        """
        del y
        t = self.timesteps(c)
        tokens = self.prompt[None].to(self.unet.dtype)
        e = predict(self.unet_for(c), c.to(self.unet.dtype), t, tokens).to(torch.float32)
        if self._rules.timestep != "predicted":
            return clean_latent(c, e, self._rules.timestep, self._rules.prediction), t
        fixed = clean_latent(c, e, self._rules.fixed_step, self._rules.prediction)
        return fixed + self.scheduler(c, e, t), t

    def timesteps(self, c: Tensor) -> Tensor:
        """Return the time-step (b,) that each tile of scaled latents calls for, from 10 to 200, or the fixed one."""
        if self._rules.timestep != "predicted":
            return torch.full((c.shape[0],), float(self._rules.timestep), device=c.device)
        return self.timestep(c if self._rules.timestep_input == "scaled" else c / SCALING)

    @torch.inference_mode()
    def facts(self, z: Tensor, y: Tensor) -> list[TileFact]:
        if not self.denoises or self.in_pixels:
            return []
        c = self.grow(y)
        error = (c - z * SCALING) ** 2
        return [
            TileFact(tile, float(self.timesteps(tile.of(c))), float(tile.of(error).mean().sqrt()))
            for tile in self.tiles(c.shape[2], c.shape[3]).tiles()
        ]

    def _guide(self, x: Tensor) -> Tensor | None:
        """Return the pixel guidance, band after band of rows: convolutions alone, so that a halo makes it exact."""
        if not self.rescaling.shape.guidance:
            return None
        height, width = x.shape[2:]
        halo, scale = self.rescaling.guide_halo, self.scale
        step = max(scale, BAND_PIXELS // width // scale * scale)
        bands = []
        for top in range(0, height, step):
            first, bottom = max(0, top - halo), min(top + step, height)
            guide = self.rescaling.guide(x[:, :, first : min(bottom + halo, height)].to(self.device))
            bands.append(guide[:, :, (top - first) // scale : (bottom - first) // scale])
        return torch.cat(bands, dim=2)


def _cropped(x: Tensor, one: Growing) -> Tensor:
    top, left, bottom, right = one.region or (0, 0, one.height, one.width)
    return x[:, :, top:bottom, left:right].clamp(-1, 1)
