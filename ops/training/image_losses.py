"""Losses of reconstructed crops against their originals: pixels, regular texture, and perceptual distances."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from ops.training.peaks import peaks
from ops.training.perceptual import Term, build_perceptual
from ops.training.settings import Stage

PIXEL_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1_loss, "mse": mse_loss, "peaks": peaks}
ON_VGG: tuple[Term, ...] = ("lpips_vgg", "dists")
PERCEPTUAL: tuple[Term, ...] = ("lpips_alex", *ON_VGG)


class ImageLosses(nn.Module):
    """The terms of a stage that compare images (b, 3, s, s) from -1 to 1, each to one number.

    Perceptual ones see the same part of both images, at a random place of each crop: networks with strides look at a
    grid of their own, and a texture that is locked to the codec's would please them and no eye.
    """

    def __init__(self, stage: Stage, device: str) -> None:
        super().__init__()
        self._stage = stage
        self._pixel = {term: loss for term, loss in PIXEL_TERMS.items() if stage.losses.get(term)}
        wanted: list[Term] = [term for term in PERCEPTUAL if stage.losses.get(term)]
        self._perceptual = {term: build_perceptual(term, device) for term in wanted}

    def forward(self, x: Tensor, y: Tensor, first: int, chances: Sequence[np.random.Generator]) -> dict[str, Tensor]:
        """Return the value of each term for originals x and reconstructions y.

        `first` is which crop of its step x begins with; `chances`, one for each crop, say where the parts lie.
        """
        y = y.float()
        values = {term: loss(y, x) for term, loss in self._pixel.items()}
        side, y = x.shape[2], y.clamp(-1, 1)
        moved = side - self._stage.shift
        places = [_place(chance, side - moved) for chance in chances]
        every = self._stage.batch // (self._stage.vgg_images or self._stage.batch)
        looked = [at for at in range(len(x)) if (first + at) % every == 0]
        part = min(self._stage.vgg_side or moved, side)
        parts = [_place(chances[at], side - part) for at in looked]
        for term, distance in self._perceptual.items():
            if term in ON_VGG:
                values[term] = distance(*(_cut(one[looked], parts, part) for one in (x, y))).mean()
            else:
                values[term] = distance(*(_cut(one, places, moved) for one in (x, y))).mean()
        return values


def _place(chance: np.random.Generator, furthest: int) -> tuple[int, int]:
    return int(chance.integers(furthest + 1)), int(chance.integers(furthest + 1))


def _cut(x: Tensor, places: Sequence[tuple[int, int]], side: int) -> Tensor:
    """Return a square of each image of x, at its own place."""
    return torch.stack(
        [one[:, top : top + side, left : left + side] for one, (top, left) in zip(x, places, strict=True)]
    )
