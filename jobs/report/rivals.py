"""Who is to be beaten: in each metric the best of the candidates that take no more bytes than a codec."""

from msgspec import Struct

from jobs.report.measured import Against, Measured, MetricFacts
from jobs.report.words import called, number
from ops.evaluation.document import Candidate
from ops.statistics import Pairing


class Rival(Struct, frozen=True, kw_only=True):
    """The best other candidate at the same bytes in one metric; `trained`: the codec was trained on that."""

    metric: MetricFacts
    against: Against
    other: Candidate
    pairing: Pairing
    trained: bool

    @property
    def codec_is_better(self) -> bool:
        """Return whether the codec has the better mean, clearly or not."""
        return (
            (self.pairing.difference or 0) > 0 if self.metric.higher_is_better else (self.pairing.difference or 0) < 0
        )

    @property
    def name(self) -> str:
        """Return what a sentence calls the rival."""
        return called(self.other)


def best_rival(measured: Measured, codec: str, metric: MetricFacts) -> Rival | None:
    """Return whoever has the best paired mean among those at the same bytes, or nothing without such."""
    found: list[Rival] = []
    trained = trained_on(measured.candidates[codec].candidate, metric)
    for against in measured.others(codec):
        pairing = against.scores.get(metric.column)
        if against.fits and pairing and pairing.num:
            other = measured.candidates[against.other].candidate
            found.append(Rival(metric=metric, against=against, other=other, pairing=pairing, trained=trained))
    # The codec's least lead, as its own mean differs with the images that a pairing has.
    sign = 1 if metric.higher_is_better else -1
    return min(found, key=lambda one: sign * (one.pairing.difference or 0.0)) if found else None


def both_means(rival: Rival) -> tuple[str, str]:
    """Return the two means over the paired images, the better one first."""
    pairing, digits = rival.pairing, rival.metric.digits
    means = (pairing.first_mean, pairing.second_mean)
    first, second = means if rival.codec_is_better else means[::-1]
    return number(first, digits), number(second, digits)


def trained_on(candidate: Candidate, metric: MetricFacts) -> bool:
    """Return whether a codec was trained on a metric, which is then no neutral judge of it."""
    return metric.name in candidate.trained_on or metric.column in candidate.trained_on
