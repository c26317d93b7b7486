"""Working ahead in threads, in order, with no more pixels in hand than a budget allows."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class Ahead:
    """A pool of threads and a budget of pixels, for any number of callers at a time."""

    def __init__(self, threads: int, budget: int) -> None:
        self._pool, self._budget = ThreadPoolExecutor(threads), budget
        self._in_hand = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def in_order(self, work: Callable[[Given], Made], given: Iterable[tuple[Given, int]]) -> Iterator[Made]:
        """Yield the work's results in the order given. Each input comes with its cost; one beyond the budget is alone.

        What a result costs is in hand until the next one is asked for.
        """
        pending: deque[tuple[Future[Made], int]] = deque()
        try:
            for one, cost in given:
                while not self._take(cost, wait=not pending):
                    yield pending[0][0].result()
                    self._give_back(pending.popleft()[1])
                pending.append((self._pool.submit(work, one), cost))
            while pending:
                yield pending[0][0].result()
                self._give_back(pending.popleft()[1])
        finally:
            self._give_back(sum(cost for _, cost in pending))

    def _take(self, cost: int, *, wait: bool) -> bool:
        """Take from the budget; without waiting, only where nobody waits and it fits. Who waits is served in turn."""
        with self._changed:
            if not wait and (self._waiting or not self._fits(cost)):
                return False
            turn = object()
            self._waiting.append(turn)
            self._changed.wait_for(lambda: self._waiting[0] is turn and self._fits(cost))
            self._waiting.popleft()
            self._in_hand += cost
            self._changed.notify_all()
            return True

    def _fits(self, cost: int) -> bool:
        return self._in_hand == 0 or self._in_hand + cost <= self._budget

    def _give_back(self, cost: int) -> None:
        with self._changed:
            self._in_hand -= cost
            self._changed.notify_all()
