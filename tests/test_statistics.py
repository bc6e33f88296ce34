"""Estimates and intervals: against published examples, against the tests that they invert, and by simulation."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar

from seqocr import statistics
from seqocr.statistics import (
    BETTER,
    SAME,
    UNDECIDED,
    WORSE,
    Value,
    holm,
    location,
    median,
    median_ratio,
    paired_difference,
    proportion,
    quotient,
    ratio,
    replicated,
    slopes,
    smallest_seen,
    unpaired_difference,
    verdicts,
)

Z = 1.959964  # of a normal distribution, 2.5 % lie beyond it


def ends(value: Value) -> tuple[float, float]:
    return value.low, value.high


def share_covered(values: list[Value], truth: float) -> float:
    return float(np.mean([value.low <= truth <= value.high for value in values]))


# The type.


def test_a_falling_scale_swaps_the_ends() -> None:
    value = Value(2.0, 1.0, 4.0, 7)
    assert value.map(lambda x: 1 / x) == Value(0.5, 0.25, 1.0, 7)
    assert value.map(lambda x: x + 1) == Value(3.0, 2.0, 5.0, 7)
    assert value.times(1000) == Value(2000.0, 1000.0, 4000.0, 7)
    assert value.times(-1) == Value(-2.0, -4.0, -1.0, 7)


def test_columns_of_a_table_and_back() -> None:
    value = Value(2.0, 1.0, 4.0, 7)
    row = value.columns("ms")
    assert row == {"ms": 2.0, "ms_low": 1.0, "ms_high": 4.0}
    assert Value.of(row, "ms", 7) == value
    assert Value.of({**row, "other": 1}, "ms") == Value(2.0, 1.0, 4.0, 0)


def test_a_result_is_not_changed_by_whoever_has_it() -> None:
    found = paired_difference([True], [False])
    for result, field in ((found, "p_value"), (found.difference, "estimate")):
        with pytest.raises(FrozenInstanceError):
            setattr(result, field, 0.0)


# The location of rounds.

# What nine patients' depression scores fell by: Hollander and Wolfe 1999, chapter 3.
DEPRESSION = [0.952, -0.147, 1.022, 0.430, 0.620, 0.590, 0.490, -0.080, 0.010]
some_values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=1, max_size=30, unique=True)


def test_location_of_a_published_example() -> None:
    found = location(DEPRESSION)
    assert found.estimate == pytest.approx(0.46)
    assert ends(found) == pytest.approx((0.010, 0.786))
    assert found.n == 9


@pytest.mark.parametrize(
    ("n", "critical"),
    [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (15, 25), (20, 52), (25, 89), (30, 137), (40, 264), (50, 434)],
)
def test_signed_ranks_have_the_critical_values_of_printed_tables(n: int, critical: int) -> None:
    """Two-sided, 5 %: Wilcoxon, Katti and Wilcox 1970."""
    assert statistics._signed_rank_quantile(n) == critical


@pytest.mark.parametrize("n", [51, 62, 78, 150])
def test_many_values_have_nearly_the_exact_critical_value(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where it is not the same, an interval wider by one pair mean a side."""
    approximate = statistics._signed_rank_quantile(n)
    monkeypatch.setattr(statistics, "_EXACT", n)
    assert 0 <= statistics._signed_rank_quantile(n) - approximate <= 1


@settings(max_examples=40, deadline=None)
@given(n=st.integers(6, 30), seed=st.integers(0, 2**32))
def test_the_interval_holds_what_the_signed_rank_test_does_not_reject(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    i, j = np.triu_indices(n)
    found, step = location(values), np.diff(np.sort((values[i] + values[j]) / 2)).min() / 3

    def p(centre: float) -> float:
        return float(stats.wilcoxon(values - centre, method="exact").pvalue)

    assert p(found.low + step) > 0.05
    assert p(found.high - step) > 0.05
    assert p(found.low - step) <= 0.05
    assert p(found.high + step) <= 0.05


@given(values=some_values)
def test_a_location_lies_within_the_values_in_its_interval(values: list[float]) -> None:
    found = location(values)
    assert min(values) <= found.low <= found.estimate <= found.high <= max(values)
    assert found.n == len(values)
    if len(values) < 6:
        assert ends(found) == (min(values), max(values))


@given(values=some_values, factor=st.floats(0.1, 10), shift=st.floats(-50, 50))
def test_a_location_moves_with_the_values(values: list[float], factor: float, shift: float) -> None:
    moved, found = location(np.array(values) * factor + shift), location(values)
    for name in ("estimate", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name) * factor + shift, abs=1e-6)


def test_one_round_and_rounds_that_all_agree() -> None:
    assert location([3.0]) == Value(3.0, 3.0, 3.0, 1)
    assert location([2.0] * 12) == Value(2.0, 2.0, 2.0, 12)
    assert location([1.0, 5.0]) == Value(3.0, 1.0, 5.0, 2)


def test_a_quarter_of_wild_values_hardly_moves_a_location() -> None:
    calm = np.random.default_rng(0).normal(10, 0.1, 40)
    wild = calm.copy()
    wild[:10] *= 1000
    assert location(wild).estimate == pytest.approx(location(calm).estimate, abs=0.15)


@pytest.mark.parametrize("noise", ["normal", "standard_cauchy"])
def test_intervals_of_locations_cover_as_often_as_they_say(noise: str) -> None:
    """Of ten rounds, 95.1 % exactly: P(W <= 8) is 25 / 1024."""
    draws = getattr(np.random.default_rng(1), noise)(size=(1500, 10)) + 5
    assert share_covered([location(row) for row in draws], 5) == pytest.approx(0.951, abs=0.015)


# Ratios.


def test_a_ratio_is_that_of_pairs() -> None:
    below = [1.0, 10.0, 100.0, 1000.0, 1e4, 1e5, 1e6]
    for factor in (0.5, 2.0):
        found = ratio([factor * x for x in below], below)
        assert (found.estimate, *ends(found)) == pytest.approx((factor,) * 3)
        assert found.n == 7
    # Of factors 1, 2, 4, ... the middle one, and the whole range but what seven rounds leave out: 2 pair means a side.
    found = ratio([2.0**i * x for i, x in enumerate(below)], below)
    assert (found.estimate, *ends(found)) == pytest.approx((8.0, 2.0, 32.0))


times = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=20)


@given(pairs=times)
def test_a_ratio_upside_down_is_its_inverse_and_never_below_zero(pairs: list[tuple[float, float]]) -> None:
    above, below = zip(*pairs, strict=True)
    one, other = ratio(above, below), ratio(below, above)
    assert 0 < one.low <= one.estimate <= one.high
    assert one.estimate * other.estimate == pytest.approx(1)
    assert one.low * other.high == pytest.approx(1)


# Slopes, and their quotients.


def test_slopes_of_published_examples() -> None:
    """Sen 1968, section 7; and the example of `ci.theil` in the R package statpsych."""
    assert slopes([1, 2, 3, 4, 10, 12, 18], [[9, 15, 19, 20, 45, 55, 78]]).tolist() == [4.0]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    assert slopes(x, [y]).tolist() == [0.5]


def test_every_round_has_a_slope_of_its_own_that_a_wild_point_does_not_move() -> None:
    x = np.array([1, 5, 10, 20, 50])
    rounds = np.stack([3 + 2 * x, 7 - 0.5 * x, 0 * x])
    assert slopes(x, rounds).tolist() == [2.0, -0.5, 0.0]
    rounds[:, 2] = 1000
    assert slopes(x, rounds)[:2] == pytest.approx([2.0, -0.5], abs=0.6)
    assert slopes(x, rounds)[2] == 0


def paired_slopes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of which the first are half of the second, with noise that makes single ones negative."""
    generator = np.random.default_rng(seed)
    return 0.5 + 0.3 * generator.normal(size=count), 1 + 0.6 * generator.normal(size=count)


def test_a_quotient_is_of_locations_and_the_same_every_time() -> None:
    above, below = paired_slopes(15)
    found = quotient(above, below)
    assert found.estimate == location(above).estimate / location(below).estimate
    assert found.low < found.estimate < found.high
    assert found.n == 15
    assert quotient(list(above), list(below)) == found


def test_a_quotients_interval_is_a_percentile_bootstrap_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_RESAMPLES", 40_000)  # so that chance does not show
    above, below = paired_slopes(24)
    picks = np.random.default_rng(9).choice(24, (40_000, 24))
    found = np.median(above[picks], axis=1) / np.median(below[picks], axis=1)
    expected = np.quantile(found, 0.025), np.quantile(found, 0.975)
    assert ends(quotient(above, below)) == pytest.approx(expected, abs=0.015 * (expected[1] - expected[0]))
    doubled = quotient(2 * below, below)  # a pair stays together: no resample is anything but 2
    assert (doubled.estimate, *ends(doubled)) == (2.0, 2.0, 2.0)


def test_a_quotient_lies_in_its_interval_whatever_medians_do() -> None:
    """Nearly a third of wild values moves a location before it moves a median."""
    wild = np.array([1.0] * 30 + [100.0] * 13)
    assert quotient(wild, np.ones(43)) == Value(50.5, 1.0, 50.5, 43)
    assert quotient(-wild, np.ones(43)) == Value(-50.5, -50.5, -1.0, 43)


def test_a_quotient_of_one_round() -> None:
    assert quotient([3.0], [2.0]) == Value(1.5, 1.5, 1.5, 1)


def test_intervals_of_quotients_cover_nearly_as_often_as_they_say() -> None:
    """A bootstrap over twenty rounds is a little too narrow or too wide."""
    found = [quotient(*paired_slopes(20, seed)) for seed in range(200)]
    assert 0.9 <= share_covered(found, 0.5) <= 0.99


# Medians.


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (4, 1, 4),
        (5, 1, 5),
        (6, 1, 6),
        (8, 1, 8),
        (9, 2, 8),
        (10, 2, 9),
        (15, 4, 12),
        (20, 6, 15),
        (25, 8, 18),
        (50, 18, 33),
    ],
)
def test_a_medians_interval_has_the_ranks_of_printed_tables(n: int, low: int, high: int) -> None:
    """Nair 1940. There is no interval of 95 % for fewer than six: it is then the range."""
    values = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert median(values) == Value((n + 1) / 2, low, high, n)


def test_intervals_of_medians_cover_at_least_as_often_as_they_say() -> None:
    draws = np.random.default_rng(2).exponential(size=(1500, 12))
    found = [median(row) for row in draws]
    exact = 1 - 2 * stats.binom.cdf(2, 12, 0.5)  # from the third to the tenth
    assert share_covered(found, math.log(2)) == pytest.approx(exact, abs=0.015)
    assert exact > 0.95


@pytest.mark.parametrize("rounds", [6, 10, 24])
def test_intervals_of_ratios_of_medians_cover_nearly_as_often_as_they_say(rounds: int) -> None:
    draw = np.random.default_rng(0)
    found = [median_ratio(*np.exp(0.05 * draw.standard_t(3, (2, rounds)))) for _ in range(300)]
    assert share_covered(found, 1.0) > 0.92
    assert all(value.low <= value.estimate <= value.high for value in found)


def test_a_ratio_of_few_values_may_be_anything() -> None:
    assert median_ratio([3.0] * 5, [2.0] * 50) == Value(1.5, 0.0, math.inf, 5)


# Proportions.


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_proportions_of_published_examples(right: int, of: int, low: float, high: float) -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    found = proportion(right, of)
    assert found.estimate == right / of
    assert ends(found) == pytest.approx((low, high), abs=5e-5)
    assert found.n == of
    assert ends(proportion(of - right, of)) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 10), 0.6075, 1.0)],
)
def test_unpaired_differences_of_published_examples(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe (1998), table II, method 10."""
    found = unpaired_difference(proportion(*first), proportion(*second))
    assert found.estimate == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_of_nothing_anything_is_possible() -> None:
    found = proportion(0, 0)
    assert math.isnan(found.estimate)
    assert (*ends(found), found.n) == (0.0, 1.0, 0)


# Two readers of the same strings.


def readers(both: int, only_first: int, only_second: int, none: int) -> tuple[list[bool], list[bool]]:
    """What each reads right, in an order that mixes the four kinds."""
    kinds = [(True, True)] * both + [(True, False)] * only_first + [(False, True)] * only_second
    kinds += [(False, False)] * none
    order = np.random.default_rng(0).permutation(len(kinds))
    return [kinds[i][0] for i in order], [kinds[i][1] for i in order]


@pytest.mark.parametrize(
    ("table", "low", "high", "p_value"),
    [((1, 1, 7, 12), -0.5172, -0.0260, 0.070313), ((59, 6, 16, 80), -0.1240, -0.0054, 0.052479)],
)
def test_paired_differences_of_published_examples(
    table: tuple[int, int, int, int], low: float, high: float, p_value: float
) -> None:
    """Fagerland, Lydersen and Laake 2017, "Statistical Analysis of Contingency Tables", chapter 8."""
    found = paired_difference(*readers(*table))
    n, b, c = sum(table), table[1], table[2]
    assert found.difference.estimate == (b - c) / n
    assert ends(found.difference) == pytest.approx((low, high), abs=5e-5)
    assert (found.only_first, found.only_second, found.difference.n) == (b, c, n)
    assert found.p_value == pytest.approx(p_value, abs=1e-6)
    swapped = paired_difference(*reversed(readers(*table)))
    assert ends(swapped.difference) == pytest.approx((-found.difference.high, -found.difference.low))
    assert (swapped.only_first, swapped.only_second, swapped.p_value) == (c, b, found.p_value)


def score(b: int, c: int, n: int, delta: float) -> float:
    """Of the test that the difference is `delta`: the likeliest chances under it are looked for, not solved for."""

    def unlikely(q: float) -> float:
        shares = ((b, q + delta), (c, q), (n - b - c, 1 - 2 * q - delta))
        return -sum(count * math.log(max(share, 1e-300)) for count, share in shares if count)

    bounds = max(0.0, -delta), (1 - delta) / 2
    q = float(minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x)
    return (b - c - n * delta) / math.sqrt(n * (2 * q + delta - delta**2))


@settings(max_examples=60, deadline=None)
@given(counts=st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 60)))
def test_the_interval_of_a_difference_holds_what_the_score_test_does_not_reject(counts: tuple[int, int, int]) -> None:
    b, c, same = counts
    n = b + c + same
    assume(n > 0)
    found = paired_difference(*readers(same, b, c, 0)).difference
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found.low < found.high
    for end, other in ((found.low, -1), (found.high, 1)):
        if abs(end) < 1:
            assert abs(score(b, c, n, end)) == pytest.approx(Z, abs=1e-3)
        else:
            assert end == found.estimate == other


@pytest.mark.parametrize("n", [1, 2, 20, 2000])
def test_readers_that_agree_on_every_string_may_still_differ(n: int) -> None:
    """By up to z² / (n + z²), as for a proportion of nothing (Wilson)."""
    for right in ([True] * n, [False] * n, [i % 2 == 0 for i in range(n)]):
        found = paired_difference(right, right)
        assert found.difference.estimate == 0
        assert ends(found.difference) == pytest.approx((-(Z**2) / (n + Z**2), Z**2 / (n + Z**2)), rel=1e-5)
        assert (found.only_first, found.only_second, found.p_value) == (0, 0, 1.0)


@pytest.mark.parametrize("n", [1, 7, 300])
def test_readers_that_differ_on_every_string(n: int) -> None:
    found = paired_difference([True] * n, [False] * n)
    assert (found.difference.estimate, found.difference.high) == (1.0, 1.0)
    assert found.difference.low == pytest.approx((n - Z**2) / (n + Z**2), rel=1e-5)
    assert found.p_value == pytest.approx(min(1.0, 2 * 0.5**n))
    other = paired_difference([False] * n, [True] * n).difference
    assert (other.estimate, other.low, other.high) == pytest.approx((-1.0, -1.0, -found.difference.low))


def test_intervals_of_differences_cover_as_often_as_they_say() -> None:
    """Two good readers of 200 strings, of which one alone reads 4 %, the other alone 2 % right."""
    counts = np.random.default_rng(3).multinomial(200, [0.04, 0.02, 0.94], 1500)
    found: dict[Any, Value] = {}
    for b, c, same in counts.tolist():
        if (b, c) not in found:
            found[b, c] = paired_difference(*readers(same, b, c, 0)).difference
    assert share_covered([found[b, c] for b, c, _ in counts.tolist()], 0.02) == pytest.approx(0.95, abs=0.015)


# Replications of an experiment.


def test_replications_have_student_s_interval_and_test() -> None:
    values = [0.01, 0.02, 0.015, 0.01, 0.03]
    found = replicated(values, margin=0.01)
    theirs = stats.ttest_1samp(values, 0)
    assert found.p_value == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.95)
    assert ends(found.difference) == pytest.approx((interval.low, interval.high))
    assert found.difference.n == 5
    assert found.p_within > 0.05


@given(st.lists(st.floats(-0.02, 0.02), min_size=2, max_size=8).filter(lambda v: np.std(v) > 1e-6))
@settings(max_examples=60, deadline=None)
def test_equivalence_is_what_two_one_sided_tests_say(values: list[float]) -> None:
    margin = 0.01
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert replicated(values, margin).p_within == pytest.approx(max(above, below))


def test_replications_without_scatter_need_no_test() -> None:
    assert replicated([0.0, 0.0, 0.0], 0.01).p_within == 0
    assert replicated([0.0, 0.0, 0.0], 0.01).p_value == 1
    assert replicated([0.5, 0.5], 0.01).p_value == 0
    assert replicated([0.5, 0.5], 0.01).p_within == 1


def test_one_family_decides_by_corrected_tests_and_intervals() -> None:
    clear, slight = readers(1900, 60, 0, 40), readers(1994, 6, 0, 0)  # 6 of 6: p = 0.03 by itself
    alone = paired_difference(*slight)
    assert verdicts([alone])[0].word == BETTER
    found = verdicts([alone, alone, paired_difference(*clear), paired_difference(*clear[::-1])])
    assert [each.word for each in found] == [SAME, SAME, BETTER, WORSE]
    assert found[0].p_value == 2 * alone.p_value
    few = [paired_difference(*readers(190, 1, 1, 8))] * 2
    assert [each.word for each in verdicts(few)] == [UNDECIDED] * 2
    assert verdicts(few)[0].p_within == min(1, 2 * few[0].p_within)


@pytest.mark.parametrize("shares", [(0.015, 0.005), (0.005, 0.015)])
def test_a_difference_as_large_as_the_margin_is_seldom_called_within_it(shares: tuple[float, float]) -> None:
    """One point apart, the worst case: 5 % of tests say that it is less."""
    counts = np.random.default_rng(5).multinomial(2000, [*shares, 1 - sum(shares)], 1500).tolist()
    said = [paired_difference(*readers(same, b, c, 0)).p_within < 0.05 for b, c, same in counts]
    assert 0.03 < np.mean(said) < 0.07


def test_holm_s_adjustment_of_a_published_example() -> None:
    """Holm 1979: the smallest p-value counts as often as there are tests, the next once less, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(("n", "level"), [(3, 0.05), (5, 0.05), (5, 0.001), (10, 0.01)])
def test_the_smallest_difference_seen_is_found_with_that_power(n: int, level: float) -> None:
    """Simulated: of samples around it, as scattered, four fifths are significant."""
    values = np.linspace(-1, 1, n) * 0.01
    values *= 0.01 / values.std(ddof=1)
    least = smallest_seen(values, level)
    draws = np.random.default_rng(0).normal(least, 0.01, (20_000, n))
    significant = stats.ttest_1samp(draws, 0, axis=1).pvalue < level
    assert significant.mean() == pytest.approx(0.8, abs=0.015)
