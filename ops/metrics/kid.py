"""Kernel distance between two sets of patches: KID (Binkowski et al. 2018, arXiv 1801.01401, section 4)."""

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ops.metrics.base import Features
from ops.metrics.distances import DistanceConfig, check_features

# torch-fidelity's default. With its generator, whose stream NumPy never changes, the subsets are those that it draws.
SEED = 2020

Rows = NDArray[np.float64]


class KidConfig(DistanceConfig, tag="kid", frozen=True, kw_only=True):
    """`kid`: the mean over random subsets of the unbiased squared MMD with the kernel (x.y / width + 1)^degree.

    Over VGG16 it is another measure, and is called KD.
    """

    initials: ClassVar[tuple[str, str]] = ("KID", "KD")
    digits: ClassVar[int] = 5

    subsets: Annotated[int, Meta(ge=1)] = 100
    subset_size: Annotated[int, Meta(ge=2)] = 1000
    degree: Annotated[int, Meta(ge=1)] = 3

    def finish(self, references: Features, reconstructions: Features) -> float:
        """Return the distance, which may be a little below zero. It depends on the features' order: give key order.

        Where a set is smaller than a subset, its size is the subset's; where both are, one subset is all there is.
        Raises Inapplicable below two features.
        """
        check_features(references, reconstructions)
        x, y = references, reconstructions
        size = min(self.subset_size, len(x), len(y))
        if size == len(x) == len(y):
            return squared_mmd(x, y, self.degree)
        draw = np.random.RandomState(SEED)
        distances = [
            squared_mmd(
                x[draw.choice(len(x), size, replace=False)], y[draw.choice(len(y), size, replace=False)], self.degree
            )
            for _ in range(self.subsets)
        ]
        return float(np.mean(distances))


def squared_mmd(references: Features, reconstructions: Features, degree: int) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy of two sets of features.

    Pairs of a feature with itself are left out within a set; between the sets all pairs count.
    """
    x, y = references.astype(np.float64), reconstructions.astype(np.float64)
    return _mean_between_others(x, degree) + _mean_between_others(y, degree) - 2 * float(_kernel(x, y, degree).mean())


def _mean_between_others(x: Rows, degree: int) -> float:
    kernel = _kernel(x, x, degree)
    return float(kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))


def _kernel(x: Rows, y: Rows, degree: int) -> Rows:
    base = x @ y.T / x.shape[1] + 1
    power = base.copy()
    for _ in range(degree - 1):  # NumPy's own power of three takes as long as the product of the matrices
        power *= base
    return power
