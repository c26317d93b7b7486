"""Images and thumbnails padded by reflection to the sizes that networks need."""

import numpy as np
import torch
from torch import Tensor


def reflected(x: Tensor, height: int, width: int) -> Tensor:
    """Return (1, c, h, w) grown to the right and below by reflection, as often as it takes; a side of 1 is repeated.

    Where less than the side is missing it is torch's own reflection, as TADM's authors pad.
    """
    rows, columns = _mirror(x.shape[2], height), _mirror(x.shape[3], width)
    if len(rows) != x.shape[2]:
        x = x[:, :, torch.from_numpy(rows).to(x.device)]
    if len(columns) != x.shape[3]:
        x = x[:, :, :, torch.from_numpy(columns).to(x.device)]
    return x


def _mirror(side: int, wanted: int) -> np.ndarray:
    """Return which index of a side stands at each place of the padded one: 0, 1, 2, 1, 0, 1 for a side of 3."""
    at = np.arange(wanted)
    if side == 1:
        return np.zeros_like(at)
    period = 2 * (side - 1)
    at = at % period
    return np.where(at < side, at, period - at)
