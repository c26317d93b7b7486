"""Every other scheme, through fsspec: gs, az, http, memory and so on. Only memory is tested here."""

import contextlib
import errno
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import fsspec

from ops.stores.base import Changed, Stored, StoreError

# A put of theirs is seen whole or not at all.
OBJECT_STORES = ["gs", "az", "gcs", "abfs", "abfss", "oss", "memory"]


def _etag(info: dict[str, Any]) -> str:
    """Return whatever the store offers that changes with the content."""
    tag = next(
        (info[name] for name in ("etag", "ETag", "md5Hash", "mtime", "updated", "created") if info.get(name)), ""
    )
    # Some stores give a time as a number when listing and as a date when asked for one object.
    seconds = tag.timestamp() if isinstance(tag, datetime) else tag
    return f"{seconds:.6f}" if isinstance(seconds, float) else str(seconds).strip('"')


class FsspecStore:
    """Objects of any file system that fsspec knows.

    Only stores of objects can hold an archive: elsewhere a writer that dies leaves half a file under its final name.
    Conditional puts work where one offers `mode="create"` of its own.
    """

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        # Listings must be fresh: two drivers may work on one archive.
        self._fs: Any = fsspec.filesystem(scheme, use_listings_cache=False)

    def _check(self, url: str, etag: str) -> None:
        if etag and self.stat(url).etag != etag:
            raise Changed(errno.ESTALE, f"{url} has changed", url)

    def read(self, url: str, start: int = 0, end: int | None = None, *, etag: str = "") -> bytes:
        self._check(url, etag)
        if start == 0 and end is None:
            return self._fs.cat_file(url)
        return self._fs.cat_file(url, start=start, end=end)

    def read_end(self, url: str, num_bytes: int) -> tuple[bytes, int]:
        size = self.stat(url).size
        return self._fs.cat_file(url, start=max(size - num_bytes, 0), end=size), size

    def put_new(self, url: str, content: bytes) -> bool:
        if self._fs.exists(url):
            return False
        try:
            self._fs.pipe_file(url, content, mode="create")
        except FileExistsError:
            return False
        except OSError:
            if self._fs.exists(url):
                return False
            raise
        return True

    def refuses_second_put(self, url: str) -> bool:
        if self._scheme not in OBJECT_STORES:
            raise StoreError(
                errno.ENOTSUP,
                f"{self._scheme}:// cannot hold an archive, since it does not write files whole: use a local path, "
                f"s3://, {', '.join(f'{scheme}://' for scheme in OBJECT_STORES[:2])}",
                url,
            )
        probe = f"{url}/attempts/probe-{secrets.token_hex(8)}"
        try:
            self._fs.pipe_file(probe, b"", mode="create")
            with contextlib.suppress(FileExistsError):
                self._fs.pipe_file(probe, b"", mode="create")
                return False  # the mode was ignored
        except NotImplementedError:
            return False
        else:
            return True
        finally:
            self.remove([probe])

    def put(self, url: str, content: bytes) -> None:
        self._fs.pipe_file(url, content)

    def stat(self, url: str) -> Stored:
        info = self._fs.info(url)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, f"{url} is a folder", url)
        return Stored(url, int(info["size"] or 0), _etag(info))

    def walk(self, url: str) -> Iterator[Stored]:
        # fsspec holds a whole listing in memory; S3, the one we promise a scale for, has a store of its own.
        for path, info in self._fs.find(url, detail=True).items():
            yield Stored(self._fs.unstrip_protocol(path), int(info["size"] or 0), _etag(info))

    def remove(self, urls: Iterable[str]) -> None:
        for url in urls:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(url)

    def tidy(self, url: str) -> None:
        """Nothing to do: an object store shows no half-written objects."""
