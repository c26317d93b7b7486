"""Error maps of an evaluation: where in its images each candidate errs, in the mean."""

from collections import Counter
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ops.evaluation.scores import ERROR_MAP, rows_of_works
from ops.metrics.error_map import read_error_map


def mean_error_maps(url: str, older: Collection[tuple[str, str]] = ()) -> dict[str, NDArray[np.float64]]:
    """Return each candidate's error map, the mean over its images, summed in the order of works.

    `older` are works and keys that do not count, as read_all_scores returns them.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    counts: Counter[str] = Counter()
    for table in rows_of_works(url, ["key", "candidate", ERROR_MAP], older):
        for _, candidate, cells in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if cells is not None:
                sums[candidate] = sums.get(candidate, 0.0) + read_error_map(cells).astype(np.float64)
                counts[candidate] += 1
    return {candidate: total / counts[candidate] for candidate, total in sums.items()}
