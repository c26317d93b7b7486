"""What the command line, job files and Python ask for, filled up from the archive that it is asked of."""

from collections.abc import Mapping
from typing import Any, TypeAlias, get_args

from msgspec.structs import replace

from jobs.datasets import dataset_source, find_dataset, parse_dataset
from jobs.errors import UsageError
from jobs.protocol_files import DEFAULT as DEFAULT_PROTOCOL
from jobs.protocol_files import read_protocol
from ops.archive.layout import Reading, locate, read_document
from ops.baselines import Format
from ops.codecs.names import codec_from
from ops.images import FailureCode
from ops.metrics.protocol import Protocol
from pipelines.requests import (
    ArchiveRequest,
    EvaluateRequest,
    ReconstructRequest,
    RetryRequest,
    ScoreRequest,
    SealRequest,
    VerifyRequest,
)

__all__ = [
    "AnyRequest", "ArchiveRequest", "EvaluateRequest", "ReconstructRequest", "RetryRequest", "SealRequest",
    "VerifyRequest", "address_of", "archive_request", "evaluate_request", "failure_codes", "only", "reading_for",
    "score_request", "source_of",
]  # fmt: skip

AnyRequest: TypeAlias = (
    ArchiveRequest | ReconstructRequest | RetryRequest | SealRequest | EvaluateRequest | VerifyRequest
)


def address_of(request: AnyRequest) -> str | None:
    """Return the Ray cluster that a request names, if any; verifying needs none."""
    return None if isinstance(request, VerifyRequest) else request.address


def archive_request(source: str, archive: str, codec: str | None, given: dict[str, Any], **rest: Any) -> ArchiveRequest:
    """Return the request of the command line. `given` are fields of Reading, None where they were left out."""
    said = {name: value for name, value in given.items() if value is not None}
    return ArchiveRequest(
        source=source,
        archive=archive,
        codec=None if codec is None else codec_from(codec),
        reading=reading_for(archive, said),
        **rest,
    )


def evaluate_request(  # the command line has so many options
    target: str,
    *,
    codecs: str | None,
    protocol: str,
    metrics: str | None,
    baselines: str,
    rates: str | None,
    data_set: str | None,
    **rest: Any,
) -> EvaluateRequest:
    """Return the request of the command line, whose lists are separated by commas."""
    chosen = read_protocol(protocol)
    return EvaluateRequest(
        target=target if data_set is None else source_of(data_set, target),
        protocol=only(chosen, _listed(metrics)) if metrics is not None else chosen,
        codecs=[codec_from(spelling) for spelling in _listed(codecs)],
        baselines=() if baselines == "none" else _formats(_listed(baselines)),
        rates=[_number(rate) for rate in _listed(rates)],
        data_set=data_set or "",
        **rest,
    )


def score_request(protocol: str | None, metrics: str | None, *, wanted: bool) -> ScoreRequest | None:
    """Return how scores are taken while archiving, if they are wanted. Raises UsageError where they are not."""
    if not wanted:
        if protocol is not None or metrics is not None:
            raise UsageError("--protocol and --metrics say how --score takes scores: add --score, or leave them out")
        return None
    chosen = read_protocol(protocol or DEFAULT_PROTOCOL)
    return ScoreRequest(protocol=chosen if metrics is None else only(chosen, _listed(metrics)))


def source_of(data_set: str, root: str) -> str:
    """Return the source that a data set is, such as `div2k:valid`, below a root. Raises DatasetError if not whole."""
    named = parse_dataset(data_set)
    return dataset_source(find_dataset(named.name, root, named.split))


def only(protocol: Protocol, columns: list[str]) -> Protocol:
    """Return a protocol of some of its metrics. Raises UsageError for a column that it does not have."""
    unknown = [name for name in columns if name not in protocol.columns()]
    if unknown or not columns:
        named = f"no metric {unknown[0]!r}" if unknown else "metrics is empty"
        raise UsageError(f"{named}: protocol {protocol.name} has {', '.join(protocol.columns())}")
    return replace(protocol, metrics=[metric for metric in protocol.metrics if metric.column in columns])


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _formats(names: list[str]) -> tuple[Format, ...]:
    known: tuple[Format, ...] = get_args(Format)
    for name in names:
        if name not in known:
            raise UsageError(f"no baseline {name!r}: there are {', '.join(known)}, or none")
    return tuple(known[known.index(name)] for name in names)  # pyright: ignore[reportArgumentType]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"rate {text!r}: write bits per pixel, such as --rates 0.02,0.05,0.1") from error


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
