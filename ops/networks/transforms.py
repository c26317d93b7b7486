"""Space to depth and back without loss: the Haar transform, and FaithEIR's learnable reversible transform (LRT).

Both turn a latent (B, C, H, W) into (B, C * factor ** 2, H / factor, W / factor), and invert it to float32's rounding.
They hold for a matrix product in full float32: on CUDA leave TF32 off.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


class HaarTransform(nn.Module):
    """The Haar transform of IRN (Xiao et al. 2023), applied once for the factor 2 and twice, to all bands, for 4.

    FaithEIR's paper compares with it by name alone; that it is IRN's, in order and size, is inferred.
    It has no weights. Forward takes each 2x2 square to a quarter of its signed sums, so that the first band is the
    mean; the inverse adds with the same signs, and without a factor. The bands come one after the other, each with all
    channels: mean, left less right, upper less lower, diagonal.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor not in (2, 4):
            raise ValueError(f"the Haar transform has no factor {factor}: use 2 or 4")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        check_sides(x, self.factor)
        for _ in range(self.factor // 2):
            x = _haar(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        for _ in range(self.factor // 2):
            y = _haar_inverse(y)
        return y


class LearnedTransform(nn.Module):
    """FaithEIR's LRT (section 3.2): pixel-unshuffle, then a learnable orthogonal matrix over the channels.

    The inverse is by the transpose, then pixel-shuffle. It is exact as long as the matrix is orthogonal: it is when
    made (U V^T of a random matrix's singular value decomposition), and training may move it (`orthogonality`).
    Inferred: the matrix stands on the left of the unshuffled channels.
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        outputs = channels * factor**2
        self.weight = nn.Parameter(nearest_orthogonal(torch.randn(outputs, outputs)))

    def forward(self, x: Tensor) -> Tensor:
        check_sides(x, self.factor)
        return _mix(self.weight, pixel_unshuffle(x, self.factor))

    def inverse(self, y: Tensor) -> Tensor:
        return pixel_shuffle(_mix(self.weight.T, y), self.factor)

    @torch.no_grad()
    def reproject(self) -> None:
        """Replace the matrix by the nearest orthogonal one, as between steps of training. Ours, not the paper's."""
        self.weight.copy_(nearest_orthogonal(self.weight))

    @torch.no_grad()
    def orthogonality(self) -> float:
        """Return the largest error of W W^T against the identity: 0 for an orthogonal matrix."""
        weight = self.weight.double()
        return float((weight @ weight.T - torch.eye(len(weight), dtype=weight.dtype, device=weight.device)).abs().max())


class Transforms(nn.Sequential):
    """Transforms one after the other; the inverse runs them backwards."""

    def inverse(self, y: Tensor) -> Tensor:
        for stage in reversed(self):
            y = stage.inverse(y)  # pyright: ignore[reportCallIssue]  # every stage is one of the above
        return y


def nearest_orthogonal(matrix: Tensor) -> Tensor:
    """Return U V^T of the matrix's singular value decomposition: no orthogonal matrix is nearer (least squares)."""
    left, _, right = torch.linalg.svd(matrix.double())
    return (left @ right).to(matrix.dtype)


def check_sides(x: Tensor, factor: int) -> None:
    """Raise ValueError unless both sides of (B, C, H, W) are multiples of the factor."""
    h, w = x.shape[2:]
    if h % factor or w % factor:
        raise ValueError(f"a latent of {w}x{h} does not divide by {factor}: pad the image to a multiple of the scale")


def _mix(weight: Tensor, x: Tensor) -> Tensor:
    """Return the channels of x, mixed at each place. No convolution: cuDNN would round its inputs to TF32."""
    return torch.matmul(weight, x.flatten(2)).unflatten(2, x.shape[2:])


# The signs by which the pixels of a square (row by row) enter each band; its own transpose.
_Signs: TypeAlias = tuple[int, int, int, int]
_BANDS: tuple[_Signs, ...] = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))


def _haar(x: Tensor) -> Tensor:
    squares = pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(2)
    return torch.cat([_signed_sum(squares, signs) / 4 for signs in _BANDS], dim=1)


def _haar_inverse(y: Tensor) -> Tensor:
    bands = y.chunk(4, dim=1)
    return pixel_shuffle(torch.stack([_signed_sum(bands, signs) for signs in _BANDS], dim=2).flatten(1, 2), 2)


def _signed_sum(parts: tuple[Tensor, ...], signs: _Signs) -> Tensor:
    a, b, c, d = (part if sign > 0 else -part for part, sign in zip(parts, signs, strict=True))
    return (a + b) + (c + d)
