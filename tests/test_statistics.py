"""Statistics against closed forms and brute force: what they count, what they say, and that they never change."""

import itertools
import math
import statistics

import numpy as np
import pytest

from ops.statistics import (
    FEWEST,
    FLIPS,
    Column,
    Pair,
    Pairing,
    bootstrap_means,
    compare_pairs,
    flip_probabilities,
    summarise,
)

IDENTICAL = 100.0


def numbers(*values):
    return np.array(values, np.float64)


def normal(num, mean=25.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 3.0, num)


def summed(values, **more):
    [summary] = summarise([f"{place}.jpg" for place in range(len(values))], [Column(values, **more)], IDENTICAL)
    return summary


def paired(first, second, **more):
    [pairing] = compare_pairs([Pair(first, second, **more)], IDENTICAL)
    return pairing


def test_mean_spread_and_quartiles_are_those_of_the_standard_library():
    values = normal(101)
    summary = summed(values)
    assert summary.mean == statistics.fmean(values)
    assert summary.deviation == pytest.approx(statistics.stdev(values), rel=1e-12)
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    assert (summary.lower_quartile, summary.median, summary.upper_quartile) == pytest.approx(quartiles, rel=1e-12)


def test_worst_and_best_follow_the_direction_of_the_metric():
    values = numbers(3, 1, 2)
    higher, lower = summed(values), summed(values, higher_is_better=False)
    assert (higher.worst_key, higher.worst, higher.best_key, higher.best) == ("1.jpg", 1, "0.jpg", 3)
    assert (lower.worst_key, lower.best_key) == ("0.jpg", "1.jpg")


def test_an_infinite_psnr_counts_as_what_the_protocol_says_and_is_counted():
    summary = summed(numbers(20, math.inf, 30))
    assert summary.mean == 50.0
    assert summary.num_infinite == 1
    assert (summary.best, summary.best_key) == (IDENTICAL, "1.jpg")


def test_every_image_without_a_number_is_counted_with_its_reason():
    summary = summed(numbers(20, math.nan, 30, math.nan), missing={"too small": 1, "no_reference": 1})
    assert (summary.num_images, summary.num, summary.mean) == (4, 2, 25.0)
    assert summary.missing == {"no_reference": 1, "too small": 1}
    assert summary.num + sum(summary.missing.values()) == summary.num_images


def test_no_numbers_at_all_give_counts_and_nothing_else():
    summary = summed(numbers(math.nan, math.nan), missing={"not_encoded": 2})
    assert (summary.num, summary.mean, summary.interval, summary.worst_key) == (0, None, None, None)
    assert summed(numbers()).num_images == 0


def test_below_five_images_there_is_no_interval():
    assert summed(normal(FEWEST - 1)).interval is None
    assert summed(normal(FEWEST)).interval is not None
    assert summed(normal(1)).deviation is None


def test_the_bootstrap_is_near_all_resamples_of_five_images():
    values = numbers(1, 2, 4, 8, 16)
    means = [statistics.fmean(drawn) for drawn in itertools.product(values, repeat=5)]
    low, high = np.quantile(means, [0.025, 0.975])
    [interval] = bootstrap_means([values])
    assert interval == pytest.approx((low, high), abs=0.4)  # 2,000 of 3,125 resamples, drawn with replacement


def test_the_interval_of_many_normal_numbers_is_that_of_their_standard_error():
    values = normal(400)
    [interval] = bootstrap_means([values])
    reach = 1.96 * values.std(ddof=1) / 20
    assert interval == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.1 * reach)


def test_ninety_five_of_a_hundred_intervals_hold_the_true_mean():
    held = [interval for interval in bootstrap_means([normal(60, 7.0, seed) for seed in range(400)]) if interval]
    inside = sum(low <= 7.0 <= high for low, high in held) / len(held)
    assert 0.91 <= inside <= 0.98


def test_a_column_has_the_same_interval_alone_and_beside_any_others():
    columns = [normal(50, seed=seed) * 10.0 ** (seed - 3) for seed in range(6)]
    alone = [bootstrap_means([column])[0] for column in columns]
    assert bootstrap_means(columns) == alone
    assert bootstrap_means(columns[::-1]) == alone[::-1]
    assert flip_probabilities([column - column.mean() for column in columns]) == [
        flip_probabilities([column - column.mean()])[0] for column in columns
    ]


def test_statistics_of_the_same_scores_never_change():
    pairing = paired(normal(20), normal(20, 26.0, seed=1))
    # From numpy 2.4; should another numpy draw otherwise, tables of older reports change with it.
    assert pairing.interval == pytest.approx((-2.92505870334618, -0.3156798380534413), rel=1e-12)
    assert pairing.probability == 0.030596940305969402


@pytest.mark.parametrize("num", [1, 2, 5, 12])
def test_up_to_twelve_images_all_flips_of_signs_are_counted(num):
    differences = np.random.default_rng(num).normal(0.5, 1, num).round(2)
    observed = abs(math.fsum(differences))
    flips = list(itertools.product((-1, 1), repeat=num))
    extreme = sum(abs(math.fsum(differences * signs)) >= observed - 1e-9 for signs in flips)
    assert flip_probabilities([differences]) == [extreme / len(flips)]


def test_differences_of_one_sign_have_the_least_probability_there_is():
    assert flip_probabilities([numbers(1, 2, 3, 4, 5, 6)]) == [2 / 64]
    assert flip_probabilities([np.ones(2_000)]) == [1 / (FLIPS + 1)]


def test_no_difference_has_probability_one():
    assert flip_probabilities([np.zeros(6), np.zeros(40)]) == [1.0, 1.0]


def test_random_flips_agree_with_the_normal_distribution():
    differences = normal(300, 0.3, seed=3)
    [probability] = flip_probabilities([differences])
    z = abs(differences.sum()) / math.sqrt(float(np.square(differences).sum()))
    assert probability == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.015)


def test_a_pairing_has_the_images_that_both_have_and_counts_the_others():
    first, second = numbers(1, 2, math.nan, math.nan, 5), numbers(2, math.nan, 3, math.nan, 5)
    pairing = paired(first, second)
    assert (pairing.num, pairing.num_first_only, pairing.num_second_only, pairing.num_neither) == (2, 1, 1, 1)
    assert (pairing.first_mean, pairing.second_mean, pairing.difference) == (3.0, 3.5, -0.5)
    assert (pairing.wins, pairing.ties, pairing.losses) == (0, 1, 1)


def test_wins_follow_the_direction_of_the_metric():
    better = paired(numbers(0.1, 0.2, 0.3), numbers(0.2, 0.3, 0.3), higher_is_better=False)
    assert (better.wins, better.ties, better.losses) == (2, 1, 0)


def test_a_pairing_is_mirrored_when_its_sides_are_swapped():
    first, second = normal(30), normal(30, 26, seed=2)
    one, two = paired(first, second), paired(second, first)
    assert one.difference == -two.difference
    assert (one.wins, one.losses) == (two.losses, two.wins)
    assert one.probability == two.probability
    assert one.interval == pytest.approx((-two.interval.high, -two.interval.low), abs=1e-9)


def test_two_infinite_psnrs_are_a_tie_and_not_a_number_that_is_none():
    pairing = paired(numbers(math.inf, math.inf), numbers(math.inf, 30))
    assert (pairing.difference, pairing.wins, pairing.ties) == (35.0, 1, 1)


def test_nothing_in_common_is_said_so():
    pairing = paired(numbers(1, math.nan), numbers(math.nan, 1))
    assert pairing == Pairing(num=0, num_first_only=1, num_second_only=1, num_neither=0)
    assert not pairing.is_clear()


def test_a_difference_is_clear_only_where_interval_and_test_agree():
    assert paired(normal(24) + 3, normal(24)).is_clear()
    assert not paired(normal(24), normal(24, seed=9)).is_clear()
    assert not paired(normal(5) + 3, normal(5)).is_clear()  # of 32 flips, two are at least as large: 6 %
    assert not paired(normal(3) + 3, normal(3)).is_clear()
