"""AlexNet's convolutions in the form of one column (Krizhevsky 2014, as torchvision trained it)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from ops.networks.strict import load_strictly
from ops.networks.strips import Step, TappedNetwork

# Channels in and out, kernel, stride, padding.
CONVOLUTIONS = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
POOLED = (1, 2)  # these come after a pooling
SMALLEST_SIDE = 31


class AlexNet(TappedNetwork):
    """Taps relu1 to relu5, of 64, 192, 384, 256, 256 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride) for before, after, kernel, stride, _ in CONVOLUTIONS
        )

    def stages(self) -> list[list[Step]]:
        """Return the steps of each stage."""
        stages: list[list[Step]] = []
        convs: Any = self.convs
        for at, (conv, (_, _, kernel, stride, padding)) in enumerate(zip(convs, CONVOLUTIONS, strict=True)):
            pool = [Step(_max_pool, 3, 2, 0)] if at in POOLED else []
            stages.append([*pool, Step(partial(_convolve, conv), kernel, stride, padding)])
        return stages


def load_alexnet(tensors: Mapping[str, Tensor], device: str) -> AlexNet:
    """Return the network with the tensors `convs.*` of the weights lpips-alex, as float32. Raises Unavailable."""
    convs = {name: tensor for name, tensor in tensors.items() if name.startswith("convs.")}
    with torch.device("meta"):
        network = AlexNet()
    network = load_strictly(network, convs, "lpips-alex", device)
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _convolve(conv: nn.Conv2d, x: Tensor, padding: tuple[int, int]) -> Tensor:
    return conv2d(x, conv.weight, conv.bias, conv.stride, padding).relu_()


def _max_pool(x: Tensor, _: tuple[int, int]) -> Tensor:
    return max_pool2d(x, 3, 2)
