"""A driver's lease, for stores that cannot refuse a second put: one driver at a time works on such an archive."""

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from msgspec import Struct

from ops.archive.layout import ArchiveError, Location

LEASE_SECONDS = 90.0
RENEWAL_SECONDS = 20.0


class Lease(Struct, frozen=True):
    """lease.json: who works on the archive, and until when (seconds since 1970) if nothing renews it."""

    owner: str
    host: str
    until: float


@contextmanager
def driving(location: Location, settle_seconds: float = 5.0) -> Iterator[Location]:
    """Hold the right to write while the block runs; yields the location to write through.

    A store with conditional puts needs no lease: there the first writer wins and a second one does no harm.
    Raises ArchiveError while another driver holds the lease.
    """
    if location.store.refuses_second_put(location.url):
        yield location
        return
    location = Location(location.url, leased=True)
    lost: threading.Event = vars(location.store)["lost"]
    owner = secrets.token_hex(8)
    _take(location, owner, settle_seconds)
    lost.clear()
    stop = threading.Event()
    renewal = threading.Thread(target=_renew, args=(location, owner, stop, lost), daemon=True)
    renewal.start()
    try:
        yield location
    finally:
        stop.set()
        renewal.join()
        found = _read(location)
        if found and found.owner == owner:
            location.store.remove([location.at("lease.json")])


def _read(location: Location) -> Lease | None:
    try:
        return msgspec.json.decode(location.store.read(location.at("lease.json")), type=Lease)
    except FileNotFoundError:
        return None


def _write(location: Location, owner: str) -> None:
    lease = Lease(owner, socket.gethostname(), time.time() + LEASE_SECONDS)
    location.store.put(location.at("lease.json"), msgspec.json.encode(lease))


def _take(location: Location, owner: str, settle_seconds: float) -> None:
    _refuse_if_held(location, owner)
    _write(location, owner)
    # Two drivers may have looked at the same moment: the later write stands, and both read it after a pause.
    time.sleep(settle_seconds)
    _refuse_if_held(location, owner)


def _refuse_if_held(location: Location, owner: str) -> None:
    found = _read(location)
    if found and found.owner != owner and found.until > time.time():
        raise ArchiveError(
            f"{location.url} is being written by a driver on {found.host}: this store has no conditional puts, so wait "
            f"for it, or remove {location.at('lease.json')} if it is dead (its lease ends in "
            f"{found.until - time.time():.0f} s)"
        )


def _renew(location: Location, owner: str, stop: threading.Event, lost: threading.Event) -> None:
    while not stop.wait(RENEWAL_SECONDS):
        # One request that failed, of whatever library, is made up for by the next, well within the lease.
        with contextlib.suppress(Exception):
            found = _read(location)
            if found and found.owner != owner:
                lost.set()  # this driver slept beyond its lease, and another one took over
                return
            _write(location, owner)
