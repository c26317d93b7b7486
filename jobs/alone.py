"""Regrowing one thumbnail file that left its archive: what it says of itself is enough."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from jobs.errors import InputError, UsageError
from ops.codecs.base import Payload, Runtime
from ops.codecs.binding import misfit, reach, refuse_needless
from ops.codecs.learned import LearnedConfig
from ops.codecs.names import AnyCodec, CodecError, codec_from, parse_codec
from ops.here import device_here
from ops.images import ImageError
from ops.marks import MarkError, ReconstructionMark, ThumbnailMark, check_pixels, read_mark, write_reconstruction_mark
from ops.pictures import Suffix, write_picture
from ops.stores import absolute, join, open_store
from ops.stores.local import path_of
from ops.stores.routing import check_named, scheme_of
from ops.thumbnails import decode_thumbnail, open_picture
from ops.weights.cache import folder
from ops.weights.codec_files import all_in
from pipelines.requests import check_quality

SUFFIXES: dict[str, Suffix] = {
    "png": "png", "jpg": "jpg", "jpeg": "jpg", "webp": "webp", "tif": "tiff", "tiff": "tiff",
}  # fmt: skip
DEFAULT_QUALITY = 90
_OTHERS = (
    "it was made with settings that this name does not say, or by another version; regrow it from its archive, which "
    "knows them all"
)


class Regrown(Struct, frozen=True, kw_only=True):
    """What came of a thumbnail: where the picture lies, its size in pixels and bytes, and what made it."""

    thumbnail: str
    picture: str
    width: int
    height: int
    picture_bytes: int
    codec: str
    generative: bool
    untrained: bool = False


def is_file(url: str) -> bool:
    """Say whether a URL is an object or file, and no folder or prefix."""
    whole = absolute(url)
    if scheme_of(whole) in ("", "file"):
        return Path(path_of(whole)).is_file()
    try:
        open_store(whole).stat(whole)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def regrow_alone(
    thumbnail: str, destination: str, suffix: Suffix | None, quality: int | None, *, weights: Sequence[str] = ()
) -> Regrown:
    """Regrow a thumbnail file into a picture that is not there yet.

    `destination` is a file, whose suffix says the format, or a folder, in which it becomes `<name>.<suffix>`. `weights`
    are files or folders that may hold those of its codec.
    Raises InputError for a thumbnail that is none, was resaved with loss, or needs another codec; UsageError where the
    destination and the format disagree.
    """
    source = absolute(thumbnail)
    url, suffix = picture_place(thumbnail, destination, suffix)
    check_quality(quality, suffix)
    if is_file(url):
        raise InputError(f"{url} is there already and is never overwritten: name another file")
    encoded = open_store(source).read(source)
    try:
        mark = read_mark(encoded)
        check_pixels(mark, decode_thumbnail(encoded))
        codec, untrained = _codec_of(mark, weights)
        grown = codec.load(reach(Runtime(device=device_here(codec)), weights)).decode([_payload(encoded, mark)])[0]
        xmp = write_reconstruction_mark(_mark(source.rpartition("/")[2], encoded, mark, codec))
        picture = write_picture(grown, None, suffix, xmp, quality=quality or DEFAULT_QUALITY)
    except (MarkError, ImageError) as error:
        raise InputError(f"{thumbnail}: {error}") from error
    if not open_store(url).put_new(url, picture):
        raise InputError(f"{url} is there already and is never overwritten: name another file")
    return Regrown(
        thumbnail=source, picture=url, width=mark.width, height=mark.height, picture_bytes=len(picture),
        codec=mark.codec, generative=codec.generative, untrained=untrained,
    )  # fmt: skip


def picture_place(thumbnail: str, destination: str, suffix: Suffix | None) -> tuple[str, Suffix]:
    """Return where the picture goes, and its format."""
    check_named(destination, "destination")
    url = absolute(destination)
    in_folder = destination.endswith("/") or (scheme_of(url) in ("", "file") and Path(path_of(url)).is_dir())
    if in_folder:
        chosen = suffix or "png"
        return join(url, f"{absolute(thumbnail).rpartition('/')[2]}.{chosen}"), chosen
    ending = url.rpartition("/")[2].rpartition(".")
    named = SUFFIXES.get(ending[2].lower()) if ending[1] else None
    if named is None:
        raise UsageError(f"{destination}: one thumbnail becomes one file; end its name with .{', .'.join(SUFFIXES)}")
    if suffix not in (None, named):
        raise UsageError(f"--format {suffix} and the name {destination} disagree: leave one of them out")
    return url, named


def _payload(encoded: bytes, mark: ThumbnailMark) -> Payload:
    return Payload(encoded, str(open_picture(encoded).get_format_mimetype()), mark.width, mark.height)


def _mark(key: str, encoded: bytes, mark: ThumbnailMark, codec: AnyCodec) -> ReconstructionMark:
    return ReconstructionMark(
        archive="", key=key, thumbnail=hashlib.sha256(encoded).hexdigest(), codec=mark.codec, digest=mark.digest,
        generative=codec.generative, derived_from={"width": str(mark.width), "height": str(mark.height)},
    )  # fmt: skip


def _codec_of(mark: ThumbnailMark, weights: Sequence[str]) -> tuple[AnyCodec, bool]:
    """Return the codec of a thumbnail, and whether its weights are untrained."""
    try:
        codec = parse_codec(mark.codec)
    except CodecError as error:
        raise MarkError(f"made with a codec that this regrow has not: {error}; use a newer regrow") from error
    if isinstance(codec, LearnedConfig):
        return _learned(codec, mark, weights)
    refuse_needless([codec], weights)
    if codec.digest() != mark.digest:
        raise MarkError(
            f"made with {mark.codec} of digest {mark.digest[:12]}, and this regrow's has {codec.digest()[:12]}: "
            f"{_OTHERS}"
        )
    return codec, False


def _learned(codec: LearnedConfig, mark: ThumbnailMark, weights: Sequence[str]) -> tuple[AnyCodec, bool]:
    """Return a codec with those of the weights at hand whose digest the thumbnail carries."""
    for found in all_in(weights):
        if not misfit(codec, found):
            bound = codec.bound(found.digest, found.settings)
            if bound.digest() == mark.digest:
                return codec_from(bound), not found.trained
    places = ", ".join(map(absolute, [*weights, folder()]))
    raise MarkError(
        f"made with {mark.codec} of digest {mark.digest[:12]}, whose weights are not in {places}: name their file with "
        f"--weights; or {_OTHERS}"
    )
