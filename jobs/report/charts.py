"""The plots of a report: rate-distortion curves, distributions, paired differences, and maps of mean errors."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.page import data_uri
from jobs.report.drawing import (
    BOTTOM,
    RIGHT,
    WIDTH,
    Axis,
    across,
    linear_axis,
    log_axis,
    mark,
    picture,
    shortened,
    text,
    upright,
)
from jobs.report.measured import Aligned, CandidateNumbers, Measured, MetricFacts
from jobs.report.words import bits, called, number, told_apart
from ops.evaluation.document import Candidate
from ops.statistics import Numbers

LEFT = 152  # for names of candidates
ROW = 24
DOTS = 60  # up to so many images each is a dot; beyond, a histogram
BINS = 48
CURVE_HEIGHT = 280
_SERIES = {"jpeg": "s0", "webp": "s1", "avif": "s2", "jxl": "s3"}
# Dark to bright: a map of errors is read by brightness alone where colours are not seen.
RAMP = np.array([(12, 8, 48), (92, 22, 110), (184, 52, 88), (242, 132, 40), (252, 236, 160)], np.float64)


def series(candidate: Candidate) -> str:
    """Return the class of a candidate's colour."""
    return "s4" if candidate.kind == "codec" else _SERIES.get(candidate.format, "s4")


def rate_chart(measured: Measured, metric: MetricFacts) -> str:
    """Return a metric against bits per pixel: lines for rates, discs for baselines, diamonds for codecs."""
    shown = [one for one in measured.candidates.values() if one.bits_per_pixel and _mean(one, metric) is not None]
    if len(shown) < 2:
        return ""
    left, bottom = 50, CURVE_HEIGHT - BOTTOM
    x = log_axis([one.bits_per_pixel or 1 for one in shown], left, WIDTH - RIGHT)
    y = linear_axis([_mean(one, metric) or 0 for one in shown], bottom, 12)
    marks = [*across(x, 12, bottom, "bits per pixel"), *upright(y, left, WIDTH - RIGHT)]
    for form in dict.fromkeys(one.candidate.format for one in shown if one.candidate.kind == "rate"):
        curve = [one for one in shown if one.candidate.kind == "rate" and one.candidate.format == form]
        curve.sort(key=lambda one: one.bits_per_pixel or 0)
        places = [f"{x.place(one.bits_per_pixel or 1):.1f} {y.place(_mean(one, metric) or 0):.1f}" for one in curve]
        marks.append(f'<path class="{series(curve[0].candidate)} line" d="M{"L".join(places)}"/>')
    # Codecs last, so that they lie on top.
    ordered = sorted(shown, key=lambda one: one.candidate.kind == "codec")
    marks += [_curve_mark(one, metric, x, y) for one in ordered]
    return picture(f"{metric.heading} against bits per pixel", _curve_words(shown, metric), CURVE_HEIGHT, marks)


def distribution_chart(aligned: Aligned, codec: CandidateNumbers, metric: MetricFacts) -> str:
    """Return how a metric is spread over the images, for a codec and its baselines: dots, or a histogram of many."""
    measured = aligned.measured
    own = [one for one in measured.of_kind("baseline") if one.candidate.codec == codec.candidate.name]
    rows = [(one, _finite(aligned, one, metric)) for one in (codec, *own)]
    rows = [(one, values) for one, values in rows if len(values)]
    if not rows:
        return ""
    bottom = ROW * len(rows) + 6
    x = linear_axis([end for _, values in rows for end in (values.min(), values.max())], LEFT, WIDTH - RIGHT)
    marks = across(x, 4, bottom, _axis_name(metric))
    for at, (one, values) in enumerate(rows):
        middle = at * ROW + 4 + ROW / 2
        marks += [row_name(called(one.candidate), middle), spread(x, middle, values, series(one.candidate))]
        summary = one.scores[metric.column]
        marks.append(box(x, middle, summary.lower_quartile or 0, summary.upper_quartile or 0, summary.mean or 0))
    about = "; ".join(
        f"{called(one.candidate)}: mean {number(one.scores[metric.column].mean, metric.digits)}" for one, _ in rows
    )
    return picture(f"{metric.heading} of single images, {codec.candidate.name}", about, bottom + BOTTOM, marks)


def difference_chart(measured: Measured, codec: str, metric: MetricFacts) -> str:
    """Return paired mean differences with their intervals; to the right the codec is better."""
    sign = 1 if metric.higher_is_better else -1
    rows = [
        (called(measured.candidates[one.other].candidate), pairing.interval, pairing.difference, pairing.is_clear())
        for one in measured.others(codec)
        if (pairing := one.scores[metric.column]).difference is not None and pairing.interval
    ]
    if not rows:
        return ""
    bottom = ROW * len(rows) + 6
    ends = [sign * end for _, interval, _, _ in rows for end in interval] + [0.0]
    x = linear_axis(ends, LEFT, WIDTH - RIGHT)
    marks = across(x, 4, bottom, f"{_axis_name(metric)}, right: {codec} is better")
    marks.append(f'<path class="zero" d="M{x.place(0):.1f} 4V{bottom:.1f}"/>')
    for at, (name, interval, difference, clear) in enumerate(rows):
        middle = at * ROW + 4 + ROW / 2
        low, high = sorted(x.place(sign * end) for end in interval)
        marks.append(row_name(name, middle))
        marks.append(f'<path class="s4 whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}"/>')
        words = f"{name}: {number(sign * difference, metric.digits, signed=True)}"
        marks.append(mark("disc" if clear else "ring", x.place(sign * difference), middle, "s4", words))
    about = "; ".join(f"{name}: {number(sign * value, metric.digits, signed=True)}" for name, _, value, _ in rows)
    return picture(f"{metric.heading}: {codec} less the others, image by image", about, bottom + BOTTOM, marks)


def error_maps(aligned: Aligned) -> tuple[list[tuple[str, str]], float]:
    """Return the name and the picture, as a URL, of each mean error map, and the error that is brightest on all."""
    held = [
        (one.candidate, found)
        for one in aligned.measured.candidates.values()
        if one.candidate.kind != "rate" and (found := aligned.lined[one.candidate.name].error_map) is not None
    ]
    brightest = max((float(found.max()) for _, found in held), default=0.0)
    codecs = len(aligned.measured.of_kind("codec"))
    return [(told_apart(candidate, codecs), heat(found / (brightest or 1.0))) for candidate, found in held], brightest


def heat(shares: NDArray[np.floating], ramp: NDArray[np.float64] = RAMP) -> str:
    """Return a picture, as a URL, of a pixel for each number from 0 to 1."""
    places = np.clip(shares, 0, 1) * (len(ramp) - 1)
    channels = [np.interp(places, np.arange(len(ramp)), ramp[:, channel]) for channel in range(3)]
    file = io.BytesIO()
    Image.fromarray(np.rint(np.stack(channels, axis=-1)).astype(np.uint8)).save(file, "PNG", optimize=True)
    return data_uri(file.getvalue(), "image/png")


def _curve_mark(one: CandidateNumbers, metric: MetricFacts, x: Axis, y: Axis) -> str:
    candidate, rate, mean = one.candidate, one.bits_per_pixel or 1, _mean(one, metric) or 0
    words = f"{called(candidate)}: {number(mean, metric.digits)} at {bits(rate)} bits per pixel"
    shape = {"codec": "diamond", "rate": "dot"}.get(candidate.kind, "ring" if candidate.down else "disc")
    drawn = mark(shape, x.place(rate), y.place(mean), series(candidate), words)
    if candidate.kind != "codec":
        return drawn
    # Beside its mark, on the side that has room.
    right = x.place(rate) < (x.start + x.end) / 2
    beside = x.place(rate) + (11 if right else -11)
    return drawn + text(beside, y.place(mean) + 4, shortened(candidate.name, 24), "start" if right else "end")


def _curve_words(shown: Sequence[CandidateNumbers], metric: MetricFacts) -> str:
    return "; ".join(
        f"{called(one.candidate)}: {number(_mean(one, metric), metric.digits)} at {bits(one.bits_per_pixel)}"
        for one in shown
    )


def spread(x: Axis, middle: float, values: Numbers, look: str) -> str:
    """Return numbers along an axis as dots, or many as a histogram."""
    if len(values) <= DOTS:
        dots = (f'<circle cx="{x.place(value):.1f}" cy="{middle - 3:.1f}" r="3"/>' for value in values.tolist())
        return f'<g class="{look} dots">{"".join(dots)}</g>'
    counts, edges = np.histogram(values, BINS, (x.low, x.high))
    tops = middle + 3 - counts / counts.max() * (ROW - 9)
    steps = [f"V{top:.1f}H{x.place(edge):.1f}" for top, edge in zip(tops.tolist(), edges[1:].tolist(), strict=True)]
    return f'<path class="{look} bars" d="M{x.start:.1f} {middle + 3:.1f}{"".join(steps)}V{middle + 3:.1f}z"/>'


def box(x: Axis, middle: float, lower: float, upper: float, mean: float) -> str:
    """Return a bar from quartile to quartile, and the mean, or another middle, as a stroke."""
    below = middle + 6
    return (
        f'<path class="quartiles" d="M{x.place(lower):.1f} {below:.1f}H{x.place(upper):.1f}"/>'
        f'<path class="mean" d="M{x.place(mean):.1f} {below - 4:.1f}v8"/>'
    )


def row_name(name: str, middle: float) -> str:
    """Return the name of a row of a plot."""
    return text(LEFT - 8, middle + 4, shortened(name, 22), "end", "row")


def _axis_name(metric: MetricFacts) -> str:
    return f"{metric.heading}, {metric.unit}" if metric.unit else metric.heading


def _mean(one: CandidateNumbers, metric: MetricFacts) -> float | None:
    return one.scores[metric.column].mean


def _finite(aligned: Aligned, one: CandidateNumbers, metric: MetricFacts) -> Numbers:
    numbers = aligned.lined[one.candidate.name].scores[metric.column]
    present = numbers[~np.isnan(numbers)]
    return np.where(np.isposinf(present), aligned.measured.identical, present)
