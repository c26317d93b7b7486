"""Two evaluations opened and compared, for `regrow compare`."""

from jobs.gathering import gather
from jobs.report.runs import RunComparison, compare_findings
from pipelines.evaluate import opened


def compare_runs(first: str, second: str) -> RunComparison:
    """Compare two evaluations by their folders or URLs.

    Raises ArchiveError where one is none or is not complete, UsageError where they have nothing to compare.
    """
    one, two = (gather(opened(url), gallery=False) for url in (first, second))
    return compare_findings(one, two)
