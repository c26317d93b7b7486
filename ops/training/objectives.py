"""What each stage trains, and what it weighs: the published stages of TADM, and one before them for small networks."""

import math
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss, mse_loss

from ops.networks.compact_vae import CompactVae
from ops.networks.latent_networks import AnyVae, predict
from ops.networks.scheduler import alphas_cumprod, clean_latent, signal_and_noise
from ops.rescalers.levels import quantised
from ops.rescalers.system import System
from ops.rescalers.tadm import Tadm
from ops.training.draws import generator
from ops.training.image_losses import ImageLosses
from ops.training.settings import Stage


class ObjectiveModule(nn.Module):
    """One stage over a system: `forward(x, step, first)` returns the value of each term of its loss.

    x (b, 3, s, s) are crops from -1 to 1, of which the first is that of index `first` of its step. All chance comes
    from seed, stage, step and index. `trained` are the parts of the system that learn, by prefixes of their names.
    """

    trained: ClassVar[tuple[str, ...]] = ()

    def __init__(self, system: System, stage: Stage, at: int, seed: int) -> None:
        super().__init__()
        self.system, self._stage, self._at, self._seed = system, stage, at, seed
        self.images = ImageLosses(stage, str(system.device))

    def forward(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        """Return the value of each term that the stage weighs, of one number each."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._stage.precision == "bfloat16"):
            values = self.terms(x, step, first)
        return {term: value for term, value in values.items() if self._stage.losses.get(term)}

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        """Return all terms that this objective can have."""
        raise NotImplementedError(f"{type(self).__name__} must say its terms")

    def chance(self, step: int, first: int, purpose: str) -> np.random.Generator:
        """Return where a step's random numbers for a purpose come from."""
        return generator(self._seed, self._at, step, first, purpose=purpose)

    def uniform(self, x: Tensor, step: int, first: int, purpose: str) -> Tensor:
        """Return numbers from 0 to 1 of the shape of x, each crop's by its index: portions and workers change none."""
        drawn = [self.chance(step, first + at, purpose).random(x.shape[1:], np.float32) for at in range(len(x))]
        return torch.from_numpy(np.stack(drawn)).to(x.device)

    def normal(self, x: Tensor, step: int, first: int) -> Tensor:
        """Return normal noise of the shape of x, likewise."""
        chances = [self.chance(step, first + at, "noise") for at in range(len(x))]
        drawn = [chance.standard_normal(tuple(x.shape[1:]), dtype=np.float32) for chance in chances]
        return torch.from_numpy(np.stack(drawn)).to(x.device)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the autoencoder's posterior, in float32."""
        mean, logvar = _moments(self.system.vae, x)
        return mean.float(), logvar.float()

    def decoded(self, c: Tensor) -> Tensor:
        """Return images of scaled latents."""
        return _decoded(self.system.vae, c / self.system.scaling)

    def quantised(self, y: Tensor, step: int, first: int) -> Tensor:
        """Return thumbnails as 8 bits leave them, by noise, which has a gradient (TADM's stand-in for rounding)."""
        return quantised(y, "noise", self.uniform(y, step, first, "quantisation") - 0.5)


class AutoencoderObjective(ObjectiveModule):
    """Stage 0: the autoencoder, from scratch. Its latents are drawn to unit variance by `kl`."""

    trained = ("vae.",)

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        mean, logvar = self.moments(x)
        logvar = logvar.clamp(-30, 20)
        z = mean + torch.exp(0.5 * logvar) * self.normal(mean, step, first)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return {"kl": kl, **self.images(x, self.decoded(z * self.system.scaling), self.chance(step, first, "cuts"))}


class DenoiserObjective(ObjectiveModule):
    """Stage 0: the U-Net, from scratch, as a diffusion model of latents at the time-steps that can be predicted."""

    trained = ("unet.",)

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        tadm = cast("Tadm", self.system)
        with torch.no_grad():
            clean = self.moments(x)[0] * tadm.scaling
        lowest, highest = tadm.timestep.lowest, tadm.timestep.highest
        t = lowest + (highest - lowest) * self.uniform(x[:, 0, 0, 0], step, first, "steps")
        signal, noise = (torch.tensor(one, device=x.device)[:, None, None, None] for one in _levels(t))
        drawn = self.normal(clean, step, first)
        c = signal * clean + noise * drawn
        tokens = None if tadm.prompt is None else tadm.prompt[None]
        e = predict(tadm.unet, c, t, tokens).float()
        wanted = drawn if tadm.rules.prediction == "epsilon" else signal * drawn - noise * clean
        found = clean_latent(c, e, t, tadm.rules.prediction)
        return {"noise_mse": mse_loss(e, wanted), "latent_mse": mse_loss(found, clean)}


class RescalingObjective(ObjectiveModule):
    """Stage 1 (supplement of TADM, equation of stage 1): latents survive the thumbnail, which looks like a small image.

    `guidance` is against the image made small by a bicubic filter (the paper; its code filters nothing).
    """

    trained = ("rescaling.",)

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        return self.rescaled(x, step, first)[0]

    def rescaled(self, x: Tensor, step: int, first: int) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """Return terms, the thumbnail as it is kept, the true scaled latents and those that come back."""
        tadm = cast("Tadm", self.system)
        with torch.no_grad():
            z = self.moments(x)[0]
        y = tadm.rescaling.down(x, x if tadm.in_pixels else z)
        kept = self.quantised(y, step, first)
        c = tadm.grow(kept).float()
        z = z * tadm.scaling
        small = bicubic(x, tadm.scale)
        terms = {
            "guidance_l1": l1_loss(y, small),
            "guidance_mse": mse_loss(y, small),
            "latent_l1": l1_loss(c, z),
            "latent_mse": mse_loss(c, z),
        }
        return terms, kept, z, c


class JointObjective(RescalingObjective):
    """Stage 3: all of it but the encoder; with `timestep`, the predicted steps follow the true error of the latents.

    That term is ours: the step at which the schedule has as much noise as a crop's rescaled latents have error.
    """

    trained = ("rescaling.", "unet.", "vae.decoder.", "vae.post_quant_conv.", "timestep.", "scheduler.")

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        tadm = cast("Tadm", self.system)
        terms, y, z, c = self.rescaled(x, step, first)
        clean = c
        if tadm.denoises:
            clean, t = tadm.denoise(c, y)
            terms["timestep"] = _step_error(tadm, t, c, z)
        made = self.decoded(clean) if tadm.denoises or not tadm.in_pixels else tadm.rescaling.up(y)
        return terms | self.images(x, made, self.chance(step, first, "cuts"))


class GenerationObjective(JointObjective):
    """Stage 2: U-Net, decoder, time-step prediction and learned scheduler; the rescaling is as it is."""

    trained = ("unet.", "vae.decoder.", "vae.post_quant_conv.", "timestep.", "scheduler.")

    def rescaled(self, x: Tensor, step: int, first: int) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        with torch.no_grad():
            return super().rescaled(x, step, first)


OBJECTIVES: dict[str, type[ObjectiveModule]] = {
    "autoencoder": AutoencoderObjective,
    "denoiser": DenoiserObjective,
    "rescaling": RescalingObjective,
    "generation": GenerationObjective,
    "joint": JointObjective,
}


def bicubic(x: Tensor, scale: int) -> Tensor:
    """Return images made small by a bicubic filter as wide as it must be."""
    size = (x.shape[2] // scale, x.shape[3] // scale)
    return interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)


def _moments(vae: AnyVae, x: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(vae, CompactVae):
        return vae.moments(x)
    posterior: Any = vae.encode(x, return_dict=False)[0]  # pyright: ignore[reportIndexIssue]
    return posterior.mean, posterior.logvar


def _decoded(vae: AnyVae, z: Tensor) -> Tensor:
    if isinstance(vae, CompactVae):
        return vae.decode(z)
    return vae.decode(z, return_dict=False)[0]  # pyright: ignore[reportReturnType, reportIndexIssue, reportArgumentType]


def _levels(t: Tensor) -> tuple[list[float], list[float]]:
    pairs = [signal_and_noise(step) for step in t.tolist()]
    return [signal for signal, _ in pairs], [noise for _, noise in pairs]


def _step_error(tadm: Tadm, t: Tensor, c: Tensor, z: Tensor) -> Tensor:
    """Return the mean square error of predicted steps, as shares of their range."""
    lowest, highest = tadm.timestep.lowest, tadm.timestep.highest
    noises = (1 - alphas_cumprod()).sqrt().to(c.device)
    error = (c.detach() - z).square().mean(dim=(1, 2, 3)).sqrt() / max(float(z.std()), math.ulp(1.0))
    wanted = torch.searchsorted(noises, error.to(noises)).clamp(lowest, highest)
    return ((t - wanted) / (highest - lowest)).square().mean()
