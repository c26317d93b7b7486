"""The local file system."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from ops.stores.base import Changed, Stored

ASIDE = ".new"
# Only a driver that tidies at the same moment costs an attempt; one tidies once per seal.
PUT_ATTEMPTS = 100
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


def path_of(url: str) -> str:
    """Return the path that a plain path or a percent-encoded file URL (RFC 8089) names."""
    return os.fsdecode(unquote_to_bytes(url.removeprefix("file://"))) if url.startswith("file://") else url


def file_url(path: str) -> str:
    """Return a path as a file URL, so that any name, valid UTF-8 or not, can be written down and found again."""
    return "file://" + quote(os.fsencode(path))


def etag_of(status: os.stat_result) -> str:
    """Return a tag from the size and the time of the last change, as rsync would judge it."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


class LocalStore:
    """Files below a folder. New ones appear whole: written aside, synced, then linked to their name."""

    def read(self, url: str, start: int = 0, end: int | None = None, *, etag: str = "") -> bytes:
        with Path(path_of(url)).open("rb") as file:
            if etag and etag_of(os.fstat(file.fileno())) != etag:
                raise Changed(errno.ESTALE, f"{url} has changed", url)
            file.seek(start)
            content = file.read() if end is None else file.read(max(end - start, 0))
            if etag and etag_of(os.fstat(file.fileno())) != etag:
                raise Changed(errno.ESTALE, f"{url} changed while it was read", url)
            return content

    def read_end(self, url: str, num_bytes: int) -> tuple[bytes, int]:
        with Path(path_of(url)).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(size - num_bytes, 0))
            return file.read(), size

    def put_new(self, url: str, content: bytes) -> bool:
        path = Path(path_of(url))
        for attempt in range(PUT_ATTEMPTS):
            if path.exists():
                return False
            try:
                return _put_new(path, content)
            except FileNotFoundError:  # another driver tidied its folder, or took our file for one left behind
                if attempt == PUT_ATTEMPTS - 1:
                    raise
        raise AssertionError(url)  # the last round returns or raises

    def refuses_second_put(self, url: str) -> bool:
        path = Path(path_of(url)) / f".{secrets.token_hex(8)}{ASIDE}"
        temporary = _write_aside(path, b"")
        try:
            os.link(temporary, path)
        except OSError as error:  # some network and FAT file systems know no links
            if error.errno in NO_LINKS:
                return False
            raise
        else:
            return True
        finally:
            temporary.unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    def put(self, url: str, content: bytes) -> None:
        path = Path(path_of(url))
        _write_aside(path, content).replace(path)

    def stat(self, url: str) -> Stored:
        status = Path(path_of(url)).stat()
        return Stored(url, status.st_size, etag_of(status))

    def walk(self, url: str) -> Iterator[Stored]:
        folders = [path_of(url)]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
            except FileNotFoundError:
                continue
            folders += [entry.path for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)]
            for entry in entries:
                if not entry.name.endswith(ASIDE) and entry.is_file():
                    with contextlib.suppress(FileNotFoundError):  # another driver's sweep was faster
                        status = entry.stat()
                        yield Stored(entry.path, status.st_size, etag_of(status))

    def remove(self, urls: Iterable[str]) -> None:
        for url in urls:
            Path(path_of(url)).unlink(missing_ok=True)

    def tidy(self, url: str) -> None:
        for folder, _, names in os.walk(path_of(url), topdown=False):
            for name in names:
                if name.startswith(".") and name.endswith(ASIDE):
                    (Path(folder) / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: something else lies there
                Path(folder).rmdir()


def _put_new(path: Path, content: bytes) -> bool:
    temporary = _write_aside(path, content)
    try:
        _link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def _write_aside(path: Path, content: bytes) -> Path:
    """Write a file beside its destination, synced, under a name that no reader looks at."""
    _make_folder(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}{ASIDE}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # a full disk must not be filled further by what failed
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _make_folder(folder: Path) -> None:
    """Make a folder where there is none. Raises FileNotFoundError where another driver removes it meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        # It was there when it was to be made, and is gone when Python looks whether it is a folder.
        if folder.exists():
            raise
        raise FileNotFoundError(errno.ENOENT, f"{folder} was removed meanwhile", str(folder)) from error


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Without links there is a lease (see refuses_second_put), so nobody else writes between these two lines.
        if path.exists():
            raise FileExistsError(errno.EEXIST, f"{path} is there", str(path)) from error
        temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Have what was renamed or linked in a folder on its disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
