"""Which images a codec keeps badly: the worst three, and those far outside of the others."""

import numpy as np
from msgspec import Struct

from jobs.report.measured import Aligned, CandidateNumbers, MetricFacts
from jobs.report.words import images, listed, number, with_unit

WORST = 3
WHISKER = 1.5  # times the distance of the quartiles (Tukey 1977): what lies beyond is called an outlier


class Bad(Struct, frozen=True, kw_only=True):
    """The worst images of a codec by one metric, the worst first, and how many lie outside."""

    metric: MetricFacts
    worst: list[tuple[str, float]]
    num: int
    median: float
    num_outliers: int
    bound: float

    def words(self) -> str:
        """Return the worst images, and how many outliers there are."""
        named = listed([f"{key} ({number(value, self.metric.digits)})" for key, value in self.worst])
        side = "below" if self.metric.higher_is_better else "above"
        verb = "lies" if self.num_outliers == 1 else "lie"
        outside = (
            f"{images(self.num_outliers)} of {self.num:,} {verb} far outside of the others, {side} "
            f"{number(self.bound, self.metric.digits)}."
            if self.num_outliers
            else f"None of {self.num:,} lies far outside of the others."
        )
        return (
            f"Worst by {self.metric.heading}: {named}; the median is {with_unit(self.median, self.metric)}. {outside}"
        )

    def worst_words(self) -> str:
        """Return a sentence on the very worst image."""
        key, value = self.worst[0]
        return (
            f"On its worst image, {key}, it comes to {self.metric.heading} {with_unit(value, self.metric)}, where the "
            f"median is {with_unit(self.median, self.metric)}."
        )


def bad_images(aligned: Aligned, codec: CandidateNumbers, metric: MetricFacts) -> Bad:
    """Return the worst images of a codec by a metric that has a number of one at least."""
    numbers = aligned.lined[codec.candidate.name].scores[metric.column]
    summary = codec.scores[metric.column]
    places = np.flatnonzero(~np.isnan(numbers))
    sign = 1 if metric.higher_is_better else -1
    ranked = places[np.argsort(sign * numbers[places], kind="stable")]
    lower, upper = summary.lower_quartile or 0.0, summary.upper_quartile or 0.0
    reach = WHISKER * (upper - lower)
    bound = lower - reach if metric.higher_is_better else upper + reach
    outside = numbers[places] < bound if metric.higher_is_better else numbers[places] > bound
    return Bad(
        metric=metric, worst=[(aligned.keys[place], float(numbers[place])) for place in ranked[:WORST]],
        num=summary.num, median=summary.median or 0.0, num_outliers=int(outside.sum()), bound=bound,
    )  # fmt: skip
