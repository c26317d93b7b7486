"""Whether a sealed archive is as it was sealed: every object that counts, by its checksum, and which images suffer."""

import errno
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from ops.archive.escrowed_weights import read_record
from ops.archive.layout import ArchiveError, Location
from ops.archive.packs import Pack
from ops.archive.plan import read_plan
from ops.archive.reading import Archive, CatalogRow, catalog_rows
from ops.archive.seal_names import name_of_seal
from ops.archive.seals import Seal, read_seal
from ops.stores import Store

# Few requests, and little memory for each reader, whatever a pack weighs.
READ_BYTES = 16 << 20
LOOKS_AT_ONCE = 16
SHOWN_KEYS = 5


class Damage(Struct, frozen=True, kw_only=True):
    """An object that is not as it was sealed, and why. `images` have lost their thumbnails; `keys` are the first."""

    url: str
    why: str
    images: int = 0
    keys: list[str] = []

    def words(self) -> str:
        """Return it in a line, with the remedy."""
        named = ", ".join(map(repr, self.keys)) + (", ..." if self.images > len(self.keys) else "")
        are = "thumbnail is" if self.images == 1 else "thumbnails are"
        hit = f"; {self.images:,} {are} damaged ({named})" if self.images else ""
        return f"{self.url} {self.why}{hit}: restore it from a copy"


def damages_of_documents(archive: Archive) -> Iterator[Damage]:
    """Yield what is wrong with everything but packs: the chain of seals, plans, the catalog, weights that travel along.

    The newest seal itself has no checksum: it names those of all others.
    """
    location, seal = archive.location, archive.seal
    for file in seal.catalog:
        yield from _damage(location, file.name, file.num_bytes, file.sha256)
    yield from _of_weights(location)
    while True:
        yield from _of_plan(location, seal)
        if not seal.number:
            return
        number, parent = seal.number - 1, seal.parent
        try:
            if name_of_seal(location, number).sha256 != parent:
                yield Damage(url=location.seal(number), why="is not the seal that the next one was built upon")
            seal = read_seal(location, number)
        except (FileNotFoundError, ArchiveError):
            yield Damage(url=location.seal(number), why="is missing, or cannot be read: older ones were not looked at")
            return


def damage_of_pack(archive: Archive, pack: Pack) -> Damage | None:
    """Return what is wrong with a pack; nothing where it is as it was sealed, to the byte."""
    found = next(_damage(archive.location, pack.name, pack.num_bytes, pack.sha256), None)
    if found is None:
        return None
    try:
        lost = _lost_keys(archive, pack)
    except ArchiveError:
        return replace(found, why=f"{found.why}; which images suffer is not known, since the catalog is damaged")
    if not lost:
        spared = "its thumbnails are intact, what else it keeps of their images may not be"
        return replace(found, why=f"{found.why}; {spared}")
    return replace(found, images=len(lost), keys=lost[:SHOWN_KEYS])


def _lost_keys(archive: Archive, pack: Pack) -> list[str]:
    """Return the keys of current images whose thumbnail in a pack is not as it was. Raises ArchiveError."""
    rows = [row for table in archive.select(where=f"pack == '{pack.name}'") for row in catalog_rows(table) if row.good]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        intact = pool.map(partial(_is_intact, archive), rows)
        return [row.key for row, is_intact in zip(rows, intact, strict=True) if not is_intact]


def _is_intact(archive: Archive, row: CatalogRow) -> bool:
    try:
        archive.thumbnail(row)
    except ArchiveError:
        return False
    except OSError as error:
        if _is_damage(error):
            return False
        raise
    return True


def _of_plan(location: Location, seal: Seal) -> Iterator[Damage]:
    url = location.plan(seal.number)
    try:
        plan = read_plan(location, seal.number)
    except ArchiveError:
        plan = None
    if plan is None:
        yield Damage(url=url, why="is missing, or cannot be read")
        return
    if plan.digest != seal.plan_digest:
        yield Damage(url=url, why="is not the plan that was sealed")
    for file in [*plan.files, plan.index]:
        yield from _damage(location, f"plan/{seal.number:05d}/{file.name}", None, file.sha256)


def _of_weights(location: Location) -> Iterator[Damage]:
    # The content is proven by its digest whenever it is loaded, which needs torch.
    record = read_record(location)
    if record is None or not record.file:
        return
    url = location.at("codec", record.file)
    try:
        found = location.store.stat(url).size
    except FileNotFoundError:
        yield Damage(url=url, why="is missing: nothing can be regrown without these weights")
        return
    if found != record.size_bytes:
        yield Damage(url=url, why=f"has {found:,} bytes, where {record.size_bytes:,} were put")


def _damage(location: Location, name: str, num_bytes: int | None, sha256: str) -> Iterator[Damage]:
    """Yield what is wrong with an object, if anything. Raises OSError where nobody can tell, as without a network."""
    url = location.at(name)
    try:
        size = location.store.stat(url).size
        if num_bytes is not None and size != num_bytes:
            yield Damage(url=url, why=f"has {size:,} bytes, where {num_bytes:,} were sealed")
        elif _sha256(location.store, url, size) != sha256:
            yield Damage(url=url, why="is not as it was sealed")
    except FileNotFoundError:
        yield Damage(url=url, why="is missing")
    except OSError as error:
        if not _is_damage(error):
            raise
        yield Damage(url=url, why=f"cannot be read ({error.strerror or error})")


def _is_damage(error: OSError) -> bool:
    """Say whether an error is one of what is stored, not of the way there."""
    return isinstance(error, FileNotFoundError) or error.errno == errno.EIO


def _sha256(store: Store, url: str, size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size, READ_BYTES):
        digest.update(store.read(url, start, min(start + READ_BYTES, size)))
    return digest.hexdigest()
