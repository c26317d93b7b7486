"""Working ahead: in order, within one budget for all who share it, and careful ones alone."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.ahead import Ahead
from pipelines.turns import Turns


class Hand:
    """What is in hand at a time, and the most that ever was."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def work(self, cost: int) -> int:
        with self._lock:
            self.now += cost
            self.most = max(self.most, self.now)
        time.sleep(0.002)
        return cost

    def let_go(self, costs: Iterator[int]) -> list[int]:
        done = []
        for cost in costs:
            with self._lock:
                self.now -= cost
            done.append(cost)
        return done


@pytest.mark.parametrize("callers", [1, 2, 5])
def test_results_come_in_order_and_callers_share_one_budget(callers: int) -> None:
    ahead, hand = Ahead(threads=3, budget=100), Hand()
    costs = [30, 90, 5, 250, 1, 40, 40, 40, 120, 10] * 4

    def call(_: int) -> list[int]:
        return hand.let_go(ahead.in_order(hand.work, ((cost, cost) for cost in costs)))

    with ThreadPoolExecutor(callers) as pool:
        assert list(pool.map(call, range(callers))) == [costs] * callers
    assert hand.most <= 250, "the largest alone, or no more than the budget"


def test_an_error_of_one_caller_gives_back_what_it_had_in_hand() -> None:
    ahead = Ahead(threads=2, budget=10)
    with pytest.raises(ZeroDivisionError):
        list(ahead.in_order(lambda one: 1 // one, [(1, 4), (0, 4), (2, 2)]))
    given_up = ahead.in_order(str, [(1, 4), (2, 4), (3, 4)])
    next(given_up)
    given_up.close()  # type: ignore[attr-defined]
    assert list(ahead.in_order(str, [(7, 10)])) == ["7"], "or this would wait for ever"


def test_a_large_one_is_not_kept_waiting_by_small_ones() -> None:
    ahead = Ahead(threads=2, budget=100)
    stop = threading.Event()

    def small_ones() -> None:
        numbers = iter(int, 1)
        for _ in ahead.in_order(lambda _: time.sleep(0.001), ((number, 10) for number in numbers)):
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(small_ones)
        time.sleep(0.05)
        begun = time.monotonic()
        assert list(ahead.in_order(str, [(1, 100)])) == ["1"]
        waited = time.monotonic() - begun
        stop.set()
        busy.result()
    assert waited < 2


def test_who_is_alone_is_alone_and_who_shares_shares() -> None:
    turns, inside, seen = Turns(), [], []
    lock = threading.Lock()

    def enter(kind: str) -> None:
        with turns.alone() if kind == "alone" else turns.shared():
            with lock:
                inside.append(kind)
                seen.append(sorted(inside))
            time.sleep(0.02)
            with lock:
                inside.remove(kind)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(enter, ["shared", "shared", "alone", "shared", "alone", "shared", "shared", "shared"]))
    assert all(company == ["alone"] for company in seen if "alone" in company)
    assert any(len(company) > 1 for company in seen)
