"""What papers printed, beside ours where protocol, data set and scale are theirs; apart, with the reason, where not."""

from jobs.errors import UsageError
from jobs.papers import PublishedRow, published
from jobs.report.findings import Findings, SetScore
from jobs.report.measured import CandidateNumbers, Measured, MetricFacts
from jobs.report.printed import printed_storage, printed_times
from jobs.report.tables import Cell, Told, arrow
from jobs.report.words import number, numbered


def published_tables(findings: Findings, measured: Measured) -> list[Told]:
    """Return for each codec the papers' rows at its scale: first those that may stand beside ours."""
    found: list[Told] = []
    codecs = measured.of_kind("codec")
    for codec, settings in zip(codecs, findings.document.judging.codecs, strict=False):
        rows = _rows(findings.document.data_set, int(settings.get("scale", 0)))
        ours = findings.document.judging.protocol.name
        beside = [row for row in rows if row.protocol == ours]
        apart = [row for row in rows if row.protocol != ours]
        name, scale = codec.candidate.name, settings.get("scale")
        title = f"{name} beside what papers printed, {findings.document.data_set} at {scale}x"
        found.append(_table(title, measured, beside, codec, findings))
        title = f"Not comparable with {name}: what papers printed by other protocols"
        found.append(_table(title, measured, apart, None, findings))
    shown = [table for table in found if table.groups]
    return [*shown, printed_times(), printed_storage()] if shown else []


def _rows(data_set: str, scale: int) -> list[PublishedRow]:
    if not data_set or not scale:
        return []
    try:
        return published(data_set, scale)
    except UsageError:
        return []  # a folder that is no data set of the papers


def _table(
    title: str, measured: Measured, rows: list[PublishedRow], codec: CandidateNumbers | None, findings: Findings
) -> Told:
    metrics = [one for one in measured.metrics if any(one.column in row.scores for row in rows)]
    if not rows or not metrics:
        return Told(title=title, headings=[], groups=[])
    notes: list[str] = []
    told = [[*_source(row, notes), *(_score(row, metric, notes) for metric in metrics)] for row in rows]
    if codec:
        sets = findings.sets.get(codec.candidate.name, {})
        own = [Cell(text=f"{codec.candidate.name}, measured here"), Cell(text="this report")]
        values = [(codec.scores[m.column].mean if m.column in codec.scores else _set(sets, m)) for m in metrics]
        own += [Cell(text=number(value, m.digits), mark="best") for value, m in zip(values, metrics, strict=True)]
        told = [own, *told]
    else:
        ours = findings.document.judging.protocol.name
        protocols = sorted({row.protocol for row in rows})
        reason = f"Scored by {', '.join(protocols)}, not by {ours} as here: no number may be held beside ours."
        notes = [reason, *notes]
    return Told(title=title, headings=["Method", "Printed in", *map(arrow, metrics)], groups=[told], notes=notes)


def _source(row: PublishedRow, notes: list[str]) -> list[Cell]:
    numbers = [numbered(flag, notes) for flag in row.flags]
    where = f"{row.paper}, {row.table}"
    marks = f"see {', '.join(numbers)}" if numbers else ""
    return [Cell(text=row.method), Cell(text=where, small=marks)]


def _score(row: PublishedRow, metric: MetricFacts, notes: list[str]) -> Cell:
    value, unsure = row.scores.get(metric.column), row.unsure.get(metric.column)
    small = f"unsure, see {numbered(unsure, notes)}" if unsure and value is not None else ""
    return Cell(text=number(value, metric.digits), small=small)


def _set(sets: dict[str, SetScore], metric: MetricFacts) -> float | None:
    score = sets.get(metric.column)
    return score.value if score else None
