"""Listing a source: every image that it holds, as entries in a fixed order."""

from collections.abc import Iterable, Iterator
from itertools import islice
from posixpath import basename
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ops.keys import HashSet, KeySet, key_of
from ops.ranged import open_source
from ops.readers import READERS, BrokenShard, Entry, holds_files, shard_suffix
from ops.sources.folders import Found, is_local, walk
from ops.sources.lists import UNKNOWN_BYTES, is_list, read_list
from ops.sources.places import look_at, without_archives
from ops.sources.report import HIDDEN, ScanReport, SourceError, nothing_in, why_skipped
from ops.stores import Stored, absolute, open_store
from ops.stores.local import path_of

T = TypeVar("T")

BATCH = 10_000


def scan(source: str, *, all_files: bool = False, report: ScanReport) -> Iterator[Entry]:
    """Yield an entry per image of a folder, a prefix, a shard, an image file or a URI list; keys are unique.

    What is left out is counted in `report`, which is complete when the iteration ends; `all_files` leaves nothing out.
    Raises SourceError where there is no source, no image in it, or an archive of ours.
    """
    url = absolute(source) + "/" * (source.endswith("/") and not is_local(source))
    for entry in _unique(_Listing(all_files, report).entries(url), report):
        report.num_images += 1
        report.num_estimated += bool(entry.about)
        yield entry
    if not report.num_images:
        raise SourceError(nothing_in(source, report))


class _Listing(Struct):
    """One listing: what it leaves out, and where it counts that."""

    all_files: bool
    report: ScanReport

    def entries(self, url: str) -> Iterator[Entry]:
        """Yield the entries of a source of any kind, with keys that may collide."""
        stored = look_at(url)
        if stored is None:
            for found in without_archives(walk(url, self.report), url, self.report):
                yield from self._below(found)
        elif is_list(stored):
            for found in _once(read_list(stored, self.report), self.report):
                # A list names what is wanted, whatever its suffix: many URLs have none.
                yield from self._shard(found) if shard_suffix(found.stored.url) else self._whole(found)
        else:
            url = path_of(stored.url) if is_local(stored.url) else stored.url
            yield from self._below(Found(basename(url), stored))

    def _below(self, found: Found) -> Iterator[Entry]:
        hidden = why_skipped(found.name) == HIDDEN and not self.all_files
        if shard_suffix(found.stored.url) and not hidden:
            yield from self._shard(found)
        elif self._wants(found.name):
            yield from self._whole(found)

    def _wants(self, name: str) -> bool:
        reason = None if self.all_files else why_skipped(name)
        if reason is not None:
            self.report.skipped[reason] += 1
        return reason is None

    def _whole(self, found: Found) -> Iterator[Entry]:
        self.report.num_bytes += found.stored.size
        stored = found.stored
        about = 0 if stored.etag or is_local(stored.url) else UNKNOWN_BYTES
        yield Entry(key=key_of(found.name), uri=stored.url, size=stored.size, etag=stored.etag, about=about)

    def _shard(self, found: Found) -> Iterator[Entry]:
        """Yield the images in a shard; where that ends too early, what is missing is a problem of the report."""
        num_bytes = 0
        try:
            stored = found.stored if found.stored.etag else open_store(found.stored.url).stat(found.stored.url)
            for entry in self._members(found.name, stored):
                num_bytes += entry.size
                yield entry
            # A container that does not say how large its images are is little more than them.
            self.report.num_bytes += num_bytes or stored.size
        except BrokenShard as error:
            self.report.num_bytes += num_bytes
            self.report.problems.append((found.stored.url, f"not all images of this shard are planned: {error}"))
        except OSError as error:
            # A store that fails for a moment must not freeze a plan that lacks a whole shard.
            reason = error.strerror or error
            raise SourceError(f"{found.stored.url} cannot be listed ({reason}): mend that, or take it out") from error

    def _members(self, name: str, stored: Stored) -> Iterator[Entry]:
        suffix, prefix = shard_suffix(stored.url), key_of(name)
        with open_source(stored.url, stored.etag) as file:
            for entry in READERS[suffix].index(file, stored.url):
                if not holds_files(suffix) or self._wants(entry.key):
                    yield replace(entry, key=f"{prefix}/{entry.key}", etag=stored.etag)


def _once(listed: Iterator[Found], report: ScanReport) -> Iterator[Found]:
    """Yield what a list names, each URI once: by hashes of 16 bytes, so that none is ever taken for another."""
    seen = HashSet(16)
    for batch in _batches(listed):
        new: dict[str, Found] = {}
        for found in batch:
            new.setdefault(found.stored.url, found)
        hashes = seen.hashes(new)
        fresh = [found for found, known in zip(new.values(), seen.holds(hashes).tolist(), strict=True) if not known]
        seen.add(hashes)
        report.listed_twice += len(batch) - len(fresh)
        yield from fresh


def _unique(entries: Iterator[Entry], report: ScanReport) -> Iterator[Entry]:
    """Yield the entries with unique keys."""
    keys = KeySet()
    for batch in _batches(entries):
        unique = keys.unique([entry.key for entry in batch])
        report.renamed = keys.num_renamed
        for entry, key in zip(batch, unique, strict=True):
            yield entry if entry.key == key else replace(entry, key=key)


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(things)
    while batch := list(islice(remaining, BATCH)):
        yield batch
