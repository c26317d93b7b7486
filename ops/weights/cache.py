"""The folder of weights: safetensors by name, checked by the digest of their tensors each time they are loaded."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.metrics.base import Unavailable
from ops.stores import join, open_store
from ops.weights.files import WeightFile
from ops.weights.known import known_file

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "REGROW_WEIGHTS"
METADATA = "regrow"
# The header of a real file has a few kilobytes; whatever claims more is something else.
LONGEST_HEADER = 1 << 20


def folder() -> str:
    """Return the folder or URL that holds weights: $REGROW_WEIGHTS, or `regrow/weights` in the user's cache."""
    if named := os.environ.get(FOLDER, "").strip():
        return named
    cache = os.environ.get("XDG_CACHE_HOME", "").strip() or str(Path.home() / ".cache")
    return join(cache, "regrow", "weights")


def place(name: str) -> str:
    """Return where the tensors of a name lie, or would."""
    return join(folder(), f"{name}.safetensors")


def load_tensors(name: str) -> "dict[str, Tensor]":
    """Return the tensors of a known name, by their names. Raises Unavailable with the remedy where there are none."""
    known = known_file(name)
    content = _read(known, 0, None)
    tensors = decode(known.name, content)
    digest, expected = tensors_digest(tensors), known.tensors or _recorded(known, content)
    if digest != expected:
        raise Unavailable(f"{place(name)} holds tensors of digest {digest}, not {expected}; {known.remedy}")
    return tensors


def weights_digest(*names: str) -> str:
    """Return the digest of the tensors of a name, or of several together in this order. Reads a header at most.

    Raises Unavailable where it is not pinned and the file is not there.
    """
    digests = [known_file(name).tensors or _digest_in_cache(known_file(name)) for name in names]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def tensors_digest(tensors: "dict[str, Tensor]") -> str:
    """Return the sha256, in hex, over name, dtype, shape and bytes of each tensor, sorted by name."""
    import torch  # noqa: PLC0415  the base install has none

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        kind, shape = str(tensor.dtype).removeprefix("torch."), ",".join(map(str, tensor.shape))
        digest.update(f"{name}\0{kind}\0{shape}\0".encode())
        content: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(content)  # an array is read in place, as bytes would be
    return digest.hexdigest()


def encode(known: WeightFile, tensors: "dict[str, Tensor]") -> bytes:
    """Return a safetensors file that says what it holds."""
    from safetensors.torch import save  # noqa: PLC0415  the base install has none

    facts = {"name": known.name, "origin": known.origin, "licence": known.licence, "tensors": tensors_digest(tensors)}
    # One entry: several come out in any order, and the same tensors should be the same file.
    return save(tensors, metadata={METADATA: json.dumps(facts)})


def decode(name: str, content: bytes) -> "dict[str, Tensor]":
    """Return the tensors in a safetensors file. Raises Unavailable where it is none, or nothing can read it."""
    try:
        from safetensors import SafetensorError  # noqa: PLC0415  the base install has none
        from safetensors.torch import load  # noqa: PLC0415  it imports torch
    except ModuleNotFoundError as error:
        raise Unavailable(f"{name} needs {error.name}: pip install 'regrow[codecs]'") from error
    try:
        return load(content)
    except SafetensorError as error:
        raise Unavailable(f"{place(name)} is damaged ({error}); run `regrow weights pull {name}`") from error


def _read(known: WeightFile, start: int, end: int | None) -> bytes:
    url = place(known.name)
    try:
        return open_store(url).read(url, start, end)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Unavailable(f"the weights {known.name} are not in {folder()}; {known.remedy}") from error
    except OSError as error:
        raise Unavailable(f"the weights {known.name} cannot be read: {error}; {known.remedy}") from error


def _digest_in_cache(known: WeightFile) -> str:
    length = min(int.from_bytes(_read(known, 0, 8), "little"), LONGEST_HEADER)
    return _recorded(known, _read(known, 0, 8 + length))


def _recorded(known: WeightFile, content: bytes) -> str:
    """Return the digest of the tensors that `pull` wrote into the file's header."""
    length = int.from_bytes(content[:8], "little")
    try:
        header: dict[str, Any] = json.loads(content[8 : 8 + length])
        return str(json.loads(header["__metadata__"][METADATA])["tensors"])
    except (ValueError, LookupError, TypeError) as error:
        raise Unavailable(f"{place(known.name)} does not say what it holds; {known.remedy}") from error
