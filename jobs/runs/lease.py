"""A lease keeps two runs from working for one place at once. It needs no clock that two machines agree on."""

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from jobs.errors import InputError, tell
from jobs.runs.times import now_text
from ops.sources.folders import is_local
from ops.stores import Store, open_store
from ops.stores.local import path_of

RENEWAL_SECONDS = 20.0
# So long a lease must stand unchanged, by the clock of the one who looks, until its holder counts as dead.
STALE_SECONDS = 90.0
LOOK_SECONDS = 2.0


class Held(InputError):
    """Another run works for the same place."""


class Lease(Struct, frozen=True, kw_only=True):
    """Who holds a place. `renewals` grows while the holder lives; `machine` and `process` name it beyond its pid."""

    owner: str
    run: str
    host: str
    pid: int
    machine: str
    process: str
    since: str
    renewals: int = 0

    def words(self) -> str:
        """Return who holds it."""
        return f"run {self.run} (on {self.host}, pid {self.pid}, since {self.since})"


@contextmanager
def holding(
    place: str, url: str, run_id: str, *, wait: bool = False, say: Callable[[str], None] = lambda _: None
) -> Iterator[Callable[[], bool]]:
    """Hold the lease at `url` while the block runs; yields what says whether it is still held.

    A dead holder's lease is taken over: at once where its process is seen to be gone on this machine, else once the
    lease has not been renewed for STALE_SECONDS. A living one's is waited for, or Held is raised. Who finds its lease
    taken over, as after a long sleep, is stopped like by SIGTERM.
    """
    store, mine = open_store(url), _lease(run_id)
    with _leaving_no_empty_folder(url):
        _take(store, url, mine, place, say if wait else None)
        lost, stop = threading.Event(), threading.Event()
        renewal = threading.Thread(target=_renew, args=(store, url, mine, stop, lost), daemon=True)
        renewal.start()
        try:
            yield lambda: not lost.is_set()
        finally:
            stop.set()
            renewal.join()
            found = read_lease(store, url)
            if found and found.owner == mine.owner:
                store.remove([url])


def read_lease(store: Store, url: str) -> Lease | None:
    """Return the lease at a URL, if any. Raises InputError for one that cannot be read."""
    try:
        return msgspec.json.decode(store.read(url), type=Lease)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.MsgspecError as error:
        raise InputError(f"{url} is damaged ({error}): remove it if no run works there") from error


def is_gone(lease: Lease) -> bool | None:
    """Say whether a holder's process is gone; None where this machine cannot tell."""
    if not lease.machine or lease.machine != _machine():
        return None
    return _process(lease.pid) != lease.process


def _take(store: Store, url: str, mine: Lease, place: str, say: Callable[[str], None] | None) -> None:
    """Take the lease; `say` is there where a living holder is to be waited for. Raises Held."""
    seen, told = None, False
    holder, taker = _Standing(), _Standing()
    while not store.put_new(url, _encode(mine)):
        found = read_lease(store, url)
        if found is None:
            continue
        gone = is_gone(found)
        moved = seen is not None and (found.owner, found.renewals) != (seen.owner, seen.renewals)
        if (gone is False or (gone is None and moved)) and say is None:
            raise Held(f"{place} is worked on by {found.words()}: wait for it, or stop it")
        seen = found
        stale = holder.seconds((found.owner, found.renewals)) > STALE_SECONDS
        if (gone or (stale and gone is None)) and _take_over(store, url, found, mine, taker):
            return
        if not told and not gone:
            (say or (lambda _: None))(f"Waiting for {found.words()}")
            told = True
        time.sleep(LOOK_SECONDS)


class _Standing:
    """Since when something is seen unchanged, by our own clock."""

    def __init__(self) -> None:
        self._seen: object = None
        self._since = 0.0

    def seconds(self, seen: object) -> float:
        """Return for how long it has been what is seen now."""
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since


def _take_over(store: Store, url: str, dead: Lease, mine: Lease, taker: _Standing) -> bool:
    """Put our lease in place of a dead one; say whether that was done. Of several who try, one can.

    `taker` is who else has been seen at it: a marker is removed only where that one has died of it.
    """
    marker = f"{url}.{dead.owner}"
    if not store.put_new(marker, _encode(mine)):
        other = read_lease(store, marker)
        if other and (is_gone(other) or taker.seconds(other.owner) > STALE_SECONDS):
            store.remove([marker])
        return False
    try:
        # Somebody may have been through with this since we looked.
        if read_lease(store, url) != dead:
            return False
        store.put(url, _encode(mine))
        return True
    finally:
        store.remove([marker])


@contextmanager
def _leaving_no_empty_folder(url: str) -> Iterator[None]:
    """Remove, after the block, what folders a lease has needed and nobody has put anything into.

    A run that is refused leaves nothing behind that looks like a place which was begun. On stores there are no folders.
    """
    innermost = Path(path_of(url)).parent if is_local(url) else Path()
    made = [folder for folder in (innermost, *innermost.parents) if is_local(url) and not folder.exists()]
    try:
        yield
    finally:
        with suppress(OSError):  # not empty, or gone
            for folder in made:
                folder.rmdir()


def _renew(store: Store, url: str, mine: Lease, stop: threading.Event, lost: threading.Event) -> None:
    renewals = 0
    while not stop.wait(RENEWAL_SECONDS):
        try:
            found = read_lease(store, url)
            if found is None or found.owner != mine.owner:
                lost.set()
                os.kill(os.getpid(), signal.SIGTERM)
                return
            renewals += 1
            store.put(url, _encode(msgspec.structs.replace(mine, renewals=renewals)))
        except Exception as error:  # one request that failed is made up for by the next
            if tell(error) is None:
                raise


def _lease(run_id: str) -> Lease:
    pid = os.getpid()
    return Lease(
        owner=secrets.token_hex(8), run=run_id, host=socket.gethostname(), pid=pid, machine=_machine(),
        process=_process(pid), since=now_text(),
    )  # fmt: skip


def _machine() -> str:
    """Return what no two machines or containers have in common whose pids could be mixed up; nothing where unknown."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; nothing for one that is gone or waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _encode(lease: Lease) -> bytes:
    return msgspec.json.encode(lease)
