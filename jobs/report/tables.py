"""The tables of a report, free of HTML and Markdown: cells of words with marks."""

from collections.abc import Sequence

from msgspec import Struct

from jobs.report.findings import Findings
from jobs.report.measured import Against, CandidateNumbers, Measured, MetricFacts
from jobs.report.rivals import trained_on
from jobs.report.words import NONE, between, bits, called, number, reasons, times
from jobs.words import plain
from ops.statistics import Pairing, Summary

BREAK = "\n"  # between the lines of a cell's small words
# Which way a metric is better; never alone on a line.
UP, DOWN = "\N{NO-BREAK SPACE}\N{UPWARDS ARROW}", "\N{NO-BREAK SPACE}\N{DOWNWARDS ARROW}"


class Cell(Struct, frozen=True, kw_only=True):
    """Words in a table; `small`, of lines, stands below. Marks: best, larger, soft, under (indented)."""

    text: str
    small: str = ""
    mark: str = ""


class Told(Struct, frozen=True, kw_only=True):
    """A table: its title, headings, rows in groups, and notes beneath. Without rows it is left out."""

    title: str
    headings: list[str]
    groups: list[list[list[Cell]]]
    notes: list[str] = []


def summary_table(measured: Measured) -> Told:
    """Return bytes and verified metrics of codecs and baselines, each codec with its baselines as a group."""
    metrics = [one for one in measured.metrics if one.verified and not one.of_set]
    return _means_table(
        measured, "Summary", metrics,
        [
            "Means over the images that were judged, with their 95 % interval; n where not all of them have a number. "
            "Bold: the best of a codec and what takes no more bytes than it, but for 1 %.",
            "Bits per pixel: the bits of all files over the pixels of all their originals; files of images alone, "
            "without container and catalog.",
        ],
    )  # fmt: skip


def unverified_table(measured: Measured) -> Told:
    """Return the metrics that nobody checked against a published result, apart."""
    metrics = [one for one in measured.metrics if not one.verified and not one.of_set]
    notes = ["Not checked against any published result: compare them with nothing outside of this page."]
    return _means_table(measured, "Unverified metrics", metrics, notes)


def sets_table(findings: Findings, measured: Measured) -> Told:
    """Return the metrics of whole sets, N beside every value."""
    metrics = [one for one in measured.metrics if one.of_set]
    rows: list[list[Cell]] = []
    for name, scores in findings.sets.items():
        cells = [Cell(text=name)]
        for metric in metrics:
            score = scores.get(metric.column)
            if score is None or score.value is None:
                why = (score and score.message) or "not taken"
                cells.append(Cell(text=NONE, small=why, mark="soft"))
            else:
                cells.append(Cell(text=number(score.value, metric.digits), small=f"N = {score.num:,}"))
        rows.append(cells)
    headings = ["Candidate", *(arrow(one) + ("" if one.verified else ", unverified") for one in metrics)]
    notes = ["N: the patches or images a number stands on. Such numbers fall with N: compare them at one N only."]
    return Told(title="Metrics of the whole set", headings=headings, groups=[rows] if metrics else [], notes=notes)


def rates_table(measured: Measured) -> Told:
    """Return conventional formats at rates: the curves in numbers."""
    metrics = [one for one in measured.metrics if not one.of_set and one.verified]
    rows = [
        [Cell(text=called(one.candidate)), *_bytes_cells(one, None), *(mean_cell(one, metric) for metric in metrics)]
        for one in measured.of_kind("rate")
    ]
    return Told(title="Rates", headings=_headings(metrics), groups=[rows] if rows else [])


def differences_table(measured: Measured, codec: str) -> Told:
    """Return the paired differences of a codec and everything it was compared with."""
    metrics = [one for one in measured.metrics if not one.of_set]
    rows = [_difference_row(measured, against, metrics) for against in measured.others(codec)]
    return Told(
        title=f"Paired differences: {codec} less the others",
        headings=[codec, "Bytes", *(arrow(one) for one in metrics)],
        groups=[rows] if rows else [],
        notes=[
            "Over the images that both have a number of: mean difference, its 95 % interval, images on which the codec "
            "is better, equal, worse, and the probability p of such a difference by chance. Bold where interval and "
            "test agree that it is one. Many comparisons stand here: one in twenty would look clear by chance alone. "
            "Bytes: those of the other over those of the codec.",
        ],
    )


def spread_table(measured: Measured, codec: CandidateNumbers) -> Told:
    """Return how a codec's scores spread, with the worst and the best image of each metric."""
    rows = [
        _spread_row(metric, codec.scores[metric.column], trained=trained_on(codec.candidate, metric))
        for metric in measured.metrics
        if not metric.of_set
    ]
    return Told(
        title=f"Spread of {codec.candidate.name}",
        headings=["Metric", "n", "Mean", "Median", "Deviation", "Quartiles", "Worst", "Best", "No number"],
        groups=[rows] if rows else [],
        notes=[f"An infinite PSNR counts as {measured.identical:g} dB."],
    )


def _means_table(measured: Measured, title: str, metrics: list[MetricFacts], notes: list[str]) -> Told:
    groups = [_group(measured, one, metrics) for one in measured.of_kind("codec")] if metrics else []
    return Told(title=title, headings=_headings(metrics), groups=groups, notes=notes)


def _group(measured: Measured, codec: CandidateNumbers, metrics: list[MetricFacts]) -> list[list[Cell]]:
    """Return the rows of a codec and of its baselines."""
    against = {one.other: one for one in measured.others(codec.candidate.name)}
    baselines = [one for one in measured.of_kind("baseline") if one.candidate.name in against]
    fitting = [codec, *(one for one in baselines if against[one.candidate.name].fits)]
    best = {metric.column: _best(fitting, metric) for metric in metrics}
    return [
        [
            Cell(text=called(one.candidate), mark="" if one is codec else "under"),
            *_bytes_cells(one, against.get(one.candidate.name)),
            *(mean_cell(one, metric, best=best[metric.column]) for metric in metrics),
        ]
        for one in (codec, *baselines)
    ]


def _best(fitting: Sequence[CandidateNumbers], metric: MetricFacts) -> str:
    """Return who has the best mean, among two at least."""
    held = [(one.scores[metric.column].mean, one.candidate.name) for one in fitting]
    means = [(mean, name) for mean, name in held if mean is not None]
    if len(means) < 2:
        return ""
    return (max if metric.higher_is_better else min)(means, key=lambda pair: pair[0])[1]


def _headings(metrics: list[MetricFacts]) -> list[str]:
    return ["Candidate", "Images", "Mean bytes", "Bits per pixel", *(arrow(one) for one in metrics)]


def arrow(metric: MetricFacts) -> str:
    """Return a metric's name with its unit and which way it is better."""
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.heading}{unit}{UP if metric.higher_is_better else DOWN}"


def _bytes_cells(one: CandidateNumbers, against: Against | None) -> list[Cell]:
    judged = f"of {one.num_images:,}" if one.num_judged < one.num_images else ""
    kept = f"of {one.num_kept:,} images" if one.num_kept != one.num_judged else ""
    mean = f"{one.num_bytes / one.num_kept:,.0f}" if one.num_kept else NONE
    cells = [Cell(text=f"{one.num_judged:,}", small=judged), Cell(text=mean, small=kept)]
    if against is None or against.fits:
        larger = f"larger on {one.num_larger:,}" if one.num_larger else ""
        return [*cells, Cell(text=bits(one.bits_per_pixel), small=larger)]
    much = f"larger: {times(against.byte_ratio)}" if against.byte_ratio else "kept nothing"
    return [*cells, Cell(text=bits(one.bits_per_pixel), small=much, mark="larger")]


def mean_cell(one: CandidateNumbers, metric: MetricFacts, best: str = "") -> Cell:
    """Return a mean with everything that it stands on."""
    summary = one.scores[metric.column]
    if summary.mean is None:
        return Cell(text=NONE, small=reasons(summary.missing, 1), mark="soft")
    interval, digits = summary.interval, metric.digits
    parts = [f"{number(interval.low, digits)} to {number(interval.high, digits)}"] if interval else []
    parts += [f"n = {summary.num:,}"] if summary.num != one.num_judged else []
    parts += [f"{summary.num_infinite:,} infinite"] if summary.num_infinite else []
    parts += ["trained on it"] if trained_on(one.candidate, metric) else []
    mark = "best" if one.candidate.name == best else ""
    return Cell(text=number(summary.mean, digits), small=", ".join(parts), mark=mark)


def _difference_row(measured: Measured, against: Against, metrics: list[MetricFacts]) -> list[Cell]:
    other = measured.candidates[against.other].candidate
    ratio = NONE if against.byte_ratio is None else f"{against.byte_ratio:.2f} times"
    return [
        Cell(text=f"less {called(other)}"),
        Cell(text=ratio, mark="" if against.fits else "larger"),
        *(difference_cell(against.scores[metric.column], metric) for metric in metrics),
    ]


def difference_cell(pairing: Pairing, metric: MetricFacts) -> Cell:
    """Return a paired difference with everything that it stands on."""
    if not pairing.num:
        return Cell(text=NONE, small="no image has both", mark="soft")
    ends = f"{number(pairing.interval.low, metric.digits)} to {number(pairing.interval.high, metric.digits)}" if (
        pairing.interval
    ) else "too few for an interval"  # fmt: skip
    chance = "p < 0.001" if (pairing.probability or 0) < 0.001 else f"p = {pairing.probability:.3f}"
    unpaired = pairing.num_first_only + pairing.num_second_only
    alone = f", {unpaired:,} unpaired" if unpaired else ""
    counted = f"{pairing.wins:,}/{pairing.ties:,}/{pairing.losses:,}, {chance}"
    return Cell(
        text=number(pairing.difference, metric.digits, signed=True),
        small=BREAK.join([ends, counted, f"n = {pairing.num:,}{alone}"]),
        mark="best" if pairing.is_clear() else "",
    )


def _spread_row(metric: MetricFacts, summary: Summary, *, trained: bool) -> list[Cell]:
    digits = metric.digits
    said = [word for word, holds in (("unverified", not metric.verified), ("trained on it", trained)) if holds]
    quartiles = f"{number(summary.lower_quartile, digits)} to {number(summary.upper_quartile, digits)}"
    exact = f"{summary.num_infinite:,} infinite" if summary.num_infinite else ""
    return [
        Cell(text=arrow(metric), small=", ".join(said)),
        Cell(text=f"{summary.num:,}", small=exact),
        Cell(text=number(summary.mean, digits), small=between(summary.interval, digits) if summary.num else ""),
        Cell(text=number(summary.median, digits)),
        Cell(text=number(summary.deviation, digits)),
        Cell(text=quartiles if summary.num else NONE),
        Cell(text=number(summary.worst, digits), small=plain(summary.worst_key or "")),
        Cell(text=number(summary.best, digits), small=plain(summary.best_key or "")),
        Cell(text=f"{summary.num_images - summary.num:,}", small=reasons(summary.missing, 2)),
    ]
