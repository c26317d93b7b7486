"""URI lists: text, CSV or Parquet files that name images, one a row."""

import csv
import os
import re
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from posixpath import normpath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from ops.ranged import open_source
from ops.readers import BrokenShard
from ops.readers.parquet import image_column
from ops.sources.folders import Found, found_file, is_local
from ops.sources.report import ScanReport, SourceError
from ops.stores import Stored
from ops.stores.local import file_url, path_of
from ops.stores.routing import scheme_of

# A photograph of 12 megapixels: what a remote URI counts as when chunks are cut, since nobody asks for its size.
UNKNOWN_BYTES = 4 << 20
URI_COLUMNS = ("uri", "url", "path")


class Listed(Struct, frozen=True):
    """One row of a list: which row, what it names, and the key it asks for (or nothing)."""

    row: int
    uri: str
    key: str = ""


def is_list(stored: Stored) -> bool:
    """Say whether an object is a URI list: by its suffix, or Parquet that has a column of URIs and none of images."""
    name = stored.url.lower()
    return name.endswith((".txt", ".csv")) or (name.endswith(".parquet") and _lists_uris(stored))


def read_list(stored: Stored, report: ScanReport) -> Iterator[Found]:
    """Yield what a list names, with its key as the name; relative lines begin where the list lies."""
    with open_source(stored.url, stored.etag) as file:
        for listed in _rows(file, stored.url):
            if listed.uri:
                yield _found(listed, stored.url)
            else:
                report.problems.append((stored.url, f"row {listed.row} names nothing"))


def _lists_uris(stored: Stored) -> bool:
    try:
        with open_source(stored.url, stored.etag) as file:
            schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):  # no Parquet at all: the reader of shards says what is wrong
        return False
    return not _has_images(schema) and any(name.lower() in URI_COLUMNS for name in schema.names)


def _has_images(schema: pa.Schema) -> bool:
    try:
        image_column(schema)
    except BrokenShard:
        return False
    return True


def _rows(file: BinaryIO, url: str) -> Iterator[Listed]:
    if url.lower().endswith(".parquet"):
        yield from _parquet_rows(file, url)
        return
    text = TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(text, url) if url.lower().endswith(".csv") else _lines(text)
    except csv.Error as error:
        raise SourceError(f"{url} cannot be read as CSV: {error}") from error
    text.detach()  # or it would close the file, whose etag is looked at once more


def _lines(text: Iterable[str]) -> Iterator[Listed]:
    for row, line in enumerate(text, 1):
        uri = line.strip()
        if uri and not uri.startswith("#"):
            yield Listed(row, uri)


def _csv_rows(text: Iterable[str], url: str) -> Iterator[Listed]:
    rows = csv.reader(text)
    uri, key = _columns(next(rows, []), url)
    for row, cells in enumerate(rows, 2):
        if cells:
            yield Listed(row, _cell(cells, uri), _cell(cells, key))


def _cell(cells: list[str], column: int) -> str:
    return cells[column].strip() if 0 <= column < len(cells) else ""


def _parquet_rows(file: BinaryIO, url: str) -> Iterator[Listed]:
    table = pq.ParquetFile(file)
    names = table.schema_arrow.names
    uri, key = _columns(names, url)
    wanted = [names[uri], *([names[key]] if key >= 0 else [])]
    row = 0
    for batch in table.iter_batches(4096, columns=wanted):
        uris = batch.column(wanted[0]).to_pylist()
        keys = batch.column(wanted[1]).to_pylist() if key >= 0 else [None] * len(uris)
        for uri_found, key_found in zip(uris, keys, strict=True):
            row += 1
            yield Listed(row, _text(uri_found), _text(key_found))


def _text(cell: object) -> str:
    """Return what a cell says, also where its column is binary; nothing for a null."""
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "surrogateescape")
    return "" if cell is None else str(cell)


def _columns(names: list[str], url: str) -> tuple[int, int]:
    """Return the places of the column of URIs and of the column of keys (-1 without one)."""
    plain = [name.strip().lower() for name in names]
    uri = next((plain.index(name) for name in URI_COLUMNS if name in plain), -1)
    if uri < 0:
        found = ", ".join(names) or "none"
        raise SourceError(f"{url}: a list needs a column called uri, url or path; its columns are: {found}")
    return uri, plain.index("key") if "key" in plain else -1


def _found(listed: Listed, list_url: str) -> Found:
    url = _resolve(listed.uri, list_url)
    return Found(listed.key or _name(listed.uri), _stored(url))


def _name(uri: str) -> str:
    """Return a URI without its scheme, which is its key."""
    path = path_of(uri) if is_local(uri) else uri.partition("://")[2]
    return path.lstrip("/").removeprefix("./")


def _resolve(uri: str, list_url: str) -> str:
    """Return a URI of a list in full: a path for a local one."""
    if scheme_of(uri) and not is_local(uri):
        return uri
    if is_local(uri) and (is_local(list_url) or scheme_of(uri) or uri.startswith("/")):
        path = os.path.join(os.path.dirname(path_of(list_url)), path_of(uri))  # noqa: PTH118, PTH120
        # Only what is no `..` may be folded: behind a link that would lead elsewhere.
        return path if ".." in path.split("/") else normpath(path)
    scheme, _, path = list_url.rpartition("/")[0].partition("://")
    return f"{scheme}://{normpath(f'{path}/{uri}')}"


def _quoted(url: str) -> str:
    """Return a URL with bytes that are no UTF-8 as %XX, as browsers send them."""
    return url if url.isascii() else re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", url)


def _stored(url: str) -> Stored:
    """Look at a local file; remote ones are not asked for one by one, which would be a request for each row."""
    if not is_local(url):
        return Stored(_quoted(url), 0, "")
    try:
        return found_file(url)
    except OSError:  # it stays in the plan and becomes a failure row
        return Stored(file_url(url), 0, "")
