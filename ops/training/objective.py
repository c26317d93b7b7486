"""A stage's objective: a module over a system that returns the terms of a loss, with chance from counters alone."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ops.networks.compact_vae import CompactVae
from ops.networks.latent_networks import AnyVae
from ops.rescalers.levels import quantised
from ops.rescalers.system import System
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

    def weighs(self, *terms: str) -> bool:
        """Say whether the stage weighs one of these terms."""
        return any(self._stage.losses.get(term) for term in terms)

    def after_step(self) -> None:
        """Put right what a step of the optimiser has left not quite so: nothing, for most."""

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

    def compared(self, x: Tensor, y: Tensor, step: int, first: int) -> dict[str, Tensor]:
        """Return the terms that compare crops with what was made of them."""
        return self.images(x, y, first, [self.chance(step, first + at, "cuts") for at in range(len(x))])

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
