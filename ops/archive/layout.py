"""Names of everything inside an archive, format 1, and the document that opens it."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from ops.decoding.metadata import MetadataPolicy
from ops.stores import Store, absolute, join, open_leased, open_store
from ops.stores.routing import check_path

FORMAT = 1

Limit: TypeAlias = Annotated[int, Meta(ge=1)]
_COLOUR = re.compile("#[0-9a-fA-F]{6}")


class ArchiveError(Exception):
    """An archive cannot do what was asked; the message says what stands where, and the remedy."""


class SettingError(ValueError):
    """A setting has a value that it cannot have; the message says which it can."""


class Reading(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How source images are read; decided when an archive is made, since rows depend on it.

    `background` is the colour that transparent pixels are composited over; `metadata` what is kept of EXIF, ICC and XMP
    (keep, no-location, none); limits are those of the header: pixels, pixels per side, encoded bytes.
    Raises SettingError (msgspec's ValidationError, where it is decoded).
    """

    background: str = "#ffffff"
    metadata: MetadataPolicy = "keep"
    max_pixels: Limit = 400_000_000
    max_side: Limit = 65_535
    max_encoded_bytes: Limit = 1 << 30

    def __post_init__(self) -> None:
        if not _COLOUR.fullmatch(self.background):
            raise SettingError(f"background {self.background!r}: write a colour such as '#ffffff', in quotes")
        # The same colour must not look like another one when it is compared.
        msgspec.structs.force_setattr(self, "background", self.background.lower())
        check_choice("metadata", self.metadata, get_args(MetadataPolicy))
        for name in ("max_pixels", "max_side", "max_encoded_bytes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} {getattr(self, name)}: write a number above 0")


Escrow: TypeAlias = Literal["full", "reference"]


class ArchiveDocument(Struct, frozen=True, kw_only=True):
    """archive.json: written once, first.

    `escrow` says whether the weights of the codec travel with the archive or are only named in it; empty where it has
    none. `untrained` weights make noise: somebody tried things out.
    """

    format: int = FORMAT
    codec: dict[str, Any]
    codec_name: str
    codec_digest: str
    generative: bool
    reading: Reading
    made_by: str
    notes: str
    escrow: Literal["", "full", "reference"] = ""
    untrained: bool = False


class Location(Struct, frozen=True):
    """Where an archive lies, and whether a lease guards it. Paths inside it are made here and nowhere else."""

    url: str
    leased: bool = False

    @property
    def store(self) -> Store:
        """The store that holds the archive."""
        return open_leased(self.url) if self.leased else open_store(self.url)

    def at(self, *names: str) -> str:
        """Return the URL of something inside the archive."""
        return join(self.url, *names)

    def part(self, chunk_id: str) -> str:
        """Return the URL of a chunk's part."""
        return self.at("parts", f"{chunk_id}.parquet")

    def attempt(self, chunk_id: str, name: str) -> str:
        """Return the URL of one mark of one attempt at a chunk."""
        return self.at("attempts", chunk_id, name)

    def plan(self, generation: int, name: str = "plan.json") -> str:
        """Return the URL of a file of a generation's plan."""
        return self.at("plan", f"{generation:05d}", name)

    def seal(self, number: int) -> str:
        """Return the URL of a seal."""
        return self.at("seals", f"{number:05d}.json")


def locate(url: str) -> Location:
    """Return the location of an archive that a user named. Raises PathError where it cannot be one."""
    check_path(url, "archive")
    return Location(absolute(url))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise SettingError where a setting is none of its choices."""
    if value not in choices:
        raise SettingError(f"{name} {value!r}: write {', '.join(choices[:-1])} or {choices[-1]}")


def pack_name(generation: int, index: int) -> str:
    """Return a pack's name relative to its archive."""
    return f"packs/{generation:05d}-{index:05d}.parquet"


def catalog_name(seal: int, index: int) -> str:
    """Return a catalog file's name relative to its archive."""
    return f"catalog/{seal:05d}/{index:05d}.parquet"


_CHUNK_ID = re.compile(r"(\d{5})-(\d{8,})-([0-9a-f]{16})")


def chunk_id(generation: int, ordinal: int, digest: str) -> str:
    """Return the id of a chunk: generation, ordinal, and 16 hex digits of what it holds."""
    return f"{generation:05d}-{ordinal:08d}-{digest[:16]}"


def parse_chunk_id(name: str) -> tuple[int, int] | None:
    """Return generation and ordinal of a chunk id, or nothing if it is not one."""
    match = _CHUNK_ID.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def read_document(location: Location) -> ArchiveDocument | None:
    """Return archive.json, or nothing where there is none."""
    try:
        content = location.store.read(location.at("archive.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = _format_of(msgspec.json.decode(content), location)
        if found == FORMAT:
            return msgspec.json.decode(content, type=ArchiveDocument)
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{location.at('archive.json')} is damaged ({error}): restore it from a copy") from error
    raise ArchiveError(f"{location.url} is of archive format {found}; this regrow reads format {FORMAT}: upgrade it")


def _format_of(document: Any, location: Location) -> Any:
    if not isinstance(document, dict) or not {"format", "codec_digest"} & document.keys():
        raise ArchiveError(f"{location.url} has an archive.json that regrow did not write: name another place")
    return document.get("format")


def refuse_strangers(location: Location) -> None:
    """Raise ArchiveError where something lies at a destination that is no archive."""
    ours = (location.at("lease.json"), location.at("attempts", "probe-"))  # of drivers that are making the archive
    stray = next((stored for stored in location.store.walk(location.url) if not stored.url.startswith(ours)), None)
    if stray is not None and read_document(location) is None:
        raise ArchiveError(f"{location.url} holds something else ({stray.url}): name an empty or new destination")


def create(location: Location, document: ArchiveDocument) -> ArchiveDocument:
    """Write archive.json where nothing is yet, or return the one that is there already.

    Raises ArchiveError where the destination holds something else.
    """
    if (found := read_document(location)) is not None:
        return found
    refuse_strangers(location)
    content = msgspec.json.format(msgspec.json.encode(document), indent=2)
    if location.store.put_new(location.at("archive.json"), content):
        return document
    found = read_document(location)
    if found is None:
        raise ArchiveError(f"{location.url}: archive.json came and went while it was made; is somebody removing it?")
    return found
