"""Two evaluations beside each other: image by image over the images, references and candidates that both have."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from jobs.errors import UsageError
from jobs.report.files import worded
from jobs.report.findings import Findings
from jobs.report.html import document, section, table
from jobs.report.measured import Aligned, CandidateNumbers, MetricFacts, measure, number_pairs
from jobs.report.tables import Cell, Told, arrow, difference_cell
from jobs.report.words import bits, images, number, pairing_words, told_apart
from jobs.words import plain
from ops.statistics import FEWEST, Numbers, Pairing

NAMED = 5  # keys in a note


class ComparedCandidate(Struct, frozen=True, kw_only=True):
    """A candidate of each run over the same images: the first run's numbers less the second's."""

    first: str
    second: str
    called: str
    first_bits: float | None
    second_bits: float | None
    scores: dict[str, Pairing]


class RunComparison(Struct, frozen=True, kw_only=True):
    """Two runs: what they share, what they do not, and the differences, over `num_shared` images.

    Images whose references differ in their bytes are in neither side of a difference; `notes` names all of that.
    """

    first: str
    second: str
    num_shared: int
    only_first: int
    only_second: int
    changed_references: int
    notes: list[str]
    metrics: list[MetricFacts]
    candidates: list[ComparedCandidate]


def compare_findings(first: Findings, second: Findings) -> RunComparison:
    """Compare two runs in pairs. Raises UsageError where their protocols differ, or they share no image."""
    _check_protocols(first, second)
    one, two = measure(first), measure(second)
    changed = _changed_references(first, second)
    shared = [key for key in one.keys if key in two.places and key not in changed]
    if not shared:
        raise UsageError(
            f"{first.url} and {second.url} have no image with one reference in common: evaluate the same images"
        )
    only_first = [key for key in one.keys if key not in two.places]
    only_second = [key for key in two.keys if key not in one.places]
    notes = [
        *_keys_note(f"only in {first.url}", only_first),
        *_keys_note(f"only in {second.url}", only_second),
        *_keys_note("with references that differ in their bytes, compared nowhere", sorted(changed)),
        *_surroundings(first, second),
    ]
    pairs, unpaired = _candidate_pairs(one, two)
    return RunComparison(
        first=first.url, second=second.url, num_shared=len(shared), only_first=len(only_first),
        only_second=len(only_second), changed_references=len(changed), notes=[*notes, *unpaired],
        metrics=[metric for metric in one.measured.metrics if not metric.of_set],
        candidates=[_compared(one, two, shared, pair) for pair in pairs],
    )  # fmt: skip


def comparison_lines(comparison: RunComparison) -> list[str]:
    """Return what a terminal says, a line each."""
    lines = [f"{comparison.first} against {comparison.second}: {images(comparison.num_shared)} in both"]
    for one in comparison.candidates:
        lines.append(f"{one.called}: {bits(one.first_bits)} against {bits(one.second_bits)} bits per pixel")
        lines += [f"  {_line(metric, one.scores[metric.column])}" for metric in comparison.metrics]
    return [plain(line) for line in (*lines, *(f"note: {note}" for note in comparison.notes))]


def comparison_json(comparison: RunComparison) -> str:
    """Return a comparison in numbers."""
    content: Any = msgspec.to_builtins(comparison)
    return json.dumps(worded(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def comparison_section(comparison: RunComparison) -> str:
    """Return a part of a page: the lines of the terminal as tables."""
    rows = [
        [
            Cell(text=one.called),
            Cell(text=f"{bits(one.first_bits)} and {bits(one.second_bits)}"),
            *(difference_cell(one.scores[metric.column], metric) for metric in comparison.metrics),
        ]
        for one in comparison.candidates
    ]
    told = Told(
        title=f"{comparison.first} less {comparison.second}",
        headings=["Candidate", "Bits per pixel", *(arrow(metric) for metric in comparison.metrics)],
        groups=[rows],
        notes=[
            f"Over the {images(comparison.num_shared)} that both have: mean difference, its 95 % interval, images on "
            "which the first run is better, equal, worse, and the probability p of such a difference by chance.",
            *comparison.notes,
        ],
    )  # fmt: skip
    return section("comparison", told.title, table(told, heading=""))


def comparison_page(comparison: RunComparison) -> str:
    """Return a whole HTML document of a comparison, which needs nothing but itself."""
    title = f"{comparison.first} against {comparison.second}"
    return document(title, "Two evaluations", f"<main>{comparison_section(comparison)}</main>")


def _check_protocols(first: Findings, second: Findings) -> None:
    weights = first.document.judging.weights, second.document.judging.weights
    other = sorted(name for name in weights[0].keys() & weights[1].keys() if weights[0][name] != weights[1][name])
    if first.document.protocol_digest == second.document.protocol_digest and not other:
        return
    one, two = first.document.judging.protocol, second.document.judging.protocol
    left, right = ({metric.column: metric.settings() for metric in protocol.metrics} for protocol in (one, two))
    apart = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    fields = [
        name
        for name in ("border", "threads", "identical_psnr", "averaging")
        if getattr(one, name) != getattr(two, name)
    ]
    raise UsageError(
        f"{first.url} (protocol {one.name}) and {second.url} (protocol {two.name}) were not scored alike: "
        f"{', '.join([*fields, *apart, *(f'weights of {name}' for name in other)]) or 'digests'} differ; "
        "evaluate both by one protocol"
    )


def _changed_references(first: Findings, second: Findings) -> set[str]:
    """Return the keys that both have, of references with other bytes."""
    one, two = _references(first), _references(second)
    return {key for key, digest in one.items() if key in two and two[key] != digest}


def _references(findings: Findings) -> dict[str, str]:
    table = findings.table.select(["key", "reference_sha256"])
    pairs = zip(table["key"].to_pylist(), table["reference_sha256"].to_pylist(), strict=True)
    return {key: digest for key, digest in pairs if digest}


def _candidate_pairs(one: Aligned, two: Aligned) -> tuple[list[tuple[CandidateNumbers, CandidateNumbers]], list[str]]:
    """Return candidates of one name; where no codec has one, the first codec of each and its baselines by format."""
    left, right = one.measured.candidates, two.measured.candidates
    pairs = [(left[name], right[name]) for name in left if name in right]
    if not any(first.candidate.kind == "codec" for first, _ in pairs):
        codecs = one.measured.of_kind("codec")[:1], two.measured.of_kind("codec")[:1]
        pairs = [*zip(*codecs, strict=False), *pairs]
    paired = {first.candidate.name for first, _ in pairs} | {second.candidate.name for _, second in pairs}
    alone = [name for name in (*left, *right) if name not in paired]
    return pairs, [f"in one run only, and not compared: {', '.join(dict.fromkeys(alone))}"] if alone else []


def _compared(
    one: Aligned, two: Aligned, shared: Sequence[str], pair: tuple[CandidateNumbers, CandidateNumbers]
) -> ComparedCandidate:
    first, second = pair
    codecs = max(len(side.measured.of_kind("codec")) for side in (one, two))
    names = [told_apart(side.candidate, codecs) for side in pair]
    metrics = [metric for metric in one.measured.metrics if not metric.of_set]
    return ComparedCandidate(
        first=first.candidate.name, second=second.candidate.name, called=" against ".join(dict.fromkeys(names)),
        first_bits=_bits(one, first, shared), second_bits=_bits(two, second, shared),
        scores=number_pairs(
            _of(one, first, shared), _of(two, second, shared), metrics, one.measured.identical
        ),
    )  # fmt: skip


def _of(aligned: Aligned, numbers: CandidateNumbers, keys: Sequence[str]) -> dict[str, Numbers]:
    places = np.array([aligned.places[key] for key in keys], np.intp)
    scores = aligned.lined[numbers.candidate.name].scores
    return {column: values[places] for column, values in scores.items()}


def _bits(aligned: Aligned, numbers: CandidateNumbers, keys: Sequence[str]) -> float | None:
    """Return the bits per pixel over these images alone, as far as they are kept."""
    lined = aligned.lined[numbers.candidate.name]
    places = np.array([aligned.places[key] for key in keys], np.intp)
    kept = places[lined.num_bytes[places] >= 0]
    pixels = int(lined.pixels[kept].sum())
    return int(lined.num_bytes[kept].sum()) * 8 / pixels if pixels else None


def _line(metric: MetricFacts, pairing: Pairing) -> str:
    if not pairing.num:
        return f"{metric.heading}: no image has a number in both"
    means = f"{number(pairing.first_mean, metric.digits)} against {number(pairing.second_mean, metric.digits)}"
    if pairing.num < FEWEST:
        said = "too few images to tell"
    elif pairing.ties == pairing.num:
        said = "the same on every image"
    elif pairing.is_clear():
        first = ((pairing.difference or 0) > 0) == metric.higher_is_better
        said = f"the {'first' if first else 'second'} is better"
    else:
        said = "no difference that these images show"
    counted = f"{pairing.wins:,} better, {pairing.ties:,} equal, {pairing.losses:,} worse"
    return f"{metric.heading}: {means}; {said} ({pairing_words(pairing, metric)}; {counted})"


def _keys_note(what: str, keys: Sequence[str]) -> list[str]:
    if not keys:
        return []
    more = f" and {len(keys) - NAMED:,} more" if len(keys) > NAMED else ""
    return [f"{images(len(keys))} {what}: {', '.join(keys[:NAMED])}{more}"]


def _surroundings(first: Findings, second: Findings) -> list[str]:
    """Return in what else the runs differ: machine, versions, and whether they judged one archive."""
    found = []
    for name in ("machine", "stack", "made_by"):
        one, two = getattr(first.document, name), getattr(second.document, name)
        if one != two:
            found.append(f"{name} differs: {one} against {two}")
    return found
