"""Containers of images. A new one is a module with `index` and `read`, and a suffix in READERS."""

from ops.readers import parquet, tar, whole
from ops.readers import zip as zips
from ops.readers.base import Entry, Reader
from ops.readers.broken import BrokenShard

__all__ = ["READERS", "BrokenShard", "Entry", "Reader", "has_ranges", "holds_files", "reader_of", "shard_suffix"]

READERS: dict[str, Reader] = {
    ".tar": tar,
    **dict.fromkeys((".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"), tar),
    ".zip": zips,
    ".parquet": parquet,
}


def shard_suffix(name: str) -> str:
    """Return the suffix by which a name is a shard's, or nothing."""
    return next((suffix for suffix in READERS if name.lower().endswith(suffix)), "")


def holds_files(suffix: str) -> bool:
    """Say whether such a shard may hold files of any kind; a column of images holds only images, whatever the names."""
    return suffix != ".parquet"


def reader_of(entry: Entry) -> Reader:
    """Return the reader that an entry was indexed by: a whole file has no place inside it."""
    return READERS[shard_suffix(entry.uri)] if entry.locator else whole


def has_ranges(entry: Entry) -> bool:
    """Say whether an image has a range of bytes of its own; others share row groups or a compressed stream."""
    return ":" in entry.locator and holds_files(shard_suffix(entry.uri))
