"""What the command line, job files and Python ask for, filled up from the archive that it is asked of."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec.structs import replace

from jobs.errors import UsageError
from ops.archive.layout import Reading, locate, read_document
from ops.codecs.names import codec_from
from ops.images import FailureCode
from pipelines.requests import ArchiveRequest, ReconstructRequest, RetryRequest, SealRequest

__all__ = [
    "AnyRequest", "ArchiveRequest", "ReconstructRequest", "RetryRequest", "SealRequest", "archive_request",
    "failure_codes", "reading_for",
]  # fmt: skip

AnyRequest: TypeAlias = ArchiveRequest | ReconstructRequest | RetryRequest | SealRequest

DEFAULT_CODEC = "bicubic-x16"


def archive_request(source: str, archive: str, codec: str | None, given: dict[str, Any], **rest: Any) -> ArchiveRequest:
    """Return the request of the command line: without a codec, the archive's own or, for a new one, DEFAULT_CODEC.

    `given` are fields of Reading, None where they were left out.
    """
    if codec is None and read_document(locate(archive)) is None:
        codec = DEFAULT_CODEC
    said = {name: value for name, value in given.items() if value is not None}
    return ArchiveRequest(
        source=source,
        archive=archive,
        codec=None if codec is None else codec_from(codec),
        reading=reading_for(archive, said),
        **rest,
    )


def reading_for(archive: str, given: Mapping[str, Any]) -> Reading | None:
    """Return how to read, of which some fields are given; nothing where none are.

    The others are as the archive has them, so that only what was given can disagree, or by default for a new one.
    """
    if not given:
        return None
    document = read_document(locate(archive))
    return replace(document.reading if document else Reading(), **given)


def failure_codes(names: list[str]) -> list[FailureCode]:
    """Return codes by their names. Raises UsageError for one that there is not."""
    known = {str(code.value): code for code in FailureCode}
    for name in names:
        if name not in known:
            raise UsageError(f"no failure code {name!r}: there are {', '.join(known)}")
    return [known[name] for name in names]
