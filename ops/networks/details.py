"""What takes the place of the discarded channels on the way up: FaithEIR's detail prior, and what its paper compares.

Draws are a function of seed, channel, row and column alone: the same in any batch, on any machine, and in a crop.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

DetailKind: TypeAlias = Literal["zero", "learned", "random", "normal", "mixture"]
Seeds: TypeAlias = int | Sequence[int] | None

# Rows, columns and channels each have their bits of the counter of a draw.
SIDE_BITS = 20
CHANNEL_BITS = 64 - 2 * SIDE_BITS


class DetailPrior(nn.Module):
    """Stands in for discarded channels. Subclasses say which values; all are float32 and of the thumbnail's size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, y: Tensor, seed: Seeds = None) -> Tensor:
        """Return (B, channels, h, w) for thumbnails (B, 3, h, w).

        `seed` is one for all images, or one for each; none is the prior's own. Only a DrawnPrior looks at it.
        """
        raise NotImplementedError(f"{type(self).__name__} must say its values")


class ZeroPrior(DetailPrior):
    """Nothing: zeros (table 3; as T-IRN has it)."""

    def forward(self, y: Tensor, seed: Seeds = None) -> Tensor:  # noqa: ARG002  nothing is drawn
        return y.new_zeros((len(y), self.channels, *y.shape[2:]))


class LearnedPrior(DetailPrior):
    """The adaptive detail prior (section 3.3): a learnable tensor (1, channels, size, size), the same for all images.

    Inferred: it starts at zeros, and is stretched to the thumbnail, bilinearly. With size 1 it is a value per channel.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels)
        self.prior = nn.Parameter(torch.zeros(1, channels, size, size))

    def forward(self, y: Tensor, seed: Seeds = None) -> Tensor:  # noqa: ARG002  nothing is drawn
        return stretched(self.prior, y)


class RandomPrior(DetailPrior):
    """The same tensor with random values in place of learnt ones (table 3), the same for all images.

    Inferred: they are N(0, 1), by the seed of the settings alone, so that no file of weights holds them.
    """

    def __init__(self, channels: int, size: int, seed: int) -> None:
        super().__init__(channels)
        self.size, self.seed = size, seed

    def forward(self, y: Tensor, seed: Seeds = None) -> Tensor:  # noqa: ARG002  one tensor for all images
        drawn = normal_draw(self.seed, self.channels, self.size, self.size)
        return stretched(drawn[None].to(y), y)


class DrawnPrior(DetailPrior):
    """Fresh values at every place, by a seed for each image. Subclasses say how one image's are drawn."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__(channels)
        self.seed = seed

    def forward(self, y: Tensor, seed: Seeds = None) -> Tensor:
        each = seed_of_each(y, self.seed if seed is None else seed)
        drawn = {one: self.draw(one, y[0]) for one in set(each)}
        return torch.stack([drawn[one] for one in each])

    def draw(self, seed: int, y: Tensor) -> Tensor:
        """Return (channels, h, w) for one thumbnail (3, h, w), in its type and on its device."""
        raise NotImplementedError(f"{type(self).__name__} must say its draws")


class NormalPrior(DrawnPrior):
    """N(0, 1), as IRN draws it."""

    def draw(self, seed: int, y: Tensor) -> Tensor:
        return normal_draw(seed, self.channels, *y.shape[1:]).to(y)


class MixturePrior(DrawnPrior):
    """A learnable Gaussian mixture shared by all places, as SAIN (Yang et al. 2023) has it.

    `mixture` is (3, components). Inferred: its rows are logits of the weights, means, and logarithms of the deviations.
    A component is chosen by Gumbel noise, through which training's gradients pass straight.
    """

    def __init__(self, channels: int, components: int, seed: int) -> None:
        super().__init__(channels, seed)
        even = torch.zeros(components)
        self.mixture = nn.Parameter(torch.stack([even, torch.randn(components), even]))

    def draw(self, seed: int, y: Tensor) -> Tensor:
        components = self.mixture.shape[1]
        # Channels of the draw: first those of the normal noise, then, for each component, those of its Gumbel noise.
        uniform = uniform_draw(seed, self.channels * (1 + components), *y.shape[1:]).unflatten(0, (1 + components, -1))
        gumbel = (-torch.log(-torch.log(uniform[1:]))).to(y)
        logits, means, deviations = (row[:, None, None, None].to(y) for row in self.mixture)
        soft = torch.softmax(logits + gumbel, dim=0)
        hard = torch.zeros_like(soft).scatter_(0, (logits + gumbel).argmax(dim=0, keepdim=True), 1.0)
        chosen = hard + (soft - soft.detach())
        return (chosen * (means + deviations.exp() * as_normal(uniform[0]).to(y))).sum(dim=0)


def build_prior(kind: DetailKind, channels: int, size: int = 16, seed: int = 0, components: int = 5) -> DetailPrior:
    """Return the prior for so many discarded channels; `size` is the side of a stored tensor, in thumbnail pixels."""
    match kind:
        case "zero":
            return ZeroPrior(channels)
        case "learned":
            return LearnedPrior(channels, size)
        case "random":
            return RandomPrior(channels, size, seed)
        case "normal":
            return NormalPrior(channels, seed)
        case "mixture":
            return MixturePrior(channels, components, seed)
    raise ValueError(f"there is no detail prior {kind!r}: use zero, learned, random, normal or mixture")


def stretched(prior: Tensor, y: Tensor) -> Tensor:
    """Return a prior (1, C, size, size) at the size of thumbnails (B, 3, h, w), for each of them."""
    if prior.shape[2:] not in (y.shape[2:], (1, 1)):  # stretching rounds, even where nothing changes
        prior = interpolate(prior, y.shape[2:], mode="bilinear")
    return prior.expand(len(y), -1, *y.shape[2:])


def seed_of_each(y: Tensor, seeds: int | Sequence[int]) -> list[int]:
    """Return a seed per image. Raises ValueError when there are more or fewer."""
    each = [seeds] * len(y) if isinstance(seeds, int) else list(seeds)
    if len(each) != len(y):
        raise ValueError(f"{len(each)} seeds for {len(y)} thumbnails: give one for all, or one for each")
    return each


def normal_draw(seed: int, channels: int, h: int, w: int) -> Tensor:
    """Return float32 draws of N(0, 1), (channels, h, w), on the CPU."""
    return as_normal(uniform_draw(seed, channels, h, w)).float()


def as_normal(uniform: Tensor) -> Tensor:
    """Return the N(0, 1) value of each uniform one, in float64, by the inverse of its distribution."""
    return torch.special.ndtri(uniform)


def uniform_draw(seed: int, channels: int, h: int, w: int) -> Tensor:
    """Return float64 draws strictly between 0 and 1, (channels, h, w), on the CPU.

    SplitMix64 (Steele, Lea and Flood 2014) by counter: torch's own generators give other bits on other processors.
    Raises ValueError for a side of 2^20 or more.
    """
    if max(h, w) >> SIDE_BITS or channels >> CHANNEL_BITS:
        raise ValueError(f"{channels} channels of {w}x{h} are too many to draw: use sides below {1 << SIDE_BITS}")
    channel, row, column = np.ogrid[:channels, :h, :w]
    counter = (channel << (2 * SIDE_BITS) | row << SIDE_BITS | column).astype(np.uint64) + np.uint64(1)
    key = _mixed(np.array([seed % (1 << 64)], np.uint64))
    bits = _mixed(key + counter * np.uint64(0x9E3779B97F4A7C15))
    return torch.from_numpy(((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's output of its state; arithmetic is modulo 2^64."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
