"""A seal: what counts. The highest one is the archive; it reads the same for ever."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from ops.archive import attempts
from ops.archive.catalog import CatalogFile, Totals, write_catalog
from ops.archive.layout import FORMAT, ArchiveError, Location, parse_chunk_id
from ops.archive.packs import CATALOG_SCHEMA, Pack, PackOrder, orders, write_pack
from ops.archive.parts import finished_parts
from ops.archive.plan import Plan, read_index, read_plan
from ops.archive.ranges import conform

_SEAL_NAME = re.compile(r"(\d{5,})\.json")
_CATALOG_ROWS = 1 << 18
PackWriter = Callable[[Iterable[PackOrder]], Iterator[tuple[Pack, pa.Table]]]


class Seal(Struct, frozen=True, kw_only=True):
    """seals/N.json: totals, checksums, the packs that count and the catalog that finds keys in them."""

    format: int = FORMAT
    number: int
    parent: str  # sha256 of the seal before, as stored; so that a rewritten past is noticed
    plan_digest: str
    codec_digest: str
    totals: Totals
    packs: list[Pack]
    catalog: list[CatalogFile]


class Unfinished(ArchiveError):
    """A generation lacks parts, so it cannot be sealed yet."""


def highest_seal(location: Location) -> Seal | None:
    """Return the seal that is the archive, or nothing for an archive that was never sealed."""
    names = [stored.url.rsplit("/", 1)[-1] for stored in location.store.walk(location.at("seals"))]
    numbers = [int(found[1]) for found in map(_SEAL_NAME.fullmatch, names) if found]
    return read_seal(location, max(numbers)) if numbers else None


def read_seal(location: Location, number: int) -> Seal:
    """Return one seal."""
    try:
        seal = msgspec.json.decode(location.store.read(location.seal(number)), type=Seal)
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{location.seal(number)} is damaged ({error}): restore it from a copy") from error
    if seal.format != FORMAT:
        raise ArchiveError(
            f"{location.seal(number)} is of format {seal.format}; this regrow reads {FORMAT}: upgrade it"
        )
    return seal


def write_packs_here(location: Location, pack_orders: Iterable[PackOrder]) -> Iterator[tuple[Pack, pa.Table]]:
    """Write packs one after another in this process."""
    return map(partial(write_pack, location), pack_orders)


def seal_generation(location: Location, plan: Plan, write_packs: PackWriter) -> Seal:
    """Merge a finished generation's parts into packs, write the catalog, the seal, and sweep what it replaces.

    Can be stopped anywhere and run again, by any number of drivers: every object is put once.
    Raises Unfinished when chunks have no part yet.
    """
    try:
        return _seal(location, plan, write_packs)
    except (ArchiveError, OSError):
        # Where parts are missing, another driver may have sealed them meanwhile, and swept them.
        seal = highest_seal(location)
        if seal is None or seal.number < plan.generation:
            raise
        return read_seal(location, plan.generation)


def _seal(location: Location, plan: Plan, write_packs: PackWriter) -> Seal:
    before = read_seal(location, plan.generation - 1) if plan.generation else None
    parts = _parts_in_order(location, plan)
    packs: list[Pack] = []

    def rows() -> Iterator[pa.Table]:
        for pack, table in write_packs(orders(plan, parts)):
            packs.append(pack)
            yield table
        if before:
            yield from read_catalog(location, before)

    files, totals = write_catalog(location, plan.generation, rows())
    packs.sort(key=lambda pack: pack.name)
    seal = Seal(
        number=plan.generation,
        parent=_digest(location, plan.generation - 1) if plan.generation else "",
        plan_digest=plan.digest,
        codec_digest=plan.codec_digest,
        totals=totals,
        packs=[*(before.packs if before else []), *packs],
        catalog=files,
    )
    _put(location, seal)
    sweep(location, plan)
    return seal


def read_catalog(location: Location, seal: Seal, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a seal's catalog in order of their keys, some 260,000 at a time; all columns, or those named.

    A file of a million rows takes 60 MB as it lies in the archive, and 400 MB whole as a table.
    """
    schema = pa.schema([field for field in CATALOG_SCHEMA if columns is None or field.name in columns])
    for file in seal.catalog:
        content = location.store.read(location.at(file.name))
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ArchiveError(f"{location.at(file.name)} is not as it was sealed: restore it from a copy")
        held = pq.ParquetFile(pa.BufferReader(content))
        names = [name for name in schema.names if name in held.schema_arrow.names]
        # Arrow's threads may outlive a short process and end it with an error.
        for batch in held.iter_batches(_CATALOG_ROWS, columns=names, use_threads=False):
            yield conform(pa.Table.from_batches([batch]), schema)


def sweep(location: Location, plan: Plan) -> None:
    """Remove what a seal replaces: parts and attempts of its generation, and planned files that lost their race."""
    store, counted = location.store, {file.name for file in [*plan.files, plan.index]} | {"plan.json"}

    def replaced() -> Iterator[str]:
        for stored in store.walk(location.at("attempts")):
            folder = stored.url.rsplit("/", 2)[-2]
            parsed = parse_chunk_id(folder)
            if folder == attempts.STOPPED or (parsed and parsed[0] <= plan.generation):
                yield stored.url
        for stored in store.walk(location.at("plan", f"{plan.generation:05d}")):
            if stored.url.rsplit("/", 1)[-1] not in counted:
                yield stored.url
        # Parts go last: while there are any, sweep_leftovers knows that a sweep was cut off.
        for stored in store.walk(location.at("parts")):
            parsed = parse_chunk_id(stored.url.rsplit("/", 1)[-1].removesuffix(".parquet"))
            if parsed and parsed[0] <= plan.generation:
                yield stored.url

    store.remove(replaced())
    for folder in ("attempts", "parts", "packs", "catalog", "plan", "seals"):  # evaluations may be under way
        store.tidy(location.at(folder))


def _parts_in_order(location: Location, plan: Plan) -> pa.Table:
    """Return chunk_id, num_images and num_bytes of the parts of a plan, in its order. Raises Unfinished."""
    found = finished_parts(location, plan.generation)
    planned = read_index(location, plan).select(["chunk_id", "num_images"])
    places = pc.index_in(planned["chunk_id"], found["chunk_id"])
    if places.null_count:
        raise Unfinished(
            f"{location.url} cannot be sealed: {places.null_count} of {plan.num_chunks} chunks are not done; "
            "run the same archive command again to finish them"
        )
    return planned.append_column("num_bytes", found["num_bytes"].take(places))


def _put(location: Location, seal: Seal) -> None:
    url = location.seal(seal.number)
    if not location.store.put_new(url, msgspec.json.format(msgspec.json.encode(seal), indent=1)):
        found = read_seal(location, seal.number)
        if (found.plan_digest, found.totals) != (seal.plan_digest, seal.totals):
            raise ArchiveError(f"{url} seals something else: two archives met in one place")


def _digest(location: Location, number: int) -> str:
    return hashlib.sha256(location.store.read(location.seal(number))).hexdigest()


def open_generation(location: Location) -> tuple[Plan | None, Seal | None]:
    """Return the plan that is not sealed yet, if any, and the highest seal."""
    seal = highest_seal(location)
    return read_plan(location, seal.number + 1 if seal else 0), seal


def sweep_leftovers(location: Location, seal: Seal) -> None:
    """Finish a sweep that was cut off after its seal was written."""
    left = chain(location.store.walk(location.at("parts")), location.store.walk(location.at("attempts")))
    if next(left, None) is not None:
        plan = read_plan(location, seal.number)
        if plan:
            sweep(location, plan)
