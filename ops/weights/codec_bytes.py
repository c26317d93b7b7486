"""Tensors of a safetensors file, to a store and back: mapped where they can be, put whole, over no others."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ops.metrics.base import Unavailable
from ops.stores import open_store
from ops.stores.local import ASIDE, NO_LINKS, path_of
from ops.stores.routing import scheme_of
from ops.weights.files import WeightsError
from ops.weights.headers import header_of, read_from

if TYPE_CHECKING:
    from torch import Tensor

PIECE_BYTES = 64 << 20


def tensors_of(url: str) -> "dict[str, Tensor]":
    """Return the tensors of a file. A local one is mapped: they take memory once, and only where they are used.

    Raises WeightsError where it is not whole, and Unavailable where a library is missing.
    """
    header = header_of(url)
    try:
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415  the base install has none
        from safetensors.torch import load  # noqa: PLC0415  it imports torch
    except ModuleNotFoundError as error:
        raise Unavailable(f"{url} needs {error.name}: pip install 'regrow[codecs]'") from error
    try:
        if scheme_of(url):
            return load(read_from(url, lambda: open_store(url).read(url)))
        with safe_open(path_of(url), framework="pt") as file:
            return {name: file.get_tensor(name) for name in header.shapes}
    except SafetensorError as error:
        raise WeightsError(f"{url} is damaged ({error}); get it anew") from error


def put_tensors(url: str, tensors: "dict[str, Tensor]", metadata: dict[str, str]) -> bool:
    """Write a file whole, unless one is there: True when written, False when one was there already.

    A local file is written from the tensors where they lie; elsewhere, all bytes of it are in memory once more.
    """
    from safetensors.torch import save, save_file  # noqa: PLC0415  the base install has none

    ours = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if scheme_of(url):
        return open_store(url).put_new(url, save(ours, metadata))
    with _aside(Path(path_of(url))) as temporary:
        save_file(ours, temporary, metadata)
        return _put_in_place(temporary, Path(path_of(url)))


def fetched(url: str, into: str) -> None:
    """Copy a file of any store to a local path, whole or not at all; one that is there already is left."""
    store, size = open_store(url), read_from(url, lambda: open_store(url).stat(url).size)
    with _aside(Path(path_of(into))) as temporary:
        with temporary.open("xb") as file:
            for start in range(0, size, PIECE_BYTES):
                end = min(start + PIECE_BYTES, size)
                file.write(read_from(url, lambda start=start, end=end: store.read(url, start, end)))
        _put_in_place(temporary, Path(path_of(into)))


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """Yield a name beside a file's, which no reader looks at, and leave nothing there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}{ASIDE}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path) -> bool:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno == errno.EEXIST or path.exists():
            return False
        if error.errno not in NO_LINKS:
            raise
        temporary.replace(path)
    return True
