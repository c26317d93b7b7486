"""A verdict in words, made from numbers alone, by rules that stand here; it always argues the other side too.

A difference is one only where the bootstrap interval of the paired mean leaves out 0 and the sign-flip test gives less
than 5 %; else it is said that these images show none. A candidate is at the same bytes when its files, over all images
that both keep, take no more than the codec's and 1 %. The best of them is chosen by its mean on the same images that
then test it. Both lean against the codec under test.
"""

from msgspec import Struct

from jobs.report.case import case_against
from jobs.report.findings import Findings
from jobs.report.measured import PERCEPTUAL, Aligned, CandidateNumbers, Measured, MetricFacts
from jobs.report.outliers import bad_images
from jobs.report.rivals import Rival, best_rival, both_means, trained_on
from jobs.report.trust import trust_words
from jobs.report.words import (
    bits,
    called,
    images,
    larger_words,
    listed,
    mean_words,
    number,
    pairing_words,
    reasons,
    smaller_words,
    with_unit,
)
from ops.statistics import FEWEST

GENERATIVE = (
    "It is generative: fine detail is invented. A reconstruction is plausible, not true, and no score on this page "
    "says that a face, a letter or a number in it is the one that was there."
)
UNTRAINED = (
    "Its weights are UNTRAINED: random numbers. What it regrows is noise, and its scores say nothing of the method."
)
LOSSY = "It is lossy: it invents nothing, and detail that its files do not hold is gone."


class Paragraph(Struct, frozen=True, kw_only=True):
    """What the verdict says under one question."""

    topic: str
    text: str


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict on one codec: a sentence for the top of the page, then its grounds."""

    codec: str
    generative: bool
    headline: str
    paragraphs: list[Paragraph]


def verdicts(findings: Findings, aligned: Aligned) -> list[Verdict]:
    """Return a verdict on each codec, in the document's order."""
    codecs = aligned.measured.of_kind("codec")
    return [_verdict(findings, aligned, codec) for codec in codecs]


def _verdict(findings: Findings, aligned: Aligned, codec: CandidateNumbers) -> Verdict:
    measured, name = aligned.measured, codec.candidate.name
    metrics = [one for one in measured.main_metrics() if codec.scores[one.column].num]
    if not metrics:
        return _without_scores(findings, measured, codec)
    rivals = [rival for metric in metrics if (rival := best_rival(measured, name, metric))]
    bad = bad_images(aligned, codec, metrics[-1])
    paragraphs = [
        ("How good", _how_good(findings, codec, metrics)),
        ("Compared with what", _compared(measured, name, metrics, rivals)),
        ("The strongest case against it", case_against(measured, codec, bad)),
        ("Which images are bad", bad.words()),
        ("Can it be trusted", trust_words(findings, measured, codec)),
        ("What it shows", _shows(findings, codec)),
    ]
    return Verdict(
        codec=name,
        generative=codec.candidate.generative,
        headline=_warned(findings, codec, _headline(codec, metrics, rivals)),
        paragraphs=[Paragraph(topic=topic, text=text) for topic, text in paragraphs],
    )


def _without_scores(findings: Findings, measured: Measured, codec: CandidateNumbers) -> Verdict:
    why = reasons(codec.failures) or "no verified metric has a number"
    headline = f"{codec.candidate.name} could not be judged: none of {images(codec.num_images)} has a score ({why})."
    return Verdict(
        codec=codec.candidate.name,
        generative=codec.candidate.generative,
        headline=_warned(findings, codec, headline),
        paragraphs=[
            Paragraph(topic="The strongest case against it", text="Nothing here speaks for it: there is no score."),
            Paragraph(topic="Can it be trusted", text=trust_words(findings, measured, codec)),
            Paragraph(topic="What it shows", text=_shows(findings, codec)),
        ],
    )


def _shows(findings: Findings, codec: CandidateNumbers) -> str:
    if codec.candidate.name in findings.document.untrained:
        return UNTRAINED
    return GENERATIVE if codec.candidate.generative else LOSSY


def _warned(findings: Findings, codec: CandidateNumbers, headline: str) -> str:
    return f"UNTRAINED weights: {headline}" if codec.candidate.name in findings.document.untrained else headline


def _headline(codec: CandidateNumbers, metrics: list[MetricFacts], rivals: list[Rival]) -> str:
    name = codec.candidate.name
    num = max(codec.scores[metric.column].num for metric in metrics)
    parts = [_short(rival, [one.name for one in rivals[:at] if _beats(one)]) for at, rival in enumerate(rivals)]
    if not parts:
        means = [f"{one.heading} {with_unit(codec.scores[one.column].mean, one)}" for one in metrics]
        parts = [f"{listed(means)}, with nothing at the same bytes to compare it with"]
    return f"{name} at {bits(codec.bits_per_pixel)} bits per pixel, {images(num)}: {'; '.join(parts)}."


def _beats(rival: Rival) -> bool:
    return rival.pairing.is_clear() and not rival.codec_is_better


def _short(rival: Rival, winners: list[str]) -> str:
    metric, pairing = rival.metric, rival.pairing
    if pairing.num < FEWEST:
        return f"too few images to compare it with {rival.name} by {metric.heading}"
    if not pairing.is_clear():
        return f"no difference from {rival.name} by {metric.heading} that these images show"
    again = f"{rival.name} also" if rival.name in winners else f"{rival.name} at the same bytes"
    better = "it" if rival.codec_is_better else again
    than = f" than {rival.name}" if rival.codec_is_better else ""
    trained = ", which it was trained on," if rival.codec_is_better and rival.trained else ""
    if metric.unit:
        return f"{better} is closer{than} by {with_unit(abs(pairing.difference or 0), metric)} of {metric.heading}"
    first, second = both_means(rival)
    look = "looks" if metric.name.startswith(PERCEPTUAL) else "is"
    return f"{better} {look} closer{than}: {metric.heading}{trained} {first} against {second}"


def _how_good(findings: Findings, codec: CandidateNumbers, metrics: list[MetricFacts]) -> str:
    smaller = smaller_words(codec)
    beside = ""
    if codec.beside_bytes:
        beside = f" Alpha and extras take {bits(codec.beside_bytes * 8 / codec.pixels)} bits per pixel more."
    if findings.archive_bytes is not None and findings.archive_pixels:
        whole = findings.archive_bytes * 8 / findings.archive_pixels
        beside += f" In all, with container and catalog the archive takes {bits(whole)}."
    scores = [_score_words(codec, metric) for metric in metrics]
    return (
        f"{codec.candidate.name} keeps {bits(codec.bits_per_pixel)} bits per pixel{f', {smaller}' if smaller else ''}."
        f"{beside} On average over the images: {'; '.join(scores)}."
    )


def _score_words(codec: CandidateNumbers, metric: MetricFacts) -> str:
    way = "higher" if metric.higher_is_better else "lower"
    trained = " and the codec was trained on it" if trained_on(codec.candidate, metric) else ""
    return f"{metric.heading} {mean_words(codec.scores[metric.column], metric)}, {way} is better{trained}"


def _compared(measured: Measured, codec: str, metrics: list[MetricFacts], rivals: list[Rival]) -> str:
    others = measured.others(codec)
    if not others:
        return "With nothing: no baseline and no other codec was judged on these images."
    sentences = [_long(codec, rival) for rival in rivals]
    fit = [called(measured.candidates[one.other].candidate) for one in others if one.fits]
    if fit:
        sentences.append(f"At the same bytes (1 % more at most) were judged: {listed(fit)}.")
    if not rivals:
        named = listed([metric.heading for metric in metrics])
        sentences.append(f"Nothing that was judged at the same bytes has a number by {named} to compare with.")
    larger = [larger_words(one, measured.candidates[one.other].candidate) for one in others if not one.fits]
    if larger:
        sentences.append(f"Larger, and therefore not compared: {', '.join(larger)}.")
    return " ".join(sentences)


def _long(codec: str, rival: Rival) -> str:
    metric, pairing = rival.metric, rival.pairing
    words, (first, second) = pairing_words(pairing, metric), both_means(rival)
    if pairing.num < FEWEST:
        return (
            f"By {metric.heading}, {images(pairing.num)} {'is' if pairing.num == 1 else 'are'} too few to tell {codec} "
            f"from {rival.name}: {number(pairing.first_mean, metric.digits)} against "
            f"{number(pairing.second_mean, metric.digits)}."
        )
    if not pairing.is_clear():
        return (
            f"By {metric.heading}, there is no difference that these {images(pairing.num)} show between {codec} and "
            f"{rival.name}, the best at the same bytes ({words})."
        )
    if rival.codec_is_better:
        return (
            f"By {metric.heading}, {codec} is closer to the originals than anything judged at the same bytes: {first} "
            f"against {second} of {rival.name} ({words}; better on {pairing.wins:,} of {pairing.num:,})."
        )
    return (
        f"By {metric.heading}, {rival.name} at the same bytes is closer to the originals than {codec}: {first} against "
        f"{second} ({words}; {rival.name} is better on {pairing.losses:,} of {pairing.num:,})."
    )
