"""Losses of reconstructed crops against their originals: pixels, and perceptual distances that no grid can game."""

from collections.abc import Callable
from functools import partial

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from ops.training.perceptual import Term, build_perceptual
from ops.training.settings import Stage

PIXEL_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1_loss, "mse": mse_loss}
ON_VGG: tuple[Term, ...] = ("lpips_vgg", "dists")
PERCEPTUAL: tuple[Term, ...] = ("lpips_alex", *ON_VGG)


class ImageLosses(nn.Module):
    """The terms of a stage that compare images (b, 3, h, w) from -1 to 1, each to one number.

    Perceptual ones see both images cut at the left and top by the same random number of pixels: networks with strides
    look at a grid of their own, and a texture that is locked to the codec's would please them and no eye.
    """

    def __init__(self, stage: Stage, device: str) -> None:
        super().__init__()
        self._stage = stage
        self._pixel = {term: loss for term, loss in PIXEL_TERMS.items() if stage.losses.get(term)}
        wanted: list[Term] = [term for term in PERCEPTUAL if stage.losses.get(term)]
        self._perceptual = {term: build_perceptual(term, device) for term in wanted}

    def forward(self, x: Tensor, y: Tensor, chance: np.random.Generator) -> dict[str, Tensor]:
        """Return the value of each term for originals x and reconstructions y; `chance` cuts."""
        y = y.float()
        values = {term: loss(y, x) for term, loss in self._pixel.items()}
        down, across = (int(chance.integers(self._stage.shift + 1)) for _ in range(2))
        shifted = partial(_shifted, down=down, across=across)
        y = y.clamp(-1, 1)
        for term, distance in self._perceptual.items():
            if term not in ON_VGG:
                values[term] = distance(shifted(x), shifted(y)).mean()
        parts = _parts(self._stage, x, y, chance) if self._perceptual.keys() & set(ON_VGG) else None
        for term in ON_VGG:
            if parts is not None and term in self._perceptual:
                values[term] = self._perceptual[term](*parts).mean()
        return values


def _shifted(x: Tensor, down: int, across: int) -> Tensor:
    return x[:, :, down:, across:]


def _parts(stage: Stage, x: Tensor, y: Tensor, chance: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return those parts of both images on which the networks on VGG16 look, at a random place."""
    number = min(stage.vgg_images or len(x), len(x))
    side = min(stage.vgg_side or x.shape[2] - stage.shift, x.shape[2])
    top, left = (int(chance.integers(x.shape[axis] - side + 1)) for axis in (2, 3))
    rows, columns = slice(top, top + side), slice(left, left + side)
    return x[:number, :, rows, columns], y[:number, :, rows, columns]
