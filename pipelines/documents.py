"""The document of an archive: proposed for a new one, compared with what is asked of one that is there."""

from collections.abc import Sequence

from msgspec.structs import replace

from ops.archive.escrow import LAST_OF_ESCROW, codec_of, write_escrow
from ops.archive.escrowed_weights import archived_weights, escrow_kind, places_of
from ops.archive.layout import ArchiveDocument, ArchiveError, Escrow, Location, Reading, refuse_strangers
from ops.codecs.base import Codec, CodecConfig, Runtime
from ops.codecs.binding import bind, reach, refuse_untrained
from ops.codecs.learned import LearnedConfig, MisfitWeights
from ops.codecs.names import DEFAULT_CODEC, AnyCodec, codec_from
from ops.here import device_here, forget_device
from ops.stack import regrow_version
from ops.stores import is_there
from ops.weights.codec_files import in_places
from pipelines.planning import scan_source
from pipelines.requests import ArchiveRequest

UNTRAINED = "Untrained weights: reconstructions are noise."


class CodecHere:
    """A codec in the driver: loaded when it is needed, once, and let go of before workers load theirs.

    Raises where its weights are not to be had.
    """

    def __init__(self, config: AnyCodec, location: Location, places: Sequence[str]) -> None:
        self.config, self.device = config, device_here(config)
        self.weights = archived_weights(config, location, places)
        self._places = places_of(location, places)
        self._codec: Codec | None = None

    def codec(self) -> Codec:
        """Return the codec on this machine's device."""
        if self._codec is None:
            self._codec = self.config.load(reach(Runtime(device=self.device), self._places))
        return self._codec

    def let_go(self) -> None:
        """Forget the codec: full networks take gigabytes."""
        self._codec = None
        forget_device()


def settled(request: ArchiveRequest, document: ArchiveDocument | None) -> ArchiveRequest:
    """Return a request whose codec names its weights: those of the archive that is there, or of the files given.

    Raises as `ops.codecs.binding.bind` does.
    """
    codec = request.codec
    if codec is None:
        return request
    if not isinstance(codec, LearnedConfig) or document is None:
        return replace(request, codec=bind(codec, request.weights))
    own = codec_from(document.codec)
    if not _meant(codec, own.weights_digest(), request.weights):
        return replace(request, codec=bind(codec, request.weights))
    try:
        return replace(request, codec=codec.bound(own.weights_digest(), _network_settings(own)))
    except MisfitWeights:
        return request  # refused, as every other codec that is not the archive's


def _meant(codec: LearnedConfig, digest: str, places: Sequence[str]) -> bool:
    """Say whether a codec of an archive that is there means the archive's own weights, of a digest.

    It does where it names them, and where it names none while they lie in the places given, or nothing does.
    """
    if codec.weights:
        return codec.weights == digest
    given = [one.digest for one in in_places(places)]
    return digest in given or not given


def proposed(location: Location, request: ArchiveRequest) -> tuple[ArchiveDocument, CodecHere]:
    """Return the document of a new archive, before anything is written, and its codec, which runs here.

    Where the request names none it is DEFAULT_CODEC. Raises ArchiveError or SourceError where the source has no images,
    the codec cannot run here, or the destination holds something else.
    """
    codec = request.codec or bind(codec_from(DEFAULT_CODEC), request.weights)
    scan_source(request)
    refuse_strangers(location)
    here = CodecHere(codec, location, request.weights)
    untrained = refuse_untrained(codec, here.weights, allowed=request.allow_untrained)
    escrow = escrow_kind(codec.spelling(), here.weights, request.escrow)
    here.codec()
    return describe(codec, request.reading or Reading(), escrow, untrained=untrained), here


def complete(location: Location, document: ArchiveDocument, here: CodecHere) -> None:
    """Write the escrow where it is not whole: a driver may have died between archive.json and its last object."""
    if not is_there(location.store, location.at("codec", LAST_OF_ESCROW)):
        write_escrow(location, document, here.codec(), here.weights, here.device)


def describe(
    codec: AnyCodec, reading: Reading, escrow: Escrow | None = None, *, untrained: bool = False
) -> ArchiveDocument:
    """Return archive.json for a codec."""
    generative = codec.generative
    said = "fine detail in reconstructions is invented" if generative else "reconstructions are interpolated or lossy"
    notes = f"Lossy: {said}. Thumbnails are exactly as written; originals are not in here."
    return ArchiveDocument(
        codec=codec.settings(),
        codec_name=codec.spelling(),
        codec_digest=codec.digest(),
        generative=generative,
        reading=reading,
        made_by=f"regrow {regrow_version()}",
        notes=f"{UNTRAINED} {notes}" if untrained else notes,
        escrow=escrow or "",
        untrained=untrained,
    )


def check_agrees(document: ArchiveDocument, request: ArchiveRequest, location: Location) -> None:
    """Raise ArchiveError where a request asks for another codec or another way to read than the archive has."""
    if request.codec and request.codec.digest() != document.codec_digest:
        raise ArchiveError(
            f"{location.url} was made with {document.codec_name} (digest {document.codec_digest[:12]}), not with "
            f"{request.codec.spelling()} (digest {request.codec.digest()[:12]}): name another destination, or leave "
            "the codec out"
        )
    if request.escrow and request.escrow != document.escrow:
        made = f"escrow {document.escrow}" if document.escrow else "a codec without weights"
        raise ArchiveError(f"{location.url} was made with {made}: leave --escrow {request.escrow} out")
    if request.reading:
        for name in Reading.__struct_fields__:
            made, asked = getattr(document.reading, name), getattr(request.reading, name)
            if made != asked:
                raise ArchiveError(
                    f"{location.url} was made with {name} {made}, not {asked}: leave that out, or name another place"
                )


def codec_here(document: ArchiveDocument, location: Location, places: Sequence[str]) -> CodecHere:
    """Return the codec of an archive that is there. Raises where this machine lacks its weights."""
    return CodecHere(codec_of(document, location.url), location, places)


def _network_settings(codec: CodecConfig) -> dict[str, object]:
    return codec.network_settings() if isinstance(codec, LearnedConfig) else {"name": codec.name}
