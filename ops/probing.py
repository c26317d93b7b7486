"""Sizes of photographs by their headers, fetching little more than those."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from ops.archive.plan import chunks_of
from ops.decoding import Header, probe
from ops.decoding.formats import sniff
from ops.images import Failure, ImageError
from ops.ranged import open_source
from ops.readers import Entry
from ops.sources import fetch

# A thumbnail, makers' notes and a profile may come before the size: each of at most 64 KiB in a JPEG.
HEAD_BYTES = 256 * 2**10
# What says size and orientation stands before the pixels of these; of others it may stand at the very end.
_HEADED = ("JPEG", "PNG")
_THREADS = 8


def probed(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Header | Failure]]:
    """Yield each entry, with its encoded bytes as its size, and its header, or why it has none.

    Of large files only the beginning is fetched where that is enough. At most 64 MiB are held at a time.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        for chunk in chunks_of(entries, 0):
            headers = list(pool.map(_header_of_head, chunk.entries))
            whole = iter(fetch([entry for entry, header in zip(chunk.entries, headers, strict=True) if header is None]))
            for entry, header in zip(chunk.entries, headers, strict=True):
                yield (entry, header) if header is not None else _header_of_whole(entry, next(whole))


def _header_of_head(entry: Entry) -> Header | None:
    """Return the header of a large file from its beginning; None where the whole has to be looked at."""
    if entry.locator or entry.size <= HEAD_BYTES:
        return None
    try:
        with open_source(entry.uri, entry.etag) as file:
            head = file.read(HEAD_BYTES)
        return probe(head) if sniff(head) in _HEADED else None
    except Exception:  # noqa: BLE001  (of any store; fetching the whole says what is wrong)
        return None


def _header_of_whole(entry: Entry, encoded: bytes | Failure) -> tuple[Entry, Header | Failure]:
    if isinstance(encoded, Failure):
        return entry, encoded
    try:
        return _sized(entry, len(encoded)), probe(encoded)
    except ImageError as error:
        return entry, error.failure


def _sized(entry: Entry, num_bytes: int) -> Entry:
    """Return an entry with its size, which some containers do not say."""
    return Entry(key=entry.key, uri=entry.uri, locator=entry.locator, size=num_bytes, etag=entry.etag)
