"""CLIP-IQA, the quality of an image by itself, asked of CLIP (Wang, Chan, Loy 2022, arXiv 2207.12396)."""

from typing import ClassVar

from ops.codecs.base import Runtime
from ops.metrics.base import MetricConfig, SoloMetric
from ops.weights import load_tensors, weights_digest

WEIGHTS = "clip-rn50"
# CLIP's byte pairs for "Good photo." and "Bad photo.", between its start and its end token.
GOOD_PHOTO = (49406, 886, 1125, 269, 49407)
BAD_PHOTO = (49406, 2103, 1125, 269, 49407)


class ClipIqaConfig(MetricConfig, tag="clipiqa", frozen=True, kw_only=True):
    """`clipiqa`: how much better CLIP RN50 finds "Good photo." than "Bad photo.", 0 to 1, of the whole image.

    The prompts are the paper's. Scores that were published as CLIPIQA often came from pyiqa, which has averaged over
    other pairs of prompts, and other ones in other versions: they are not comparable.
    """

    # No official file was at hand, so no score was ever compared.
    verified: ClassVar[bool] = False
    # What the network's strides need; the paper's images are whole and far larger.
    smallest_side: ClassVar[int] = 31

    @property
    def column(self) -> str:
        """Return `clipiqa`."""
        return self.name

    @property
    def heading(self) -> str:
        """Return `CLIPIQA`."""
        return "CLIPIQA"

    def weights_digest(self) -> str:
        """Return the digest of the network's tensors. Raises Unavailable without them."""
        return weights_digest(WEIGHTS)

    def load(self, runtime: Runtime) -> SoloMetric:
        """Return the network with both prompts embedded. Raises Unavailable without its weights."""
        tensors = load_tensors(WEIGHTS)
        from ops.networks.clip import ClipPreference  # noqa: PLC0415  the base install has no torch

        return ClipPreference(tensors, WEIGHTS, runtime.device, [GOOD_PHOTO, BAD_PHOTO])
