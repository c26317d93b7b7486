"""Regrowing one thumbnail file that left its archive: what it says of itself is enough."""

import hashlib
from pathlib import Path

from msgspec import Struct

from jobs.errors import InputError, UsageError
from ops.codecs.base import Payload, Runtime
from ops.codecs.names import AnyCodec, CodecError, parse_codec
from ops.images import ImageError
from ops.marks import MarkError, ReconstructionMark, ThumbnailMark, check_pixels, read_mark, write_reconstruction_mark
from ops.pictures import Suffix, write_picture
from ops.stores import absolute, join, open_store
from ops.stores.local import path_of
from ops.stores.routing import check_named, scheme_of
from ops.thumbnails import decode_thumbnail, open_picture
from pipelines.requests import check_quality

SUFFIXES: dict[str, Suffix] = {
    "png": "png", "jpg": "jpg", "jpeg": "jpg", "webp": "webp", "tif": "tiff", "tiff": "tiff",
}  # fmt: skip
DEFAULT_QUALITY = 90


class Regrown(Struct, frozen=True, kw_only=True):
    """What came of a thumbnail: where the picture lies, its size in pixels and bytes, and what made it."""

    thumbnail: str
    picture: str
    width: int
    height: int
    picture_bytes: int
    codec: str
    generative: bool


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


def regrow_alone(thumbnail: str, destination: str, suffix: Suffix | None, quality: int | None) -> Regrown:
    """Regrow a thumbnail file into a picture that is not there yet.

    `destination` is a file, whose suffix says the format, or a folder, in which it becomes `<name>.<suffix>`.
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
        mark, picture = _regrow(source.rpartition("/")[2], encoded, suffix, quality)
    except (MarkError, ImageError) as error:
        raise InputError(f"{thumbnail}: {error}") from error
    if not open_store(url).put_new(url, picture):
        raise InputError(f"{url} is there already and is never overwritten: name another file")
    return Regrown(
        thumbnail=source, picture=url, width=mark.width, height=mark.height, picture_bytes=len(picture),
        codec=mark.codec, generative=parse_codec(mark.codec).generative,
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


def _regrow(key: str, encoded: bytes, suffix: Suffix, quality: int | None) -> tuple[ThumbnailMark, bytes]:
    mark = read_mark(encoded)
    codec = _codec_of(mark)
    check_pixels(mark, decode_thumbnail(encoded))
    media_type = str(open_picture(encoded).get_format_mimetype())
    pixels = codec.load(Runtime()).decode([Payload(encoded, media_type, mark.width, mark.height)])[0]
    made = ReconstructionMark(
        archive="", key=key, thumbnail=hashlib.sha256(encoded).hexdigest(), codec=mark.codec, digest=mark.digest,
        generative=codec.generative, derived_from={"width": str(mark.width), "height": str(mark.height)},
    )  # fmt: skip
    xmp = write_reconstruction_mark(made)
    return mark, write_picture(pixels, None, suffix, xmp, quality=quality or DEFAULT_QUALITY)


def _codec_of(mark: ThumbnailMark) -> AnyCodec:
    try:
        codec = parse_codec(mark.codec)
    except CodecError as error:
        raise MarkError(f"made with a codec that this regrow has not: {error}; use a newer regrow") from error
    if codec.digest() != mark.digest:
        raise MarkError(
            f"made with {mark.codec} of digest {mark.digest[:12]}, and this regrow's has {codec.digest()[:12]}: it was "
            "made with settings that this name does not say, or by another version; regrow it from its archive, which "
            "knows them all"
        )
    return codec
