"""Lengths of time as schedules write them: 6h, 90m, 1h30m, 45s, 2d."""

import re

from jobs.errors import UsageError

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_WHOLE = re.compile(r"(\d+[dhms])+")


def seconds_of(text: str) -> int:
    """Return the seconds of a duration. Raises UsageError for what is none, or is nothing."""
    found = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))
    if not _WHOLE.fullmatch(text) or not found:
        raise UsageError(f"{text!r} is no length of time: write such as 6h, 90m, 1h30m or 2d")
    return found
