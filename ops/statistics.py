"""What scores of many images say together: spread, intervals by the bootstrap, paired tests. A pure function."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from ops.resampling import Numbers, all_signs, counts_drawn, on_grid, seeded, signs_drawn

RESAMPLES = 2_000
FLIPS = 10_000
EXACT_FLIPS = 12
FEWEST = 5
"""With fewer images no interval is given: the bootstrap of so few is narrower than what it stands for."""
BLOCK = 4_000_000


class Interval(NamedTuple):
    """A 95 % interval of a mean: the 2.5th and the 97.5th percentile of the means of resampled images."""

    low: float
    high: float


class Summary(Struct, frozen=True, kw_only=True):
    """What one metric says of one candidate over `num_images`, of which `num` have a number.

    An infinite PSNR counts in everything as the protocol's number for it; `num_infinite` says how often. `missing`
    counts the images without a number by reason. All numbers are None where `num` is 0, `interval` below FEWEST.
    """

    num_images: int
    num: int
    num_infinite: int = 0
    missing: dict[str, int] = {}
    mean: float | None = None
    interval: Interval | None = None
    median: float | None = None
    deviation: float | None = None
    lower_quartile: float | None = None
    upper_quartile: float | None = None
    worst: float | None = None
    best: float | None = None
    worst_key: str | None = None
    best_key: str | None = None


class Pairing(Struct, frozen=True, kw_only=True):
    """One metric of two candidates over the `num` images that both have a number of: the first less the second.

    `probability` is that of a mean difference at least as large, in size, if signs were a matter of chance: two-sided,
    over all signs up to EXACT_FLIPS images (`exact`), else over FLIPS random ones, the found one counted among them.
    `wins` are images on which the first is better.
    """

    num: int
    num_first_only: int
    num_second_only: int
    num_neither: int
    first_mean: float | None = None
    second_mean: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    probability: float | None = None
    exact: bool = False
    wins: int = 0
    ties: int = 0
    losses: int = 0

    def is_clear(self) -> bool:
        """Return whether these images show a difference: the interval leaves out 0, and chance is below 5 %."""
        if self.interval is None or self.probability is None:
            return False
        return (self.interval.low > 0 or self.interval.high < 0) and self.probability < 0.05


class Column(NamedTuple):
    """Numbers to sum up, with the reasons for those that are missing, counted."""

    numbers: Numbers
    higher_is_better: bool = True
    missing: Mapping[str, int] = {}


class Pair(NamedTuple):
    """Numbers of two candidates, or of two runs, over the same keys."""

    first: Numbers
    second: Numbers
    higher_is_better: bool = True


def mean_of(numbers: Numbers) -> float:
    """Return the mean of numbers in their order, correctly rounded; there must be one."""
    return math.fsum(numbers.tolist()) / len(numbers)


def summarise(keys: Sequence[str], columns: Sequence[Column], identical: float) -> list[Summary]:
    """Return a summary of each column; `identical` dB stand for an infinite PSNR."""
    held = [_present(column.numbers, identical) for column in columns]
    intervals = bootstrap_means(held)
    return [
        _summary(keys, column, numbers, interval, identical)
        for column, numbers, interval in zip(columns, held, intervals, strict=True)
    ]


def compare_pairs(pairs: Sequence[Pair], identical: float) -> list[Pairing]:
    """Return a paired comparison of each pair; `identical` dB stand for an infinite PSNR."""
    both = [~np.isnan(pair.first) & ~np.isnan(pair.second) for pair in pairs]
    firsts = [_finite(pair.first[mask], identical) for pair, mask in zip(pairs, both, strict=True)]
    seconds = [_finite(pair.second[mask], identical) for pair, mask in zip(pairs, both, strict=True)]
    differences = [first - second for first, second in zip(firsts, seconds, strict=True)]
    intervals, probabilities = bootstrap_means(differences), flip_probabilities(differences)
    return [
        _pairing(pair, first, second, interval, probability)
        for pair, first, second, interval, probability in zip(
            pairs, firsts, seconds, intervals, probabilities, strict=True
        )
    ]


def bootstrap_means(columns: Sequence[Numbers]) -> list[Interval | None]:
    """Return for each column of finite numbers the interval of its mean, or None below FEWEST numbers."""
    found: list[Interval | None] = [None] * len(columns)
    for num, places in _by_length(columns, FEWEST).items():
        sums = resampled_sums([columns[place] for place in places])
        low, high = np.quantile(sums, [0.025, 0.975], axis=0) / num
        for place, *ends in zip(places, low.tolist(), high.tolist(), strict=True):
            found[place] = Interval(*ends)
    return found


def resampled_sums(columns: Sequence[Numbers]) -> Numbers:
    """Return the sum of each column over each resample of images, (RESAMPLES, columns); all are of one length."""
    num = len(columns[0])
    stacked, grids = on_grid(columns)
    rng, rows = seeded(), max(1, BLOCK // num)
    sums = [counts_drawn(rng, min(rows, RESAMPLES - start), num) @ stacked for start in range(0, RESAMPLES, rows)]
    return np.concatenate(sums) * grids


def flip_probabilities(columns: Sequence[Numbers]) -> list[float | None]:
    """Return for each column of differences the two-sided probability of its mean under flips of signs."""
    found: list[float | None] = [None] * len(columns)
    for num, places in _by_length(columns, 1).items():
        stacked, _ = on_grid([columns[place] for place in places])
        observed = np.abs(stacked.sum(axis=0))
        exact = num <= EXACT_FLIPS
        total, rng, rows = (2**num if exact else FLIPS), seeded(), max(1, BLOCK // num)
        extreme = np.zeros(len(places), np.int64)
        for start in range(0, total, rows):
            flips = min(rows, total - start)
            signs = all_signs(num) if exact else signs_drawn(rng, flips, num)
            extreme += np.count_nonzero(np.abs(signs @ stacked) >= observed, axis=0)
        probabilities = extreme / total if exact else (extreme + 1) / (total + 1)
        for place, probability in zip(places, probabilities.tolist(), strict=True):
            found[place] = probability
    return found


def _summary(
    keys: Sequence[str], column: Column, numbers: Numbers, interval: Interval | None, identical: float
) -> Summary:
    missing = {reason: column.missing[reason] for reason in sorted(column.missing)}
    num_images, num = len(column.numbers), len(numbers)
    if not num:
        return Summary(num_images=num_images, num=0, missing=missing)
    ranked = np.where(np.isnan(column.numbers), np.nan, _finite(column.numbers, identical))
    lowest, highest = int(np.nanargmin(ranked)), int(np.nanargmax(ranked))
    worst, best = (lowest, highest) if column.higher_is_better else (highest, lowest)
    lower, median, upper = np.quantile(numbers, [0.25, 0.5, 0.75]).tolist()
    mean = mean_of(numbers)
    return Summary(
        num_images=num_images, num=num, num_infinite=int(np.isposinf(column.numbers).sum()), missing=missing, mean=mean,
        interval=interval, median=median, deviation=_deviation(numbers, mean), lower_quartile=lower,
        upper_quartile=upper, worst=float(ranked[worst]), best=float(ranked[best]), worst_key=keys[worst],
        best_key=keys[best],
    )  # fmt: skip


def _pairing(
    pair: Pair, first: Numbers, second: Numbers, interval: Interval | None, probability: float | None
) -> Pairing:
    has_first, has_second = ~np.isnan(pair.first), ~np.isnan(pair.second)
    num = len(first)
    better = first > second if pair.higher_is_better else first < second
    ties = int((first == second).sum())
    wins = int(better.sum())
    return Pairing(
        num=num, num_first_only=int((has_first & ~has_second).sum()),
        num_second_only=int((has_second & ~has_first).sum()), num_neither=int((~has_first & ~has_second).sum()),
        first_mean=mean_of(first) if num else None, second_mean=mean_of(second) if num else None,
        difference=mean_of(first - second) if num else None, interval=interval, probability=probability,
        exact=0 < num <= EXACT_FLIPS, wins=wins, ties=ties, losses=num - wins - ties,
    )  # fmt: skip


def _deviation(numbers: Numbers, mean: float) -> float | None:
    """Return the standard deviation, over n - 1, or None of one number."""
    if len(numbers) < 2:
        return None
    return math.sqrt(math.fsum(((numbers - mean) ** 2).tolist()) / (len(numbers) - 1))


def _present(numbers: Numbers, identical: float) -> Numbers:
    return _finite(numbers[~np.isnan(numbers)], identical)


def _finite(numbers: Numbers, identical: float) -> Numbers:
    return np.where(np.isposinf(numbers), identical, numbers)


def _by_length(columns: Sequence[Numbers], fewest: int) -> dict[int, list[int]]:
    """Return the places of columns by how many numbers they hold, those of fewer left out."""
    found: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        if len(column) >= fewest:
            found.setdefault(len(column), []).append(place)
    return found
