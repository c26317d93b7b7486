"""The contract of a reader: what a shard holds, and those images of it that are asked for."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

from msgspec import Struct

from ops.images import Failure, SourceImage


class Entry(Struct, frozen=True, kw_only=True):
    """One source image that could be read: where it lies and what it is called.

    `uri` is the object (a file URL, percent-encoded, for local files; else as the store spells it), `locator` the place
    inside it ("" for the whole object), `size` the encoded bytes (0 where the container does not say), `etag` the
    object's tag when it was listed. `about` is what to expect where the size is not known; it is not planned.
    """

    key: str
    uri: str
    locator: str = ""
    size: int
    etag: str = ""
    about: int = 0

    @property
    def expected_bytes(self) -> int:
        """The encoded bytes that fetching this will bring, as far as they are known beforehand."""
        return self.size or self.about


class Reader(Protocol):
    """A module with these two functions. `file` is the whole shard: binary, seekable, read by ranges."""

    @staticmethod
    def index(file: BinaryIO, uri: str) -> Iterator[Entry]:
        """Yield an entry per image; keys are those inside the shard, without the shard's own name."""
        ...

    @staticmethod
    def read(file: BinaryIO, entries: Sequence[Entry]) -> Iterator[SourceImage | Failure]:
        """Yield the images of these entries, or why not, in their order."""
        ...
