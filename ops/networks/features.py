"""Features of patches, for metrics of whole sets."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ops.images import Pixels
from ops.metrics.base import Features, Inapplicable
from ops.metrics.distances import EXTRACTORS
from ops.networks.exact import exactly
from ops.networks.inception import InceptionV3
from ops.networks.strict import load_strictly, to_tensor
from ops.networks.strips import Strips
from ops.networks.vgg16 import SMALLEST_SIDE, Vgg16, load_vgg16

# VGG16 takes a patch of the usual size at once, and a whole image in as many strips as it needs.
STRIP_ROWS = 256


class Extractor:
    """Features of a network, one patch in each forward pass.

    So a patch has the same features to the last bit alone or beside others: a batch may be summed in another order.
    On a GPU too; there it costs speed, which is worth less here than a table that does not depend on the workers.
    """

    def __init__(self, extractor: str, run: Callable[[Tensor], Tensor], device: str, smallest: int = 1) -> None:
        self.extractor = extractor
        self._run = run
        self._device = device
        self._smallest = smallest

    def features(self, patches: Sequence[Pixels]) -> Features:
        """Return a row for each patch, at least one, of any size. Raises Inapplicable below the network's smallest."""
        for patch in patches:
            if min(patch.shape[:2]) < self._smallest:
                size = f"{patch.shape[1]}x{patch.shape[0]}"
                raise Inapplicable(f"{self.extractor} needs {self._smallest} pixels a side; the patch has {size}")
        with exactly(self._device):
            return np.stack([self._run(to_tensor(patch, self._device)).cpu().numpy() for patch in patches])


def load_inception(tensors: Mapping[str, Tensor], name: str, device: str) -> Extractor:
    """Return Inception-v3's 2048 features before its classifier. Raises Unavailable; `name` is that of the weights."""
    with torch.device("meta"):
        network = InceptionV3()
    loaded = load_strictly(network, tensors, name, device)
    return Extractor(EXTRACTORS["inception"], lambda pixels: loaded(pixels)[0], device)


def load_vgg16_means(tensors: Mapping[str, Tensor], device: str) -> Extractor:
    """Return the means of VGG16's 512 channels of relu5_3 over a patch. Raises Unavailable."""
    network = load_vgg16(tensors, device)
    return Extractor(EXTRACTORS["vgg16"], lambda pixels: _means(network, pixels / 255), device, SMALLEST_SIDE)


def _means(network: Vgg16, picture: Tensor) -> Tensor:
    strips = Strips(network)
    tops = range(0, picture.shape[2], STRIP_ROWS)
    total, positions = picture.new_zeros(512), 0
    for top in tops:
        *_, deepest = strips.push(picture[:, :, top : top + STRIP_ROWS], last=top == tops[-1])
        if deepest is not None:
            total += deepest.sum(dim=(0, 2, 3))
            positions += deepest.shape[2] * deepest.shape[3]
    return total / positions
