"""The tables of bytes, time and failures: what an evaluation took and what it lacks."""

from jobs.page import size_words
from jobs.report.findings import Findings
from jobs.report.measured import CandidateNumbers, Measured
from jobs.report.tables import Cell, Told
from jobs.report.words import NONE, between, bits, number, reasons
from jobs.words import plain
from ops.statistics import Summary

FIRST_FAILURES = 50


def thumbnails_table(measured: Measured) -> Told:
    """Return how near each codec's thumbnail is to the original shrunk by bicubic."""
    rows = [
        [
            Cell(text=one.candidate.name),
            _thumbnail_cell(one.thumbnail),
            Cell(text=_worst(one.thumbnail), small=plain(one.thumbnail.worst_key or "")),
            Cell(text=f"{one.thumbnail.num:,} of {one.thumbnail.num_images:,}"),
        ]
        for one in measured.of_kind("codec")
        if one.thumbnail.num
    ]
    return Told(
        title="Thumbnails against bicubic",
        headings=["Codec", "PSNR of thumbnails", "Worst", "Images"],
        groups=[rows] if rows else [],
        notes=["Against the original shrunk by bicubic to the same size: what hidden detail costs the small picture."],
    )


def _thumbnail_cell(summary: Summary) -> Cell:
    if summary.num_infinite == summary.num:
        return Cell(text="infinite", small="the same to the last pixel")
    exact = f", {summary.num_infinite:,} infinite" if summary.num_infinite else ""
    return Cell(text=f"{number(summary.mean, 2)} dB", small=between(summary.interval, 2) + exact)


def _worst(summary: Summary) -> str:
    return "infinite" if summary.num_infinite == summary.num else number(summary.worst, 2)


def archive_table(findings: Findings, measured: Measured) -> Told:
    """Return what an archive takes: thumbnails alone, with container and catalog, and escrow on its own line."""
    if findings.archive_bytes is None:
        return Told(title="", headings=[], groups=[])
    rows = [
        [Cell(text="Thumbnails alone"), Cell(text=size_words(one.num_bytes)), Cell(text=bits(one.bits_per_pixel))]
        for one in measured.of_kind("codec")
    ]
    rows += [
        [
            Cell(text="Beside them: alpha and extras"),
            Cell(text=size_words(one.beside_bytes)),
            Cell(text=bits(_beside(one))),
        ]
        for one in measured.of_kind("codec")
        if one.beside_bytes
    ]
    whole = findings.archive_bytes * 8 / findings.archive_pixels if findings.archive_pixels else None
    rows.append(
        [
            Cell(text="The archive, with container and catalog"),
            Cell(text=size_words(findings.archive_bytes)),
            Cell(text=bits(whole)),
        ]
    )
    escrow = size_words(findings.escrow_bytes) if findings.escrow_bytes else NONE
    rows.append([Cell(text="Escrow: the decoder, kept once"), Cell(text=escrow), Cell(text="not counted", mark="soft")])
    notes = ["Thumbnails are of the images judged here; the archive is counted whole."]
    return Told(title="The archive", headings=["", "Bytes", "Bits per pixel"], groups=[rows], notes=notes)


def timings_table(findings: Findings) -> Told:
    """Return seconds per megapixel and parameters of each codec."""
    rows = [
        [
            Cell(text=one.codec),
            Cell(text=_seconds(one.down_seconds)),
            Cell(text=_seconds(one.up_seconds)),
            Cell(text=_seconds(one.down_seconds + one.up_seconds)),
            Cell(text=f"{one.parameters / 1e6:,.2f} M" if one.parameters else NONE),
            Cell(text=f"{one.trainable / 1e6:,.2f} M" if one.trainable else NONE),
            Cell(text=f"{one.num_images:,}", small=f"{one.megapixels:,.1f} megapixels"),
        ]
        for one in findings.timings
    ]
    return Told(
        title="Time and parameters",
        headings=["Codec", "Down", "Up", "Total", "Parameters", "Trainable", "Over"],
        groups=[rows] if rows else [],
        notes=["Seconds per megapixel of the original on this machine, one image at a time, one thread."],
    )


def counts_table(measured: Measured) -> Told:
    """Return the images without scores by reason, for every candidate that has such."""
    rows = [
        [
            Cell(text=one.candidate.name),
            Cell(text=f"{sum(one.failures.values()):,}"),
            Cell(text=reasons(one.failures, 6)),
        ]
        for one in measured.candidates.values()
        if one.failures
    ]
    return Told(title="Images without scores", headings=["Candidate", "Images", "Why"], groups=[rows] if rows else [])


def failures_table(findings: Findings) -> Told:
    """Return the first failures, image by image."""
    table = findings.table.select(["key", "candidate", "status", "message"])
    failed = [one for one in table.to_pylist() if one["status"] != "ok"]
    rows = [
        [Cell(text=one[name] or "") for name in ("key", "candidate", "status", "message")]
        for one in failed[:FIRST_FAILURES]
    ]
    more = len(failed) - len(rows)
    return Told(
        title="The first of them",
        headings=["Key", "Candidate", "Status", "Message"],
        groups=[rows] if rows else [],
        notes=[f"{more:,} more stand in scores.csv."] if more else [],
    )


def _beside(one: CandidateNumbers) -> float | None:
    return one.beside_bytes * 8 / one.pixels if one.pixels else None


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s"
