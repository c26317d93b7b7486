"""TADM: latents rescaled through a decoupled module, then one step of Stable Diffusion at a predicted time-step.

Wang et al., Timestep-Aware Diffusion Model for Extreme Image Rescaling, ICCV 2025; OSIRDiff is its second preprint.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from msgspec import Struct
from torch import Tensor

from ops.networks.latent_networks import AnyUnetShape, AnyVaeShape, build_unet, build_vae, predict
from ops.networks.rescaling import FeatureRescaling, RescalingShape
from ops.networks.scheduler import LearnedScheduler, clean_latent
from ops.networks.timestep import TimestepPrediction
from ops.rescalers import bands
from ops.rescalers.growing import Growing
from ops.rescalers.passes import Passes
from ops.rescalers.system import System, TileFact

TOKENS = 77

Prediction: TypeAlias = Literal["epsilon", "v"]
Step: TypeAlias = Literal["predicted"] | int


class TadmShape(Struct, frozen=True, kw_only=True):
    """Widths of the networks. Without `unet` there is no diffusion prior: what was rescaled is decoded as it is."""

    rescaling: RescalingShape
    vae: AnyVaeShape
    unet: AnyUnetShape | None
    timesteps: tuple[float, float] = (10.0, 200.0)
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

    # The empty prompt's embedding, of which U-Nets that attend to no text have none.
    prompt: Tensor | None

    def __init__(self, shape: TadmShape, passes: Passes, rules: TadmRules) -> None:
        super().__init__(shape.rescaling.scale, passes, shape.vae)
        self.rules = rules
        self.in_pixels = shape.rescaling.latent_factor == 1
        self.denoises = shape.unet is not None
        self.rescaling = FeatureRescaling(shape.rescaling)
        if self.denoises or not self.in_pixels:
            self.vae = build_vae(shape.vae)
        if shape.unet is not None:
            self.unet = build_unet(shape.unet)
            self.timestep = _timestep_prediction(shape)
            channels = shape.vae.latent_channels
            self.scheduler = LearnedScheduler(channels, shape.scheduler_width, shape.scheduler_blocks)
            words = shape.unet.cross_width
            self.register_buffer("prompt", torch.randn(TOKENS, words) if words else None)

    def encoded(self, x: Tensor, posterior_noise: Tensor | None = None) -> Tensor:
        return x.to(self.device) if self.in_pixels else super().encoded(x, posterior_noise)

    @torch.inference_mode()
    def up_all(self, growing: Sequence[Growing]) -> list[Tensor]:
        """Return the images of thumbnails; in pixel space without a diffusion prior they need no decoding."""
        if self.denoises or not self.in_pixels:
            return super().up_all(growing)
        return [_cropped(bands.up(self.rescaling, self.padded(one.y, one.height, one.width)), one) for one in growing]

    def shrink(self, x: Tensor, z: Tensor) -> Tensor:
        return bands.down(self.rescaling, x, z)

    def grow(self, y: Tensor) -> Tensor:
        z = bands.up(self.rescaling, y)
        if self.in_pixels and self.denoises:
            z = self._encoded(z.clamp(-1, 1), None)
        return z * self.scaling

    def denoise(self, c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return z0 of equation 12: the fixed step from t0, and the learned scheduler's correction.

        At a fixed time-step (OSIRDiff's section 4.3.4) that of equation 9 alone: neither prediction nor correction.
        """
        del y
        t = self.timesteps(c)
        tokens = None if self.prompt is None else self.prompt[None].to(self.unet.dtype)
        e = predict(self.unet_for(c), c.to(self.unet.dtype), t, tokens).to(torch.float32)
        if self.rules.timestep != "predicted":
            return clean_latent(c, e, self.rules.timestep, self.rules.prediction), t
        fixed = clean_latent(c, e, self.rules.fixed_step, self.rules.prediction)
        return fixed + self.scheduler(c, e, t), t

    def timesteps(self, c: Tensor) -> Tensor:
        """Return the time-step (b,) that each tile of scaled latents calls for, from 10 to 200, or the fixed one."""
        if self.rules.timestep != "predicted":
            return torch.full((c.shape[0],), float(self.rules.timestep), device=c.device)
        return self.timestep(c if self.rules.timestep_input == "scaled" else c / self.scaling)

    @torch.inference_mode()
    def facts(self, z: Tensor, y: Tensor) -> list[TileFact]:
        if not self.denoises or self.in_pixels:
            return []
        c = self.grow(y)
        error = (c - z * self.scaling) ** 2
        return [
            TileFact(tile, float(self.timesteps(tile.of(c))), float(tile.of(error).mean().sqrt()))
            for tile in self.tiles(c.shape[2], c.shape[3]).tiles()
        ]


def _timestep_prediction(shape: TadmShape) -> TimestepPrediction:
    lowest, highest = shape.timesteps
    return TimestepPrediction(
        shape.vae.latent_channels,
        shape.timestep_width,
        shape.timestep_blocks,
        shape.timestep_hidden,
        lowest=lowest,
        highest=highest,
    )


def _cropped(x: Tensor, one: Growing) -> Tensor:
    top, left, bottom, right = one.region or (0, 0, one.height, one.width)
    return x[:, :, top:bottom, left:right].clamp(-1, 1)
