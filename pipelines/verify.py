"""Verifying: what an archive has sealed is read and compared with the checksums of its seals. Needs no Ray."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

from msgspec import Struct

from ops.archive.packs import Pack
from ops.archive.reading import Archive
from ops.archive.seal_names import SealName, name_of_seal
from ops.archive.verifying import Damage, damage_of_pack, damages_of_documents
from pipelines.events import Listener, Receipt, Started, nobody
from pipelines.requests import VerifyRequest

# Some readers hide a store's latency; one core hashes faster than most disks read.
READERS = 4
DAMAGED = "damaged"


class Sweep(Struct, frozen=True, kw_only=True):
    """How far runs that read a share have come: so many of them, and which pack, of all in the seal's order, is next.

    Packs are only ever added behind the others, so the order stands.
    """

    turn: int = 0
    next_pack: int = 0


class Verified(Struct, frozen=True, kw_only=True):
    """What was read, of how much, and what is not as it was sealed. `sweep` is where the next run goes on."""

    archive: str
    seal: SealName
    num_packs: int
    num_checked: int
    num_images: int
    num_bytes: int
    damages: list[Damage]
    sweep: Sweep | None


def verify(request: VerifyRequest, listen: Listener = nobody, sweep: Sweep | None = None) -> Verified:
    """Verify an archive, or the share of its packs that is next after `sweep`; its other objects are read each time.

    Raises ArchiveError where there is no sealed archive, OSError where its store cannot be reached.
    """
    archive = Archive.open(request.archive)
    packs, after = next_packs(archive.seal.packs, request.share, sweep or Sweep())
    num_images, num_bytes = sum(pack.num_rows for pack in packs), sum(pack.num_bytes for pack in packs)
    listen(Started(num_images=num_images, num_bytes=num_bytes, num_done=0))
    damages = list(damages_of_documents(archive))
    with ThreadPoolExecutor(READERS) as pool:
        for receipt, damage in pool.map(partial(_look, archive), packs):
            listen(receipt)
            damages += [damage] if damage else []
    return Verified(
        archive=archive.location.url, seal=name_of_seal(archive.location, archive.seal.number),
        num_packs=len(archive.seal.packs), num_checked=len(packs), num_images=num_images, num_bytes=num_bytes,
        damages=damages, sweep=after,
    )  # fmt: skip


def next_packs(packs: Sequence[Pack], share: float | None, sweep: Sweep) -> tuple[Sequence[Pack], Sweep | None]:
    """Return the packs of this run, and where the next one goes on: each pack's turn comes, those of growth too."""
    if share is None or not packs:
        return packs, None
    number, first = math.ceil(share * len(packs)), sweep.next_pack % len(packs)
    chosen = [packs[(first + index) % len(packs)] for index in range(number)]
    return chosen, Sweep(turn=sweep.turn + 1, next_pack=(first + number) % len(packs))


def _look(archive: Archive, pack: Pack) -> tuple[Receipt, Damage | None]:
    began = monotonic()
    damage = damage_of_pack(archive, pack)
    num_lost = damage.images if damage else 0
    receipt = Receipt(
        name=pack.name, num_images=pack.num_rows, num_good=pack.num_rows - num_lost, pixels=0,
        source_bytes=pack.num_bytes, thumbnail_bytes=0, seconds=monotonic() - began, failures=[DAMAGED] * num_lost,
    )  # fmt: skip
    return receipt, damage
