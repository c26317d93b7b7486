"""The selftest of an archive: its golden tile regrown here, and how far that is from what its maker recorded."""

import io
import re
from base64 import b64decode
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct
from PIL import Image

from ops.archive.escrow import CONFIG, GOLDEN, LAST_OF_ESCROW, codec_of
from ops.archive.escrowed_weights import archived_weights, places_of
from ops.archive.layout import ArchiveError, Location, read_document
from ops.archive.rows import SUFFIXES
from ops.codecs.base import Payload, Runtime
from ops.codecs.binding import reach
from ops.here import device_here, device_words, stack_words
from ops.images import Failure, Pixels
from ops.stores import Stored
from ops.thumbnails import decode_thumbnail

Class: TypeAlias = Literal["bit-equal", "within one level", "other"]


class Distance(Struct, frozen=True, kw_only=True):
    """How far two pictures of one size are apart, in levels of 8 bits; `share` is that of pixels that differ."""

    largest: int
    mean: float
    share: float


class Selftest(Struct, frozen=True, kw_only=True):
    """What came of a selftest: the worse of both distances decides the class."""

    archive: str
    codec: str
    found: Class
    reconstruction: Distance
    thumbnail: Distance
    device_then: str
    device_now: str
    stack_then: str
    stack_now: str
    untrained: bool

    @property
    def passed(self) -> bool:
        """Whether this machine regrows as stated: bit for bit, or within a level."""
        return self.found != "other"


class Golden(NamedTuple):
    """What an archive has recorded of its golden tile, and on what."""

    source: Pixels
    payload: Payload
    reconstruction: Pixels
    device: str
    stack: str


def selftest(location: Location, places: Sequence[str] = (), device: str | None = None) -> Selftest:
    """Regrow an archive's golden tile on this machine. Raises ArchiveError where there is none, or it is damaged."""
    document = read_document(location)
    if document is None:
        raise ArchiveError(f"{location.url} is no archive (it has no archive.json): check the path")
    config, golden = codec_of(document, location.url), read_golden(location)
    archived_weights(config, location, places)
    device = device or device_here(config)
    codec = config.load(reach(Runtime(device=device), places_of(location, places)))
    again = codec.encode([golden.source])[0]
    if isinstance(again, Failure):
        raise ArchiveError(f"{document.codec_name} cannot encode the golden tile of {location.url}: {again.message}")
    grown = distance(golden.reconstruction, codec.decode([golden.payload])[0])
    small = distance(decode_thumbnail(golden.payload.thumbnail), decode_thumbnail(again.thumbnail))
    return Selftest(
        archive=location.url, codec=document.codec_name, found=_class(grown, small), reconstruction=grown,
        thumbnail=small, device_then=golden.device, device_now=device_words(device), stack_then=golden.stack,
        stack_now=stack_words(config), untrained=document.untrained,
    )  # fmt: skip


def read_golden(location: Location) -> Golden:
    """Return the golden tile of an archive, before, inside and after its codec."""
    names = {stored.url.removeprefix(location.at("codec", "")): stored.url for stored in _stored(location)}
    kept = [name for name in names if re.fullmatch(rf"{GOLDEN}\.thumbnail\.\w+", name)]
    if not kept or not {CONFIG, LAST_OF_ESCROW} <= names.keys():
        raise ArchiveError(f"{location.url} has no golden tile in codec/: run its `regrow archive` command again")
    try:
        ran = msgspec.json.decode(location.store.read(names[CONFIG]), type=dict[str, object])
        source, reconstruction = (_picture(location, names[one]) for one in (f"{GOLDEN}.source.png", LAST_OF_ESCROW))
        extras = _extras(location, names.get(f"{GOLDEN}.extras.json"))
    except (msgspec.MsgspecError, KeyError, ValueError, OSError, SyntaxError) as error:
        raise ArchiveError(f"{location.at('codec')} is damaged ({error}): restore it from a copy") from error
    media_type = next(one for one, suffix in SUFFIXES.items() if suffix == kept[0].rpartition(".")[2])
    height, width = source.shape[:2]
    payload = Payload(location.store.read(names[kept[0]]), media_type, width, height, extras)
    return Golden(source, payload, reconstruction, str(ran.get("device", "?")), str(ran.get("stack", "?")))


def distance(recorded: Pixels, found: Pixels) -> Distance:
    """Return how far two pictures are apart. Raises ArchiveError where they are of two sizes."""
    if recorded.shape != found.shape:
        raise ArchiveError(f"{recorded.shape} recorded and {found.shape} here: another codec made these, or a damage")
    levels = np.abs(recorded.astype(np.int16) - found)
    return Distance(largest=int(levels.max()), mean=float(levels.mean()), share=float(levels.any(axis=2).mean()))


def _class(*found: Distance) -> Class:
    largest = max(one.largest for one in found)
    return "other" if largest > 1 else "within one level" if largest else "bit-equal"


def _stored(location: Location) -> list[Stored]:
    return list(location.store.walk(location.at("codec")))


def _picture(location: Location, url: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(location.store.read(url))).convert("RGB"))


def _extras(location: Location, url: str | None) -> dict[str, bytes]:
    if url is None:
        return {}
    kept = msgspec.json.decode(location.store.read(url), type=dict[str, str])
    return {name: b64decode(content) for name, content in kept.items()}
