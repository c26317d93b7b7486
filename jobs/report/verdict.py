"""A verdict in words, made from numbers alone, by rules that stand here; it always argues the other side too.

A difference is one only where the bootstrap interval of the paired mean leaves out 0 and the sign-flip test gives less
than 5 %; else it is said that these images show none. A candidate is at the same bytes when its files, over all images
that both keep, take no more bytes than the codec's. The best of them is chosen by its mean on the same images that then
test it, which leans against the codec under test.
"""

from msgspec import Struct

from jobs.report.findings import Findings
from jobs.report.measured import PERCEPTUAL, Against, Aligned, CandidateNumbers, Measured, MetricFacts
from jobs.report.outliers import Bad, bad_images
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
from ops.evaluation.document import Candidate
from ops.statistics import FEWEST, Pairing

GENERATIVE = (
    "It is generative: fine detail is invented. A reconstruction is plausible, not true, and no score on this page "
    "says that a face, a letter or a number in it is the one that was there."
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


class _Rival(Struct, frozen=True, kw_only=True):
    """The best other candidate at the same bytes in one metric."""

    metric: MetricFacts
    against: Against
    other: Candidate
    pairing: Pairing
    trained: bool

    @property
    def codec_is_better(self) -> bool:
        return (
            (self.pairing.difference or 0) > 0 if self.metric.higher_is_better else (self.pairing.difference or 0) < 0
        )

    @property
    def name(self) -> str:
        return called(self.other)


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
        ("The strongest case against it", _case_against(measured, codec, bad)),
        ("Which images are bad", bad.words()),
        ("Can it be trusted", trust_words(findings, measured, codec)),
        ("What it shows", GENERATIVE if codec.candidate.generative else LOSSY),
    ]
    return Verdict(
        codec=name,
        generative=codec.candidate.generative,
        headline=_headline(codec, metrics, rivals),
        paragraphs=[Paragraph(topic=topic, text=text) for topic, text in paragraphs],
    )


def best_rival(measured: Measured, codec: str, metric: MetricFacts) -> _Rival | None:
    """Return whoever has the best paired mean among those at the same bytes, or nothing without such."""
    found: list[_Rival] = []
    trained = trained_on(measured.candidates[codec].candidate, metric)
    for against in measured.others(codec):
        pairing = against.scores.get(metric.column)
        if against.fits and pairing and pairing.num:
            other = measured.candidates[against.other].candidate
            found.append(_Rival(metric=metric, against=against, other=other, pairing=pairing, trained=trained))
    # The codec's least lead, as its own mean differs with the images that a pairing has.
    sign = 1 if metric.higher_is_better else -1
    return min(found, key=lambda one: sign * (one.pairing.difference or 0.0)) if found else None


def _without_scores(findings: Findings, measured: Measured, codec: CandidateNumbers) -> Verdict:
    why = reasons(codec.failures) or "no verified metric has a number"
    headline = f"{codec.candidate.name} could not be judged: none of {images(codec.num_images)} has a score ({why})."
    return Verdict(
        codec=codec.candidate.name,
        generative=codec.candidate.generative,
        headline=headline,
        paragraphs=[
            Paragraph(topic="The strongest case against it", text="Nothing here speaks for it: there is no score."),
            Paragraph(topic="Can it be trusted", text=trust_words(findings, measured, codec)),
            Paragraph(topic="What it shows", text=GENERATIVE if codec.candidate.generative else LOSSY),
        ],
    )


def _headline(codec: CandidateNumbers, metrics: list[MetricFacts], rivals: list[_Rival]) -> str:
    name = codec.candidate.name
    num = max(codec.scores[metric.column].num for metric in metrics)
    parts = [_short(rival) for rival in rivals]
    if not parts:
        means = [f"{one.heading} {with_unit(codec.scores[one.column].mean, one)}" for one in metrics]
        parts = [f"{listed(means)}, with nothing at the same bytes to compare it with"]
    return f"{name} at {bits(codec.bits_per_pixel)} bits per pixel, {images(num)}: {'; '.join(parts)}."


def _short(rival: _Rival) -> str:
    metric, pairing = rival.metric, rival.pairing
    if pairing.num < FEWEST:
        return f"too few images to compare it with {rival.name} by {metric.heading}"
    if not pairing.is_clear():
        return f"no difference from {rival.name} by {metric.heading} that these images show"
    better = "it" if rival.codec_is_better else f"{rival.name} at the same bytes"
    than = f" than {rival.name}" if rival.codec_is_better else ""
    trained = ", which it was trained on," if rival.codec_is_better and rival.trained else ""
    if metric.unit:
        return f"{better} is closer{than} by {with_unit(abs(pairing.difference or 0), metric)} of {metric.heading}"
    first, second = _means(rival)
    look = "looks" if metric.name.startswith(PERCEPTUAL) else "is"
    return f"{better} {look} closer{than}: {metric.heading}{trained} {first} against {second}"


def _means(rival: _Rival) -> tuple[str, str]:
    """Return the two means over the paired images, the better one first."""
    pairing, digits = rival.pairing, rival.metric.digits
    means = (pairing.first_mean, pairing.second_mean)
    first, second = means if rival.codec_is_better else means[::-1]
    return number(first, digits), number(second, digits)


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


def trained_on(candidate: Candidate, metric: MetricFacts) -> bool:
    """Return whether a codec was trained on a metric, which is then no neutral judge of it."""
    return metric.name in candidate.trained_on or metric.column in candidate.trained_on


def _compared(measured: Measured, codec: str, metrics: list[MetricFacts], rivals: list[_Rival]) -> str:
    others = measured.others(codec)
    if not others:
        return "With nothing: no baseline and no other codec was judged on these images."
    sentences = [_long(codec, rival) for rival in rivals]
    fit = [called(measured.candidates[one.other].candidate) for one in others if one.fits]
    if fit:
        sentences.append(f"At the same bytes were judged: {listed(fit)}.")
    if not rivals:
        named = listed([metric.heading for metric in metrics])
        sentences.append(f"Nothing that was judged at the same bytes has a number by {named} to compare with.")
    larger = [larger_words(one, measured.candidates[one.other].candidate) for one in others if not one.fits]
    if larger:
        sentences.append(f"Larger, and therefore not compared: {', '.join(larger)}.")
    return " ".join(sentences)


def _long(codec: str, rival: _Rival) -> str:
    metric, pairing = rival.metric, rival.pairing
    words, (first, second) = pairing_words(pairing, metric), _means(rival)
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


def _case_against(measured: Measured, codec: CandidateNumbers, bad: Bad) -> str:
    name = codec.candidate.name
    verified = [metric for metric in measured.metrics if metric.verified and not metric.of_set]
    everywhere = [rival for metric in verified if (rival := best_rival(measured, name, metric))]
    beaten = [one for one in everywhere if one.pairing.is_clear() and not one.codec_is_better]
    if beaten:
        first = _beaten_words(beaten)
    elif not everywhere:
        first = (
            f"Nothing at the same bytes was judged beside {name}: not one number here says that it is worth more than "
            "a conventional format of the same size."
        )
    else:
        first = _close_words(everywhere)
    unseen = ""
    if not any(metric.name.startswith(PERCEPTUAL) and codec.scores[metric.column].num for metric in verified):
        unseen = " Neither LPIPS nor DISTS was taken: nothing here says how it looks to people."
    return f"{first} {bad.worst_words()}{unseen}"


def _beaten_words(beaten: list[_Rival]) -> str:
    # The clearest one: by the share of images on which the codec loses, then by how sure the difference is.
    worst = max(beaten, key=lambda one: (one.pairing.losses / one.pairing.num, _clarity(one)))
    also = [f"{one.metric.heading} ({one.name})" for one in beaten if one is not worst]
    opened = ", which anyone can open," if worst.other.kind == "baseline" else ""
    first, second = _means(worst)
    return (
        f"{worst.name}{opened} is better at the same bytes by {worst.metric.heading}: {first} against {second}, and "
        f"better on {worst.pairing.losses:,} of {images(worst.pairing.num)}."
        + (f" It also loses by {listed(also)}." if also else "")
    )


def _close_words(everywhere: list[_Rival]) -> str:
    """Return how near the others come where none is shown to be better."""
    closest = max(everywhere, key=lambda one: one.pairing.losses / one.pairing.num)
    pairing = closest.pairing
    few = ", too few to show a difference" if pairing.num < FEWEST else ""
    none = "None at the same bytes is shown to be better by a verified metric"
    if not pairing.losses:
        return f"{none}, nor is one better on any of {images(pairing.num)}{few}."
    return (
        f"{none}, but {closest.name} is better by {closest.metric.heading} on {pairing.losses:,} of "
        f"{images(pairing.num)}{few}."
    )


def _clarity(rival: _Rival) -> float:
    interval, difference = rival.pairing.interval, abs(rival.pairing.difference or 0.0)
    width = interval.high - interval.low if interval else 0.0
    return difference / width if width else 0.0
