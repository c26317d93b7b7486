"""How far a report can be trusted: counts of what is missing, what was left out, and which protocol it is."""

from collections import Counter

from jobs.report.findings import Findings
from jobs.report.measured import CandidateNumbers, Measured
from jobs.report.words import images, listed, reasons
from ops.statistics import FEWEST

SMALL = 30
"""Fewer images than this, and an interval is wide enough that the report warns of reading means closely."""
PUBLISHED = {"tadm-iccv25": "TADM (ICCV 2025)", "faitheir": "FaithEIR"}


def trust_words(findings: Findings, measured: Measured, codec: CandidateNumbers) -> str:
    """Return what speaks for and against believing the numbers of a codec."""
    sentences = [
        *_counts(measured, codec),
        *_missing(measured, codec),
        *_judges(measured, codec),
        *_left_out(findings),
        *_stacks(findings),
        _protocol(findings),
    ]
    return " ".join(sentences)


def _counts(measured: Measured, codec: CandidateNumbers) -> list[str]:
    judged = codec.num_judged
    found = [f"{judged:,} of {measured.num_planned:,} planned images {'was' if judged == 1 else 'were'} judged."]
    if measured.num_planned > measured.num_images:
        behind = measured.num_planned - measured.num_images
        found.append(f"The evaluation is not finished: {images(behind)} have no rows yet.")
    if codec.failures:
        found.append(f"Without scores: {reasons(codec.failures)}; no mean here holds them.")
    if 0 < judged < FEWEST:
        found.append("That is too few to say anything of other images.")
    elif judged < SMALL:
        found.append(f"That is few (below {SMALL}): read the intervals, not the means.")
    return found


def _missing(measured: Measured, codec: CandidateNumbers) -> list[str]:
    """Return a sentence for each metric with fewer numbers than judged images, and for infinite ones."""
    found = []
    for metric in measured.metrics:
        summary = codec.scores.get(metric.column)
        if summary is None:
            continue
        failures = codec.failures
        own = {reason: number for reason, number in summary.missing.items() if reason not in failures}
        if own:
            found.append(f"{metric.heading} has no number for {images(sum(own.values()))} more ({reasons(own)}).")
        if summary.num_infinite:
            found.append(
                f"{metric.heading} is infinite for {images(summary.num_infinite)}, the same to the last pixel, which "
                f"count as {measured.identical:g} dB in means."
            )
    return found


def _judges(measured: Measured, codec: CandidateNumbers) -> list[str]:
    found = []
    trained = [one.heading for one in measured.metrics if {one.name, one.column} & set(codec.candidate.trained_on)]
    if trained:
        verb = "is" if len(trained) == 1 else "are"
        found.append(f"The codec was trained on {listed(trained)}, which {verb} therefore no neutral judge of it.")
    unverified = [metric.heading for metric in measured.metrics if not metric.verified]
    if unverified:
        found.append(
            f"Not checked against any published result, and therefore kept out of this verdict: {listed(unverified)}."
        )
    return found


def _left_out(findings: Findings) -> list[str]:
    """Return what was left out, metrics with one reason together."""
    whys = Counter(findings.document.left_out.values())
    return [
        f"Left out: {listed([name for name, reason in findings.document.left_out.items() if reason == why])} ({why})."
        for why in whys
    ]


def _stacks(findings: Findings) -> list[str]:
    """Return a warning where a run went on with other versions: last digits and baselines' bytes may depend on them."""
    if len(findings.stacks) < 2:
        return []
    versions = {stack: stack.split(", ") for stack in findings.stacks}
    common = set.intersection(*map(set, versions.values()))
    told = [
        f"{number:,} with {', '.join(one for one in versions[stack] if one not in common) or 'fewer of these'}"
        for stack, number in sorted(findings.stacks.items())
    ]
    return [
        f"The works were not all judged with the same versions ({'; '.join(told)}): scores may differ a little by that."
    ]


def _protocol(findings: Findings) -> str:
    protocol = findings.document.judging.protocol
    paper = PUBLISHED.get(protocol.name)
    if paper is None:
        return (
            f"Scored by the protocol {protocol.name}, which no paper used: hold its numbers beside no published table."
        )
    departures = list(protocol.departures)
    known = f"; it is known to differ in this: {' '.join(departures)}" if departures else ""
    return f"Scored by the protocol {protocol.name}, made after {paper}{known}."
