"""When a line of progress is due where there is no terminal to draw a bar on."""

from time import monotonic

SECONDS_BETWEEN_LINES = 30.0


class Rhythm:
    """Says that it is time at once, and then once in so many seconds."""

    def __init__(self) -> None:
        self._last: float | None = None

    def is_time(self) -> bool:
        """Say whether a line is due; asked again, it is not until the time has passed."""
        now = monotonic()
        if self._last is not None and now - self._last < SECONDS_BETWEEN_LINES:
            return False
        self._last = now
        return True
