"""The numbers of a report: every candidate's scores lined up by key, summed up, and compared in pairs."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from jobs.report.findings import Findings
from jobs.report.lining import Lined, line_up, pixels_of
from jobs.report.missing import NOT_JUDGED, reasons_of
from ops.evaluation.document import Candidate
from ops.evaluation.scores import OK
from ops.metrics.base import SetMetricConfig
from ops.statistics import Column, Numbers, Pair, Pairing, Summary, compare_pairs, summarise
from ops.timesteps import TimestepNumbers, sum_up

PERCEPTUAL = ("lpips", "dists")
SAME_BYTES = 1.01
"""What a candidate may take of a codec's bytes to be compared with it: a slip of 1 % helps the other side alone."""

Comparing: TypeAlias = Callable[[Mapping[str, Numbers], Mapping[str, Numbers]], dict[str, Pairing]]


class MetricFacts(Struct, frozen=True, kw_only=True):
    """How a metric is called and read, taken from its configuration."""

    name: str
    column: str
    heading: str
    unit: str
    digits: int
    higher_is_better: bool
    verified: bool
    of_set: bool = False


class CandidateNumbers(Struct, frozen=True, kw_only=True):
    """One candidate over `num_images`: bytes and pixels are of the images it could keep."""

    candidate: Candidate
    num_images: int
    num_kept: int
    statuses: dict[str, int]
    num_bytes: int
    beside_bytes: int
    reference_bytes: int
    pixels: int
    num_larger: int
    scores: dict[str, Summary]
    thumbnail: Summary

    @property
    def num_judged(self) -> int:
        """Return how many images have scores."""
        return self.statuses.get(OK, 0)

    @property
    def bits_per_pixel(self) -> float | None:
        """Return the bits of all files over the pixels of all their originals."""
        return self.num_bytes * 8 / self.pixels if self.pixels and self.num_kept else None

    @property
    def failures(self) -> dict[str, int]:
        """Return the images without scores, by status."""
        return {status: number for status, number in self.statuses.items() if status != OK}


class Against(Struct, frozen=True, kw_only=True):
    """A codec and another candidate over the same images. `byte_ratio` is the other's bytes over the codec's.

    `num_larger` counts the images of which the other takes more.
    """

    codec: str
    other: str
    num_both: int
    num_larger: int
    byte_ratio: float | None
    scores: dict[str, Pairing]

    @property
    def fits(self) -> bool:
        """Return whether the other takes no more bytes than the codec, but for 1 %, over all images that both keep."""
        return self.byte_ratio is not None and self.byte_ratio <= SAME_BYTES


class Measured(Struct, frozen=True, kw_only=True):
    """All numbers of a report but those of single images.

    `against` has each codec with its baselines and with other codecs, `cheaper` with formats at rates of fewer bytes,
    `timesteps` the predicted ones of candidates that have such.
    """

    num_planned: int
    num_images: int
    identical: float
    metrics: list[MetricFacts]
    candidates: dict[str, CandidateNumbers]
    against: list[Against]
    cheaper: list[Against]
    timesteps: dict[str, TimestepNumbers] = {}

    def of_kind(self, kind: str) -> list[CandidateNumbers]:
        """Return the candidates of one kind in the document's order."""
        return [one for one in self.candidates.values() if one.candidate.kind == kind]

    def others(self, codec: str) -> list[Against]:
        """Return what a codec was compared with."""
        return [one for one in self.against if one.codec == codec]

    def main_metrics(self) -> list[MetricFacts]:
        """Return the first verified PSNR and the first verified LPIPS or DISTS, as far as there are such."""
        verified = [metric for metric in self.metrics if metric.verified and not metric.of_set]
        first = [next((one for one in verified if one.name.startswith("psnr")), None)]
        first += [next((one for one in verified if one.name.startswith(PERCEPTUAL)), None)]
        return [metric for metric in first if metric] or verified[:1]


class Aligned(NamedTuple):
    """A measurement together with the numbers of single images it was made of, in key order."""

    keys: list[str]
    places: dict[str, int]
    lined: dict[str, Lined]
    measured: Measured


def measure(findings: Findings) -> Aligned:
    """Line the score rows up by key and sum them up."""
    judging = findings.document.judging
    metrics = [_facts(config) for config in judging.protocol.metrics]
    columns = [metric.column for metric in metrics if not metric.of_set]
    table = findings.table
    keys = table["key"].combine_chunks().unique() if table.num_rows else pa.array([], pa.string())
    lined: dict[str, Lined] = {}
    summed: dict[str, CandidateNumbers] = {}
    identical = float(judging.protocol.identical_psnr)
    key_list: list[str] = keys.to_pylist()
    for candidate in judging.candidates:
        rows = table.filter(pc.equal(table["candidate"], candidate.name))
        places = pc.index_in(rows["key"], value_set=keys).to_numpy()
        lined[candidate.name] = line_up(rows, places, len(keys), columns, findings.error_maps.get(candidate.name))
        summed[candidate.name] = _sum_up(
            candidate, rows, key_list, lined[candidate.name], metrics=metrics, identical=identical
        )
    compare = partial(number_pairs, metrics=metrics, identical=identical)
    against, cheaper = _against(judging.candidates, lined, compare)
    measured = Measured(
        num_planned=findings.plan.num_images, num_images=len(keys), identical=identical, metrics=metrics,
        candidates=summed, against=against, cheaper=cheaper,
        timesteps={name: sum_up(tiles) for name, tiles in findings.tiles.items()},
    )  # fmt: skip
    return Aligned(key_list, {key: place for place, key in enumerate(key_list)}, lined, measured)


def number_pairs(
    first: Mapping[str, Numbers], second: Mapping[str, Numbers], metrics: list[MetricFacts], identical: float
) -> dict[str, Pairing]:
    """Return the paired comparison of two candidates in each metric that both have."""
    shared = [one for one in metrics if one.column in first and one.column in second]
    pairs = [Pair(first[one.column], second[one.column], one.higher_is_better) for one in shared]
    compared = compare_pairs(pairs, identical)
    return {one.column: pairing for one, pairing in zip(shared, compared, strict=True)}


def _facts(config: Any) -> MetricFacts:
    return MetricFacts(
        name=config.name, column=config.column, heading=config.heading, unit=config.unit, digits=config.digits,
        higher_is_better=config.higher_is_better, verified=config.verified,
        of_set=isinstance(config, SetMetricConfig),
    )  # fmt: skip


def _sum_up(
    candidate: Candidate, rows: pa.Table, keys: list[str], lined: Lined, *, metrics: list[MetricFacts], identical: float
) -> CandidateNumbers:
    statuses = Counter(rows["status"].to_pylist())
    absent = len(keys) - rows.num_rows
    if absent:
        statuses[NOT_JUDGED] = absent
    reasons = reasons_of(rows, list(lined.scores), absent)
    facts = {one.column: one for one in metrics}
    columns = [Column(numbers, facts[name].higher_is_better, reasons[name]) for name, numbers in lined.scores.items()]
    without = int(np.isnan(lined.thumbnail).sum())
    columns.append(Column(lined.thumbnail, True, {"no number": without} if without else {}))
    *summaries, thumbnail = summarise(keys, columns, identical)
    kept = rows.filter(pc.is_valid(rows["num_bytes"]))
    return CandidateNumbers(
        candidate=candidate, num_images=len(keys), num_kept=kept.num_rows, statuses=dict(sorted(statuses.items())),
        num_bytes=_total(kept["num_bytes"]), beside_bytes=_total(kept["beside_bytes"]),
        reference_bytes=_total(kept["reference_bytes"]),
        pixels=_total(pixels_of(kept)),
        num_larger=int(lined.larger.sum()), scores=dict(zip(lined.scores, summaries, strict=True)), thumbnail=thumbnail,
    )  # fmt: skip


def _against(candidates: list[Candidate], lined: dict[str, Lined], compare: Comparing) -> tuple[list[Against], ...]:
    """Return each codec against its baselines and other codecs, and against rates at which a format takes less."""
    codecs = [one for one in candidates if one.kind == "codec"]
    against: list[Against] = []
    cheaper: list[Against] = []
    for codec in codecs:
        for other in candidates:
            own = other.kind == "baseline" and other.codec == codec.name
            one, two = lined[codec.name], lined[other.name]
            if own or (other.kind == "codec" and other != codec):
                against.append(_pair(codec, other, one, two, scores=compare(one.scores, two.scores)))
            elif other.kind == "rate" and (_pair(codec, other, one, two, scores={}).byte_ratio or 1) < 1:
                cheaper.append(_pair(codec, other, one, two, scores=compare(one.scores, two.scores)))
    return against, cheaper


def _pair(codec: Candidate, other: Candidate, one: Lined, two: Lined, *, scores: dict[str, Pairing]) -> Against:
    both = (one.num_bytes >= 0) & (two.num_bytes >= 0)
    taken = int(one.num_bytes[both].sum())
    return Against(
        codec=codec.name,
        other=other.name,
        num_both=int(both.sum()),
        num_larger=int((two.num_bytes > one.num_bytes)[both].sum()),
        byte_ratio=int(two.num_bytes[both].sum()) / taken if taken else None,
        scores=scores,
    )


def _total(cells: pa.ChunkedArray) -> int:
    return int(pc.sum(cells).as_py() or 0)


def as_json(measured: Measured) -> Any:
    """Return a measurement as plain dictionaries, with the bits per pixel that it implies."""
    plain = msgspec.to_builtins(measured)
    for name, one in measured.candidates.items():
        plain["candidates"][name]["bits_per_pixel"] = one.bits_per_pixel
    compared = zip(plain["against"] + plain["cheaper"], measured.against + measured.cheaper, strict=True)
    for cell, one in compared:
        cell["fits"] = one.fits
        for column, pairing in one.scores.items():
            cell["scores"][column]["clear"] = pairing.is_clear()
    return plain
