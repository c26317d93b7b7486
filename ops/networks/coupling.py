"""Coupling layers of invertible rescaling: IRN's, which TADM has, and SAIN's, which FaithEIR has.

Each is a bijection of (B, C, H, W) in two parts of the channels; `inverse` undoes `forward` to float32's rounding.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ops.networks.blocks import convolution, zeroed

SLOPE = 0.2
CONVOLUTIONS = 5


class DenseBlock(nn.Module):
    """Five convolutions, each of the input and of all that came before it (IRN, Xiao et al. 2020).

    A leaky ReLU of slope 0.2 follows all but the last, which starts at zero: so does what the block returns.
    """

    def __init__(self, inputs: int, outputs: int, growth: int = 32) -> None:
        super().__init__()
        for at in range(1, CONVOLUTIONS + 1):
            last = at == CONVOLUTIONS
            conv = convolution(inputs + (at - 1) * growth, outputs if last else growth)
            zeroed(conv) if last else _small(conv)
            self.add_module(f"conv{at}", conv)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        *inner, last = self.children()
        for conv in inner:
            seen.append(leaky_relu(conv(torch.cat(seen, dim=1)), SLOPE))
        return last(torch.cat(seen, dim=1))


class Coupling(nn.Module):
    """Two parts of the channels, `split` of them first; each part is changed by a function of the other.

    `clamp` bounds the logarithm of the factor of the second part.
    """

    def __init__(self, channels: int, split: int, growth: int, clamp: float) -> None:
        super().__init__()
        if not 0 < split < channels:
            raise ValueError(f"{channels} channels cannot be split after {split}: use 1 to {channels - 1}")
        self.sizes = (split, channels - split)
        self.clamp = clamp
        self.growth = growth

    def towards_first(self) -> DenseBlock:
        """Return a new block from the second part's channels to the first's."""
        return DenseBlock(self.sizes[1], self.sizes[0], self.growth)

    def towards_second(self) -> DenseBlock:
        """Return a new block from the first part's channels to the second's."""
        return DenseBlock(self.sizes[0], self.sizes[1], self.growth)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of the channels. Raises ValueError for more or fewer channels."""
        if x.shape[1] != sum(self.sizes):
            raise ValueError(f"{x.shape[1]} channels do not couple as {self.sizes}: give {sum(self.sizes)}")
        first, second = x.split(self.sizes, dim=1)
        return first, second

    def factor(self, h: Tensor) -> Tensor:
        """Return exp of what lies within the clamp."""
        return torch.exp(self.clamp * (2 * torch.sigmoid(h) - 1))


class CouplingBlock(Coupling):
    """IRN's: y1 = x1 + F(x2); y2 = x2 * exp(s(H(y1))) + G(y1), with s(h) = clamp * (2 * sigmoid(h) - 1)."""

    def __init__(self, channels: int, split: int, growth: int = 32, clamp: float = 1.0) -> None:
        super().__init__(channels, split, growth, clamp)
        self.F = self.towards_first()
        self.G = self.towards_second()
        self.H = self.towards_second()

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = self.parts(x)
        y1 = x1 + self.F(x2)
        return torch.cat([y1, x2 * self.factor(self.H(y1)) + self.G(y1)], dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = self.parts(y)
        x2 = (y2 - self.G(y1)) / self.factor(self.H(y1))
        return torch.cat([y1 - self.F(x2), x2], dim=1)


class EnhancedCouplingBlock(Coupling):
    """SAIN's (Yang et al. 2023): as IRN's, but y1 = (x1 + E(x2)) - F(x2)."""

    def __init__(self, channels: int, split: int, growth: int = 32, clamp: float = 1.0) -> None:
        super().__init__(channels, split, growth, clamp)
        self.E = self.towards_first()
        self.F = self.towards_first()
        self.G = self.towards_second()
        self.H = self.towards_second()

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = self.parts(x)
        y1 = (x1 + self.E(x2)) - self.F(x2)
        return torch.cat([y1, x2 * self.factor(self.H(y1)) + self.G(y1)], dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = self.parts(y)
        x2 = (y2 - self.G(y1)) / self.factor(self.H(y1))
        return torch.cat([(y1 + self.F(x2)) - self.E(x2), x2], dim=1)


@torch.no_grad()
def _small(conv: nn.Conv2d) -> None:
    """Initialise as IRN does: normally after Xavier, times 0.1, without a bias."""
    nn.init.xavier_normal_(conv.weight, gain=0.1)
    for parameter in [conv.bias] if conv.bias is not None else []:
        parameter.zero_()
