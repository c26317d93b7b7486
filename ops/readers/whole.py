"""A file that is one image."""

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ops.images import Failure, FailureCode, SourceImage
from ops.readers.base import Entry


def index(file: BinaryIO, uri: str) -> Iterator[Entry]:
    """Yield the one entry; its key inside the file is empty."""
    yield Entry(key="", uri=uri, size=file.seek(0, os.SEEK_END))


def read(file: BinaryIO, entries: Sequence[Entry]) -> Iterator[SourceImage | Failure]:
    """Yield the whole file for each entry; more or fewer bytes than planned are a failure."""
    for entry in entries:
        file.seek(0)
        # One byte more than planned shows that a file grew. Size 0 means that a list named it and nobody looked.
        encoded = file.read(entry.size + 1) if entry.size else file.read()
        if entry.size and len(encoded) != entry.size:
            found = "more" if len(encoded) > entry.size else len(encoded)
            yield Failure(FailureCode.CHANGED, f"{entry.uri}: {found} bytes where {entry.size} were planned")
        else:
            yield SourceImage(entry.key, entry.uri, encoded)
