"""Times as records, ids and people write them: UTC, to the second."""

from datetime import UTC, datetime

from jobs.errors import UsageError

STAMP = "%Y%m%dT%H%M%SZ"


def now_text() -> str:
    """Return this moment as in 2026-11-25T01:30:00Z."""
    return text_of(datetime.now(UTC))


def now_stamp() -> str:
    """Return this moment as ids have it."""
    return stamp_of(datetime.now(UTC))


def text_of(moment: datetime) -> str:
    """Return a moment as in 2026-11-25T01:30:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_of(moment: datetime) -> str:
    """Return a moment as ids have it: 20261125T013000Z."""
    return moment.astimezone(UTC).strftime(STAMP)


def read_stamp(text: str) -> datetime:
    """Return the moment of an id. Raises ValueError."""
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC)


def read_moment(text: str) -> datetime:
    """Return a moment that a user wrote. Raises UsageError where it is none, or leaves open which zone is meant."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"{text!r} is no moment: write date, time and zone, such as 2026-11-25T01:30:00Z")
    return found.astimezone(UTC)
