"""The result of a selftest for people."""

from jobs.words import kind_words, percent
from ops.archive.selftest import Distance, Selftest


def lines_of(found: Selftest) -> list[tuple[str, str]]:
    """Return what a selftest found, and what it ran on, then and now."""
    lines = [
        ("codec", found.codec),
        ("reconstruction", _distance_words(found.reconstruction)),
        ("thumbnail", _distance_words(found.thumbnail)),
        *_then_and_now("device", found.device_then, found.device_now),
        *_then_and_now("stack", found.stack_then, found.stack_now),
    ]
    return [*lines, ("warning", kind_words(generative=True, untrained=True))] if found.untrained else lines


def _distance_words(distance: Distance) -> str:
    if not distance.largest:
        return "equal, bit for bit"
    levels = "1 level" if distance.largest == 1 else f"{distance.largest} levels"
    share = percent(distance.share, 1.0)
    return f"up to {levels} apart, {distance.mean:.4f} on average; {share} of the pixels differ"


def _then_and_now(what: str, then: str, now: str) -> list[tuple[str, str]]:
    if then == now:
        return [(what, f"{now}, then and now")]
    return [(f"{what} then", then), (f"{what} now", now)]
