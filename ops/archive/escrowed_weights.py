"""Weights beside an archive: whether they travel with it, what it says of them, and where they are looked for."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ops.archive.layout import ArchiveDocument, ArchiveError, Escrow, Location
from ops.codecs.base import CodecConfig
from ops.codecs.binding import refuse_needless, weights_of
from ops.metrics.base import Unavailable
from ops.stores import join
from ops.stores.local import path_of
from ops.stores.routing import scheme_of
from ops.stores.uploading import put_file
from ops.weights.cache import folder
from ops.weights.codec_bytes import fetched
from ops.weights.codec_files import SUFFIX, CodecWeights

RECORD = "weights.json"
LICENCE = "weights-licence.txt"
# Weights below this size travel with every archive.
ALWAYS_BYTES = 64 << 20


class WeightsRecord(Struct, frozen=True, kw_only=True):
    """codec/weights.json: what an archive says of its weights. `file` is empty where it only names them."""

    digest: str
    file: str
    size_bytes: int
    parameters: int
    trained: bool
    licence: str
    redistribution: bool
    origins: dict[str, str]


def escrow_kind(spelling: str, weights: CodecWeights | None, asked: Escrow | None) -> Escrow | None:
    """Return whether weights travel with a new archive or are only named in it; nothing for a codec without any.

    Raises ArchiveError where that must be said and was not, or where what was said cannot be.
    """
    if weights is None:
        if asked:
            raise ArchiveError(f"{spelling} has no weights to travel with its archive: leave --escrow {asked} out")
        return None
    size = f"{weights.size_bytes / 1e6:,.1f} MB"
    if not weights.redistribution:
        if asked == "full":
            raise ArchiveError(
                f"{weights.url} may not be passed on ({weights.licence}): say --escrow reference, and the archive "
                "names it by its digest"
            )
        return "reference"
    if weights.size_bytes < ALWAYS_BYTES:
        if asked == "reference":
            raise ArchiveError(f"{weights.url} has {size}, and so little always travels along: leave --escrow out")
        return "full"
    if asked is None:
        raise ArchiveError(
            f"{weights.url} has {size}: say --escrow full, and it travels with the archive, or --escrow reference, and "
            "the archive names it by its digest and cannot be regrown where it is missing"
        )
    return asked


def put_weights(location: Location, document: ArchiveDocument, weights: CodecWeights) -> None:
    """Put what an archive says of its weights, their licence, and their file where it is to travel along."""
    file = f"{weights.digest}{SUFFIX}" if document.escrow == "full" else ""
    own = {name: getattr(weights, name) for name in WeightsRecord.__struct_fields__ if name != "file"}
    record = WeightsRecord(file=file, **own)
    location.store.put_new(location.at("codec", RECORD), msgspec.json.format(msgspec.json.encode(record), indent=2))
    location.store.put_new(location.at("codec", LICENCE), _licence(document, record).encode())
    if file:
        _put_weights_file(location.at("codec", file), weights)


def places_of(location: Location, places: Sequence[str]) -> tuple[str, ...]:
    """Return where the weights of an archive are looked for: where a user says, then beside the archive."""
    codec = location.at("codec")
    there = scheme_of(codec) or Path(codec).is_dir()
    return (*places, codec) if there else tuple(places)


def archived_weights(config: CodecConfig, location: Location, places: Sequence[str]) -> CodecWeights | None:
    """Return the weights of an archive's codec; nothing for one without any, for which there are no places to name.

    Raises Unavailable where they are nowhere, which says what the archive knows of them.
    """
    refuse_needless([config], places)
    try:
        return weights_of(config, places_of(location, places))
    except Unavailable as error:
        record = read_record(location)
        if record is None:
            raise
        origins = "; ".join(f"{part}: {origin}" for part, origin in record.origins.items())
        raise Unavailable(
            f"{location.url} only names its weights, of digest {record.digest}: give --weights FILE (licence: "
            f"{record.licence}; made of {origins})"
        ) from error


def read_record(location: Location) -> WeightsRecord | None:
    """Return what an archive says of its weights; nothing where it has none."""
    try:
        content = location.store.read(location.at("codec", RECORD))
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return msgspec.json.decode(content, type=WeightsRecord)
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{location.at('codec', RECORD)} is damaged ({error}): restore it from a copy") from error


def _put_weights_file(url: str, weights: CodecWeights) -> None:
    """Put a file of weights from where it lies, or from the copy in the folder of weights that loading it has made."""
    copy = join(folder(), f"{weights.digest}{SUFFIX}")
    if not scheme_of(weights.url):
        put_file(url, path_of(weights.url))
    elif not scheme_of(copy) and Path(path_of(copy)).is_file():
        put_file(url, path_of(copy))
    elif weights.url != url:
        with tempfile.TemporaryDirectory(prefix="regrow-weights-") as aside:
            fetched(weights.url, f"{aside}/weights")
            put_file(url, f"{aside}/weights")


def _licence(document: ArchiveDocument, record: WeightsRecord) -> str:
    origins = "".join(f"  {part}: {origin}\n" for part, origin in record.origins.items())
    state = "" if record.trained else "Untrained: random numbers.\n"
    kept = "It is in this folder." if record.file else "It is not in this archive."
    passing = "may be passed on" if record.redistribution else "may not be passed on"
    return (
        f"Weights of {document.codec_name}, digest {record.digest}. {kept}\n{state}"
        f"Licence: {record.licence}; they {passing}.\nMade of:\n{origins}"
    )
