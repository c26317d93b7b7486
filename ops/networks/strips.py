"""Convolutional networks run down an image a strip of rows at a time, by the same arithmetic as over the whole.

Each step (a convolution or a pooling) keeps the last rows that its next windows still need. Nothing is computed twice,
no seam is left, and memory follows the strip, not the image. Only the rounding of float32 may differ from a run over
the whole image: a library may sum a window's products in another order for another shape.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Of ImageNet, as torchvision's networks expect their input: red, green, blue, for values from 0 to 1.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class Step(NamedTuple):
    """Something that slides a square window: `run(x, padding)` gets the rows and columns of zeros to put on each side.

    `padding` is what the network puts on each side of a whole image.
    """

    run: Callable[[Tensor, tuple[int, int]], Tensor]
    kernel: int
    stride: int
    padding: int


class TappedNetwork(nn.Module):
    """A network of stages, one after the other; what leaves a stage is a tap."""

    def stages(self) -> Sequence[Sequence[Step]]:
        """Return the steps of each stage."""
        raise NotImplementedError(f"{type(self).__name__} must name its stages")

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the taps, (batch, channels, height, width) each, of pictures (batch, 3, height, width) from 0 to 1.

        A picture must be as large as the network's smallest side.
        """
        return [tap for tap in Strips(self).push(pictures, last=True) if tap is not None]


class Strips:
    """One image on its way through a network, strip by strip from top to bottom."""

    def __init__(self, network: TappedNetwork) -> None:
        self._stages = [[Fed(step) for step in stage] for stage in network.stages()]

    def push(self, rows: Tensor, last: bool) -> Iterator[Tensor | None]:
        """Yield the rows of each tap that the next rows (1, 3, height, width), from 0 to 1, complete; None for none.

        A tap is overwritten by nothing, and may be kept. The last strip completes all.
        """
        x: Tensor | None = normalised(rows)
        for stage in self._stages:
            for step in stage:
                x = step.push(x, last)
            yield x


class Fed:
    """A step with the rows that it has been fed and still needs."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._kept: Tensor | None = None

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        """Return the rows that the next ones complete, None for none; the last ones complete all."""
        run, kernel, stride, padding = self._step
        if self._kept is None and last and x is not None:  # the whole image at once
            return run(x, (padding, padding))
        if x is None and not (last and self._kept is not None and self._kept.shape[2]):
            return None
        x = self._with_kept(x, last)
        complete = (x.shape[2] - kernel) // stride + 1
        self._kept = x if complete <= 0 else x[:, :, complete * stride :].clone()
        return run(x[:, :, : (complete - 1) * stride + kernel], (0, padding)) if complete > 0 else None

    def _with_kept(self, x: Tensor | None, last: bool) -> Tensor:
        """Return the rows in hand: those kept, or zeros above the image, then the new ones, then zeros below it."""
        parts = [part for part in (self._kept, x) if part is not None and part.shape[2]]
        batch, channels, _, width = parts[0].shape
        zeros = parts[0].new_zeros((batch, channels, self._step.padding, width))
        # Channels last, as the rest: one part in another layout would turn the whole.
        outside = [zeros.contiguous(memory_format=torch.channels_last)] if self._step.padding else []
        above = outside if self._kept is None else []
        below = outside if last else []
        return torch.cat([*above, *parts, *below], dim=2) if len(above + parts + below) > 1 else parts[0]


def normalised(pictures: Tensor) -> Tensor:
    """Return pictures (batch, 3, height, width) from 0 to 1 with ImageNet's mean 0 and deviation 1 per channel."""
    mean, deviation = (pictures.new_tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return (pictures - mean) / deviation
