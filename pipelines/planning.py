"""Making the plan of a generation: of a new archive, of what a source has grown by, or of failures to retry."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import NamedTuple

from ops.archive.catalog import Totals
from ops.archive.known import KnownKeys, Standing
from ops.archive.layout import ArchiveDocument, ArchiveError, Location
from ops.archive.plan import Plan, PlanWriter, chunks_of, publish, read_plan
from ops.archive.rows import ImageRow
from ops.archive.seals import Seal, read_catalog
from ops.images import FailureCode
from ops.readers.base import Entry
from ops.sources import ScanReport, scan
from ops.stores import absolute, open_store
from pipelines.requests import ArchiveRequest, Changed

BATCH = 10_000
# Each asks a store for one object and waits; a retry of a million failures takes minutes, not a day.
LOOKS_AT_ONCE = 16


class Target(NamedTuple):
    """The archive that a plan is made for, with its highest seal, if any."""

    location: Location
    document: ArchiveDocument
    seal: Seal | None


class NothingToDo(ArchiveError):
    """The archive holds everything already; the message says what was looked at, `problems` what could not be."""

    problems: Sequence[str] = ()


def scan_source(request: ArchiveRequest) -> tuple[Iterator[Entry], ScanReport]:
    """Start listing a source. Raises SourceError at once where there is nothing to archive."""
    report = ScanReport()
    entries = scan(request.source, all_files=request.all_files, report=report)
    first = next(entries, None)
    return (chain([first], entries) if first else iter(())), report


def plan_first(target: Target, request: ArchiveRequest) -> Plan:
    """Plan everything that a source holds."""
    entries, report = scan_source(request)
    return _write(target, "first", absolute(request.source), entries, report)


def plan_growth(target: Target, request: ArchiveRequest) -> Plan:
    """Plan what a source holds that the archive does not.

    Raises NothingToDo where there is nothing, ArchiveError where keys have changed and the request refuses that.
    """
    entries, report = scan_source(request)
    held = read_catalog(target.location, target.seal, KnownKeys.COLUMNS) if target.seal else iter(())
    left: list[str] = []
    new = _new_only(_unclaimed(target, request, entries, KnownKeys(held), left), request.changed, left)
    first = next(new, None)
    if first is None:
        raise _nothing(target, request, [*notes_of(report), *left], problems_of(report))
    return _write(target, "growth", absolute(request.source), chain([first], new), report, left=left)


def _nothing(target: Target, request: ArchiveRequest, notes: list[str], problems: list[str]) -> NothingToDo:
    url, totals = target.location.url, target.seal.totals if target.seal else Totals()
    failed = totals.num_images - totals.num_good
    told = f"; {failed} of {totals.num_images} images failed: regrow failures {shlex.quote(url)}" if failed else ""
    nothing = NothingToDo(
        f"{url} holds everything that {request.source} has{told}{''.join(f'; {note}' for note in notes)}"
    )
    nothing.problems = problems
    return nothing


def plan_retry(target: Target, failed: Iterable[Entry], codes: list[FailureCode]) -> Plan | None:
    """Plan failed images again, as their sources stand now."""
    entries = _as_they_stand(failed)
    first = next(entries, None)
    if first is None:
        return None
    what = ", ".join(codes) or "all failures"
    return _write(target, "retry", f"retry of {what}", chain([first], entries), ScanReport())


def _write(
    target: Target, kind: str, source: str, entries: Iterable[Entry], report: ScanReport, *, left: Sequence[str] = ()
) -> Plan:
    location, document, seal = target
    generation = seal.number + 1 if seal else 0
    writer = PlanWriter(location, generation)
    for chunk in chunks_of(entries, generation):
        writer.add(chunk)
    index, digest = writer.finish()
    plan = Plan(
        generation=generation,
        kind=kind,
        parent=seal.plan_digest if seal else "",
        source=source,
        digest=digest,
        codec_digest=document.codec_digest,
        num_chunks=writer.num_chunks,
        num_images=writer.num_images,
        num_bytes=writer.num_bytes,
        files=writer.files,
        index=index,
        skipped=dict(report.skipped),
        notes=[*notes_of(report), *left],
        problems=problems_of(report),
    )
    return publish(location, plan)


def problems_of(report: ScanReport) -> list[str]:
    """Return what could not be listed, a line each."""
    return [f"{uri}: {message}" for uri, message in report.problems]


def notes_of(report: ScanReport) -> list[str]:
    """Return what a user must know of a listing, a line each: nothing is left out in silence."""
    notes = []
    if report.skipped:
        total = sum(report.skipped.values())
        kinds = ", ".join(
            f"{suffix or 'no suffix'} {number}" for suffix, number in Counter(report.skipped).most_common(6)
        )
        notes.append(f"not planned, since no images by their names: {total} ({kinds}); --all-files plans them")
    if report.num_estimated:
        notes.append("bytes are estimates: the source does not say the sizes of all its images")
    if report.renamed:
        notes.append(f"keys that stood twice in the source and got ~2, ~3 and so on: {report.renamed}")
    if report.listed_twice:
        notes.append(f"listed twice and planned once: {report.listed_twice}")
    notes += problems_of(report)[:20]
    if len(report.problems) > 20:
        notes.append(f"and {len(report.problems) - 20} more problems of this kind")
    return notes


Judged = tuple[Entry, Standing]


def _unclaimed(
    target: Target, request: ArchiveRequest, entries: Iterator[Entry], known: KnownKeys, left: list[str]
) -> Iterator[Judged]:
    """Yield entries with their standing. Raises where another source has taken a key: that image has not changed."""
    source, sources = absolute(request.source), sources_of(target)
    num_same = 0
    while batch := list(islice(entries, BATCH)):
        for entry, standing in zip(batch, known.standing(batch), strict=True):
            if standing in ("changed", "untold") and source not in sources:
                raise ArchiveError(
                    f"{target.location.url} has {entry.key!r} already, of {', '.join(sources)}: archive {source} "
                    "into an archive of its own, or from a folder above, so that keys differ"
                )
            num_same += standing == "same"
            yield entry, standing
    if num_same and source not in sources:
        left.append(
            f"taken for images that are here already, of {', '.join(sources)}, by key, size and time: {num_same}"
        )


def sources_of(target: Target) -> list[str]:
    """Return the sources that an archive was made of so far."""
    plans = (read_plan(target.location, number) for number in range(target.seal.number + 1 if target.seal else 0))
    return sorted({plan.source for plan in plans if plan and plan.kind != "retry"})


def _new_only(judged: Iterator[Judged], changed: Changed, left: list[str]) -> Iterator[Entry]:
    refused: list[str] = []
    num_changed = num_untold = 0
    for entry, standing in judged:
        num_untold += standing == "untold"
        if standing == "changed":
            num_changed += 1
            refused += [entry.key] if len(refused) < 3 else []
        if standing == "new" or (standing == "changed" and changed == "new"):
            yield entry
    if num_changed and changed == "refuse":
        raise ArchiveError(
            f"{num_changed} images changed at the source since they were archived ({', '.join(refused)}"
            f"{', ...' if num_changed > len(refused) else ''}): say --changed skip to leave them as archived, "
            "or --changed new to archive them anew"
        )
    if num_changed and changed == "skip":
        left.append(f"changed at the source and left as archived: {num_changed} ({', '.join(refused)})")
    if num_untold:
        left.append(f"taken as unchanged, since their list tells neither size nor etag: {num_untold}")


def _as_they_stand(entries: Iterable[Entry]) -> Iterator[Entry]:
    remaining = iter(entries)
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        while batch := list(islice(remaining, BATCH)):
            yield from pool.map(_as_it_stands, batch)


def _as_it_stands(entry: Entry) -> Entry:
    """Return an entry of a whole object with the size and etag that it has now; others as they were planned."""
    if entry.locator:
        return entry
    try:
        stored = open_store(entry.uri).stat(entry.uri)
    except OSError:  # still gone: it will fail again, with the reason
        return entry
    return Entry(key=entry.key, uri=entry.uri, size=stored.size, etag=stored.etag)


def failed_entries(rows: Iterable[ImageRow], codes: list[FailureCode]) -> Iterator[Entry]:
    """Return the entries of failures whose code is wanted (any, without codes)."""
    for row in rows:
        if not codes or row.status in codes:
            yield Entry(key=row.key, uri=row.uri, locator=row.locator, size=row.source_bytes, etag=row.etag)
