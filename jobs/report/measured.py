"""The numbers of a report: every candidate's scores lined up by key, summed up, and compared in pairs."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from numpy.typing import NDArray

from jobs.report.findings import Findings
from ops.evaluation.document import Candidate
from ops.evaluation.scores import OK
from ops.metrics.base import SetMetricConfig
from ops.metrics.error_map import read_error_map
from ops.statistics import Column, Numbers, Pair, Pairing, Summary, compare_pairs, summarise

PERCEPTUAL = ("lpips", "dists")
NOT_JUDGED = "not judged yet"
THUMBNAIL = "thumbnail_psnr"


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
    def bits_per_pixel(self) -> float | None:
        """Return the bits of all files over the pixels of all their originals."""
        return self.num_bytes * 8 / self.pixels if self.pixels and self.num_kept else None

    @property
    def failures(self) -> dict[str, int]:
        """Return the images without scores, by status."""
        return {status: number for status, number in self.statuses.items() if status != OK}


class Against(Struct, frozen=True, kw_only=True):
    """A codec and another candidate over the same images. `byte_ratio` is the other's bytes over the codec's."""

    codec: str
    other: str
    num_both: int
    num_larger: int
    byte_ratio: float | None
    scores: dict[str, Pairing]

    @property
    def fits(self) -> bool:
        """Return whether the other takes no more bytes than the codec, over all images that both keep."""
        return self.byte_ratio is not None and self.byte_ratio <= 1


class Lined(NamedTuple):
    """One candidate's rows lined up by key; NaN and -1 where it has none."""

    present: NDArray[np.bool_]
    num_bytes: NDArray[np.int64]
    pixels: NDArray[np.int64]
    larger: NDArray[np.bool_]
    scores: dict[str, Numbers]
    thumbnail: Numbers
    error_map: NDArray[np.float64] | None


class Measured(Struct, frozen=True, kw_only=True):
    """All numbers of a report but those of single images."""

    num_planned: int
    num_images: int
    identical: float
    metrics: list[MetricFacts]
    candidates: dict[str, CandidateNumbers]
    against: list[Against]

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
        lined[candidate.name] = _line_up(rows, places, len(keys), columns)
        summed[candidate.name] = _sum_up(
            candidate, rows, key_list, lined[candidate.name], metrics=metrics, identical=identical
        )
    measured = Measured(
        num_planned=findings.plan.num_images, num_images=len(keys), identical=identical, metrics=metrics,
        candidates=summed, against=_against(judging.candidates, lined, metrics, identical),
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


def _line_up(rows: pa.Table, places: NDArray[np.int64], num: int, columns: list[str]) -> Lined:
    return Lined(
        present=_scattered(num, places, np.ones(len(places), bool), False),
        num_bytes=_scattered(num, places, _whole(rows["num_bytes"], -1), -1),
        pixels=_scattered(num, places, _whole(_pixels(rows), -1), -1),
        larger=_scattered(num, places, rows["larger"].fill_null(False).to_numpy(), False),
        scores={name: _scattered(num, places, _floats(rows[name]), np.nan) for name in columns},
        thumbnail=_scattered(num, places, _floats(rows[THUMBNAIL]), np.nan),
        error_map=_mean_map(rows["error_map"]),
    )


def _sum_up(
    candidate: Candidate, rows: pa.Table, keys: list[str], lined: Lined, *, metrics: list[MetricFacts], identical: float
) -> CandidateNumbers:
    statuses = Counter(rows["status"].to_pylist())
    absent = len(keys) - rows.num_rows
    if absent:
        statuses[NOT_JUDGED] = absent
    reasons = _reasons(rows, list(lined.scores), absent)
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
        pixels=_total(_pixels(kept)),
        num_larger=int(lined.larger.sum()), scores=dict(zip(lined.scores, summaries, strict=True)), thumbnail=thumbnail,
    )  # fmt: skip


def _reasons(rows: pa.Table, columns: list[str], absent: int) -> dict[str, Counter[str]]:
    """Return for each column why there is no number, counted; every null has one reason."""
    statuses, missing = rows["status"].to_pylist(), rows["missing"].to_pylist()
    said = [dict(pairs or []) for pairs in missing]
    found: dict[str, Counter[str]] = {}
    for column in columns:
        counted: Counter[str] = Counter({NOT_JUDGED: absent} if absent else {})
        for place in np.flatnonzero(np.isnan(_floats(rows[column]))).tolist():
            status = statuses[place]
            counted[said[place].get(column) or (status if status != OK else "no reason was recorded")] += 1
        found[column] = counted
    return found


def _against(
    candidates: list[Candidate], lined: dict[str, Lined], metrics: list[MetricFacts], identical: float
) -> list[Against]:
    codecs = [one for one in candidates if one.kind == "codec"]
    pairs = [
        (codec.name, other.name)
        for codec in codecs
        for other in candidates
        if (other.kind == "baseline" and other.codec == codec.name) or (other.kind == "codec" and other != codec)
    ]
    found: list[Against] = []
    for codec, other in pairs:
        one, two = lined[codec], lined[other]
        both = (one.num_bytes >= 0) & (two.num_bytes >= 0)
        taken = int(one.num_bytes[both].sum())
        ratio = int(two.num_bytes[both].sum()) / taken if taken else None
        found.append(
            Against(
                codec=codec,
                other=other,
                num_both=int(both.sum()),
                num_larger=int(two.larger[both].sum()),
                byte_ratio=ratio,
                scores=number_pairs(one.scores, two.scores, metrics, identical),
            )
        )
    return found


def _pixels(rows: pa.Table) -> pa.ChunkedArray:
    return pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))


def _mean_map(cells: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return the mean of all error maps of one size, in levels, in key order."""
    maps = [read_error_map(cell).astype(np.float64) for cell in cells.drop_null().to_pylist()]
    return np.mean(maps, axis=0) if maps else None


def _floats(cells: pa.ChunkedArray) -> Numbers:
    return pc.fill_null(cells, float("nan")).to_numpy().astype(np.float64)


def _whole(cells: pa.ChunkedArray, absent: int) -> NDArray[np.int64]:
    return pc.fill_null(cells.cast(pa.int64()), absent).to_numpy()


def _scattered(num: int, places: NDArray[np.int64], numbers: NDArray[Any], absent: object) -> NDArray[Any]:
    found = np.full(num, absent, numbers.dtype)
    found[places] = numbers
    return found


def _total(cells: pa.ChunkedArray) -> int:
    return int(pc.sum(cells).as_py() or 0)


def as_json(measured: Measured) -> Any:
    """Return a measurement as plain dictionaries, with the bits per pixel that it implies."""
    plain = msgspec.to_builtins(measured)
    for name, one in measured.candidates.items():
        plain["candidates"][name]["bits_per_pixel"] = one.bits_per_pixel
    for cell, one in zip(plain["against"], measured.against, strict=True):
        cell["fits"] = one.fits
        for column, pairing in one.scores.items():
            cell["scores"][column]["clear"] = pairing.is_clear()
    return plain
