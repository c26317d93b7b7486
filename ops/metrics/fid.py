"""Frechet distance between two sets of patches: FID (Heusel et al. 2017, arXiv 1706.08500, equation 6)."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ops.metrics.base import Features
from ops.metrics.distances import DistanceConfig, check_features

# Rows of features that are made doubles at a time: 32 MiB of 2,048 each.
BLOCK_ROWS = 2048

Rows = NDArray[np.float64]


class FidConfig(DistanceConfig, tag="fid", frozen=True, kw_only=True):
    """`fid`: the distance between Gaussians of the features' means and covariances.

    Over VGG16 it is another measure, and is called FD.
    """

    initials: ClassVar[tuple[str, str]] = ("FID", "FD")
    digits: ClassVar[int] = 2

    def finish(self, references: Features, reconstructions: Features) -> float:
        """Return the distance, zero or more, whatever the features' order. Raises Inapplicable below two features.

        With fewer features than a feature has numbers it is still what the equation says, but depends strongly on how
        many there are, and is far above what more of them would give: only compare values of one N.
        """
        check_features(references, reconstructions)
        return frechet_distance(references, reconstructions)


def frechet_distance(x: Features, y: Features) -> float:
    """Return |mean x - mean y|^2 + trace(X + Y - 2 (X Y)^(1/2)) for the unbiased covariances X and Y.

    The square root is never formed. With factors X = A'A and Y = B'B, the eigenvalues of X Y are the squares of the
    singular values of A B', so that their sum is its trace; ranks below the width only add zeros to it.
    """
    means = _mean(x) - _mean(y)
    a, b = _factor(x), _factor(y)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(0.0, float(means @ means + np.sum(a * a) + np.sum(b * b) - 2 * cross))


def _factor(x: Features) -> Rows:
    """Return a factor A of the covariance A'A, of as many rows as there are features, at most their width."""
    number, width = x.shape
    mean = _mean(x)
    if number <= width:
        return (x - mean) / np.sqrt(number - 1)
    covariance = np.zeros((width, width))
    for start in range(0, number, BLOCK_ROWS):
        centred = x[start : start + BLOCK_ROWS] - mean
        covariance += centred.T @ centred
    values, vectors = np.linalg.eigh(covariance / (number - 1))
    # A covariance has no negative eigenvalues; rounding makes some of those that are zero.
    return np.sqrt(values.clip(min=0))[:, None] * vectors.T


def _mean(x: Features) -> Rows:
    return x.mean(axis=0, dtype=np.float64)
