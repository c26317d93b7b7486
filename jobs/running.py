"""Running what was asked for: progress, signals, results, exit status. The same for commands and job files."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from jobs.errors import FAILED
from jobs.evaluating import EvaluateResult, evaluate_lines, failed_words, report
from jobs.output import Show, write_facts, write_json, write_lines
from jobs.progress import Watch
from jobs.requests import AnyRequest
from jobs.results import (
    ArchiveResult,
    ReconstructResult,
    archive_lines,
    archive_result,
    failures_left,
    reconstruct_lines,
    reconstruct_result,
)
from jobs.runs.bad_ends import teller
from jobs.runs.earlier import last_sweep, seen_by_last
from jobs.runs.recording import INTERRUPTED, Recording, Run
from jobs.stopping import Interrupted, Stopping
from jobs.tally import Tally
from jobs.verifying import VerifyResult, damaged_words, verify_lines, verify_result
from jobs.verifying import heading as verify_heading
from jobs.words import count, failure_words
from ops.archive.layout import locate
from ops.archive.seals import highest_seal
from ops.stores import absolute
from pipelines.archive import NothingToDo, archive, retry
from pipelines.evaluate import Evaluated, evaluate, scored_at_archiving
from pipelines.reconstruct import Reconstructed, reconstruct
from pipelines.requests import (
    ArchiveRequest,
    EvaluateRequest,
    ReconstructRequest,
    RetryRequest,
    SealRequest,
    VerifyRequest,
)
from pipelines.sealing import seal_archive
from pipelines.verify import Verified, verify

_WHAT: dict[type[AnyRequest], str] = {
    ReconstructRequest: "regrowing",
    EvaluateRequest: "judging",
    VerifyRequest: "verifying",
}


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a run: a heading and facts for people, the same for programs, and what failed, if anything.

    `noted` are fields of its record, for the runs that come after it.
    """

    heading: str
    facts: list[tuple[str, str]]
    document: ArchiveResult | ReconstructResult | EvaluateResult | VerifyResult
    failed: str | None = None
    noted: dict[str, Any] = {}


def perform(request: AnyRequest, show: Show, run: Run | None = None, is_ours: Callable[[], bool] = lambda: True) -> int:
    """Run a request and show what comes of it; return the exit status.

    A record of it is kept where it writes: under the id of `run`, or one of its own; `is_ours` says whether that run
    still holds its lease.
    """
    what = _WHAT.get(type(request), "archiving")
    tell_of = teller(request, show, of_tick=run is not None and run.schedule is not None)
    with Watch(quiet=show.quiet, what=what) as watch, Recording(request, watch, run, is_ours, tell_of) as recording:
        try:
            with Stopping(watch.stopping) as stopping:
                watch.also = recording.looking(stopping.arm)
                outcome = _work_on(request, watch, show, run)
        except Interrupted as stopped:
            watch.end()
            recording.end(INTERRUPTED + stopped.number)
            sys.stderr.write(_stopped(watch.tally, show.command))
            return INTERRUPTED + stopped.number
        recording.end(_status(outcome), outcome.failed, **outcome.noted)
    return _tell(outcome, show)


def _work_on(request: AnyRequest, watch: Watch, show: Show, run: Run | None) -> Outcome:
    if isinstance(request, ReconstructRequest):
        return _regrown(request, reconstruct(request, watch, seen_by_last(request, watch.say)))
    if isinstance(request, EvaluateRequest):
        return _judged(evaluate(_seeded(request, run), watch), watch)
    if isinstance(request, VerifyRequest):
        return _verified(verify(request, watch, last_sweep(request, watch.say)))
    try:
        match request:
            case ArchiveRequest():
                archive(request, watch)
            case RetryRequest():
                retry(request, watch)
            case SealRequest():
                seal_archive(request, watch)
    except NothingToDo as nothing:
        watch.tally.seal = highest_seal(locate(request.archive))
        watch.tally.problems = list(nothing.problems)
        outcome = _archived(absolute(request.archive), watch.tally, show, str(nothing))
    else:
        outcome = _archived(absolute(request.archive), watch.tally, show)
    if isinstance(request, SealRequest) or request.score is None or watch.tally.seal is None:
        return outcome
    return _with_scores(outcome, request, watch)


def _seeded(request: EvaluateRequest, run: Run | None) -> EvaluateRequest:
    """Return a request whose sample is of its run: each run draws another one, and one that is taken up the same."""
    if run is None or request.sample is None or request.seed:
        return request
    return replace(request, seed=run.id)


def _verified(found: Verified) -> Outcome:
    result = verify_result(found)
    return Outcome(
        heading=verify_heading(result),
        facts=verify_lines(result),
        document=result,
        failed=damaged_words(result),
        noted={"sweep": found.sweep, "seal": None if found.damages else found.seal},
    )


def _with_scores(outcome: Outcome, request: ArchiveRequest | RetryRequest, watch: Watch) -> Outcome:
    """Add what came of the scores that were taken on the way, in this run and earlier ones."""
    scored = _judged(scored_at_archiving(request), watch)
    return replace(
        outcome,
        facts=[*outcome.facts, *scored.facts[1:]],
        document=replace(outcome.document, evaluation=scored.document),
    )


def _judged(evaluated: Evaluated, watch: Watch) -> Outcome:
    watch.end()
    watch.say("Writing the report")
    result = report(evaluated)
    return Outcome(
        heading=result.evaluation, facts=evaluate_lines(result), document=result, failed=failed_words(result)
    )


def _archived(url: str, tally: Tally, show: Show, nothing_to_do: str | None = None) -> Outcome:
    result = archive_result(url, tally, nothing_to_do)
    told = [_problems(result.problems, show), _failures(result, failures_left(url, tally))]
    heading = url if result.sealed else f"{url}, not sealed yet: regrow seal {shlex.quote(url)}"
    return Outcome(
        heading=nothing_to_do or heading,
        facts=[] if nothing_to_do else archive_lines(result),
        document=result,
        failed="; ".join(filter(None, told)) or None,
    )


def _problems(problems: Sequence[str], show: Show) -> str:
    if not problems:
        return ""
    more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    which = f"{problems[0]}{more}" if show.quiet else "see above"
    return f"{count(len(problems), 'problem')} while listing, so images may be missing ({which})"


def _failures(result: ArchiveResult, left: Counter[str]) -> str:
    """Return what failed now, and how to list it; nothing where nothing did."""
    number, total, url = left.total(), sum(result.failures.values()), shlex.quote(result.archive)
    if not number:
        return ""
    said, codes = count(number, "image"), failure_words(left)
    if not result.sealed:
        return f"{said} failed ({codes}): regrow seal {url}, then regrow failures {url}"
    # It lists what has no thumbnail; an image whose new version failed still has its older one.
    listed = f": regrow failures {url}" if total else ""
    if number > total:
        return f"{said} failed ({codes}), and of {number - total:,} what the archive had before stays{listed}"
    if number < total:
        return f"{said} failed now ({codes}; {total:,} in all){listed}"
    return f"{said} failed ({codes}){listed}"


def _regrown(request: ReconstructRequest, found: Reconstructed) -> Outcome:
    result = reconstruct_result(absolute(request.archive), absolute(request.destination), found)
    return Outcome(
        heading=result.nothing_to_do or result.destination,
        facts=[] if result.nothing_to_do else reconstruct_lines(result),
        document=result,
        noted={"seal": None if result.failed else found.seal},
        failed=f"{count(result.failed, 'image')} could not be regrown" if result.failed else None,
    )


def _tell(outcome: Outcome, show: Show) -> int:
    if show.json:
        write_json(outcome.document)
    elif not show.quiet:
        write_lines([outcome.heading])
        write_facts(outcome.facts)
    if outcome.failed:
        sys.stdout.flush()
        sys.stderr.write(f"regrow: {outcome.failed}\n")
    return 0 if show.some_may_fail else _status(outcome)


def _status(outcome: Outcome) -> int:
    return FAILED if outcome.failed else 0


def _stopped(tally: Tally, command: Sequence[str]) -> str:
    done = f"{tally.num_done:,} of {count(tally.num_images, 'image')} are done, and stay"
    said = done if tally.num_images else "nothing was done yet"
    return f"Stopped: {said}. To go on:\n  {shlex.join(['regrow', *command])}\n"
