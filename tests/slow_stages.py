"""Two stages that note when a row was fetched and when it came; workers import them by this name."""

import time
from typing import Any

from ops.codecs.base import Runtime


class Noting:
    """Notes when it got a number."""

    def __init__(self, task: float, runtime: Runtime) -> None:
        self._task, self._runtime = task, runtime

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["number"], "fetched": row["fetched"], "got": time.monotonic()}


def fetch_slowly(row: dict[str, Any], task: float) -> dict[str, Any]:
    time.sleep(task)
    return {"number": row["number"], "fetched": time.monotonic()}
