"""The strongest case against a codec, made from the same numbers as everything else."""

from jobs.report.measured import PERCEPTUAL, CandidateNumbers, Measured
from jobs.report.outliers import Bad
from jobs.report.rivals import Rival, best_rival, both_means
from jobs.report.words import called, images, listed, number
from ops.statistics import FEWEST


def case_against(measured: Measured, codec: CandidateNumbers, bad: Bad) -> str:
    """Return who beats it at the same bytes or with fewer, else how near they come, and how bad it can get."""
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
    return f"{first}{_cheaper_words(measured, name)} {bad.worst_words()}{unseen}"


def _cheaper_words(measured: Measured, codec: str) -> str:
    """Return the smallest files that are clearly better by one of the main metrics, or nothing."""
    for one in sorted(measured.cheaper, key=lambda one: one.byte_ratio or 1.0):
        if one.codec != codec:
            continue
        for metric in measured.main_metrics():
            pairing = one.scores[metric.column]
            worse = ((pairing.difference or 0) < 0) == metric.higher_is_better
            if pairing.is_clear() and worse:
                name = called(measured.candidates[one.other].candidate)
                return (
                    f" {name} is better by {metric.heading} with {one.byte_ratio or 1:.2f} times its bytes: "
                    f"{number(pairing.second_mean, metric.digits)} against {number(pairing.first_mean, metric.digits)}."
                )
    return ""


def _beaten_words(beaten: list[Rival]) -> str:
    # The clearest one: by the share of images on which the codec loses, then by how sure the difference is.
    worst = max(beaten, key=lambda one: (one.pairing.losses / one.pairing.num, _clarity(one)))
    also = [f"{one.metric.heading} ({one.name})" for one in beaten if one is not worst]
    opened = ", which anyone can open," if worst.other.kind == "baseline" else ""
    first, second = both_means(worst)
    return (
        f"{worst.name}{opened} is better at the same bytes by {worst.metric.heading}: {first} against {second}, and "
        f"better on {worst.pairing.losses:,} of {images(worst.pairing.num)}."
        + (f" It also loses by {listed(also)}." if also else "")
    )


def _close_words(everywhere: list[Rival]) -> str:
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


def _clarity(rival: Rival) -> float:
    interval, difference = rival.pairing.interval, abs(rival.pairing.difference or 0.0)
    width = interval.high - interval.low if interval else 0.0
    return difference / width if width else 0.0
