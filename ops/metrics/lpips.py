"""LPIPS v0.1, with linear heads (Zhang, Isola, Efros, Shechtman, Wang 2018, CVPR, equation 1)."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from ops.codecs.base import Runtime
from ops.metrics.base import MetricConfig, Unavailable
from ops.metrics.sharing import blocks, positions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ops.networks.strips import TappedNetwork

# The authors' own, in their package since version 0.1.
EPSILON = 1e-10

Backbone = Literal["alex", "vgg"]
HEADINGS: dict[Backbone, str] = {"alex": "LPIPS (AlexNet)", "vgg": "LPIPS (VGG16)"}


class LpipsConfig(MetricConfig, tag="lpips", frozen=True, kw_only=True):
    """The learned distance of two images in the features of AlexNet (the authors' choice to measure with) or VGG16.

    Whole images in RGB, never resized: 0 for equal ones. Exact for any size but for the rounding of float32.
    """

    higher_is_better: ClassVar[bool] = False
    # AlexNet's; VGG16 would take 16, but so both columns have the same images.
    smallest_side: ClassVar[int] = 31

    network: Backbone = "alex"

    @property
    def column(self) -> str:
        return f"lpips_{self.network}"

    @property
    def heading(self) -> str:
        return HEADINGS[self.network]

    def weights_digest(self) -> str:
        from ops.weights import weights_digest  # noqa: PLC0415  settings load nothing

        return weights_digest(f"lpips-{self.network}")

    def load(self, runtime: Runtime) -> "Lpips":
        try:
            from ops.networks.alexnet import load_alexnet  # noqa: PLC0415  imports torch
            from ops.networks.vgg16 import load_vgg16  # noqa: PLC0415  imports torch
            from ops.weights import load_tensors  # noqa: PLC0415  settings load nothing
        except ModuleNotFoundError as error:
            raise Unavailable(f"{self.heading} needs {error.name}: pip install 'regrow[codecs]'") from error
        tensors = load_tensors(f"lpips-{self.network}")
        load = load_alexnet if self.network == "alex" else load_vgg16
        heads = [tensors[f"heads.{at}"].to(runtime.device) for at in range(5)]
        return Lpips(load(tensors, runtime.device), "alexnet" if self.network == "alex" else "vgg16-max", heads)


class Lpips:
    """LPIPS with its network loaded; scored by ops.metrics.sharing."""

    smallest_side = LpipsConfig.smallest_side

    def __init__(self, network: "TappedNetwork", backbone: str, heads: "Sequence[Tensor]") -> None:
        self.network, self.backbone, self._heads = network, backbone, heads

    def prepare(self, layer: int, reference: "Tensor") -> "Tensor | None":
        """Return the features position by position; the picture itself is not compared."""
        return positions_of(reference) if layer else None

    def compare(self) -> "Distance":
        return Distance(self._heads)


class Distance:
    """The sum over positions of weighted squared differences, for each layer."""

    def __init__(self, heads: "Sequence[Tensor]") -> None:
        self._heads = heads
        self._sums: list[Tensor | float] = [0.0] * len(heads)
        self._positions = [0] * len(heads)

    def add(self, layer: int, reference: "Tensor | None", reconstruction: "Tensor") -> None:
        if reference is None:
            return
        head = self._heads[layer - 1]
        for x, y in zip(blocks(reference), blocks(positions_of(reconstruction)), strict=True):
            squares = of_unit_length(x).sub_(of_unit_length(y)).square_()
            self._sums[layer - 1] += (squares @ head).double().sum()
        self._positions[layer - 1] += len(reference)

    def finish(self) -> float:
        return math.fsum(float(total) / count for total, count in zip(self._sums, self._positions, strict=True))


def of_unit_length(features: "Tensor") -> "Tensor":
    """Return features (positions, channels) divided by their length over the channels."""
    return features / features.square().sum(1, keepdim=True).sqrt_().add_(EPSILON)
