"""The contract of a store. Paths are URLs as users write them: `/data/x`, `s3://bucket/x`, `gs://bucket/x`."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from msgspec import Struct


class StoreError(OSError):
    """A store did not do what was asked; the message names the URL and the cause."""


class Changed(StoreError):
    """The object is there, but not the one that was asked for (its etag differs)."""


class Stored(Struct, frozen=True):
    """One object: its URL, size in bytes, and a tag that changes when its content does."""

    url: str
    size: int
    etag: str


class Store(Protocol):
    """Reads and writes whole objects and ranges of them. Missing objects raise FileNotFoundError."""

    def read(self, url: str, start: int = 0, end: int | None = None, *, etag: str = "") -> bytes:
        """Return bytes [start, end) of the object. With `etag`, raise Changed when it is another one by now."""
        ...

    def read_end(self, url: str, num_bytes: int) -> tuple[bytes, int]:
        """Return the last `num_bytes` (or all, if fewer) of the object, and its whole size."""
        ...

    def put_new(self, url: str, content: bytes) -> bool:
        """Store the object whole, unless something is there: True when stored, False when it was there already."""
        ...

    def refuses_second_put(self, url: str) -> bool:
        """Say whether `put_new` is atomic below this folder, by trying it there and clearing up."""
        ...

    def put(self, url: str, content: bytes) -> None:
        """Store the object whole, in place of what is there. For leases, and for what can be made anew."""
        ...

    def stat(self, url: str) -> Stored: ...

    def walk(self, url: str) -> Iterator[Stored]:
        """Yield every object below a folder or prefix, in a fixed order, without holding them all."""
        ...

    def remove(self, urls: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no error."""
        ...

    def tidy(self, url: str) -> None:
        """Remove what killed writers left half written below a folder, and the folder if it is empty then."""
        ...


def is_there(store: Store, url: str) -> bool:
    """Say whether an object is there: one request."""
    try:
        store.stat(url)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def join(url: str, *names: str) -> str:
    """Append names to a URL."""
    return "/".join([url.rstrip("/") or "/", *names]) if url.rstrip("/") else "/" + "/".join(names)
