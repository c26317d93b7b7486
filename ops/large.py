"""Images beyond a worker's budget of pixels, one at a time on a machine, however many workers there are.

So the memory of a machine is bounded by the budgets of its workers and one largest image, not by a largest image each.
"""

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class _Waiting:
    """How long this process has waited for other workers, in all, with the wait that is under way."""

    total = 0.0
    since: float | None = None


# A worker has one large image in hand at a time; its other threads wait here, not on the file.
_one_here = threading.Lock()


@contextmanager
def alone_if(large: bool) -> Iterator[None]:
    """Hold the machine's one place for large images while the block runs, if this is one; waits for it to be free."""
    if not large:
        yield
        return
    with _one_here, _place().open("ab") as file:  # closing it, or dying, gives the place back
        _Waiting.since = time.monotonic()
        fcntl.flock(file, fcntl.LOCK_EX)
        _Waiting.total, _Waiting.since = waited_seconds(), None
        yield


def waited_seconds() -> float:
    """Return how long this process has waited for other workers' large images: no fault of its own."""
    since = _Waiting.since
    return _Waiting.total + (time.monotonic() - since if since is not None else 0.0)


def _place() -> Path:
    return Path(tempfile.gettempdir()) / f"regrow-large-{os.getuid()}.lock"
