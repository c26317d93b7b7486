"""MUSIQ, the quality of an image by itself, learned from people's scores (Ke et al. 2021, arXiv 2108.05997)."""

from typing import ClassVar

from ops.codecs.base import Runtime
from ops.metrics.base import MetricConfig, SoloMetric
from ops.weights import load_tensors, weights_digest

WEIGHTS = "musiq-koniq"


class MusiqConfig(MetricConfig, tag="musiq", frozen=True, kw_only=True):
    """`musiq`: as trained on KonIQ-10k, about 0 to 100, of the whole image at its own and two smaller sizes.

    Every patch attends to every other, so that time grows faster than pixels: on one core 3.7 s for 2 megapixels and
    53 s for 11. Memory grows with pixels, some 50 bytes for each.
    """

    # The structure is that of the published files; none was at hand, so no score was ever compared.
    verified: ClassVar[bool] = False
    digits: ClassVar[int] = 2

    @property
    def column(self) -> str:
        """Return `musiq`."""
        return self.name

    @property
    def heading(self) -> str:
        """Return `MUSIQ`."""
        return "MUSIQ"

    def weights_digest(self) -> str:
        """Return the digest of the network's tensors. Raises Unavailable without them."""
        return weights_digest(WEIGHTS)

    def load(self, runtime: Runtime) -> SoloMetric:
        """Return the network. Raises Unavailable without its weights."""
        tensors = load_tensors(WEIGHTS)
        from ops.networks.musiq import MusiqScores  # noqa: PLC0415  the base install has no torch

        return MusiqScores(tensors, WEIGHTS, runtime.device)
