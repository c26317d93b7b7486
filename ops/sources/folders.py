"""Everything below a folder or prefix, in the order of bytes, from any store."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ops.sources.report import ScanReport
from ops.stores import Stored, open_store
from ops.stores.local import etag_of, file_url, path_of
from ops.stores.routing import scheme_of


class Found(Struct, frozen=True):
    """One object below a source: its name from there, and where it lies."""

    name: str
    stored: Stored


def is_local(url: str) -> bool:
    """Say whether a URL is a path of this machine."""
    return scheme_of(url) in ("", "file")


def walk(url: str, report: ScanReport) -> Iterator[Found]:
    """Yield every object below a folder, interleaved as S3 lists them: by the bytes of the whole name."""
    return _walk_local(Path(path_of(url)), report) if is_local(url) else _walk_store(url)


def found_file(path: str) -> Stored:
    """Return a local file as it stands, or only its name where no file is. Raises OSError where nothing is."""
    status = os.stat(path)  # noqa: PTH116  (a Path would lose a slash at the end)
    is_file = stat.S_ISREG(status.st_mode)
    return Stored(file_url(path), status.st_size, etag_of(status)) if is_file else Stored(file_url(path), 0, "")


def _walk_store(url: str) -> Iterator[Found]:
    root = _without_scheme(url).rstrip("/") + "/"
    for stored in open_store(url).walk(url):
        yield Found(_without_scheme(stored.url).removeprefix(root), stored)


def _without_scheme(url: str) -> str:
    return url.partition("://")[2].lstrip("/")


def _walk_local(root: Path, report: ScanReport) -> Iterator[Found]:
    """Walk depth first. Only names are held of a folder, not what the system knows of each."""
    waiting = [""]
    while waiting:
        name = waiting.pop()
        if name and not name.endswith("/"):
            yield from _local_file(root, name, report)
            continue
        try:
            with os.scandir(root / name) as entries:
                names = [entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries]
        except OSError as error:
            report.problems.append((file_url(str(root / name)), f"this folder cannot be listed: {error.strerror}"))
            continue
        waiting += [name + below for below in sorted(names, key=os.fsencode, reverse=True)]


def _local_file(root: Path, name: str, report: ScanReport) -> Iterator[Found]:
    path = str(root / name)
    try:
        status = os.stat(path)  # noqa: PTH116  (paths of millions of files: no object for each)
    except OSError:  # a link to nothing: it stays in the plan and becomes a failure row
        yield Found(name, Stored(file_url(path), 0, ""))
        return
    if stat.S_ISREG(status.st_mode):
        yield Found(name, Stored(file_url(path), status.st_size, etag_of(status)))
    elif stat.S_ISDIR(status.st_mode):
        report.problems.append((file_url(path), "a symbolic link to a folder is not followed; name it as a source"))
    else:
        report.problems.append((file_url(path), "neither a file nor a folder"))
