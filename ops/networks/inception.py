"""Inception-v3 as FID uses it (Szegedy et al. 2015, arXiv 1512.00567), with the names of the ported weights.

The graph is that of TensorFlow's archive inception-2015-12-05, from which both pytorch-fid and torch-fidelity ported
the tensors. It differs from the usual Inception-v3 in three ways, kept here: average pooling leaves the padding out of
its mean, the pooling of the last block takes the maximum, and the classifier has 1008 outputs (which FID never uses).

With random tensors it gave the features of torch-fidelity 0.4.0 to the last bit, at four sizes of images on a CPU. The
official tensors were not at hand.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from ops.networks.norms import FrozenNorm

SIDE = 299
WIDTH = 2048


class InceptionV3(nn.Module):
    """Turns pixels (batch, 3, height, width) of 0 to 255 into features (batch, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = Grid35(192, pooled=32)
        self.Mixed_5c = Grid35(256, pooled=64)
        self.Mixed_5d = Grid35(288, pooled=64)
        self.Mixed_6a = To17(288)
        self.Mixed_6b = Grid17(768, inner=128)
        self.Mixed_6c = Grid17(768, inner=160)
        self.Mixed_6d = Grid17(768, inner=160)
        self.Mixed_6e = Grid17(768, inner=192)
        self.Mixed_7a = To8(768)
        self.Mixed_7b = Grid8(1280, largest=False)
        self.Mixed_7c = Grid8(2048, largest=True)
        self.fc = nn.Linear(WIDTH, 1008)

    def forward(self, pixels: Tensor) -> Tensor:
        x = resize_as_tensorflow(pixels, SIDE, SIDE)
        x = (x - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6a(x)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))


class Convolution(nn.Module):
    """A convolution without bias, then frozen normalisation and ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = FrozenNorm(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu_()


def _across(inputs: int, outputs: int, size: int) -> Convolution:
    return Convolution(inputs, outputs, (1, size), padding=(0, size // 2))


def _down(inputs: int, outputs: int, size: int) -> Convolution:
    return Convolution(inputs, outputs, (size, 1), padding=(size // 2, 0))


def _average(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class Grid35(nn.Module):
    """The block of the 35x35 grid: 1x1, 5x5, two 3x3, pooling."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        large = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), large, double, self.branch_pool(_average(x))], dim=1)


class To17(nn.Module):
    """The step from the 35x35 to the 17x17 grid."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, max_pool2d(x, 3, stride=2)], dim=1)


class Grid17(nn.Module):
    """The block of the 17x17 grid: 1x1, 7x7 and twice 7x7 as rows and columns, pooling."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 192, 1)
        self.branch7x7_1 = Convolution(inputs, inner, 1)
        self.branch7x7_2 = _across(inner, inner, 7)
        self.branch7x7_3 = _down(inner, 192, 7)
        self.branch7x7dbl_1 = Convolution(inputs, inner, 1)
        self.branch7x7dbl_2 = _down(inner, inner, 7)
        self.branch7x7dbl_3 = _across(inner, inner, 7)
        self.branch7x7dbl_4 = _down(inner, inner, 7)
        self.branch7x7dbl_5 = _across(inner, 192, 7)
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], dim=1)


class To8(nn.Module):
    """The step from the 17x17 to the 8x8 grid."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(inputs, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = _across(192, 192, 7)
        self.branch7x7x3_3 = _down(192, 192, 7)
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        small = self.branch3x3_2(self.branch3x3_1(x))
        large = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([small, large, max_pool2d(x, 3, stride=2)], dim=1)


class Grid8(nn.Module):
    """The block of the 8x8 grid, whose 3x3 branches fork. `largest` pools the maximum instead of the mean."""

    def __init__(self, inputs: int, largest: bool) -> None:
        super().__init__()
        self.largest = largest
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = _across(384, 384, 3)
        self.branch3x3_2b = _down(384, 384, 3)
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _across(384, 384, 3)
        self.branch3x3dbl_3b = _down(384, 384, 3)
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = max_pool2d(x, 3, stride=1, padding=1) if self.largest else _average(x)
        forks = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        forks += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(pooled)], dim=1)


def resize_as_tensorflow(pixels: Tensor, height: int, width: int) -> Tensor:
    """Resize bilinearly without antialiasing, as TensorFlow 1's ResizeBilinear with align_corners off.

    The graph itself resizes so: output pixel i lies at i * old / new, from the first pixel on. PyTorch's own
    `interpolate` lays pixel centres upon each other instead, a shift of a fraction of a pixel, and pytorch-fid with it.
    """
    top, bottom, down = _taps(pixels.shape[2], height, pixels)
    left, right, across = _taps(pixels.shape[3], width, pixels)
    upper, lower = pixels[:, :, top], pixels[:, :, bottom]
    upper = upper[..., left] + (upper[..., right] - upper[..., left]) * across
    lower = lower[..., left] + (lower[..., right] - lower[..., left]) * across
    return upper + (lower - upper) * down[:, None]


def _taps(old: int, new: int, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each output pixel its two neighbours along a side, and how far it is towards the second."""
    at = torch.arange(new, dtype=torch.float32, device=pixels.device) * torch.tensor(old / new, dtype=torch.float32)
    first = at.long()
    return first, (first + 1).clamp(max=old - 1), at - first
