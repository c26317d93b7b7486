"""What this machine has: processors and memory that this process may really use."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True, kw_only=True):
    """Processors, accelerators, and memory in bytes."""

    cpus: int
    gpus: int = 0
    memory_bytes: int


def this_machine() -> Machine:
    """Return what this process may use: its processors by affinity and quota, its memory by control group, its GPUs."""
    gpus = nvidia_gpus(Path("/dev"), os.environ) if sys.platform == "linux" else 0
    return Machine(cpus=_cpus(), gpus=gpus, memory_bytes=_memory_bytes())


def nvidia_gpus(devices: Path, environment: Mapping[str, str]) -> int:
    """Return how many NVIDIA GPUs have a file among `devices` and are left by CUDA_VISIBLE_DEVICES in `environment`.

    Without torch, which takes seconds. A container shows all GPUs of its host below /proc, but in /dev only those that
    it was given.
    """
    present = sum(1 for device in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", device.name))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return present
    number = 0
    for name in map(str.strip, visible.split(",")):
        is_named = name.startswith(("GPU-", "MIG-"))  # one GPU may have several MIG instances
        if not is_named and not (name.isdigit() and int(name) < present):
            break  # CUDA, too, ignores what stands behind one that is not there
        number += 1
    return number


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
