"""The pipeline against the bare loop: one process, the same threads, the same plan and bytes, no Ray."""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

from bench.children import call
from bench.photographs import link_copies, make_photographs
from bench.report import Table, verdict

GOAL = 0.95
CODEC = "bicubic-x16"


class Settings(Struct, frozen=True, kw_only=True):
    """`num_images` different photographs, each archived `copies` times; chunks close as `chunk_images` says."""

    num_images: int = 200
    copies: int = 4
    repeats: int = 5
    chunk_images: int = 64
    sizes: list[tuple[int, int]] | None = None
    folder: str | None = None


QUICK = Settings(num_images=4, copies=4, repeats=1, chunk_images=2, sizes=[(1200, 1000)])


def measure(settings: Settings) -> list[Table]:
    """Run pipeline and bare loop in turn; return the ratio of their rates and where the time went."""
    with tempfile.TemporaryDirectory(prefix="regrow-bench-") as scratch:
        source = _source(settings, Path(scratch))
        try:
            pairs = [_pair(index, settings, source, Path(scratch)) for index in range(settings.repeats)]
        finally:
            shutil.rmtree(source)
    return [_ratios(pairs), _stages(pairs)]


def _source(settings: Settings, scratch: Path) -> Path:
    photographs = Path(settings.folder) if settings.folder else scratch / "photographs"
    make_photographs(photographs, settings.num_images, *([settings.sizes] if settings.sizes else []))
    # Links must be on the file system of what they name; a folder given by the user may be on another.
    source = scratch / "source" if not settings.folder else photographs.with_name(f"{photographs.name}-copies")
    shutil.rmtree(source, ignore_errors=True)
    link_copies(photographs, source, settings.num_images * settings.copies)
    return source


def _pair(index: int, settings: Settings, source: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    planned = scratch / f"pipeline-{index}"
    arguments = {"source": str(source), "archive": str(planned), "chunk_images": settings.chunk_images}
    call("throughput:make_plan", arguments)  # so that neither side is timed with the planning
    runs: dict[str, dict[str, Any]] = {}
    for kind in ("bare", "pipeline") if index % 2 else ("pipeline", "bare"):
        runs[kind] = call(f"throughput:run_{kind}", arguments, environment=_malloc())
    if runs["bare"]["thumbnail_bytes"] != runs["pipeline"]["thumbnail_bytes"]:
        raise RuntimeError(f"the two sides made different bytes: {runs}")
    for folder in (planned, Path(f"{planned}-bare")):
        shutil.rmtree(folder)
    return runs


def _malloc() -> dict[str, str]:
    from clusters.session import MALLOC  # noqa: PLC0415  the workers of the pipeline have it, so the bare loop too

    return MALLOC


def make_plan(source: str, archive: str, chunk_images: int) -> None:
    """Write an archive's document and plan (a child)."""
    from bench.synthetic import new_target  # noqa: PLC0415
    from ops.archive import plan  # noqa: PLC0415
    from pipelines.planning import plan_first  # noqa: PLC0415

    plan.CHUNK_IMAGES = chunk_images
    target, request = new_target(source, archive, CODEC)
    plan_first(target, request)


class Done(Struct, frozen=True, kw_only=True):
    """One chunk's pixels, thumbnail bytes and seconds of work, by stage."""

    pixels: int
    thumbnail_bytes: int
    stages: dict[str, float]


def run_pipeline(source: str, archive: str, chunk_images: int) -> dict[str, Any]:  # noqa: ARG001
    """Archive through Ray without sealing (a child)."""
    from pipelines.archive import archive as run  # noqa: PLC0415
    from pipelines.events import Event, Receipt  # noqa: PLC0415
    from pipelines.requests import ArchiveRequest  # noqa: PLC0415
    from pipelines.streaming import CALLS_AT_ONCE  # noqa: PLC0415

    begun = time.time()
    done: dict[str, Done] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Receipt):
            stages = {"actor": event.seconds / _budget().num_actors / CALLS_AT_ONCE}
            done[event.name] = Done(pixels=event.pixels, thumbnail_bytes=event.thumbnail_bytes, stages=stages)

    run(ArchiveRequest(source=source, archive=archive, seal=False), listen)
    # The marks that actors leave before they begin stay until an archive is sealed.
    started = min(path.stat().st_mtime_ns for path in Path(archive, "attempts").rglob("0")) / 1e9
    return _result(begun, started, archive, done)


def run_bare(source: str, archive: str, chunk_images: int) -> dict[str, Any]:  # noqa: ARG001
    """Work through the same plan in a loop, into a folder beside the archive (a child)."""
    from clusters.costs import STREAMS  # noqa: PLC0415
    from ops.archive.layout import Location, read_document  # noqa: PLC0415
    from ops.archive.parts import put_part  # noqa: PLC0415
    from ops.archive.plan import read_chunk, read_index, read_plan  # noqa: PLC0415
    from ops.codecs.base import Runtime  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from ops.encoding import ChunkEncoder  # noqa: PLC0415
    from ops.sources import fetch  # noqa: PLC0415
    from pipelines.encode import ArchiveTask, part_facts  # noqa: PLC0415

    begun = time.time()
    location, elsewhere = Location(archive), Location(f"{archive}-bare")
    document, plan = read_document(location), read_plan(location, 0)
    assert document
    assert plan
    codec, budget = codec_from(document.codec), _budget()
    task = ArchiveTask(
        location=elsewhere, run="bench", generation=0, plan_digest=plan.digest, codec=codec,
        codec_digest=document.codec_digest, reading=document.reading,
    )  # fmt: skip
    runtime = Runtime(pixel_budget=budget.pixel_budget * budget.num_actors, threads=budget.num_actors * budget.threads)
    encoder = ChunkEncoder(codec.load(runtime), document.reading, runtime)
    done: dict[str, Done] = {}
    started = time.time()
    for place in read_index(location, plan).to_pylist():
        stages: dict[str, float] = {}
        with _timed(stages, "read plan"):
            chunk = read_chunk(location, 0, place["file"], place["row_group"], place["row"])
        with _timed(stages, "fetch"):
            fetched = fetch(chunk.entries, STREAMS)
        with _timed(stages, "encode"):
            rows = encoder.rows(chunk, fetched, 0)
        with _timed(stages, "put"):
            put_part(elsewhere, rows, part_facts(task, chunk.id))
        done[chunk.id] = Done(
            pixels=sum((row.width or 0) * (row.height or 0) for row in rows),
            thumbnail_bytes=sum(len(row.thumbnail or b"") for row in rows),
            stages=stages,
        )
    return _result(begun, started, elsewhere.url, done)


def _budget() -> Any:
    from clusters.budget import budget_for  # noqa: PLC0415
    from clusters.machine import this_machine  # noqa: PLC0415

    return budget_for(this_machine())


@contextmanager
def _timed(spent: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    spent[stage] = time.monotonic() - begun


def _result(begun: float, started: float, archive: str, done: dict[str, Done]) -> dict[str, Any]:
    """Return the rate at steady state, from the end of the first chunk to that of the last but one.

    A chunk ends when its part is written, as the file says: receipts reach a driver late and in bursts. An actor has
    two chunks in hand: at both ends of this stretch another one is half done, so neither side is favoured. `whole` is
    the rate from the beginning of the first chunk to the end of the last, where an actor has only one at the ends.
    """
    parts = sorted(Path(archive, "parts").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    if len(parts) < 4:
        raise RuntimeError(f"{len(parts)} chunks have no steady state: archive more images, or lower --chunk-images")
    first, last, end = (path.stat().st_mtime_ns / 1e9 for path in (parts[0], parts[-2], parts[-1]))
    steady = [done[path.stem] for path in parts[1:-1]]
    pixels, stages = sum(one.pixels for one in steady), Counter[str]()
    for one in steady:
        stages.update(one.stages)  # type: ignore[arg-type]  (counts may be fractions)
    budget = _budget()
    return {
        "megapixels_per_second": pixels / 1e6 / (last - first),
        "whole": sum(one.pixels for one in done.values()) / 1e6 / (end - started),
        "window": last - first,
        "before": started - begun,
        "num_chunks": len(parts),
        "num_threads": budget.num_actors * budget.threads,
        "pixels": pixels,
        "thumbnail_bytes": sum(one.thumbnail_bytes for one in done.values()),
        "stages": dict(stages),
    }


def _ratios(pairs: list[dict[str, dict[str, Any]]]) -> Table:
    def rate(run: dict[str, Any]) -> float:
        return run["megapixels_per_second"]

    ratios = [rate(pair["pipeline"]) / rate(pair["bare"]) for pair in pairs]
    first = pairs[0]["pipeline"]
    return Table(
        title=f"Throughput, {CODEC}: the pipeline against the bare loop",
        columns=["pair", "pipeline MP/s", "bare MP/s", "ratio", "of whole runs", "pipeline before s", "bare before s"],
        rows=[
            [index, rate(pair["pipeline"]), rate(pair["bare"]), f"{ratio:.1%}",
             f"{pair['pipeline']['whole'] / pair['bare']['whole']:.1%}", pair["pipeline"]["before"],
             pair["bare"]["before"]]
            for index, (pair, ratio) in enumerate(zip(pairs, ratios, strict=True))
        ],
        notes=[
            f"ratio: median {median(ratios):.1%}, min {min(ratios):.1%}, max {max(ratios):.1%}; goal {GOAL:.0%}: "
            f"{verdict(median(ratios) >= GOAL)}",
            f"{first['num_chunks']} chunks, {first['pixels'] / 1e6:,.0f} MP without the first and the last, "
            f"{first['num_threads']} threads on each side; steady state: from the first part on disk to the last but "
            "one; whole runs: from the beginning of the first chunk to the last part; start-up apart; each run in a "
            "fresh process, the order alternating; the same malloc settings on both sides",
        ],
    )  # fmt: skip


def _stages(pairs: list[dict[str, dict[str, Any]]]) -> Table:
    """Return the share of the steady state that each stage takes; what an actor waits for is the rest."""
    rows = []
    for kind in ("bare", "pipeline"):
        for stage in pairs[0][kind]["stages"]:
            shares = [pair[kind]["stages"][stage] / pair[kind]["window"] for pair in pairs]
            per_mp = [1e9 * pair[kind]["stages"][stage] / pair[kind]["pixels"] for pair in pairs]
            rows.append([kind, stage, f"{median(shares):.1%}", median(per_mp)])
    return Table(
        title="Where the steady state goes",
        columns=["side", "stage", "share of the window", "ms per MP"],
        rows=rows,
        notes=[
            "what an actor's share lacks to 100 % is its waiting for rows: Ray's scheduling, or fetches too slow; its "
            "seconds hold the attempt's mark, encode and put, of two chunks at a time"
        ],
    )
