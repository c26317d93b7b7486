"""The rows of `ls` and `failures`."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from ops.archive.reading import Archive, CatalogRow, catalog_rows
from ops.archive.rows import OK

_BATCH = 1024


class Failed(Struct, frozen=True, kw_only=True):
    """An image without a thumbnail. `uri` is where it was; `generation` the run that tried it last."""

    key: str
    code: str
    message: str
    generation: int
    uri: str

    def order(self) -> tuple[str, str]:
        """Return what to sort by: code, then key."""
        return self.code, self.key


def rows_of(archive: Archive, match: str | None, where: str | None) -> Iterator[CatalogRow]:
    """Yield catalog rows, sorted by key; only some of them are in memory as structs."""
    for table in archive.select(match=match, where=where):
        for batch in table.to_batches(max_chunksize=_BATCH):
            yield from catalog_rows(batch)


def long_lines(rows: Iterable[CatalogRow]) -> Iterator[str]:
    """Yield aligned lines: status, size in pixels, bytes of the source and of the thumbnail, key."""
    for row in rows:
        size = f"{row.width}x{row.height}" if row.good else "-"
        length = "-" if row.length is None else str(row.length)
        status = "" if row.status == OK else f"  ({row.status})"
        yield f"{size:>11}  {row.source_bytes:>11}  {length:>9}  {row.key}{status}"


def failed_images(archive: Archive) -> Iterator[Failed]:
    """Yield every image without a thumbnail, with the reason."""
    for row in archive.failures():
        yield Failed(
            key=row.key, code=row.status, message=row.message or "", generation=row.generation, uri=row.uri
        )  # fmt: skip
