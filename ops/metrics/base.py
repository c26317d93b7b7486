"""What a metric is: settings that decide its numbers, and one of four ways to take them."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ops.codecs.base import Runtime
from ops.images import Pixels

Features: TypeAlias = NDArray[np.float32]
"""Features of patches or whole images, of shape (number, width of a feature)."""


class Unavailable(Exception):
    """A metric cannot be taken here: a library or a file of weights is missing. One line, with the remedy."""


class Inapplicable(Exception):
    """A metric has no number for this pair, such as an image below its smallest size. The message says why."""


@runtime_checkable
class PairMetric(Protocol):
    """Scores a reconstruction against its reference. Raises Inapplicable where there is no number."""

    def score(self, reference: Pixels, reconstruction: Pixels) -> float: ...


@runtime_checkable
class SoloMetric(Protocol):
    """Scores an image by itself. Raises Inapplicable where there is no number."""

    def score_alone(self, image: Pixels) -> float: ...


@runtime_checkable
class SharingMetric(Protocol):
    """Scores several reconstructions of one reference from features of a backbone that it may share with others.

    `backbone` names the network; metrics with an equal one go to `score_sharing` of ops.metrics.sharing together.
    """

    backbone: str


@runtime_checkable
class SetMetric(Protocol):
    """Takes features of patches now, from which the number of the whole set is made when a report is written.

    `extractor` names the network: metrics with an equal one, and equal patches, share features.
    """

    extractor: str

    def features(self, patches: Sequence[Pixels]) -> Features: ...


Metric: TypeAlias = PairMetric | SoloMetric | SharingMetric | SetMetric


class MetricConfig(Struct, tag_field="name", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a metric. Every field changes numbers; a default, once released, never changes."""

    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True
    # Whether it was checked against a published result. What was not is shown apart, and labelled.
    verified: ClassVar[bool] = True
    # Below this many pixels a side there is no number.
    smallest_side: ClassVar[int] = 1
    digits: ClassVar[int] = 4  # after the point, in tables for people

    @property
    def name(self) -> str:
        """The metric's name without its settings, such as `psnr`."""
        return str(self.__struct_config__.tag)

    @property
    def column(self) -> str:
        """The column of its scores in tables and files, such as `psnr_y`: unique in a protocol."""
        raise NotImplementedError(f"{type(self).__name__} must name its column")

    @property
    def heading(self) -> str:
        """How a table for people calls it, such as `PSNR-Y`."""
        raise NotImplementedError(f"{type(self).__name__} must say how it is called")

    def weights_digest(self) -> str:
        """Return the sha256 of the tensors that run, or nothing for a metric without a network."""
        return ""

    def settings(self) -> dict[str, Any]:
        """Return the name and every field, as a protocol's digest has them."""
        return msgspec.to_builtins(self)

    def load(self, runtime: Runtime) -> Metric:
        """Build the metric. Raises Unavailable where a library or its weights are missing."""
        raise NotImplementedError(f"{type(self).__name__} must say how it is loaded on {runtime.device}")


class SetMetricConfig(MetricConfig, frozen=True, kw_only=True):
    """Settings of a metric of a whole set.

    `patch` is the side of square patches in pixels, cut as a grid and once more shifted by half a patch where both
    sides allow it (at least one and a half patches); 0 takes whole images.
    """

    patch: int = 256

    def finish(self, references: Features, reconstructions: Features) -> float:
        """Return the number from features of the same patches, in the same order. Raises Inapplicable."""
        raise NotImplementedError(
            f"{type(self).__name__} must say how its number is made of {len(references)} features"
        )
