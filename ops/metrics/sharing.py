"""Scores from the features of a network that several metrics and several reconstructions share.

A reference and its reconstructions go down the network together, a strip of rows at a time, and metrics add up what
they need of each strip. So the reference's features are computed once, and memory does not grow with the image.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ops.images import Pixels
from ops.metrics.base import Inapplicable
from ops.metrics.psnr import check_shapes

if TYPE_CHECKING:
    from torch import Tensor

    from ops.networks.strips import TappedNetwork

# A CPU is at its fastest here: the largest tensors have 16 MB, which malloc gives out again without new pages.
STRIP_PIXELS = 1 << 16
# The deepest stride of our networks: strips of so many rows, or a multiple, have one shape on all levels.
STRIDE = 16
# Numbers of a block: what is made of them stays in a CPU's cache, which is ten times faster than whole strips.
BLOCK = 1 << 16


class Comparison(Protocol):
    """Running sums over the strips of one pair."""

    def add(self, layer: int, reference: Any, reconstruction: "Tensor") -> None:
        """Add rows of a layer; `reference` is what the metric's `prepare` made of the same rows."""
        ...

    def finish(self) -> float:
        """Return the score. Raises Inapplicable where there is none."""
        ...


class LayeredMetric(Protocol):
    """A metric from features of a network, layer by layer: layer 0 is the picture, from 0 to 1, the others its taps."""

    backbone: str
    network: "TappedNetwork"
    smallest_side: int

    def prepare(self, layer: int, reference: "Tensor") -> Any:
        """Return what is needed of rows of the reference (1, channels, height, width), for all reconstructions."""
        ...

    def compare(self) -> Comparison:
        """Return the sums of a pair, empty."""
        ...


def score_sharing(
    metrics: Sequence[LayeredMetric], reference: Pixels, reconstructions: Sequence[Pixels]
) -> list[list[float | Inapplicable]]:
    """Return a list for each metric, with a score or the reason why there is none for each reconstruction.

    The metrics must be of one backbone. Each score has the bits that it would have alone. Memory beside the pixels
    follows the width alone: with VGG16 at 7,680 pixels across (8K), 0.3 GB for one reconstruction and 0.6 GB for five;
    1.6 GB for one at 65,535 across. Safe in several threads. Raises ValueError for another shape than the reference's.
    """
    for reconstruction in reconstructions:
        check_shapes(reference, reconstruction)
    if len({metric.backbone for metric in metrics}) > 1:
        raise ValueError(f"one backbone at a time, not {', '.join(metric.backbone for metric in metrics)}")
    height, width = reference.shape[:2]
    smallest = max((metric.smallest_side for metric in metrics), default=0)
    if min(height, width) < smallest:
        why = Inapplicable(f"{width}x{height} is below the network's smallest side of {smallest} pixels")
        return [[why] * len(reconstructions) for _ in metrics]
    if not metrics or not reconstructions:
        return [[] for _ in metrics]
    from ops.networks.exact import exactly  # noqa: PLC0415  imports torch

    with exactly(next(metrics[0].network.parameters()).device):
        comparisons = _compare(metrics, reference, reconstructions)
    return [[_score(pair[at]) for pair in comparisons] for at in range(len(metrics))]


def _compare(
    metrics: Sequence[LayeredMetric], reference: Pixels, reconstructions: Sequence[Pixels]
) -> list[list[Comparison]]:
    """Return, for each reconstruction, the sums of each metric over the whole image."""
    network = metrics[0].network
    comparisons = [[metric.compare() for metric in metrics] for _ in reconstructions]
    first, *others = (_layers(network, pixels) for pixels in (reference, *reconstructions))
    for strip in first:
        kept = [
            [None if rows is None else metric.prepare(layer, rows) for metric in metrics]
            for layer, rows in enumerate(strip)
        ]
        for pair, other in zip(comparisons, others, strict=True):
            for layer, rows in enumerate(next(other)):
                for comparison, prepared in zip(pair, kept[layer], strict=True):
                    if rows is not None:
                        comparison.add(layer, prepared, rows)
    return comparisons


def _layers(network: "TappedNetwork", pixels: Pixels) -> Iterator[Iterator["Tensor | None"]]:
    """Yield the layers of each strip. They must be taken before the next strip is: they are computed one by one."""
    import torch  # noqa: PLC0415  loaded with the network, never with the settings

    from ops.networks.strips import Strips  # noqa: PLC0415  imports torch

    device = next(network.parameters()).device
    strips, height = Strips(network), len(pixels)
    step = strip_rows(*pixels.shape[:2])
    for top in range(0, height, step):
        rows = torch.tensor(np.ascontiguousarray(pixels[top : top + step]), device=device)
        picture = rows.permute(2, 0, 1)[None].to(torch.float32) / 255
        yield _with_picture(strips, picture, top + step >= height)


def _with_picture(strips: Any, picture: "Tensor", last: bool) -> Iterator["Tensor | None"]:
    yield picture
    yield from strips.push(picture, last)


def positions_of(features: "Tensor") -> "Tensor":
    """Return features (1, channels, height, width) as (positions, channels)."""
    return features[0].movedim(0, -1).flatten(0, 1)


def blocks(positions: "Tensor") -> Sequence["Tensor"]:
    """Return features (positions, channels) in blocks of positions."""
    return positions.split(max(1, BLOCK // positions.shape[1]))


def strip_rows(height: int, width: int) -> int:
    """Return how many rows go at once: it follows from the size of the image alone, and so do the bits of a score."""
    rows = max(1, STRIP_PIXELS // width)
    return min(height, rows // STRIDE * STRIDE if rows > STRIDE else rows)


def _score(comparison: Comparison) -> float | Inapplicable:
    try:
        return comparison.finish()
    except Inapplicable as why:
        return why
