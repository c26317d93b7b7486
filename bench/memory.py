"""Memory does not grow with the number of images, and stays below its bound for the largest image."""

import tempfile
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bench.children import call
from bench.photographs import link_copies, load_samples, make_photographs
from bench.report import Table, mb, verdict
from bench.watch import Peak, Watch

GROWTH = 1.15
BYTES_PER_PIXEL = 12
ALLOWANCE = 1 << 30


class Settings(Struct, frozen=True, kw_only=True):
    """How many images are archived first and then; the size of the large one; Ray's object store in bytes."""

    few: int = 200
    many: int = 2000
    sizes: list[tuple[int, int]] | None = None
    large: tuple[int, int] = (20_000, 15_000)
    store_bytes: int = 512 << 20


QUICK = Settings(few=4, many=8, sizes=[(1200, 1000)], large=(4000, 3000), store_bytes=256 << 20)


def measure(settings: Settings) -> list[Table]:
    """Archive few images, many images, and one large one; return the peaks of the whole tree of processes."""
    with tempfile.TemporaryDirectory(prefix="regrow-bench-") as folder:
        scratch = Path(folder)
        make_photographs(scratch / "photographs", settings.few, *([settings.sizes] if settings.sizes else []))
        runs = {}
        for name, number in (("few", settings.few), ("many", settings.many)):
            link_copies(scratch / "photographs", scratch / name, number)
            runs[name] = _run(scratch / name, settings)
        _make_large(scratch / "large", settings.large)
        runs["large"] = _run(scratch / "large", settings)
    return [_table(settings, runs), _bound(settings, runs["large"])]


def _make_large(folder: Path, size: tuple[int, int]) -> None:
    """Write one large photograph: a sample, magnified."""
    folder.mkdir()
    load_samples()[0].resize(size).save(folder / "large.jpg", quality=90)


def _run(source: Path, settings: Settings) -> tuple[Peak, dict[str, Any]]:
    watch = Watch()
    arguments = {"source": str(source), "archive": f"{source}.regrow", "store_bytes": settings.store_bytes}
    try:
        answer = call("memory:run_archive", arguments, started=watch.start)
    finally:
        peak = watch.stop()
    return peak, answer


def run_archive(source: str, archive: str, store_bytes: int) -> dict[str, Any]:
    """Archive and seal with an object store of a fixed size (a child)."""
    from clusters.budget import budget_for  # noqa: PLC0415
    from clusters.machine import this_machine  # noqa: PLC0415
    from clusters.session import ray_session  # noqa: PLC0415
    from ops.codecs.names import codec_from  # noqa: PLC0415
    from pipelines.archive import archive as run  # noqa: PLC0415
    from pipelines.requests import ArchiveRequest  # noqa: PLC0415

    budget = replace(budget_for(this_machine()), store_bytes=store_bytes)
    # The pipeline joins a session that runs; only the size of the store is ours.
    with ray_session(store_bytes=store_bytes):
        seal = run(ArchiveRequest(source=source, archive=archive, codec=codec_from("bicubic-x16")))
    assert seal
    totals = seal.totals
    if totals.num_good != totals.num_images:
        raise RuntimeError(f"of {totals.num_images} images only {totals.num_good} were archived: {totals.failures}")
    return {"num_images": totals.num_images, "pixel_budget": budget.pixel_budget, "source_bytes": totals.source_bytes}


def _table(settings: Settings, runs: dict[str, tuple[Peak, dict[str, Any]]]) -> Table:
    growth = runs["many"][0].num_bytes / runs["few"][0].num_bytes
    rows = []
    for name in ("few", "many", "large"):
        peak, answer = runs[name]
        parts = ", ".join(f"{role} {mb(size)}" for role, size in sorted(peak.roles.items()))
        rows.append(
            [
                answer["num_images"],
                mb(answer["source_bytes"]),
                mb(peak.num_bytes),
                mb(peak.shared),
                parts,
                peak.num_looks,
            ]
        )
    return Table(
        title="Memory of the whole process tree (PSS)",
        columns=["images", "source", "peak", "of it shared memory", "by process at the peak", "looks"],
        rows=rows,
        notes=[
            f"{settings.many:,} images take {growth:.2f} times what {settings.few:,} take; goal at most {GROWTH}: "
            f"{verdict(growth <= GROWTH)}",
            f"object store {mb(settings.store_bytes)}; sum of /proc/PID/smaps_rollup Pss over driver and descendants, "
            "five looks a second; archiving and sealing; the larger source is hard links of the smaller",
        ],
    )  # fmt: skip


def _bound(settings: Settings, run: tuple[Peak, dict[str, Any]]) -> Table:
    peak, answer = run
    width, height = settings.large
    image, budget = BYTES_PER_PIXEL * width * height, BYTES_PER_PIXEL * answer["pixel_budget"]
    bound = image + budget + ALLOWANCE
    return Table(
        title=f"One image of {width} x {height} ({width * height / 1e6:.0f} megapixels) against its bound",
        columns=["term", "bytes"],
        rows=[
            [f"{BYTES_PER_PIXEL} bytes x {width * height:,} pixels", mb(image)],
            [f"pixel budget: {BYTES_PER_PIXEL} bytes x {answer['pixel_budget']:,} pixels", mb(budget)],
            ["1 GiB for everything else", mb(ALLOWANCE)],
            ["bound", mb(bound)],
            ["measured peak of all processes, object store and Ray included", mb(peak.num_bytes)],
        ],
        notes=[
            f"{verdict(peak.num_bytes <= bound)}; all workers together took "
            f"{peak.roles.get('workers', 0) / (width * height):.1f} bytes per pixel"
        ],
    )
