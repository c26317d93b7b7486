"""What an evaluation asks for, worked out before any work: codecs, metrics that can be taken here, candidates."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from ops.archive.escrow import codec_of
from ops.archive.escrowed_weights import archived_weights, places_of
from ops.archive.layout import ArchiveDocument, ArchiveError, Location, Reading
from ops.archive.reading import Archive
from ops.baselines import Format, available_formats
from ops.codecs.base import Runtime
from ops.codecs.binding import bind_all, check_runs, refuse_untrained, weights_of
from ops.codecs.labels import labels_of
from ops.codecs.names import AnyCodec
from ops.evaluation.document import Candidate, EvaluationDocument, Judging, create_evaluation, set_candidates
from ops.evaluation.features import MOST_PATCHES
from ops.metrics.base import SetMetricConfig, Unavailable
from ops.metrics.patches import EVERY_RANK, num_patches, threshold_for
from ops.metrics.protocol import Protocol
from ops.stack import cpu, regrow_version, stack
from ops.stores import absolute, join
from pipelines.encode import Scoring
from pipelines.requests import EvaluateRequest, ScoreRequest


def proposed(request: EvaluateRequest, archive: Archive | None) -> EvaluationDocument:
    """Return the document of the evaluation that a request asks for. Raises ArchiveError where it can judge nothing."""
    codecs, untrained = _codecs(request, archive)
    reading = archive.document.reading if archive else request.reading or Reading()
    judging, left_out = _judging(request, codecs, reading)
    return EvaluationDocument(
        kind="archive" if archive else "source",
        target=archive.location.url if archive else absolute(request.target),
        references=absolute(request.references) if request.references else "",
        seal=archive.version if archive else "",
        selection=_selection(request),
        data_set=request.data_set,
        judging=judging,
        protocol_digest=request.protocol.digest(),
        left_out=left_out,
        untrained=untrained,
        made_by=f"regrow {regrow_version()}",
        machine=cpu(),
        stack=stack(),
    )


def _selection(request: EvaluateRequest) -> dict[str, Any]:
    """Return what is said of which images are judged; a sample is another one with another seed."""
    names = ("keys", "match", "where", *(("sample", "seed") if request.sample is not None else ()))
    return {name: value for name in names if (value := getattr(request, name)) is not None}


def scoring_of(request: ScoreRequest, document: ArchiveDocument, location: Location) -> Scoring:
    """Return where and how scores are taken while an archive is made; its evaluation stands then.

    Every run of the archive adds to it. Metrics of the whole set are left out: nobody knows yet how many patches there
    will be, of which a share is drawn.
    """
    sets = [metric for metric in request.protocol.metrics if isinstance(metric, SetMetricConfig)]
    single = [metric for metric in request.protocol.metrics if metric not in sets]
    if not single:
        raise ArchiveError("only metrics of the whole set were asked for: take them with `regrow evaluate` afterwards")
    one_by_one = msgspec.structs.replace(request, protocol=msgspec.structs.replace(request.protocol, metrics=single))
    judging, left_out = _judging(one_by_one, [codec_of(document, location.url)], document.reading)
    left_out |= {metric.column: "it is of the whole set: take it with `regrow evaluate` afterwards" for metric in sets}
    found = EvaluationDocument(
        kind="archive", target=location.url, judging=judging, protocol_digest=request.protocol.digest(),
        left_out=left_out, untrained=[document.codec_name] if document.untrained else [],
        made_by=f"regrow {regrow_version()}", machine=cpu(), stack=stack(),
    )  # fmt: skip
    url = join(location.url, "evaluations", f"{judging.protocol.name}-at-archiving-{found.digest()[:8]}")
    return Scoring(url=url, judging=create_evaluation(url, found).judging)


def _judging(
    request: EvaluateRequest | ScoreRequest, codecs: list[AnyCodec], reading: Reading
) -> tuple[Judging, dict[str, str]]:
    """Return how images are judged, and which metrics and formats are left out, and why."""
    protocol, weights, left_out = _available(request.protocol)
    formats, without = _formats(request.baselines)
    under_test = [
        Candidate(name=name, kind="codec", generative=codec.generative, trained_on=list(codec.trained_on))
        for name, codec in zip(labels_of(codecs), codecs, strict=True)
    ]
    judging = Judging(
        protocol=protocol,
        reading=reading,
        codecs=[codec.settings() for codec in codecs],
        codec_digests=[codec.digest() for codec in codecs],
        candidates=set_candidates(under_test, formats, request.rates),
        weights=weights,
    )
    return judging, left_out | without


def places_for(weights: Sequence[str], archive: Archive | None) -> tuple[str, ...]:
    """Return where the weights of what is judged are looked for: where a user says, then beside the archive."""
    named = tuple(absolute(place) for place in weights)
    return places_of(archive.location, named) if archive else named


def _codecs(request: EvaluateRequest, archive: Archive | None) -> tuple[list[AnyCodec], list[str]]:
    """Return the codecs to judge, which run here, and the names of those whose weights are untrained."""
    codecs, places = _asked_for(request, archive), places_for(request.weights, archive)
    untrained = []
    for name, codec in zip(labels_of(codecs), codecs, strict=True):
        found = archived_weights(codec, archive.location, request.weights) if archive else weights_of(codec, places)
        if refuse_untrained(codec, found, allowed=request.allow_untrained):
            untrained.append(name)
        check_runs(codec, places)  # one that cannot run here is refused before Ray starts
    return codecs, untrained


def _asked_for(request: EvaluateRequest, archive: Archive | None) -> list[AnyCodec]:
    if archive:
        if request.codecs:
            raise ArchiveError(f"{request.target} is an archive, which has a codec: leave --codecs out")
        return [codec_of(archive.document, archive.location.url)]
    if not request.codecs:
        raise ArchiveError(f"{request.target} is no archive: name codecs to judge on it, as with --codecs bicubic-x16")
    return bind_all(request.codecs, request.weights)


def _available(protocol: Protocol) -> tuple[Protocol, dict[str, str], dict[str, str]]:
    """Return the protocol with the metrics that can be taken here, their weights' digests, and why others cannot."""
    kept, weights, left_out = [], {}, {}
    for metric in protocol.metrics:
        try:
            metric.load(Runtime())
            if digest := metric.weights_digest():
                weights[metric.column] = digest
            kept.append(metric)
        except Unavailable as why:
            left_out[metric.column] = str(why)
    if not kept:
        raise ArchiveError(f"no metric of protocol {protocol.name} can be taken here: {'; '.join(left_out.values())}")
    return msgspec.structs.replace(protocol, metrics=kept), weights, left_out


def _formats(wanted: Sequence[Format]) -> tuple[list[Format], dict[str, str]]:
    known = available_formats()
    return (
        [name for name in wanted if name in known.formats],
        {name: why for name, why in known.left_out.items() if name in wanted},
    )


def shares_of(protocol: Protocol, num_patches_of: Callable[[int], int]) -> dict[str, float]:
    """Return which share of all patches is drawn, so that some more than MOST_PATCHES are, by the side of a patch.

    `num_patches_of` says how many patches of such a side there are, or at least are.
    """
    sides = sorted({metric.patch for metric in protocol.metrics if isinstance(metric, SetMetricConfig)})
    return {str(side): threshold_for(num_patches_of(side), MOST_PATCHES) / EVERY_RANK for side in sides}


def patches_of(table: pa.Table, patch: int) -> int:
    """Return how many patches images have whose sizes a catalog knows."""
    counted = table.group_by(["width", "height"]).aggregate([("key", "count")]).to_pylist()
    return sum(num_patches(one["width"], one["height"], patch) * one["key_count"] for one in counted)


def evaluation_url(request: EvaluateRequest, document: EvaluationDocument, archive: Archive | None) -> str:
    """Return where an evaluation lies: where the user said, else in its archive, or below ./evaluations.

    Of samples, a destination holds a folder each.
    """
    if request.destination and request.sample is None:
        return absolute(request.destination)
    name = f"{document.judging.protocol.name}-{document.digest()[:8]}"
    if request.destination:
        return join(absolute(request.destination), name)
    return join(archive.location.url if archive else absolute("."), "evaluations", name)
