"""A loss on texture that is more regular than its original's: what a perceptual loss rewards and an eye rejects."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

SIDE = 64
# A power stands out where it is this many times the median of the 9 by 9 frequencies around it.
STANDS_OUT, AROUND = 3.0, 9
# What is looked at, in 64ths: nothing slower along both axes, where the outlines of a picture lie, and nothing beside
# an axis, where all its upright and level lines do.
SLOWEST, BESIDE = 6, 3
# A pattern of a twentieth of a level, added in quadrature: the root has a slope at nothing, too.
FAINT = 0.05 * 2 / 255


def peaks(y: Tensor, x: Tensor) -> Tensor:
    """Return how strong the regular texture is that reconstructions y have and originals x have not: a number, 0 up.

    Both are (b, 3, s, s), -1 to 1, from 64 pixels a side. A photograph's texture has a smooth spectrum; one that
    repeats, locked to a network's own pixels or drifting against them, is a few peaks in it. Power spectra of luma,
    over squares of 64 under a Hann window, are meaned over each crop; what exceeds three times the median around it
    stands out. The value is the root of that power beyond the original's, the root mean square of the pattern in units
    of y; meaned over the crops. Ours: no paper has it.
    """
    found, usual = (standing_out(_power(one)) for one in (y, x))
    power = (found - usual).clamp(min=0).sum((1, 2))
    return ((power + FAINT**2).sqrt() - FAINT).mean()


def standing_out(power: Tensor) -> Tensor:
    """Return what stands out of power spectra (b, 64, 64), in their shape and units; 0 where nothing is looked at."""
    with torch.no_grad():
        near = pad(power, (AROUND // 2,) * 4, mode="circular").unfold(1, AROUND, 1).unfold(2, AROUND, 1)
        usual = near.flatten(3).median(-1).values
    return (power - STANDS_OUT * usual).clamp(min=0) * _looked_at().to(power)


def _power(x: Tensor) -> Tensor:
    """Return (b, 64, 64), of which a pattern has its mean square in all, whatever its frequency."""
    luma = torch.einsum("bchw,c->bhw", x.float(), torch.tensor([0.299, 0.587, 0.114], device=x.device))
    squares = luma.unfold(1, SIDE, SIDE // 2).unfold(2, SIDE, SIDE // 2)
    wave = torch.hann_window(SIDE, device=x.device)
    window = torch.outer(wave, wave)
    spectra = torch.fft.fft2((squares - squares.mean((-2, -1), keepdim=True)) * window)
    return (spectra.real.square() + spectra.imag.square()).mean((1, 2)) / (SIDE**2 * window.square().sum())


def _looked_at() -> Tensor:
    frequency = np.minimum(np.arange(SIDE), SIDE - np.arange(SIDE))
    fast = np.maximum.outer(frequency, frequency) >= SLOWEST
    return torch.from_numpy(fast & (np.minimum.outer(frequency, frequency) >= BESIDE))
