"""What this machine has: processors and memory that this process may really use."""

import os
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True, kw_only=True):
    """Processors, accelerators, and memory in bytes."""

    cpus: int
    gpus: int = 0
    memory_bytes: int


def this_machine() -> Machine:
    """Return what this process may use: its processors by affinity and quota, its memory by control group."""
    return Machine(cpus=_cpus(), memory_bytes=_memory_bytes())


def _cpus() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        allowed = min(allowed, max(1, int(quota[0]) // int(quota[1])))
    return allowed


def _memory_bytes() -> int:
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return min(installed, int(limit)) if limit.isdigit() else installed


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # no control groups here
        return ""
