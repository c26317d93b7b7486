"""Reading a sealed archive: find a key, select rows, fetch thumbnails by range. Needs no codec and no Ray."""

import hashlib
import shlex
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from ops.archive.layout import ArchiveDocument, ArchiveError, Location, locate, read_document
from ops.archive.match import parse_match
from ops.archive.packs import CATALOG_SCHEMA
from ops.archive.parts import finished_parts
from ops.archive.plan import read_plan
from ops.archive.ranges import cached_footer, read_row_group
from ops.archive.rows import OK, ImageRow, from_table
from ops.archive.seals import Seal, highest_seal, read_catalog
from ops.archive.where import WhereError, parse_where
from ops.images import Failure, FailureCode

_FACTS = [name for name in ImageRow.__struct_fields__ if name not in ("thumbnail", "alpha")]


class CatalogRow(Struct, frozen=True, kw_only=True):
    """What the catalog knows of one key. A failure has no offset and no thumbnail; its status is its code."""

    key: str
    generation: int
    pack: str
    row: int
    offset: int | None
    length: int | None
    media_type: str | None
    sha256: str | None
    status: str
    width: int | None
    height: int | None
    format: str | None
    source_bytes: int
    etag: str | None
    alpha_bytes: int = 0

    @property
    def good(self) -> bool:
        """Whether there is a thumbnail."""
        return self.status == OK


class Archive:
    """A sealed archive. Opening costs three small requests; nothing is listed but the seals."""

    def __init__(self, location: Location, document: ArchiveDocument, seal: Seal) -> None:
        self.location, self.document, self.seal = location, document, seal
        # What tells this archive from another one that stood in the same place before: codec, catalog and packs, too.
        self.version = hashlib.sha256(msgspec.json.encode(seal)).hexdigest()

    @classmethod
    def open(cls, url: str) -> "Archive":
        """Open an archive. Raises ArchiveError where there is none, or none sealed yet."""
        location = locate(url)
        document = read_document(location)
        if document is None:
            raise ArchiveError(
                f"{url} is no archive (it has no archive.json): check the path, or make it with `regrow archive`"
            )
        seal = highest_seal(location)
        if seal is None:
            raise ArchiveError(f"{url} is not sealed yet{_how_to_seal(location)}")
        return cls(location, document, seal)

    def __len__(self) -> int:
        return self.seal.totals.num_images

    def sources(self) -> list[str]:
        """Return what the archive was made of, a source per generation that added some."""
        plans = (read_plan(self.location, number) for number in range(self.seal.number + 1))
        return [plan.source for plan in plans if plan and plan.kind != "retry"]

    def find(self, key: str) -> CatalogRow | None:
        """Return the row of a key, or nothing: a footer and one row group of the catalog are read."""
        files = self.seal.catalog
        at = bisect_left(files, key, key=lambda file: file.last_key)
        if at == len(files) or files[at].num_rows == 0:
            return None
        url = self.location.at(files[at].name)
        footer = cached_footer(self.location.store, url, self.version)
        for group in range(footer.metadata.num_row_groups):
            known = footer.metadata.row_group(group).column(0).statistics
            if known is not None and known.has_min_max and not known.min <= key <= known.max:
                continue
            rows = read_row_group(self.location.store, url, group, version=self.version)
            found = rows.filter(pc.equal(rows["key"], key))
            if found.num_rows:
                return catalog_rows(found)[0]
        return None

    def select(
        self, *, keys: Collection[str] | None = None, match: str | None = None, where: str | None = None
    ) -> Iterator[pa.Table]:
        """Yield catalog rows, sorted by key, for which every given condition holds; all of them without any.

        Raises ArchiveError for keys that are not in the archive.
        """
        if keys is not None and match is None and where is None and len(keys) <= 100:
            yield self._rows_of(keys)
            return
        wanted = None if keys is None else set(keys)
        if match == "":
            raise WhereError("--match '' matches no key: leave it out, or write a pattern such as '2024/*'")
        conditions = [] if match is None else [parse_match(match)]
        conditions += [] if where is None else [parse_where(where)]
        conditions += [pc.field("key").isin(list(wanted))] if wanted is not None else []
        for table in read_catalog(self.location, self.seal):
            selected = table
            for condition in conditions:
                selected = _filter(selected, condition, where)
            if wanted is not None:
                wanted -= set(table["key"].to_pylist())
            yield selected
        if wanted:
            raise self._missing(wanted)

    def _rows_of(self, keys: Collection[str]) -> pa.Table:
        found = {key: self.find(key) for key in sorted(set(keys))}
        missing = {key for key, row in found.items() if row is None}
        if missing:
            raise self._missing(missing)
        return pa.Table.from_pylist([msgspec.to_builtins(row) for row in found.values()], schema=CATALOG_SCHEMA)

    def _missing(self, keys: Collection[str]) -> ArchiveError:
        first = sorted(keys)[0]
        others = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
        return ArchiveError(f"{self.location.url} has no key {first!r}{others}: `regrow ls` lists the keys")

    def thumbnail(self, row: CatalogRow) -> bytes:
        """Return a row's thumbnail, exactly as it was put in: one ranged request."""
        if row.offset is None or row.length is None:
            raise ArchiveError(f"{row.key!r} has no thumbnail, it failed with {row.status}: see `regrow failures`")
        url = self.location.at(row.pack)
        content = self.location.store.read(url, row.offset, row.offset + row.length)
        if hashlib.sha256(content).hexdigest() != row.sha256:
            raise ArchiveError(f"{url}: the thumbnail of {row.key!r} is damaged: restore the pack from a copy")
        return content

    def facts(self, row: CatalogRow) -> ImageRow:
        """Return everything that is kept of an image but its thumbnail and alpha plane."""
        return self._pack_row(row, _FACTS)

    def alpha(self, row: CatalogRow) -> bytes | None:
        """Return the alpha plane as a lossless picture, or nothing for an opaque image."""
        return self._pack_row(row, [*_FACTS[:3], "uri", "locator", "etag", "source_bytes", "alpha"]).alpha

    def _pack_row(self, row: CatalogRow, columns: list[str]) -> ImageRow:
        group, inside = _place(self.location, row, self.version)
        url = self.location.at(row.pack)
        table = read_row_group(self.location.store, url, group, columns, version=self.version)
        return from_table(table.slice(inside, 1))[0]

    def failures(self) -> Iterator[ImageRow]:
        """Yield the rows of images that have no thumbnail, with their messages."""
        for table in self.select(where=f"status != '{OK}'"):
            # In the order in which they lie in the packs, so that neighbours share a range.
            rows = catalog_rows(table.sort_by([("pack", "ascending"), ("row", "ascending")]))
            for found in read_image_rows(self.location, rows, self.version):
                if isinstance(found, Failure):
                    raise ArchiveError(found.message)
                yield found


def _how_to_seal(location: Location) -> str:
    plan = read_plan(location, 0)
    if plan and finished_parts(location, 0).num_rows == plan.num_chunks:
        return f", and every chunk is done: regrow seal {shlex.quote(location.url)}"
    return ": run the same `regrow archive` command again to finish it"


def catalog_rows(table: pa.Table) -> list[CatalogRow]:
    """Return a table of catalog rows as structs."""
    return msgspec.convert(table.to_pylist(), list[CatalogRow])


def _filter(table: pa.Table, condition: pc.Expression, where: str | None) -> pa.Table:
    try:
        # As table.filter(condition) would, but without threads, which may outlive a short process.
        from pyarrow import acero  # noqa: PLC0415  it loads pandas

        steps = [
            acero.Declaration("table_source", acero.TableSourceNodeOptions(table)),
            acero.Declaration("filter", acero.FilterNodeOptions(condition)),
        ]
        return acero.Declaration.from_sequence(steps).to_table(use_threads=False)
    except pa.ArrowException as error:
        raise WhereError(f"--where {where!r} cannot be applied: {str(error).splitlines()[0]}") from error


def read_image_rows(location: Location, rows: Sequence[CatalogRow], version: str) -> list[ImageRow | Failure]:
    """Return rows whole, with thumbnails, or what is wrong with them. Neighbours in a pack share one range."""
    found: list[ImageRow | Failure] = []
    held: tuple[str, int] | None = None
    table = pa.table({})
    for row in rows:
        url = location.at(row.pack)
        try:
            group, inside = _place(location, row, version)
            if held != (url, group):
                table, held = read_row_group(location.store, url, group, version=version), (url, group)
            found.append(_intact(from_table(table.slice(inside, 1))[0], row, url))
        except (OSError, ArchiveError, pa.ArrowInvalid) as error:
            found.append(Failure(FailureCode.UNREADABLE, str(error)))
    return found


def _intact(image: ImageRow, row: CatalogRow, url: str) -> ImageRow:
    digest = None if image.thumbnail is None else hashlib.sha256(image.thumbnail).hexdigest()
    if (image.key, digest) != (row.key, row.sha256):
        raise ArchiveError(f"{url}: the thumbnail of {row.key!r} is damaged: restore the pack from a copy")
    return image


def _place(location: Location, row: CatalogRow, version: str) -> tuple[int, int]:
    """Return the row group of its pack in which a row stands, and its position there."""
    url = location.at(row.pack)
    metadata, before = cached_footer(location.store, url, version).metadata, 0
    for group in range(metadata.num_row_groups):
        num_rows = metadata.row_group(group).num_rows
        if row.row < before + num_rows:
            return group, row.row - before
        before += num_rows
    raise ArchiveError(f"{url} has {before} rows, the catalog wants row {row.row}: restore the pack from a copy")
