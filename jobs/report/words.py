"""Numbers and names of a report, for people. What is missing or not finite is a word, never `nan`."""

import math
from collections.abc import Mapping

from jobs.report.measured import Against, CandidateNumbers, MetricFacts
from jobs.words import plain
from ops.evaluation.document import Candidate
from ops.statistics import Interval, Pairing, Summary

FORMATS = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF", "jxl": "JPEG XL"}
NONE = "none"


def called(candidate: Candidate) -> str:
    """Return what a sentence calls a candidate, such as `AVIF after a downscale`."""
    if candidate.kind == "codec":
        return candidate.name
    name = FORMATS.get(candidate.format, candidate.format or candidate.name)
    if candidate.kind == "rate":
        return f"{name} at {candidate.rate:g} bit{'' if candidate.rate == 1 else 's'} per pixel"
    return f"{name} after a downscale" if candidate.down else name


def number(value: float | None, digits: int, *, signed: bool = False) -> str:
    """Return a number with so many digits after its point, or a word."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    rounded = f"{value:{'+' if signed else ''},.{digits}f}"
    return rounded if float(rounded.replace(",", "")) else f"{0:.{digits}f}"


def with_unit(value: float | None, metric: MetricFacts) -> str:
    """Return a score with its unit, such as `24.10 dB`."""
    text = number(value, metric.digits)
    return f"{text} {metric.unit}" if metric.unit and text[-1].isdigit() else text


def between(interval: Interval | None, digits: int) -> str:
    """Return such as `95 % 2.8 to 3.4`, or that there are too few images."""
    if interval is None:
        return "too few images for an interval"
    return f"95 % {number(interval.low, digits)} to {number(interval.high, digits)}"


def bits(value: float | None) -> str:
    """Return bits per pixel with four digits that mean something at least."""
    if value is None:
        return NONE
    return f"{value:.4f}" if value >= 0.001 else f"{value:.2g}"


def times(ratio: float) -> str:
    """Return such as `3.2 times`, or `1.024 times` where that is nearly once."""
    if ratio < 1.1:
        return f"{ratio:.3f} times"
    return f"{ratio:,.2g} times" if ratio < 10 else f"{ratio:,.0f} times"


def listed(names: list[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else NONE


def reasons(counted: Mapping[str, int], most: int = 3) -> str:
    """Return reasons with their counts, the most frequent first, such as `no_reference 12, size_differs 1`."""
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = len(ordered) - most
    more = [f"{rest} more reasons {sum(number for _, number in ordered[most:]):,}"] if rest > 0 else []
    return ", ".join([f"{plain(reason)} {number:,}" for reason, number in ordered[:most]] + more)


def numbered(words: str, notes: list[str]) -> str:
    """Return the number of a note, which is added where it is new: it stands once however many rows it is of."""
    known = [note.partition(" ")[2] for note in notes]
    if words not in known:
        notes.append(f"({len(notes) + 1}) {words}")
        known.append(words)
    return f"({known.index(words) + 1})"


def images(num: int) -> str:
    """Return `1 image` or `24 images`."""
    return f"{num:,} image{'' if num == 1 else 's'}"


def mean_words(summary: Summary, metric: MetricFacts) -> str:
    """Return such as `24.10 dB (95 % 23.4 to 24.8, n = 24)`."""
    if summary.mean is None:
        return f"no number of {images(summary.num_images)}"
    exact = f", {summary.num_infinite:,} infinite" if summary.num_infinite else ""
    return f"{with_unit(summary.mean, metric)} ({between(summary.interval, metric.digits)}, n = {summary.num:,}{exact})"


def pairing_words(pairing: Pairing, metric: MetricFacts) -> str:
    """Return such as `paired difference 3.10 dB, 95 % 2.80 to 3.40, p < 0.001, n = 24`, the difference unsigned."""
    apart, ends = _sizes(pairing)
    unpaired = pairing.num_first_only + pairing.num_second_only
    parts = [
        f"paired difference {with_unit(apart, metric)}",
        between(ends, metric.digits),
        f"p {_probability(pairing)}",
        f"n = {pairing.num:,}" + (f", {unpaired:,} with a number for one of the two only" if unpaired else ""),
    ]
    return ", ".join(parts)


def larger_words(against: Against, candidate: Candidate) -> str:
    """Return by how much another candidate takes more bytes, such as `JPEG (3.2 times the bytes, larger on 7 of 7)`."""
    if against.byte_ratio is None:
        return f"{called(candidate)} (kept no image that the codec keeps)"
    larger = f"larger on {against.num_larger:,} of {against.num_both:,}"
    return f"{called(candidate)} ({times(against.byte_ratio)} the bytes, {larger})"


def told_apart(candidate: Candidate, codecs: int) -> str:
    """Return what to call a candidate among those of several codecs, such as `AVIF, at the bytes of nano-x16`."""
    name = called(candidate)
    return f"{name}, at the bytes of {candidate.codec}" if candidate.kind == "baseline" and codecs > 1 else name


def smaller_words(numbers: CandidateNumbers) -> str:
    """Return how many times smaller the files are than the sources and than raw pixels, or nothing without files."""
    if not numbers.num_bytes:
        return ""
    parts = []
    if numbers.reference_bytes:
        parts.append(f"{times(numbers.reference_bytes / numbers.num_bytes)} smaller than the source files")
    parts.append(f"{times(numbers.pixels * 3 / numbers.num_bytes)} smaller than raw pixels")
    return " and ".join(parts)


def _sizes(pairing: Pairing) -> tuple[float | None, Interval | None]:
    """Return difference and interval turned so that the difference is positive."""
    if pairing.difference is None or pairing.difference >= 0:
        return pairing.difference, pairing.interval
    turned = pairing.interval and Interval(-pairing.interval.high, -pairing.interval.low)
    return -pairing.difference, turned


def _probability(pairing: Pairing) -> str:
    if pairing.probability is None:
        return NONE
    return "< 0.001" if pairing.probability < 0.001 else f"= {pairing.probability:.3f}"
