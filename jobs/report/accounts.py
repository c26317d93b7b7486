"""The tables of bytes, time and failures: what an evaluation took and what it lacks."""

from jobs.page import size_words
from jobs.report.findings import Findings, Timing
from jobs.report.measured import CandidateNumbers, Measured
from jobs.report.tables import Cell, Told
from jobs.report.words import NONE, between, bits, number, reasons
from jobs.words import plain
from ops.codecs.parameters import Parameters
from ops.statistics import Summary

FIRST_FAILURES = 50
OF_PARAMETERS = (
    "Parameters: of the networks that run, with adapters merged and without a text encoder, which papers count (340.39 "
    "million of TADM's 1,354.52). To send and to receive: those that an image or a thumbnail goes through. Trainable: "
    "what the authors trained, adapters by themselves; not known where no checkpoint says it."
)


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
    timings = {one.codec: one for one in findings.timings}
    rows = [
        [Cell(text=name), *_time_cells(timings.get(name)), *_parameter_cells(findings.parameters.get(name))]
        for name in dict.fromkeys([*timings, *findings.parameters])
    ]
    headings = ["Codec", "Down", "Up", "Total", "Over", "Parameters", "To send", "To receive", "Trainable"]
    return Told(
        title="Time and parameters",
        headings=headings if findings.parameters else headings[:5],
        groups=[[row if findings.parameters else row[:5] for row in rows]] if rows else [],
        notes=[
            "Seconds per megapixel of the original on this machine, one image at a time, one thread.",
            *([OF_PARAMETERS] if findings.parameters else []),
        ],
    )


def _time_cells(timing: Timing | None) -> list[Cell]:
    if timing is None:
        return [Cell(text="not taken", mark="soft")] * 4
    down, up = timing.down_seconds, timing.up_seconds
    over = Cell(text=f"{timing.num_images:,}", small=f"{timing.megapixels:,.1f} megapixels")
    return [*(Cell(text=_seconds(taken)) for taken in (down, up, down + up)), over]


def _parameter_cells(parameters: Parameters | None) -> list[Cell]:
    if parameters is None:
        return [Cell(text=NONE, mark="soft")] * 4
    trainable = parameters.trainable
    last = Cell(text="not known", mark="soft") if trainable is None else Cell(text=_millions(trainable))
    return [*(Cell(text=_millions(number)) for number in (parameters.total, parameters.down, parameters.up)), last]


def parts_table(findings: Findings) -> Told:
    """Return the parameters of each codec's networks, part by part."""
    held = {name: {part.name: part for part in one.parts} for name, one in findings.parameters.items()}
    parts = list(dict.fromkeys(name for of_codec in held.values() for name in of_codec))
    rows = [
        [Cell(text=name), *(Cell(text=_millions(one[name].number) if name in one else NONE) for one in held.values())]
        for name in parts
    ]
    return Told(title="Parameters by part", headings=["Part", *held], groups=[rows] if rows else [])


def _millions(number: int) -> str:
    return f"{number / 1e6:,.3f} M"


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
