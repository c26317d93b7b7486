"""Ctrl-C and SIGTERM: the first one stops cleanly, the second one at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The user, or the system, asked to stop; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stopping:
    """While the block runs, a signal raises Interrupted out of it, once what runs has cleaned up after itself."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce, self._number = announce, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in _SIGNALS}
            self.arm()
        return self

    def arm(self) -> None:
        """Take the signals, again after Ray has taken one of them: its session ends the process at SIGTERM."""
        if self._before and not self._number:
            for number in _SIGNALS:
                signal.signal(number, self._stop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, SystemExit) and error.code == signal.SIGTERM:  # Ray's answer to it
            self._number = signal.SIGTERM
        if self._number and error is not None:
            raise Interrupted(self._number) from error

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
        # The second one is the system's to answer: Ray's shutdown holds Python's own handlers up for seconds.
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        self._announce()
        raise KeyboardInterrupt
