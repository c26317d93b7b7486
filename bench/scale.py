"""50 million images: objects, requests, bytes, memory and time of everything but the encoding, through the real code.

Only S3's answers are made up (bench/wire.py), and the rows of packs that are not written (bench/catalogs.py).
"""

import os
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.children import call
from bench.report import Table, mb
from bench.scale_phases import CODEC, DONE, GROWTH, SIZE

FULL = 50_000_000
# archive.json, plan.json, the seal, and the four objects of the escrow.
NUM_OTHERS = 7
EXAMPLE = "uploads/2003/07/21/IMG_004711000.jpg"


class Settings(Struct, frozen=True, kw_only=True):
    """How many images are simulated; how many photographs of 12 megapixels say how large thumbnails are."""

    num_images: int = 4_000_000
    num_photographs: int = 12
    scratch: str | None = None


QUICK = Settings(num_images=20_000, num_photographs=1)


def measure(settings: Settings) -> list[Table]:
    """Plan, resume, seal and grow; return what it took, and what that makes for 50 million.

    Fewer images are simulated twice, at half their number too: a line through both is what is extrapolated.
    """
    photograph = call("scale_phases:photograph", {"number": settings.num_photographs})
    whole = settings.num_images >= FULL
    numbers = [settings.num_images] if whole else [settings.num_images // 2, settings.num_images]
    simulated = [_simulate(number, settings, photograph) for number in numbers]
    line = Line(settings.num_images, simulated[0], simulated[-1])
    return [_objects(line, settings, photograph), _phases(line), _calls(line)]


class Simulated(Struct, frozen=True, kw_only=True):
    """What one simulation measured: each phase's answer, bytes in the archive by folder, the peak of bytes on disk."""

    num_images: int
    phases: dict[str, dict[str, Any]]
    sizes: dict[str, int]
    disk: int


class Line(Struct, frozen=True):
    """Two simulations, the lesser and the greater, or twice the same where all 50 million were simulated."""

    num_images: int
    less: Simulated
    more: Simulated

    def at_full(self, less: float, more: float) -> float:
        """Return the value at 50 million images on the line through two values."""
        steps = self.more.num_images - self.less.num_images
        return more + (more - less) / steps * (FULL - self.more.num_images) if steps else more

    @property
    def heading(self) -> str:
        """What to call the column of 50 million."""
        return f"{FULL:,}" if self.less is self.more else f"{FULL:,}, extrapolated"


def _simulate(num_images: int, settings: Settings, photograph: dict[str, Any]) -> Simulated:
    with tempfile.TemporaryDirectory(prefix="regrow-bench-", dir=settings.scratch) as folder:
        root, spare = Path(folder) / "wire", Path(folder) / "tmp"
        for path in (root, spare):
            path.mkdir()
        given = {"root": str(root), "num_images": num_images, **photograph}
        disk = Disk(Path(folder))
        try:
            phases = {
                name: call(f"scale_phases:{name}", given, environment={"TMPDIR": str(spare)})
                for name in ("nothing", "plan", "resume", "seal", "grow")
            }
        finally:
            peak = disk.stop()
        sizes = {kind: size_below(root / "2024.regrow" / kind) for kind in ("plan/00000", "catalog", "seals")}
    return Simulated(num_images=num_images, phases=phases, sizes=sizes, disk=peak)


class Disk:
    """The most bytes that files below a folder have taken, looked at twice a second."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._peak, self._stop = folder, 0, threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End looking; return the peak in bytes."""
        self._stop.set()
        self._thread.join()
        return self._peak

    def _look_on(self) -> None:
        while not self._stop.wait(0.5):
            self._peak = max(self._peak, size_below(self._folder))


def size_below(folder: Path) -> int:
    """Return the bytes of all files below a folder; those that vanish meanwhile count for nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(f"{path}/{name}").st_size  # noqa: PTH116  (thousands of files, twice a second)
            except FileNotFoundError:
                continue
    return total


def _figures(one: Simulated, photograph: dict[str, Any]) -> dict[str, int]:
    phases, num_chunks = one.phases, one.phases["plan"]["num_chunks"]
    calls: Counter[str] = Counter()
    for phase in phases.values():
        calls.update(phase["calls"])
    num_plan, num_packs, num_catalog = (
        calls["put_object plan"],
        phases["seal"]["num_packs"],
        phases["seal"]["num_catalog"],
    )
    return {
        "chunks": num_chunks,
        "puts while encoding: a mark and a part per chunk": 2 * num_chunks,
        "gets while encoding: an image each, and 2 per chunk for its plan": one.num_images + 2 * num_chunks,
        "gets while sealing: a part each": num_chunks,
        "packs": num_packs,
        "catalog files": num_catalog,
        "plan files, with those of the growth": num_plan,
        "objects left after sealing": num_packs + num_catalog + num_plan + NUM_OTHERS,
        "list pages in all": sum(number for name, number in calls.items() if name.startswith("list")),
        "delete requests (1,000 objects each)": calls["delete_objects"],
        "objects deleted": calls["objects deleted"],
        "plan bytes": one.sizes["plan/00000"],
        "catalog bytes": one.sizes["catalog"],
        "seal bytes": one.sizes["seals"],
        "thumbnail bytes": one.num_images * photograph["thumbnail_bytes"],
        "source bytes": phases["plan"]["num_bytes"],
        "peak of files of this simulation on disk, bytes": one.disk,
    }


def _objects(line: Line, settings: Settings, photograph: dict[str, Any]) -> Table:
    less, more = _figures(line.less, photograph), _figures(line.more, photograph)
    return Table(
        title=f"Scale: {line.num_images:,} images of {SIZE[0]} x {SIZE[1]}, simulated",
        columns=["what", f"measured at {line.num_images:,}", line.heading],
        rows=[[name, value, round(line.at_full(less[name], value))] for name, value in more.items()],
        notes=[
            f"JPEGs of 12 megapixels have {mb(photograph['image_bytes'])} (quality 90), their thumbnails "
            f"{photograph['thumbnail_bytes']:,} bytes: means of {settings.num_photographs}, encoded with {CODEC}",
            f"{line.num_images / more['chunks']:.1f} images a chunk; keys as in {EXAMPLE}, MD5 etags",
            "lists, deletes and all puts but those of parts, marks and packs are counted calls of S3Store",
        ],
    )


def _phases(line: Line) -> Table:
    words = {
        "plan": "plan all", "resume": f"resume with {DONE:.0%} of the parts", "seal": "seal (without writing packs)",
        "grow": f"plan a growth of {GROWTH:.0%}",
    }  # fmt: skip
    rows: list[list[Any]] = []
    for name, title in words.items():
        less, more = line.less.phases[name], line.more.phases[name]
        full = {what: line.at_full(less[what], more[what]) for what in ("seconds", "rss")}
        rows.append([title, more["seconds"], mb(more["rss"]), full["seconds"], mb(full["rss"])])
    rows.append(["all", sum(row[1] for row in rows), "", sum(row[3] for row in rows), ""])
    return Table(
        title="Scale: time and memory of the driver",
        columns=["phase", "s", "peak RSS", f"s, {line.heading}", f"peak RSS, {line.heading}"],
        rows=rows,
        notes=[
            f"each phase in a fresh process; the imports alone take {mb(line.more.phases['nothing']['rss'])}",
            "the line is true only through points with catalog files of one size, which sealing and growth hold in "
            "memory: simulate a multiple of 2 million images",
            "no latency of a network: a real list page takes 50 to 300 ms, one after the other",
        ],
    )


def _calls(line: Line) -> Table:
    rows = []
    for name, phase in line.more.phases.items():
        before = line.less.phases[name]["calls"]
        for call_name, number in sorted(phase["calls"].items()):
            rows.append([name, call_name, number, round(line.at_full(before.get(call_name, 0), number))])
    return Table(
        title="Scale: calls of S3 by phase",
        columns=["phase", "call", f"at {line.num_images:,}", line.heading],
        rows=rows,
        notes=[f"growth lists {1 + GROWTH:.0%} of the source"],
    )
