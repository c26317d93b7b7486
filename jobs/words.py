"""Numbers and names for people, in a terminal."""

from jobs.page import size_words

__all__ = ["count", "duration", "failure_words", "kind_words", "megapixels", "percent", "plain", "size_words"]

# What a key may hold and a terminal would obey: shown as Unicode's pictures of them instead.
_CONTROLS = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def plain(text: str) -> str:
    """Return text of a source or a key so that it stays on its line and commands no terminal."""
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode()


def count(number: int, noun: str) -> str:
    """Return such as `1 image` or `1,234 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megapixels(pixels: int) -> str:
    """Return such as `12.0 MP`, or gigapixels beyond a thousand of them."""
    return f"{pixels / 1e6:,.1f} MP" if pixels < 1e9 else f"{pixels / 1e9:,.1f} GP"


def percent(part: float, whole: float) -> str:
    """Return a share with three digits that mean something."""
    return f"{100 * part / whole:.3g} %" if whole else "-"


def kind_words(*, generative: bool, untrained: bool = False) -> str:
    """Return what must be known of a codec wherever it is named."""
    if untrained:
        return "UNTRAINED weights: what it regrows is noise"
    return "generative: fine detail of what it regrows is invented" if generative else "not generative"


def duration(seconds: float) -> str:
    """Return such as `45 s`, `12 min`, `3 h 20 min` or `5 d 3 h`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, hours = round(whole / 60), whole // 3600
    if minutes < 100:
        return f"{minutes} min"
    if hours < 72:
        return f"{hours} h {whole % 3600 // 60} min"
    return f"{hours // 24} d {hours % 24} h"


def failure_words(failures: dict[str, int]) -> str:
    """Return codes with their counts, most frequent first: `corrupt 12, empty 1`."""
    ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{code} {number:,}" for code, number in ordered)
