"""Published files of tensors: safetensors and what torch.save writes, from any store, with their sha256."""

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from ops.metrics.base import Unavailable
from ops.stores import open_store
from ops.stores.local import path_of
from ops.stores.routing import scheme_of
from ops.weights.codec_bytes import PIECE_BYTES, tensors_of
from ops.weights.files import WeightsError
from ops.weights.headers import read_from


class Opened(Struct, frozen=True, kw_only=True):
    """What a file holds, and where from; `content` has tensors by name, or whatever plain containers there are."""

    url: str
    sha256: str
    content: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """The file and its sha256, in words."""
        return f"{self.url} sha256 {self.sha256}"


def opened(url: str) -> Opened:
    """Return what a file of tensors holds. A local one is mapped where its format allows it.

    Nothing but tensors and plain containers is ever unpickled. Raises WeightsError and Unavailable.
    """
    content = tensors_of(url) if url.endswith(".safetensors") else _unpickled(url)
    return Opened(url=url, sha256=sha256_of(url), content=content)


def sha256_of(url: str) -> str:
    """Return the sha256, in hex, of a file in any store, read in pieces."""
    store, digest = open_store(url), hashlib.sha256()
    size = read_from(url, lambda: store.stat(url).size)
    for start in range(0, size, PIECE_BYTES):
        digest.update(read_from(url, lambda start=start: store.read(url, start, min(start + PIECE_BYTES, size))))
    return digest.hexdigest()


def line(error: Exception) -> str:
    """Return the beginning of an error of torch, which can be pages."""
    return " ".join(str(error).split())[:120]


def _unpickled(url: str) -> Mapping[str, Any]:
    try:
        import torch  # noqa: PLC0415  the base install has none
    except ModuleNotFoundError as error:
        raise Unavailable(f"{url} needs torch: pip install 'regrow[codecs]'") from error
    read_from(url, lambda: open_store(url).stat(url))
    near: Any = io.BytesIO(read_from(url, lambda: open_store(url).read(url))) if scheme_of(url) else path_of(url)
    try:
        try:
            content = torch.load(near, map_location="cpu", weights_only=True, mmap=isinstance(near, str))
        except RuntimeError:
            if not isinstance(near, str) or _is_zip(near):
                raise
            content = torch.load(near, map_location="cpu", weights_only=True)  # the format before torch 1.6
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"{url} is no whole file of tensors alone ({line(error)}); get it anew") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{url} holds no tensors by name but a {type(content).__name__}; get the right file")
    return content


def _is_zip(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(2) == b"PK"
