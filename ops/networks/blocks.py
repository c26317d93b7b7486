"""Convolutional blocks of TADM, under the names that its published checkpoints have.

All keep height and width but `Downsample`; convolutions are 3x3, see zeros beyond the border, and have a bias.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

SLOPE = 0.1


class ConvBlock(nn.Module):
    """A convolution, then a leaky ReLU of slope 0.1; in TADM also where a branch ends, unless it is not `leaky`."""

    def __init__(self, inputs: int, outputs: int, *, leaky: bool = True) -> None:
        super().__init__()
        self.conv_in = convolution(inputs, outputs)
        self.leaky = leaky

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        return leaky_relu(x, SLOPE) if self.leaky else x


class ResidualBlock(nn.Module):
    """The input plus two convolutions of it, a leaky ReLU of slope 0.1 between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res_block = nn.Sequential(
            convolution(channels, channels), nn.LeakyReLU(SLOPE), convolution(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res_block(x)


class Downsample(nn.Module):
    """Half the height and width, twice the channels: pixel-unshuffle, then a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.downsample = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, 2 * channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(x)


class PlainBlock(nn.Module):
    """The input plus two convolutions of it, a ReLU between them, and no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels, channels)
        self.conv2 = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(relu(self.conv1(x)))


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


@torch.no_grad()
def zeroed(conv: nn.Conv2d) -> None:
    """Set weight and bias of a convolution to zero, so that what it adds begins as nothing."""
    for parameter in conv.parameters():
        parameter.zero_()


@torch.no_grad()
def damped(conv: nn.Conv2d, by: float = 0.1) -> None:
    """Make weight and bias of a convolution small, so that what it adds begins as little."""
    for parameter in conv.parameters():
        parameter.mul_(by)
