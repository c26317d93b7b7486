"""Why images have no number in a metric."""

from collections import Counter

import numpy as np
import pyarrow as pa

from jobs.report.lining import floats
from ops.evaluation.scores import OK

NOT_JUDGED = "not judged yet"


def reasons_of(rows: pa.Table, columns: list[str], absent: int) -> dict[str, Counter[str]]:
    """Return for each column why there is no number, counted; every null has one reason."""
    statuses, missing = rows["status"].to_pylist(), rows["missing"].to_pylist()
    said = [dict(pairs or []) for pairs in missing]
    found: dict[str, Counter[str]] = {}
    for column in columns:
        counted: Counter[str] = Counter({NOT_JUDGED: absent} if absent else {})
        for place in np.flatnonzero(np.isnan(floats(rows[column]))).tolist():
            status = statuses[place]
            counted[said[place].get(column) or (status if status != OK else "no reason was recorded")] += 1
        found[column] = counted
    return found
