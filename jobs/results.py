"""What came of a run, for people and for programs."""

from collections import Counter

from msgspec import Struct

from jobs.evaluating import EvaluateResult
from jobs.tally import Tally
from jobs.words import count, failure_words, megapixels, percent, size_words
from ops.archive.catalog import Totals
from ops.archive.reading import Archive
from ops.archive.rows import OK
from pipelines.reconstruct import Reconstructed

_MESSAGES = 10


class ArchiveResult(Struct, frozen=True, kw_only=True):
    """What an archive holds after a run. Sums are of images that have a thumbnail; bytes and pixels are of originals.

    `failed_now` are failures of this run alone. Before sealing, the sums too are of this run alone. `evaluation` is
    there where scores were asked for.
    """

    archive: str
    sealed: bool
    generation: int | None = None
    images: int = 0
    good: int = 0
    failures: dict[str, int] = {}
    failed_now: int = 0
    pixels: int = 0
    source_bytes: int = 0
    thumbnail_bytes: int = 0
    bits_per_pixel: float | None = None
    nothing_to_do: str | None = None
    problems: list[str] = []
    evaluation: EvaluateResult | None = None


class ReconstructResult(Struct, frozen=True, kw_only=True):
    """What came of regrowing: pictures made, there already, images without a thumbnail, and failures by message.

    Where lists of keys were read, `asked_for` are their keys, and `unmet` those in the archive that do not meet
    `match` or `where`. `seal` is the archive's that was read.
    """

    archive: str
    destination: str
    regrown: int
    already_there: int
    without_thumbnail: int
    failed: int
    failures: list[str]
    seal: int
    asked_for: int | None = None
    unmet: int = 0
    nothing_to_do: str | None = None


def archive_result(archive: str, tally: Tally, nothing_to_do: str | None = None) -> ArchiveResult:
    """Return the result of archiving, retrying or sealing."""
    totals = tally.seal.totals if tally.seal else _totals_of(tally)
    return ArchiveResult(
        archive=archive,
        sealed=tally.seal is not None,
        generation=tally.seal.number if tally.seal else tally.plan.generation if tally.plan else None,
        images=totals.num_images,
        good=totals.num_good,
        failures=totals.failures,
        failed_now=tally.num_failed,
        pixels=totals.pixels,
        source_bytes=totals.source_bytes,
        thumbnail_bytes=totals.thumbnail_bytes,
        bits_per_pixel=8 * totals.thumbnail_bytes / totals.pixels if totals.pixels else None,
        nothing_to_do=nothing_to_do,
        problems=tally.problems,
    )


def failures_left(archive: str, tally: Tally) -> Counter[str]:
    """Return by code what failed in this run, and earlier in the generation that it took up, and is not good by now.

    So how often a run was cut off does not matter; what failed in older generations was told when they ended. Of a
    generation that was taken up, the catalog knows them once it is sealed, all but the new versions of images whose
    older ones stay: those are told only by the run that tried them.
    """
    if tally.seal is None or tally.taken_up is None or not tally.seal.totals.failures:
        return tally.failures
    conditions = f"generation >= {tally.taken_up} and status != '{OK}'"
    found: Counter[str] = Counter()
    for table in Archive.open(archive).select(where=conditions):
        found.update(table["status"].to_pylist())
    return found | tally.failures


def archive_lines(result: ArchiveResult) -> list[tuple[str, str]]:
    """Return the result for people."""
    bits = "" if result.bits_per_pixel is None else f", {result.bits_per_pixel:.4f} bits per pixel"
    share = f"{percent(result.thumbnail_bytes, result.source_bytes)} of their bytes{bits}" if result.good else ""
    failures = f" ({failure_words(result.failures)})" if result.failures else ""
    return [
        ("images", f"{result.good:,}, {megapixels(result.pixels)}, {size_words(result.source_bytes)}"),
        ("thumbnails", f"{size_words(result.thumbnail_bytes)}{', ' if share else ''}{share}"),
        ("failures", f"{sum(result.failures.values()):,}{failures}"),
        *(("not listed", problem) for problem in result.problems[:_MESSAGES]),
    ]


def reconstruct_result(archive: str, destination: str, found: Reconstructed) -> ReconstructResult:
    """Return the result of reconstructing."""
    return ReconstructResult(
        archive=archive,
        destination=destination,
        regrown=found.num_regrown,
        already_there=found.num_there,
        without_thumbnail=found.num_failed_before,
        failed=len(found.failures),
        failures=found.failures,
        seal=found.seal.number,
        asked_for=found.asked.num_keys if found.asked else None,
        unmet=found.num_unmet,
        nothing_to_do=_nothing_to_do(archive, found),
    )


def _nothing_to_do(archive: str, found: Reconstructed) -> str | None:
    """Return why nothing was done, where nothing was asked for and nothing is wrong."""
    asked = found.asked
    if found.num_selected or found.failures or found.num_failed_before:
        return None
    if asked is None:
        return f"{archive} has nothing new since the last run (seal {found.seal.number}): nothing to do"
    if not asked.num_keys:
        return f"{asked.place} asks for no key ({count(asked.num_files, 'file')}): nothing to do"
    return None


def reconstruct_lines(result: ReconstructResult) -> list[tuple[str, str]]:
    """Return the result for people."""
    lines = [] if result.asked_for is None else [("asked for", count(result.asked_for, "key"))]
    lines.append(("regrown", count(result.regrown, "image")))
    if result.already_there:
        lines.append(("kept", f"{count(result.already_there, 'picture')} that lay there already"))
    if result.without_thumbnail:
        lines.append(("left out", f"{count(result.without_thumbnail, 'image')} that failed when archived"))
    if result.unmet:
        lines.append(("left out", f"{count(result.unmet, 'image')} for which match or where does not hold"))
    lines += [("failed", message) for message in result.failures[:_MESSAGES]]
    if result.failed > _MESSAGES:
        lines.append(("failed", f"and {result.failed - _MESSAGES:,} more"))
    return lines


def _totals_of(tally: Tally) -> Totals:
    failures: dict[str, int] = dict(tally.failures)
    return Totals(
        num_images=tally.num_done,
        num_good=tally.num_done - sum(failures.values()),
        failures=failures,
        source_bytes=tally.source_bytes,
        thumbnail_bytes=tally.thumbnail_bytes,
        pixels=tally.pixels,
    )
