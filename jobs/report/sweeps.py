"""The size of tiles against metrics, where codecs under test differ in that alone: a table and plots."""

from collections import defaultdict

import msgspec
from msgspec import Struct

from jobs.report.drawing import BOTTOM, RIGHT, WIDTH, across, linear_axis, mark, picture, text, upright
from jobs.report.findings import Findings
from jobs.report.measured import CandidateNumbers, Measured, MetricFacts
from jobs.report.tables import Cell, Told, arrow, mean_cell
from jobs.report.words import NONE, number
from ops.codecs.latent import LatentConfig
from ops.codecs.names import codec_from

LATENT = 8  # pixels a side
SWEPT = ("tile", "overlap")
HEIGHT, LEFT = 220, 54
PLOTTED = 4  # metrics


class Swept(Struct, frozen=True, kw_only=True):
    """A candidate of a sweep: side of its tiles and their overlap, in latents."""

    numbers: CandidateNumbers
    tile: int
    overlap: int


def sweeps(findings: Findings, measured: Measured) -> list[list[Swept]]:
    """Return the groups of candidates that differ in their tiles alone, smallest tile first."""
    alike: dict[bytes, dict[str, dict[str, object]]] = defaultdict(dict)
    for name, settings in findings.document.judging.settings_of_codecs().items():
        rest = {key: value for key, value in settings.items() if key not in SWEPT}
        alike[msgspec.json.encode(rest, order="sorted")][name] = settings
    groups = [_group(one, measured) for one in alike.values() if any(set(SWEPT) & set(own) for own in one.values())]
    return [group for group in groups if len({(one.tile, one.overlap) for one in group}) > 1]


def _group(alike: dict[str, dict[str, object]], measured: Measured) -> list[Swept]:
    configs = {name: config for name, one in alike.items() if isinstance(config := codec_from(one), LatentConfig)}
    held = [
        Swept(numbers=measured.candidates[name], tile=one.tile, overlap=one.overlap) for name, one in configs.items()
    ]
    return sorted(held, key=lambda one: (one.tile, one.overlap))


def sweeps_table(findings: Findings, measured: Measured) -> Told:
    """Return means of verified metrics, seconds and time-steps by the size of tiles."""
    metrics = _metrics(measured)
    groups = [[_row(one, metrics, findings, measured) for one in group] for group in sweeps(findings, measured)]
    return Told(
        title="Tile size against metrics",
        headings=["Codec", "Tile", "Overlap", *map(arrow, metrics), "Up, s", "Median time-step"],
        groups=groups,
        notes=[
            "Codecs that differ in their tiles alone; sides in latents, of 8 pixels each. Seconds per megapixel on "
            "this machine. Whether one is better than another the paired differences tell, not the means."
        ],
    )


def sweep_charts(findings: Findings, measured: Measured) -> list[tuple[str, str]]:
    """Return name and plot of each metric against the side of tiles."""
    return [
        (f"{metric.heading} by the size of tiles, {group[0].numbers.candidate.name.partition(' ')[0]}", chart)
        for group in sweeps(findings, measured)
        for metric in _metrics(measured)[:PLOTTED]
        if (chart := _chart(group, metric))
    ]


def _metrics(measured: Measured) -> list[MetricFacts]:
    return [one for one in measured.metrics if one.verified and not one.of_set]


def _row(one: Swept, metrics: list[MetricFacts], findings: Findings, measured: Measured) -> list[Cell]:
    name = one.numbers.candidate.name
    seconds = next((timing.up_seconds for timing in findings.timings if timing.codec == name), None)
    timesteps = measured.timesteps.get(name)
    return [
        Cell(text=name),
        Cell(text=f"{one.tile}", small=f"{one.tile * LATENT:,} pixels"),
        Cell(text=f"{one.overlap}", small=f"{one.overlap * LATENT:,} pixels"),
        *(mean_cell(one.numbers, metric) for metric in metrics),
        Cell(text=NONE if seconds is None else f"{seconds:.3g}"),
        Cell(text=number(timesteps.median if timesteps else None, 1)),
    ]


def _chart(group: list[Swept], metric: MetricFacts) -> str:
    """Return means with their intervals: a diamond and a whisker for each size."""
    shown = [(one, summary) for one in group if (summary := one.numbers.scores[metric.column]).mean is not None]
    if len(shown) < 2:
        return ""
    bottom = HEIGHT - BOTTOM
    ends = [end for _, summary in shown for end in (summary.interval or (summary.mean or 0.0,))]
    x = linear_axis([one.tile for one, _ in shown], LEFT, WIDTH - RIGHT)
    y = linear_axis(ends, bottom, 12)
    marks = [*across(x, 12, bottom, "side of tiles, latents"), *upright(y, LEFT, WIDTH - RIGHT)]
    said = []
    for one, summary in shown:
        place, mean = x.place(one.tile), summary.mean or 0.0
        words = f"{one.numbers.candidate.name}: {number(mean, metric.digits)}"
        said.append(words)
        if summary.interval:
            low, high = (y.place(end) for end in summary.interval)
            marks.append(f'<path class="s4 whisker" d="M{place:.1f} {low:.1f}V{high:.1f}"/>')
        marks.append(mark("diamond", place, y.place(mean), "s4", words))
    marks.append(text(LEFT, 8, f"{metric.heading}{f', {metric.unit}' if metric.unit else ''}", look="name"))
    return picture(f"{metric.heading} by the size of tiles", "; ".join(said), HEIGHT, marks)
