"""From an evaluation that is complete to the findings that a report tells: table, sets, gallery, timings."""

from collections.abc import Sequence

from msgspec.structs import replace

from jobs.gathering_pictures import judged_archive, pictures
from jobs.info import escrow_bytes
from jobs.report.findings import Findings
from ops.codecs.names import codec_from
from ops.codecs.parameters import Parameters, count_parameters
from ops.evaluation.document import EvaluationDocument
from ops.evaluation.error_maps import mean_error_maps
from ops.evaluation.features import SetScore, set_scores
from ops.evaluation.scores import finished_works, read_all_scores
from ops.evaluation.tiles import read_tiles
from ops.metrics.base import MetricConfig, SetMetricConfig
from ops.metrics.distances import DistanceConfig
from pipelines.evaluate import Evaluated


def gather(evaluated: Evaluated, *, gallery: bool = True) -> Findings:
    """Return the findings of an evaluation. Its gallery is made anew from the references, where they still are."""
    url, document, plan = evaluated.url, evaluated.document, evaluated.plan
    candidates = [candidate.name for candidate in document.judging.candidates]
    metrics = document.judging.protocol.metrics
    scores = read_all_scores(url, [metric.column for metric in metrics], candidates)
    shown, timings = pictures(evaluated, scores.table) if gallery else ([], [])
    findings = Findings(
        url=url, document=document, plan=plan, table=scores.table, sets=_sets(url, metrics, candidates),
        gallery=shown, timings=timings, error_maps=mean_error_maps(url, scores.older), stacks=dict(scores.stacks),
        tiles=read_tiles(url, document.judging.settings_of_codecs(), scores.older) if gallery else {},
        parameters=_parameters(document) if gallery else {},
    )  # fmt: skip
    archive = judged_archive(document) if gallery else None
    if archive is None or document.selection:
        return findings
    seal = archive.seal
    held = sum(pack.num_bytes for pack in seal.packs) + sum(file.num_bytes for file in seal.catalog)
    return replace(
        findings, archive_bytes=held, archive_pixels=seal.totals.pixels, escrow_bytes=escrow_bytes(archive.location)
    )


def _parameters(document: EvaluationDocument) -> dict[str, Parameters]:
    counted = {name: count_parameters(codec_from(one)) for name, one in document.judging.settings_of_codecs().items()}
    return {name: one for name, one in counted.items() if one is not None}


def _sets(url: str, metrics: Sequence[MetricConfig], candidates: Sequence[str]) -> dict[str, dict[str, SetScore]]:
    works = sorted(finished_works(url).to_pylist())
    together: dict[tuple[str, int], list[SetMetricConfig]] = {}
    for metric in metrics:
        if isinstance(metric, DistanceConfig):
            together.setdefault((metric.extractor, metric.patch), []).append(metric)
    found: dict[str, dict[str, SetScore]] = {name: {} for name in candidates}
    for (extractor, _), configs in together.items():
        for candidate, scores in set_scores(url, works, extractor, configs, candidates).items():
            found[candidate] |= scores
    return found if together else {}
