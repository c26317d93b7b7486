"""A list of images in Parquet, planned; then what the driver of 512 GPUs does with that plan, through the real code.

No image is read and no Ray runs: receipts are made up, S3's answers are those of bench/wire.py, and the rows of packs
come from bench/catalogs.py. `scale` plans from a listing, resumes, seals and grows in the same way.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.children import call
from bench.planning_phases import CHUNK_MEGAPIXELS, GPUS
from bench.report import Table, mb
from bench.scale import Disk, size_below
from ops.sources.lists import UNKNOWN_BYTES

# Of one GPU, in megapixels a second: what the driver is to keep up with.
SPEED = 30.0
PAGE_SECONDS = (0.05, 0.3)


class Settings(Struct, frozen=True, kw_only=True):
    """How many images the list names."""

    num_images: int = 1_000_000
    scratch: str | None = None


QUICK = Settings(num_images=20_000)


def measure(settings: Settings) -> list[Table]:
    """Plan a list and go through the driver's phases; return time, memory, disk, and what is asked of a store."""
    photograph = call("scale_phases:photograph", {"number": 1})
    with tempfile.TemporaryDirectory(prefix="regrow-bench-", dir=settings.scratch) as folder:
        root, spare = Path(folder) / "wire", Path(folder) / "tmp"
        for path in (root, spare):
            path.mkdir()
        # A list tells no sizes, so that chunks are cut by what a photograph counts as.
        given = {"root": str(root), "num_images": settings.num_images, **photograph, "image_bytes": UNKNOWN_BYTES}
        disk = Disk(Path(folder))
        try:
            phases = {
                name: call(f"{module}:{name}", given, environment={"TMPDIR": str(spare)})
                for module, name in (
                    ("scale_phases", "nothing"),
                    ("planning_phases", "write_list"),
                    ("planning_phases", "plan"),
                    ("planning_phases", "feed"),
                    ("planning_phases", "receipts"),
                    ("scale_phases", "resume"),
                    ("scale_phases", "seal"),
                )
            }
        finally:
            peak = disk.stop()
        sizes = {kind: size_below(root / "2024.regrow" / kind) for kind in ("plan/00000", "catalog", "seals")}
    return [_plan(settings, phases, sizes), _driver(settings, phases, sizes, peak), _asked(phases)]


def _plan(settings: Settings, phases: dict[str, dict[str, Any]], sizes: dict[str, int]) -> Table:
    plan, listed, nothing = phases["plan"], phases["write_list"], phases["nothing"]
    return Table(
        title=f"Planning {settings.num_images:,} images from a list in Parquet",
        columns=["list", "chunks", "plan", "s", "CPU s", "images a second of CPU", "peak RSS"],
        rows=[
            [
                mb(listed["num_bytes"]), plan["num_chunks"], mb(sizes["plan/00000"]), plan["seconds"],
                plan["cpu"], round(settings.num_images / plan["cpu"]), mb(plan["rss"]),
            ]
        ],
        notes=[
            "a column of URIs of S3, none of which is asked for: sizes are not known, a photograph counts as 4 MiB",
            f"imports take {nothing['cpu']:.2g} s of it and {mb(nothing['rss'])}",
        ],
    )  # fmt: skip


def _driver(settings: Settings, phases: dict[str, dict[str, Any]], sizes: dict[str, int], disk: int) -> Table:
    words = {
        "plan": "plan the list", "feed": "cut the plan into blocks for Ray", "receipts": "take a receipt of each chunk",
        "resume": "find what is left when 90 % is done", "seal": "seal (without writing packs)",
    }  # fmt: skip
    receipts = phases["receipts"]
    wanted = GPUS * SPEED / CHUNK_MEGAPIXELS
    return Table(
        title=f"The driver of {settings.num_images:,} images on {GPUS} GPUs",
        columns=["phase", "s", "CPU s", "peak RSS"],
        rows=[
            *([title, *_took([phases[name]])] for name, title in words.items()),
            ["all", *_took([phases[name] for name in words])],
        ],
        notes=[
            "each phase in a fresh process, of whose CPU s some are imports, as above",
            f"receipts: {receipts['num_receipts']:,}, {receipts['per_second']:,.0f} a second; {GPUS} GPUs of "
            f"{SPEED:g} megapixels a second send {wanted:,.0f}",
            f"blocks for Ray: {phases['feed']['num_blocks']:,} of up to {phases['feed']['rows']} chunks",
            f"on disk at most {mb(disk)}; catalog {mb(sizes['catalog'])}, seal {mb(sizes['seals'])}",
            "left out: Ray's own work on blocks and tasks, the writing of packs, and all latency of a network",
        ],
    )


def _took(phases: Sequence[dict[str, Any]]) -> list[Any]:
    """Return seconds, seconds of processors, and the largest peak of memory."""
    return [*(sum(phase[name] for phase in phases) for name in ("seconds", "cpu")), mb(max(p["rss"] for p in phases))]


def _asked(phases: dict[str, dict[str, Any]]) -> Table:
    rows = [
        [name, called, number, " to ".join(f"{number * seconds:,.0f}" for seconds in PAGE_SECONDS)]
        for name, phase in phases.items()
        for called, number in sorted(phase["calls"].items())
        if not called.startswith("objects")
    ]
    return Table(
        title="What the driver asks of S3, one call after another",
        columns=["phase", "call", "calls", f"s, at {PAGE_SECONDS[0]:g} to {PAGE_SECONDS[1]:g} each"],
        rows=rows,
    )
