"""The document of an archive: proposed for a new one, compared with what is asked of one that is there."""

from ops.archive.escrow import LAST_OF_ESCROW, codec_of, write_escrow
from ops.archive.layout import ArchiveDocument, ArchiveError, Location, Reading, refuse_strangers
from ops.codecs.base import Runtime
from ops.codecs.names import AnyCodec
from ops.stack import regrow_version
from ops.stores import is_there
from pipelines.planning import scan_source
from pipelines.requests import ArchiveRequest


def proposed(location: Location, request: ArchiveRequest) -> ArchiveDocument:
    """Return the document of a new archive, before anything is written.

    Raises ArchiveError or SourceError where the source has no images, the codec cannot run here, or the destination
    holds something else.
    """
    if request.codec is None:
        raise ArchiveError(f"{location.url} is new: say with which codec to make it, for example bicubic-x16")
    scan_source(request)
    request.codec.load(Runtime())
    refuse_strangers(location)
    return describe(request.codec, request.reading or Reading())


def complete(location: Location, document: ArchiveDocument) -> None:
    """Write the escrow where it is not whole: a driver may have died between archive.json and its last object."""
    if not is_there(location.store, location.at("codec", LAST_OF_ESCROW)):
        write_escrow(location, document, codec_of(document, location.url).load(Runtime()))


def describe(codec: AnyCodec, reading: Reading) -> ArchiveDocument:
    """Return archive.json for a codec."""
    generative = codec.generative
    said = "fine detail in reconstructions is invented" if generative else "reconstructions are interpolated or lossy"
    return ArchiveDocument(
        codec=codec.settings(),
        codec_name=codec.spelling(),
        codec_digest=codec.digest(),
        generative=generative,
        reading=reading,
        made_by=f"regrow {regrow_version()}",
        notes=f"Lossy: {said}. Thumbnails are exactly as written; originals are not in here.",
    )


def check_agrees(document: ArchiveDocument, request: ArchiveRequest, location: Location) -> None:
    """Raise ArchiveError where a request asks for another codec or another way to read than the archive has."""
    if request.codec and request.codec.digest() != document.codec_digest:
        raise ArchiveError(
            f"{location.url} was made with {document.codec_name} (digest {document.codec_digest[:12]}), not with "
            f"{request.codec.spelling()} (digest {request.codec.digest()[:12]}): name another destination, or leave "
            "the codec out"
        )
    if request.reading:
        for name in Reading.__struct_fields__:
            made, asked = getattr(document.reading, name), getattr(request.reading, name)
            if made != asked:
                raise ArchiveError(
                    f"{location.url} was made with {name} {made}, not {asked}: leave that out, or name another place"
                )
