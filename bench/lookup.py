"""Looking one key up among a million on S3, in a cold process: bytes and requests, counted at the server."""

import tempfile
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.children import call
from bench.photographs import make_photographs
from bench.report import Table, verdict
from bench.synthetic import photo_key
from bench.weed import Served, counts_of
from tests.weed import weed

CODEC = "bicubic-x16"
GOAL_BYTES = 2_000_000


class Settings(Struct, frozen=True, kw_only=True):
    """Keys in the archive."""

    num_images: int = 1_000_000


QUICK = Settings(num_images=2_000)


def measure(settings: Settings) -> list[Table]:
    """Seal an archive of many keys on S3; return what each step of a cold look-up costs."""
    key = photo_key(settings.num_images * 2 // 3)
    with tempfile.TemporaryDirectory(prefix="regrow-bench-") as folder, weed(Path(folder) / "weed") as server:
        make_photographs(Path(folder) / "source", 1, [(1200, 1000)])
        archive = server.url("lookup.regrow")
        built = call(
            "lookup:build",
            {"source": f"{folder}/source", "archive": archive, "num_images": settings.num_images},
            environment=server.environment,
        )
        steps: list[tuple[str, Served]] = []
        held = [counts_of(server)]

        def marked(name: str) -> None:
            held.append(counts_of(server))
            steps.append((name, held[-1].since(held[-2])))

        seen = call("lookup:look", {"archive": archive, "key": key}, environment=server.environment, marked=marked)
        call(
            "lookup:show", {"archive": archive, "key": key}, environment=server.environment,
            marked=lambda name: marked(name) if name != "ready" else held.append(counts_of(server)),
        )  # fmt: skip
    return [_table(settings, built, seen, steps)]


def _table(settings: Settings, built: dict[str, int], seen: dict[str, Any], steps: list[tuple[str, Served]]) -> Table:
    by_name = dict(steps)
    exact = by_name["thumbnail"] == Served({"GET": 1}, seen["length"])
    through = [by_name[name] for name in ("open", "find", "thumbnail")]
    total = sum(served.sent_bytes for served in through)
    shown = by_name["regrow show"].sent_bytes
    seconds = {**seen["seconds"], "regrow show": None}
    return Table(
        title=f"One key among {settings.num_images:,} on S3, cold",
        columns=["step", "requests", "bytes of objects sent", "seconds"],
        rows=[
            [name, served, served.sent_bytes, "" if seconds[name] is None else seconds[name]] for name, served in steps
        ],
        notes=[
            f"open, find and thumbnail: {total:,} bytes; `regrow show`, which reads all that is kept of the image too: "
            f"{shown:,} bytes; goal below {GOAL_BYTES:,} for each: {verdict(max(total, shown) < GOAL_BYTES)}",
            f"the thumbnail of {seen['length']} bytes is exactly one ranged GET of its bytes: {verdict(exact)}",
            "counted by SeaweedFS's own metrics (SeaweedFS_s3_request_total, ..._traffic_sent_bytes_total), which "
            "count the bytes of objects but not those of listings",
            f"the archive: {built['packs']} packs, {built['catalog']:,} bytes of catalog, {built['seal']:,} of seal",
        ],
    )


def build(source: str, archive: str, num_images: int) -> dict[str, int]:
    """Archive small rows under many keys, sealed as always (a child)."""
    from bench.synthetic import PartWriter, new_target, plan_of_few  # noqa: PLC0415
    from ops.archive.seals import seal_generation, write_packs_here  # noqa: PLC0415
    from ops.sources import ScanReport, scan  # noqa: PLC0415

    target, _ = new_target(source, archive, CODEC)
    plan, chunks = plan_of_few(target, source, scan(source, report=ScanReport()), num_images)
    parts = PartWriter(target.location, target.document, plan)
    for chunk in chunks:
        parts.put(chunk, attempt=False)
    location = target.location
    seal = seal_generation(location, plan, lambda orders: write_packs_here(location, orders))
    return {
        "packs": len(seal.packs),
        "catalog": sum(file.num_bytes for file in seal.catalog),
        "seal": location.store.stat(location.seal(0)).size,
    }


def look(archive: str, key: str) -> dict[str, Any]:
    """Open, find, and fetch the thumbnail, with a mark after each (a child)."""
    import time  # noqa: PLC0415

    from bench.children import mark  # noqa: PLC0415
    from ops.archive.reading import Archive  # noqa: PLC0415

    seconds = {}
    begun = time.monotonic()
    opened = Archive.open(archive)
    seconds["open"] = time.monotonic() - begun
    mark("open")
    begun = time.monotonic()
    row = opened.find(key)
    seconds["find"] = time.monotonic() - begun
    mark("find")
    assert row
    begun = time.monotonic()
    thumbnail = opened.thumbnail(row)
    seconds["thumbnail"] = time.monotonic() - begun
    mark("thumbnail")
    return {"length": len(thumbnail), "seconds": seconds}


def show(archive: str, key: str) -> int:
    """Run `regrow show --json` as a user would (a child)."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from bench.children import mark  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        mark("ready")
        command = [sys.executable, "-m", "jobs.cli", "show", archive, key, "--json", "--to", f"{folder}/thumbnail"]
        subprocess.run(command, check=True, capture_output=True)
        mark("regrow show")
    return 0
