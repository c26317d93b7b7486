"""report.md: the verdict and the tables, for repositories and terminals."""

import re

from jobs.report.accounts import (
    archive_table,
    counts_table,
    failures_table,
    parts_table,
    thumbnails_table,
    timings_table,
)
from jobs.report.findings import Findings
from jobs.report.measured import Aligned
from jobs.report.protocol import METHOD, codecs_table, facts_table, metrics_table, remarks
from jobs.report.published import published_tables
from jobs.report.sweeps import sweeps_table
from jobs.report.tables import (
    BREAK,
    Cell,
    Told,
    differences_table,
    rates_table,
    sets_table,
    spread_table,
    summary_table,
    unverified_table,
)
from jobs.report.timesteps import timesteps_table
from jobs.report.verdict import Verdict
from jobs.words import plain

# What Markdown or the HTML within it would obey; a dash or a number at the start of a line cannot come about here.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")


def render_markdown(findings: Findings, aligned: Aligned, told: list[Verdict]) -> str:
    """Return verdict, tables and protocol as Markdown."""
    measured = aligned.measured
    tables = [
        summary_table(measured),
        sets_table(findings, measured),
        *(differences_table(measured, codec.candidate.name) for codec in measured.of_kind("codec")),
        *(spread_table(measured, codec) for codec in measured.of_kind("codec")),
        *published_tables(findings, measured),
        archive_table(findings, measured),
        thumbnails_table(measured),
        timings_table(findings),
        parts_table(findings),
        sweeps_table(findings, measured),
        timesteps_table(findings, measured),
        rates_table(measured),
        unverified_table(measured),
        counts_table(measured),
        failures_table(findings),
        remarks(findings),
        facts_table(findings),
        codecs_table(findings),
        metrics_table(findings),
    ]
    parts = [f"# Evaluation of {escaped(findings.document.target)}"]
    parts += [_verdict(one) for one in told]
    parts += [table(one) for one in tables if any(one.groups)]
    parts.append(f"## Method\n\n{escaped(METHOD)}")
    return "\n\n".join(parts) + "\n"


def table(told: Told) -> str:
    """Return a table of Markdown; marks are bold, and in words."""
    head = " | ".join(escaped(name) for name in told.headings)
    lines = [f"| {head} |", "|" + "---|" * len(told.headings)]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for group in told.groups for row in group]
    notes = "".join(f"\n\n{escaped(note)}" for note in told.notes)
    return f"## {escaped(told.title)}\n\n" + "\n".join(lines) + notes


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", plain(text))


def _verdict(verdict: Verdict) -> str:
    topics = "\n".join(f"- **{escaped(one.topic)}.** {escaped(one.text)}" for one in verdict.paragraphs)
    return f"## Verdict on {escaped(verdict.codec)}\n\n**{escaped(verdict.headline)}**\n\n{topics}"


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    small = f" ({'; '.join(escaped(line) for line in cell.small.split(BREAK))})" if cell.small else ""
    return f"**{text}**{small}" if cell.mark == "best" else f"{text}{small}"
