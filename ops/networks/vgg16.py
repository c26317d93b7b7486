"""VGG16's convolutions (Simonyan and Zisserman 2015, configuration D), with max pooling or with DISTS's L2 pooling."""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from ops.networks.strict import load_strictly
from ops.networks.strips import Step, TappedNetwork

# Each stage but the first begins with a pooling that halves the sides.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SMALLEST_SIDE = 16

Pooling = Literal["max", "l2"]


class Vgg16(TappedNetwork):
    """Taps relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, of 64, 128, 256, 512, 512 channels."""

    def __init__(self, pooling: Pooling = "max") -> None:
        super().__init__()
        widths = [3, *(width for stage in STAGES for width in stage)]
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3) for before, after in pairwise(widths))
        self._pool = Step(_max_pool, 2, 2, 0) if pooling == "max" else Step(l2_pool, 3, 2, 1)

    def stages(self) -> list[list[Step]]:
        """Return the steps of each stage."""
        convs: Any = iter(self.convs)
        stages = [[Step(partial(_convolve, next(convs)), 3, 1, 1) for _ in stage] for stage in STAGES]
        return [stages[0], *([self._pool, *stage] for stage in stages[1:])]


def load_vgg16(tensors: Mapping[str, Tensor], device: str, pooling: Pooling = "max") -> Vgg16:
    """Return the network with the tensors `convs.*` of the weights lpips-vgg, as float32. Raises Unavailable."""
    convs = {name: tensor for name, tensor in tensors.items() if name.startswith("convs.")}
    with torch.device("meta"):
        network = Vgg16(pooling)
    network = load_strictly(network, convs, "lpips-vgg", device)
    # A CPU convolves a third faster with channels last.
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def l2_pool(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """Return the root of the squares filtered by a 3x3 Hann window and halved (Ding et al. 2020)."""
    channels = x.shape[1]
    window = x.new_tensor([0.25, 0.5, 0.25])
    filters = (window[:, None] * window).expand(channels, 1, 3, 3)
    return conv2d(x * x, filters, stride=2, padding=padding, groups=channels).add_(1e-12).sqrt_()


def _convolve(conv: nn.Conv2d, x: Tensor, padding: tuple[int, int]) -> Tensor:
    return conv2d(x, conv.weight, conv.bias, padding=padding).relu_()


def _max_pool(x: Tensor, _: tuple[int, int]) -> Tensor:
    return max_pool2d(x, 2)
