"""Files of weights that codecs run on: one safetensors file each, which says what it is, found by its digest."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from ops.metrics.base import Unavailable
from ops.stores import absolute, is_there, join, open_store
from ops.stores.routing import scheme_of
from ops.weights.cache import METADATA, folder, tensors_digest
from ops.weights.codec_bytes import fetched, put_tensors, tensors_of
from ops.weights.files import WeightsError
from ops.weights.headers import header_of, read_from

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parent / "shipped"


class CodecWeights(Struct, frozen=True, kw_only=True):
    """What a file of a codec's weights says of itself.

    `digest` is that of all its tensors, `settings` what `LearnedConfig.network_settings` returned for the networks that
    it was made for. `redistribution` says whether an archive may carry it. `origins` has, for each part, where it came
    from and the sha256 of that file. `parameters` counts the numbers in all tensors.
    """

    url: str
    digest: str
    settings: dict[str, Any]
    trained: bool
    licence: str
    redistribution: bool
    origins: dict[str, str]
    parameters: int
    size_bytes: int


def read_header(url: str) -> CodecWeights:
    """Return what a file says of itself. Its tensors are not read.

    Raises WeightsError where there is none, where it is no safetensors file or not whole, and where it is no codec's.
    """
    url = absolute(url)
    header = header_of(url)
    own = {"url": url, "parameters": header.numbers, "size_bytes": header.size_bytes}
    try:
        return msgspec.convert({**msgspec.json.decode(header.metadata[METADATA]), **own}, CodecWeights)
    except (KeyError, TypeError, msgspec.MsgspecError) as error:
        raise WeightsError(
            f"{url} holds no weights of a codec; make one of published files with `regrow weights convert`"
        ) from error


def all_in(places: Sequence[str]) -> list[CodecWeights]:
    """Return the codecs' files in places, then those in the folder of weights and regrow's own; each digest once.

    A place is a file, a folder (its *.safetensors, none below) or a URL of either. In a folder, other networks' files
    and damaged ones are passed over. Raises WeightsError where a place is missing, and where a file that is named
    itself is damaged or no codec's.
    """
    found: dict[str, CodecWeights] = {}
    for one in _searched(places):
        found.setdefault(one.digest, one)
    return list(found.values())


def in_places(places: Sequence[str]) -> list[CodecWeights]:
    """Return the codecs' files in places, and no others. Raises WeightsError as `all_in`."""
    return list({one.digest: one for one in reversed(list(_named(places)))}.values())[::-1]


def in_folder() -> list[CodecWeights]:
    """Return the codecs' files in the folder of weights, which need not be there."""
    return list(_in_place(absolute(folder())))


def shipped() -> list[CodecWeights]:
    """Return the files that come with regrow: those of `nano`."""
    return list(_in_place(str(SHIPPED)))


def files_for(name: str, scale: int | None, places: Sequence[str]) -> list[CodecWeights]:
    """Return the files in places, and then in the folder of weights, for a codec of a name and scale.

    Without a scale, for one that has none. Raises WeightsError as `all_in` does.
    """
    return [one for one in all_in(places) if (one.settings.get("name"), one.settings.get("scale")) == (name, scale)]


def find(digest: str, places: Sequence[str]) -> CodecWeights:
    """Return the file whose tensors have a digest, from places, the folder of weights or what comes with regrow.

    Raises Unavailable with the digest, where it was looked for and the remedy; WeightsError as `all_in` does.
    """
    for one in _searched(places, first=f"{digest}{SUFFIX}"):
        if one.digest == digest:
            return one
    searched = ", ".join(absolute(place) for place in (*places, folder()))
    raise Unavailable(
        f"no weights of digest {digest} in {searched}; name the file, or its folder, with `--weights FILE`"
    )


def load(found: CodecWeights) -> "dict[str, Tensor]":
    """Return the tensors of a file that was found, proved by their digest.

    A local file is mapped, not read: its tensors take memory once, and only where they are used. One that lies
    elsewhere is first copied into the folder of weights, where that is a local one. Raises WeightsError where a file is
    not whole or no longer what it said, and Unavailable where a library is missing.
    """
    url = _near(found)
    tensors = tensors_of(url)
    digest = tensors_digest(tensors)
    if digest != found.digest:
        raise WeightsError(
            f"{url} holds tensors of digest {digest}, not {found.digest}: it was changed; remove it, get the right one"
        )
    return tensors


def write(
    url: str,
    tensors: "dict[str, Tensor]",
    *,
    settings: dict[str, Any],
    trained: bool,
    licence: str,
    redistribution: bool,
    origins: dict[str, str],
) -> CodecWeights:
    """Write a codec's file, whole or not at all, and return what it says of itself.

    Without a URL it goes into the folder of weights, called by its digest. What is there already is left, where it is
    the same. Raises WeightsError where it is something else, and where the file cannot be written.
    """
    facts: dict[str, Any] = {
        "digest": tensors_digest(tensors),
        "settings": settings,
        "trained": trained,
        "licence": licence,
        "redistribution": redistribution,
        "origins": origins,
    }
    url = absolute(url or join(folder(), f"{facts['digest']}{SUFFIX}"))
    # One entry: several come out in any order, and the same tensors should be the same file.
    metadata = {METADATA: msgspec.json.encode(facts, order="sorted").decode()}
    try:
        written = put_tensors(url, tensors, metadata)
    except OSError as error:
        raise WeightsError(f"{url} cannot be written ({error}); name another file") from error
    return read_header(url) if written else _same_there(url, facts)


def _same_there(url: str, facts: dict[str, Any]) -> CodecWeights:
    """Return what a file that is there says of itself. Raises WeightsError where it is something else."""
    differs = "content"
    with contextlib.suppress(WeightsError):
        there = read_header(url)
        # The same may come from elsewhere: where it came from first stays.
        others = [name for name, value in facts.items() if name != "origins" and getattr(there, name) != value]
        if not others:
            return there
        differs = others[0]
    raise WeightsError(f"{url} is there already with another {differs}; remove it, or name another file")


def _near(found: CodecWeights) -> str:
    """Return where to read a file from: its copy in a local folder of weights, made now if need be, or itself."""
    copy = absolute(join(folder(), f"{found.digest}{SUFFIX}"))
    if not scheme_of(found.url) or scheme_of(copy):
        return found.url
    if not is_there(open_store(copy), copy):
        fetched(found.url, copy)
    return copy


def _searched(places: Sequence[str], first: str = "") -> Iterator[CodecWeights]:
    """Yield the codecs' files in places, in the folder of weights, which need not be there, and regrow's own."""
    yield from _named(places, first)
    yield from _in_place(absolute(folder()), first)
    yield from _in_place(str(SHIPPED))


def _named(places: Sequence[str], first: str = "") -> Iterator[CodecWeights]:
    for place in map(absolute, places):
        if not scheme_of(place) and not Path(place).exists():
            raise WeightsError(f"{place}: no such file or folder; name one that holds weights")
        yield from _in_place(place, first)


def _in_place(place: str, first: str = "") -> Iterator[CodecWeights]:
    """Yield the codecs' files in an absolute place; of a folder, the file of a name before all others."""
    if place.endswith(SUFFIX) or (not scheme_of(place) and Path(place).is_file()):
        yield read_header(place)
        return
    store, named = open_store(place), join(place, first)
    if first and is_there(store, named):
        yield read_header(named)  # by its name it is the right one: where it is damaged, that is to be told
    for url in _files_in(place):
        with contextlib.suppress(WeightsError):  # another network's, or damaged
            yield read_header(url)


def _files_in(place: str) -> Iterator[str]:
    if not scheme_of(place):
        yield from sorted(map(str, Path(place).glob(f"*{SUFFIX}")))
        return
    for stored in read_from(place, lambda: list(open_store(place).walk(place))):
        parent, _, name = _path(stored.url).rpartition("/")
        if name.endswith(SUFFIX) and parent == _path(place):
            yield stored.url


def _path(url: str) -> str:
    """Return what follows the scheme: some stores write three slashes where the user wrote two."""
    return url.partition("://")[2].strip("/")
