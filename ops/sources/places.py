"""What stands at the place that a user calls a source."""

import errno
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ops.sources.folders import Found, found_file, is_local
from ops.sources.report import ScanReport, SourceError
from ops.stores import Stored, join, open_store
from ops.stores.local import path_of

_ARCHIVE = "archive.json"


def look_at(url: str) -> Stored | None:
    """Return the object at a URL, or nothing where a folder or prefix is. Raises SourceError."""
    try:
        return _local(path_of(url)) if is_local(url) else _remote(url)
    except FileNotFoundError as error:
        raise SourceError(f"{url} does not exist; check the spelling and that it is mounted here") from error
    except OSError as error:
        raise SourceError(f"{url} cannot be read: {error.strerror or error}") from error


def _local(path: str) -> Stored | None:
    if Path(path).is_dir():
        return None
    if Path(path).exists() and not Path(path).is_file():
        raise OSError(errno.EINVAL, "it is neither a file nor a folder")
    return found_file(path)


def _remote(url: str) -> Stored | None:
    scheme, _, path = url.partition("://")
    if url.endswith("/") or "/" not in path.strip("/"):  # a prefix, or a whole bucket
        return None
    try:
        return open_store(url).stat(url)
    except (FileNotFoundError, IsADirectoryError):
        if scheme in ("http", "https"):  # the web has no listings
            raise
        return None


def without_archives(below: Iterator[Found], url: str, report: ScanReport) -> Iterator[Found]:
    """Leave out archives of ours inside a source, with a note; refuse a source that is one.

    archive.json comes first of an archive's own objects, since listings are in order.
    """
    archive = ""
    for found in below:
        folder, _, name = f"/{found.name}".rpartition("/")
        if archive and found.name.startswith(archive):
            continue
        if name != _ARCHIVE or not _is_ours(found.stored):
            yield found
        elif not folder:
            raise SourceError(f"{url} is a regrow archive, not a source; to read it: regrow info {url}")
        else:
            archive = f"{folder[1:]}/"
            place = join(url, folder[1:])
            report.problems.append((place, "a regrow archive inside the source was left out"))


def _is_ours(stored: Stored) -> bool:
    try:
        document = msgspec.json.decode(open_store(stored.url).read(stored.url, 0, 2**20))
    except (msgspec.DecodeError, UnicodeDecodeError, OSError):
        return False
    return isinstance(document, dict) and {"format", "codec", "codec_digest"} <= document.keys()
