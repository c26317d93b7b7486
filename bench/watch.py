"""The memory of a process and of everything that it started, looked at five times a second."""

import threading
from collections import defaultdict
from pathlib import Path

from msgspec import Struct

INTERVAL_SECONDS = 0.2
# ps's name for what Ray starts, by the start of the command line.
_ROLES = (("ray::", "workers"), ("raylet", "raylet"), ("gcs_server", "GCS"))


class Peak(Struct, frozen=True, kw_only=True):
    """The largest sum of proportional set sizes (PSS) that was seen, in bytes, and how it was divided at that moment.

    Pages that processes share are counted once between them. `shared` is the part of it that is shared memory (the
    object store); `roles` divides the whole by processes.
    """

    num_bytes: int = 0
    shared: int = 0
    roles: dict[str, int] = {}
    num_looks: int = 0


class Watch:
    """Looks at a tree of processes in a thread while a block runs; `peak` is the worst moment."""

    def __init__(self) -> None:
        self.peak = Peak()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, root: int) -> None:
        """Begin to look at a process and its descendants."""
        self._thread = threading.Thread(target=self._look_on, args=(root,), daemon=True)
        self._thread.start()

    def stop(self) -> Peak:
        """End looking and return the peak."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        return self.peak

    def _look_on(self, root: int) -> None:
        looks = 0
        while not self._stop.wait(INTERVAL_SECONDS):
            roles: dict[str, int] = defaultdict(int)
            shared = 0
            for pid in tree(root):
                pss, pss_shared = _pss(pid)
                roles["driver" if pid == root else _role(pid)] += pss
                shared += pss_shared
            looks += 1
            if (total := sum(roles.values())) > self.peak.num_bytes:
                self.peak = Peak(num_bytes=total, shared=shared, roles=dict(roles))
        self.peak = Peak(num_bytes=self.peak.num_bytes, shared=self.peak.shared, roles=self.peak.roles, num_looks=looks)


def tree(root: int) -> list[int]:
    """Return a process and all its descendants, by their parents as they stand now."""
    below: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The name before it may hold spaces and brackets.
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # ended while we looked
                continue
            below[parent].append(int(folder.name))
    found = [root]
    for pid in found:
        found += below[pid]
    return found


def _pss(pid: int) -> tuple[int, int]:
    """Return the PSS of a process and what of it is shared memory, in bytes; nothing for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    found = {line.partition(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return found.get("Pss", 0) << 10, found.get("Pss_Shmem", 0) << 10


def _role(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "ended"
    program = command.rpartition("/")[2] if not command.startswith("ray::") else command
    for start, role in _ROLES:
        if program.startswith(start) or f"/{start} " in command:
            return role
    return "Ray's other processes"
