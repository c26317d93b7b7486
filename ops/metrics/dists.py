"""DISTS, deep image structure and texture similarity (Ding, Ma, Wang, Simoncelli 2020, IEEE TPAMI)."""

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ops.codecs.base import Runtime
from ops.metrics.base import MetricConfig, Unavailable
from ops.metrics.sharing import blocks, positions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ops.networks.strips import TappedNetwork

# Keep both terms from dividing by zero; the authors' values.
C1 = C2 = 1e-6
CHANNELS = (3, 64, 128, 256, 512, 512)


class DistsConfig(MetricConfig, tag="dists", frozen=True, kw_only=True):
    """The distance of two images in means (texture) and correlations (structure) of VGG16's features.

    Whole images in RGB at their own size, where the authors' script shrinks the shorter side to 256: 0 for equal ones.
    Exact for any size but for the rounding of float32 in the features; sums are of float64.
    """

    higher_is_better: ClassVar[bool] = False
    # One position of the deepest layer, whose stride it is.
    smallest_side: ClassVar[int] = 16

    @property
    def column(self) -> str:
        return "dists"

    @property
    def heading(self) -> str:
        return "DISTS"

    def weights_digest(self) -> str:
        from ops.weights import weights_digest  # noqa: PLC0415  settings load nothing

        return weights_digest("lpips-vgg", "dists")

    def load(self, runtime: Runtime) -> "Dists":
        try:
            from ops.networks.vgg16 import load_vgg16  # noqa: PLC0415  imports torch
            from ops.weights import load_tensors  # noqa: PLC0415  settings load nothing
        except ModuleNotFoundError as error:
            raise Unavailable(f"{self.heading} needs {error.name}: pip install 'regrow[codecs]'") from error
        weights = {name: tensor.double().to(runtime.device) for name, tensor in load_tensors("dists").items()}
        network = load_vgg16(load_tensors("lpips-vgg"), runtime.device, "l2")
        total = weights["alpha"].sum() + weights["beta"].sum()
        alpha, beta = ((weights[name] / total).split(CHANNELS) for name in ("alpha", "beta"))
        return Dists(network, alpha, beta)


class Dists:
    """DISTS with its network loaded; scored by ops.metrics.sharing."""

    backbone = "vgg16-l2"
    smallest_side = DistsConfig.smallest_side

    def __init__(self, network: "TappedNetwork", alpha: "Sequence[Tensor]", beta: "Sequence[Tensor]") -> None:
        self.network, self._alpha, self._beta = network, alpha, beta

    def prepare(self, layer: int, reference: "Tensor") -> "Summed":  # noqa: ARG002  every layer alike
        return summed(reference)

    def compare(self) -> "Similarity":
        return Similarity(self._alpha, self._beta)


class Summed(NamedTuple):
    """Features (positions, channels), with their sums and those of their squares per channel as float64."""

    features: "Tensor"
    sums: "Tensor"
    squares: "Tensor"


class Similarity:
    """Sums, squares and products of both images per channel, for each layer."""

    def __init__(self, alpha: "Sequence[Tensor]", beta: "Sequence[Tensor]") -> None:
        self._alpha, self._beta = alpha, beta
        self._sums: list[list[Tensor] | None] = [None] * len(CHANNELS)
        self._positions = [0] * len(CHANNELS)

    def add(self, layer: int, reference: Summed, reconstruction: "Tensor") -> None:
        other = summed(reconstruction)
        products = summed_products(reference.features, other.features)
        new = [reference.sums, other.sums, reference.squares, other.squares, products]
        so_far = self._sums[layer]
        self._sums[layer] = new if so_far is None else [a + b for a, b in zip(so_far, new, strict=True)]
        self._positions[layer] += len(other.features)

    def finish(self) -> float:
        return math.fsum(self._layer(layer) for layer in range(len(CHANNELS)))

    def _layer(self, layer: int) -> float:
        """Return by how much a layer's texture and structure fall short of 1, weighted, over its channels.

        The paper takes the weighted similarity from 1. All weights sum to 1, so that it is the same; but in this way
        equal images have exactly 0.
        """
        sums = self._sums[layer]
        assert sums is not None  # no image is so small  # noqa: S101
        mean_x, mean_y, square_x, square_y, product = (one / self._positions[layer] for one in sums)
        variances = (square_x - mean_x.square()) + (square_y - mean_y.square())
        texture = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
        structure = (2 * (product - mean_x * mean_y) + C2) / (variances + C2)
        return (self._alpha[layer] * (1 - texture) + self._beta[layer] * (1 - structure)).sum().item()


def summed(features: "Tensor") -> Summed:
    """Return features (1, channels, height, width) position by position, with their sums."""
    positions = positions_of(features)
    sums = [block.double().sum(0) for block in blocks(positions)]
    return Summed(positions, sum(sums[1:], sums[0]), summed_products(positions, positions))


def summed_products(x: "Tensor", y: "Tensor") -> "Tensor":
    """Return the sum of products of features (positions, channels), per channel as float64."""
    sums = [(a.double() * b.double()).sum(0) for a, b in zip(blocks(x), blocks(y), strict=True)]
    return sum(sums[1:], sums[0])
