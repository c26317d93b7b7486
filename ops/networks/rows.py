"""Blocks of convolutions over an image whose rows come a strip at a time, for inference.

What comes out are the rows of the whole image's result, but for the rounding of float32; where all rows come at once,
its very bits.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from ops.networks.blocks import SLOPE, ConvBlock, Downsample, ResidualBlock
from ops.networks.strips import Fed, Step


class Stream(Protocol):
    """Something that rows (b, c, h, w) go through."""

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        """Return the rows that the next ones complete, None for none; the last ones complete all."""
        ...


class Meeting:
    """Streams of one height and width, some of them later than others: each one's rows wait for all."""

    def __init__(self, number: int) -> None:
        self._waiting: list[Tensor | None] = [None] * number

    def push(self, *streams: Tensor | None) -> list[Tensor] | None:
        """Return the next rows that all have, None for none."""
        held = [_below(*pair) for pair in zip(self._waiting, streams, strict=True)]
        number = min(0 if x is None else x.shape[2] for x in held)
        # What waits is copied, so that it does not keep what is done alive.
        self._waiting = [x if x is None or not number else x[:, :, number:].clone() for x in held]
        return [x[:, :, :number] for x in held if x is not None] if number else None


class Chain:
    """One stream after another."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        for stream in self._streams:
            x = stream.push(x, last)
        return x


def streamed(module: nn.Module) -> Stream:
    """Return a module as a stream, for one image. Raises TypeError for a module of a kind that is not known here."""
    match module:
        case nn.Sequential():
            return Chain([streamed(one) for one in module])
        case ConvBlock():
            return Chain([streamed(module.conv_in), *([_leaky(SLOPE)] if module.leaky else [])])
        case ResidualBlock():
            return _Added(streamed(module.res_block))
        case Downsample():
            return streamed(module.downsample)
    return _layer(module)


def _layer(module: nn.Module) -> Stream:
    match module:
        case nn.Conv2d(kernel_size=(1, 1)) | nn.PixelShuffle():
            return _Each(module)
        case nn.Conv2d():
            return Fed(Step(partial(_convolved, module), module.kernel_size[0], 1, module.kernel_size[0] // 2))
        case nn.LeakyReLU():
            return _leaky(module.negative_slope)
        case nn.PixelUnshuffle():
            return Fed(Step(lambda x, _: module(x), module.downscale_factor, module.downscale_factor, 0))
    raise TypeError(f"{type(module).__name__} does not run by rows yet: say how in ops/networks/rows.py")


class _Added:
    """Rows, and what a branch makes of them, added up."""

    def __init__(self, branch: Stream) -> None:
        self._branch, self._meeting = branch, Meeting(2)

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        met = self._meeting.push(x, self._branch.push(x, last))
        return met[0] + met[1] if met else None


class _Each:
    """What is done to each row alone."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        self._run = run

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        del last
        return None if x is None else self._run(x)


def _leaky(slope: float) -> _Each:
    """Return a leaky ReLU over what a convolution has just made, which nothing else looks at."""
    return _Each(partial(leaky_relu, negative_slope=slope, inplace=True))


def _convolved(conv: nn.Conv2d, x: Tensor, padding: tuple[int, int]) -> Tensor:
    return conv2d(x, conv.weight, conv.bias, padding=padding)


def _below(upper: Tensor | None, lower: Tensor | None) -> Tensor | None:
    held = [x for x in (upper, lower) if x is not None and x.shape[2]]
    return torch.cat(held, dim=2) if len(held) > 1 else held[0] if held else None
