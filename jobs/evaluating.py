"""The end of an evaluation: its report is written into its folder, and told in a few lines."""

from collections import Counter

from msgspec import Struct

from jobs.gathering import gather
from jobs.report.files import write_report
from jobs.report.findings import Findings
from jobs.report.measured import measure
from jobs.report.verdict import Verdict, verdicts
from jobs.words import count, failure_words
from ops.evaluation.scores import OK
from ops.stores import join, open_store
from pipelines.evaluate import Evaluated


class EvaluateResult(Struct, frozen=True, kw_only=True):
    """What came of an evaluation, for programs; `left_out` says of metrics and formats why they are not there."""

    evaluation: str
    report: str
    images: int
    failures: dict[str, int]
    left_out: dict[str, str]
    verdicts: list[Verdict]


def report(evaluated: Evaluated) -> EvaluateResult:
    """Write an evaluation's report, in place of an older one, and return what it says."""
    findings = gather(evaluated)
    aligned, store = measure(findings), open_store(evaluated.url)
    for name, text in write_report(findings, aligned).items():
        store.put(join(evaluated.url, name), text.encode())
    return EvaluateResult(
        evaluation=evaluated.url,
        report=join(evaluated.url, "report.html"),
        images=evaluated.plan.num_images,
        failures=_failures(findings),
        left_out=evaluated.document.left_out,
        verdicts=verdicts(findings, aligned),
    )


def _failures(findings: Findings) -> dict[str, int]:
    """Return how many images lack scores of a codec, by the reason; those of baselines are told by the report."""
    codecs = {candidate.name for candidate in findings.document.judging.candidates if candidate.kind == "codec"}
    found: dict[str, str] = {}
    for key, candidate, status in zip(
        *(findings.table[name].to_pylist() for name in ("key", "candidate", "status")), strict=True
    ):
        if candidate in codecs and status != OK:
            found.setdefault(key, status)
    return dict(Counter(found.values()))


def evaluate_lines(result: EvaluateResult) -> list[tuple[str, str]]:
    """Return the result for people."""
    failed = f"{sum(result.failures.values()):,} ({failure_words(result.failures)})" if result.failures else "0"
    lines = [("images", f"{result.images:,}"), ("without scores", failed)]
    lines += [(verdict.codec, verdict.headline) for verdict in result.verdicts]
    lines += [("left out", f"{name}: {why}") for name, why in result.left_out.items()]
    return [*lines, ("report", result.report)]


def failed_words(result: EvaluateResult) -> str | None:
    """Return what went wrong, in a line; nothing where nothing did."""
    number = sum(result.failures.values())
    if not number:
        return None
    return f"{count(number, 'image')} could not be judged ({failure_words(result.failures)}); --again tries them anew"
