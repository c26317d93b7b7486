"""TADM's stages, and one before them for networks that begin from nothing (Wang et al., ICCV 2025, supplement)."""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from ops.networks.latent_networks import predict
from ops.networks.scheduler import alphas_cumprod, clean_latent, signal_and_noise
from ops.rescalers.tadm import Tadm
from ops.training.objective import ObjectiveModule, bicubic


class AutoencoderObjective(ObjectiveModule):
    """Stage 0: the autoencoder, from scratch. Its latents are drawn to unit variance by `kl`."""

    trained = ("vae.",)

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        mean, logvar = self.moments(x)
        logvar = logvar.clamp(-30, 20)
        z = mean + torch.exp(0.5 * logvar) * self.normal(mean, step, first)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return {"kl": kl, **self.compared(x, self.decoded(z * self.system.scaling), step, first)}


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


class Rescaled(NamedTuple):
    """Terms, the thumbnail as it is kept, true latents and those that come back, neither scaled."""

    terms: dict[str, Tensor]
    kept: Tensor
    z: Tensor
    back: Tensor


class RescalingObjective(ObjectiveModule):
    """Stage 1 (supplement of TADM, equation of stage 1): latents survive the thumbnail, which looks like a small image.

    `guidance` is against the image made small by a bicubic filter (the paper; its code filters nothing). `forward` is
    of latents that come back from fused features at once, past couplings, quantisation and thumbnail: z_f of the loss.
    """

    trained = ("rescaling.",)

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        return self.rescaled(x, step, first).terms

    def rescaled(self, x: Tensor, step: int, first: int) -> Rescaled:
        """Return what the thumbnail leaves of crops; in pixel space (an ablation) their latents are themselves."""
        tadm = cast("Tadm", self.system)
        with torch.no_grad():
            z = x if tadm.in_pixels else self.moments(x)[0]
        rescaling = tadm.rescaling
        fused = rescaling.fused(rescaling.guide(x) if rescaling.shape.guidance else None, z)
        y = rescaling.coupled(fused)
        kept = self.quantised(y, step, first)
        back = rescaling.up(kept).float()
        small = bicubic(x, tadm.scale)
        scaling = 1.0 if tadm.in_pixels else tadm.scaling
        terms = {
            "guidance_l1": l1_loss(y, small),
            "guidance_mse": mse_loss(y, small),
            "latent_l1": scaling * l1_loss(back, z),
            "latent_mse": scaling**2 * mse_loss(back, z),
        }
        if self.weighs("forward_l1", "forward_mse"):
            forth = rescaling.unfused(fused).float()
            terms |= {"forward_l1": scaling * l1_loss(forth, z), "forward_mse": scaling**2 * mse_loss(forth, z)}
        return Rescaled(terms, kept, z, back)


class JointObjective(RescalingObjective):
    """Stage 3: all of it but the encoder; with `timestep`, the predicted steps follow the true error of the latents.

    That term is ours: the step at which the schedule has as much noise as a crop's rescaled latents have error.
    """

    trained = ("rescaling.", "unet.", "vae.decoder.", "vae.post_quant_conv.", "timestep.", "scheduler.")

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        tadm, found = cast("Tadm", self.system), self.rescaled(x, step, first)
        terms, made = found.terms, found.back
        if tadm.denoises:
            z = self.moments(made.clamp(-1, 1))[0] if tadm.in_pixels else made
            made, t = tadm.denoise(z * tadm.scaling, found.kept)
            if tadm.rules.timestep == "predicted" and not tadm.in_pixels:
                terms = terms | {"timestep": _step_error(tadm, t, z, found.z)}
        elif not tadm.in_pixels:
            made = made * tadm.scaling
        if hasattr(tadm, "vae"):
            made = self.decoded(made)
        return terms | self.compared(x, made, step, first)


class GenerationObjective(JointObjective):
    """Stage 2: U-Net, decoder, time-step prediction and learned scheduler; the rescaling is as it is."""

    trained = ("unet.", "vae.decoder.", "vae.post_quant_conv.", "timestep.", "scheduler.")

    def rescaled(self, x: Tensor, step: int, first: int) -> Rescaled:
        with torch.no_grad():
            return super().rescaled(x, step, first)


def _levels(t: Tensor) -> tuple[list[float], list[float]]:
    pairs = [signal_and_noise(step) for step in t.tolist()]
    return [signal for signal, _ in pairs], [noise for _, noise in pairs]


def _step_error(tadm: Tadm, t: Tensor, back: Tensor, z: Tensor) -> Tensor:
    """Return the mean square error of predicted steps, as shares of their range."""
    lowest, highest = tadm.timestep.lowest, tadm.timestep.highest
    noises = (1 - alphas_cumprod()).sqrt().to(z.device)
    error = (back.detach() - z).square().mean(dim=(1, 2, 3)).sqrt() / max(float(z.std()), math.ulp(1.0))
    wanted = torch.searchsorted(noises, error.to(noises)).clamp(lowest, highest)
    return ((t - wanted) / (highest - lowest)).square().mean()
