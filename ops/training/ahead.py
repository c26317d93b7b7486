"""The next steps' batches, made by a thread while the loop works on this one."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Yields make(step) for each step of range(first, last), in order, up to `depth` of them made before they are due.

    `make` runs in one thread, one step at a time. What it raises is raised in the loop, at the step that it was for.
    Leaving the context, also early, waits for the step in hand and makes no other.
    """

    def __init__(self, make: Callable[[int], T], first: int, last: int, depth: int = 2) -> None:
        if depth < 1:
            raise ValueError(f"depth {depth} makes nothing ahead: use 1 or more")
        self._make, self._depth = make, depth
        self._steps = iter(range(first, last))
        self._pending: deque[Future[T]] = deque()
        self._thread = ThreadPoolExecutor(1, "ahead")

    def __enter__(self) -> "Ahead[T]":
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        try:
            self._fill()
            while self._pending:
                made = self._pending.popleft().result()
                self._fill()
                yield made
                del made  # or it would be held, beside those ahead, while the next one is waited for
        finally:
            self.close()

    def close(self) -> None:
        """End the thread, when the step that it works on is made."""
        self._steps = iter(range(0))
        self._pending.clear()
        self._thread.shutdown(cancel_futures=True)

    def _fill(self) -> None:
        while len(self._pending) < self._depth:
            step = next(self._steps, None)
            if step is None:
                return
            self._pending.append(self._thread.submit(self._make, step))
