"""Objects of any store as binary files: read by ranges, with read-ahead that follows how they are read."""

import errno
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from ops.stores import Changed, Store, StoreError, open_store
from ops.stores.local import etag_of, path_of
from ops.stores.routing import scheme_of

T = TypeVar("T")

FIRST_AHEAD = 64 * 2**10
MOST_AHEAD = 8 * 2**20
# A request to S3 costs about 25 ms, in which one connection brings 1 to 2 MiB: gaps below that are read, not jumped.
NEAR = 2**20
PAUSES_SECONDS = (0.2, 1.0)

_FINAL = (Changed, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, StoreError, MemoryError)


@contextmanager
def open_source(uri: str, etag: str = "", most_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Open an object for reading, on condition that it is the one with this etag (if any), also when it is closed.

    `most_bytes` bounds what one read to the end of a remote object brings. Raises Changed, FileNotFoundError and
    whatever else the store raises.
    """
    if scheme_of(uri) not in ("", "file"):
        yield cast("BinaryIO", RangedFile(open_store(uri), uri, etag, most_bytes))
        return
    with _open_local(uri) as file:
        _check(file, uri, etag)
        yield file
        _check(file, uri, etag)


def _open_local(uri: str) -> BinaryIO:
    """Open a regular file; a pipe or a device could block for ever."""
    path = Path(path_of(uri))
    if not path.is_file():
        os.stat(path)  # noqa: PTH116  (raises what is wrong, if the path leads nowhere)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", uri)
        raise StoreError(errno.EINVAL, "is no regular file", uri)
    return path.open("rb")


def _check(file: BinaryIO, uri: str, etag: str) -> None:
    if etag and etag_of(os.fstat(file.fileno())) != etag:
        raise Changed(errno.ESTALE, "has changed since it was listed", uri)


class RangedFile(io.RawIOBase):
    """A remote object as a file. Each request asks for the etag, so that no file is pieced together from two objects.

    Read in small steps that lie near each other (the headers of a tar of small images), it reads ahead, twice as far
    each time, up to 8 MiB; after a jump it begins again with 64 KiB. A large read is one request of exactly that range.
    """

    def __init__(self, store: Store, uri: str, etag: str = "", most_bytes: int | None = None) -> None:
        super().__init__()
        self.num_requests = 0
        self._store, self._uri, self._etag, self._most = store, uri, etag, most_bytes
        self._size: int | None = None
        self._place = 0
        self._start, self._buffer = 0, b""
        self._ahead = FIRST_AHEAD

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence)
        self._place = max(0, offset + (self._end() if origin is None else origin))
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end of the object; all of the rest without a size."""
        whole = size is None or size < 0
        content = self._rest() if whole or size is None else self._some(size)
        self._place += len(content)
        return content

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _end(self) -> int:
        if self._size is None:
            self.num_requests += 1
            self._size = _insist(lambda: self._store.stat(self._uri).size)
        return self._size

    def _rest(self) -> bytes:
        end = None if self._most is None else self._place + self._most
        return self._request(self._place, end)

    def _some(self, size: int) -> bytes:
        offset = self._place - self._start
        if offset >= 0 and offset + size <= len(self._buffer):
            return self._buffer[offset : offset + size]
        if size >= FIRST_AHEAD:
            self._start, self._buffer = self._place, b""
            return self._request(self._place, self._place + size)
        self._fill(size)
        offset = self._place - self._start
        return self._buffer[offset : offset + size]

    def _fill(self, size: int) -> None:
        """Fetch a buffer that begins at the place, or a little before the end of the object."""
        gap = self._place - (self._start + len(self._buffer))
        follows = bool(self._buffer) and -size < gap <= NEAR
        self._ahead = min(2 * self._ahead, MOST_AHEAD) if follows else FIRST_AHEAD
        start = self._place
        if self._size is not None and not follows:
            # Zip and Parquet are read from their end backwards.
            start = max(0, min(start, self._size - FIRST_AHEAD))
        self._buffer = self._request(start, start + max(size + self._place - start, self._ahead))
        self._start = start

    def _request(self, start: int, end: int | None) -> bytes:
        if self._size is not None and start >= self._size:
            return b""
        self.num_requests += 1
        return _insist(lambda: self._store.read(self._uri, start, end, etag=self._etag))


def _insist(request: Callable[[], T]) -> T:
    """Make a request up to three times. Stores of fsspec raise errors of many libraries, and not all of them retry."""
    for pause in PAUSES_SECONDS:
        try:
            return request()
        except _FINAL:
            raise
        except Exception as error:  # any library's; the last one is raised as it is
            if 400 <= getattr(error, "status", 0) < 500 and getattr(error, "status", 0) not in (408, 429):
                raise
            time.sleep(pause)
    return request()
