"""Colours put back from the thumbnail, which costs no bytes: what a diffusion model drifts by is of low frequency."""

import torch
from torch import Tensor
from torch.nn import functional

# In thumbnail pixels. The thumbnail hides what the way back needs in its finest levels: a blur leaves that out.
DEVIATION = 2.0
REACH = 6


def anchored(x: Tensor, thumbnail: Tensor, scale: int) -> Tensor:
    """Return x (1, 3, h, w) with the low frequencies of the thumbnail (1, 3, h / scale, w / scale).

    The mean of each block of x is compared with its pixel of the thumbnail; the difference is blurred (Gaussian) and
    added, grown bilinearly.
    """
    drift = _blurred(thumbnail - functional.avg_pool2d(x, scale))
    return x + functional.interpolate(drift, scale_factor=float(scale), mode="bilinear", align_corners=False)


def _blurred(plane: Tensor) -> Tensor:
    at = torch.arange(-REACH, REACH + 1, dtype=torch.float32, device=plane.device)
    kernel = torch.exp(-(at**2) / (2 * DEVIATION**2))
    kernel = (kernel / kernel.sum()).expand(plane.shape[1], 1, 1, -1)
    padded = functional.pad(plane, (REACH, REACH, REACH, REACH), mode="replicate")
    across = functional.conv2d(padded, kernel, groups=plane.shape[1])
    return functional.conv2d(across, kernel.transpose(2, 3), groups=plane.shape[1])
