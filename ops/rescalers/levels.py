"""Floats from -1 to 1, and the 256 levels of a picture."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ops.rescalers.passes import Cast, Quantiser

BAND_ROWS = 256


def from_levels(pixels: NDArray[np.uint8]) -> Tensor:
    """Return pixels (h, w, 3) as (1, 3, h, w), float32 from -1 to 1."""
    levels = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    return levels.to(torch.float32).div_(255).sub_(0.5).div_(0.5)  # in place: twelve bytes a pixel are enough


def to_levels(x: Tensor, cast: Cast = "round") -> NDArray[np.uint8]:
    """Return (1, 3, h, w) from -1 to 1 as pixels (h, w, 3): rounded, or cut off as the authors' files are."""
    height, width = x.shape[2:]
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND_ROWS):
        levels = (x[0, :, top : top + BAND_ROWS] * 0.5).add_(0.5).mul_(255).clamp_(0, 255)
        levels = levels.round_() if cast == "round" else levels.floor_()
        pixels[top : top + BAND_ROWS] = levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return pixels


def quantised(y: Tensor, quantiser: Quantiser, noise: Tensor | None = None) -> Tensor:
    """Return y from -1 to 1 as its 8 bits leave it: rounded to levels, or moved by noise within half a level.

    `noise` is uniform from -0.5 to 0.5, of y's shape, in levels (TADM's stand-in for rounding in training and test).
    """
    levels = (y + 1) / 2 * 255
    if quantiser == "round":
        levels = levels.round()
    elif noise is None:
        raise ValueError("quantiser noise: pass the noise, uniform from -0.5 to 0.5, of the thumbnail's shape")
    else:
        levels = levels + noise
    return (levels.clamp(0, 255) / 255 - 0.5) / 0.5
