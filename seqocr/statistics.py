"""Estimates with their intervals: one type, used from here to the page. All intervals are 95 %.

Times come from rounds, and a round can be disturbed, so times are summarised by estimators that a few wild values do
not move. Proportions and their differences have score intervals, which are honest at 0, at 1 and where nothing differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

_LEVEL = 0.95
_Z = float(stats.norm.ppf(0.5 + _LEVEL / 2))
_RESAMPLES = 2_000
_FEWEST = 6  # values without which no interval of a median is 95 %
MARGIN = 0.01  # of exact match: what is smaller does not matter
BETTER, WORSE, SAME, UNDECIDED = "better", "worse", "within 1 point", "undecided"
_EXACT = 50  # values up to which the distribution of the signed-rank statistic is computed, not approximated


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval: low <= estimate <= high, in the same unit."""

    estimate: float
    low: float
    high: float
    n: int  # rounds or strings that it rests on

    def map(self, f: Callable[[float], float]) -> Value:
        """The value on another scale; `f` is monotonic, and a falling one swaps the ends."""
        ends = f(self.low), f(self.high)
        return Value(f(self.estimate), min(ends), max(ends), self.n)

    def times(self, factor: float) -> Value:
        return self.map(lambda x: x * factor)

    def columns(self, name: str) -> dict[str, float]:
        """As columns of a table: NAME, NAME_low, NAME_high."""
        return {name: self.estimate, f"{name}_low": self.low, f"{name}_high": self.high}

    @classmethod
    def of(cls, row: Any, name: str, n: int = 0) -> Value:
        """Back from the columns of a table's row."""
        return cls(float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"]), n)


def location(values: Any) -> Value:
    """The Hodges-Lehmann estimate: the median of the means of all pairs (Hodges and Lehmann 1963).

    Nearly as efficient as the mean for normal noise, and unmoved by up to 29 % of wild values. The interval inverts
    Wilcoxon's signed-rank test (Hollander and Wolfe 1999, section 3.3). It lies within the values, so that of a time is
    never below zero. With fewer than six values no interval of 95 % exists: it is then their range.
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    i, j = np.triu_indices(n)
    walsh = np.sort((values[i] + values[j]) / 2)
    skip = _signed_rank_quantile(n)
    return Value(float(np.median(walsh)), float(walsh[skip]), float(walsh[-1 - skip]), n)


def _signed_rank_quantile(n: int) -> int:
    """How many of the sorted pair means lie outside the interval at either end: the largest k with P(W <= k) <= 2.5 %,
    where W is the signed-rank statistic of n values without a difference; 0 where there is none."""
    if n > _EXACT:
        mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
        return int(mean - _Z * variance**0.5 - 0.5)
    ways = np.array([1.0])  # of every sum of ranks: each rank is part of it or not
    for rank in range(1, n + 1):
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    return max(0, int((np.cumsum(ways) / 2.0**n <= (1 - _LEVEL) / 2).sum()) - 1)


def ratio(above: Any, below: Any) -> Value:
    """Of paired positive values: the location of the logarithms of their ratios, as a ratio."""
    logarithms = np.log(np.asarray(above, dtype=float) / np.asarray(below, dtype=float))
    return location(logarithms).map(lambda x: float(np.exp(x)))


def slopes(x: Any, y: Any) -> np.ndarray:
    """(rounds,): the slope of each line through x (points,) and a row of y (rounds, points): the median of those of
    all pairs of points (Theil 1950, Sen 1968)."""
    return np.array([stats.theilslopes(row, x).slope for row in np.asarray(y, dtype=float)])


def quotient(above: Any, below: Any) -> Value:
    """The location of paired values over that of others, where single ones may be near zero, as slopes may.

    The interval is a percentile bootstrap over pairs (2,000 resamples, seeded).
    """
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    estimate = location(above).estimate / location(below).estimate
    picks = np.random.default_rng(0).integers(0, len(above), (_RESAMPLES, len(above)))
    found = np.median(above[picks], axis=1) / np.median(below[picks], axis=1)
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Value(estimate, min(float(low), estimate), max(float(high), estimate), len(above))


def median_ratio(above: Any, below: Any) -> Value:
    """The median of positive values over that of others, measured apart from them.

    The interval is a percentile bootstrap over both (2,000 resamples, seeded). With fewer than six values on a side,
    none of 95 % exists: anything is possible.
    """
    sides = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    estimate, n = float(np.median(sides[0]) / np.median(sides[1])), min(map(len, sides))
    if n < _FEWEST:
        return Value(estimate, 0.0, float("inf"), n)
    generator = np.random.default_rng(0)
    medians = [
        np.median(values[generator.integers(0, len(values), (_RESAMPLES, len(values)))], axis=1) for values in sides
    ]
    low, high = np.quantile(medians[0] / medians[1], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Value(estimate, min(float(low), estimate), max(float(high), estimate), n)


def median(values: Any) -> Value:
    """The median, with the interval between the order statistics that a binomial puts 95 % between."""
    values = np.sort(np.asarray(values, dtype=float))
    n = len(values)
    low, high = (int(place) for place in stats.binom.interval(_LEVEL, n, 0.5))  # of which the ends are part
    return Value(float(np.median(values)), float(values[max(low - 1, 0)]), float(values[min(high, n - 1)]), n)


def proportion(right: int, of: int) -> Value:
    """With Wilson's score interval (Wilson 1927). Of nothing, anything is possible."""
    if of == 0:
        return Value(float("nan"), 0.0, 1.0, 0)
    low, high = proportion_confint(right, of, alpha=1 - _LEVEL, method="wilson")
    return Value(right / of, float(low), float(high), of)


def unpaired_difference(first: Value, second: Value) -> Value:
    """Of two proportions, of other strings each: Newcombe's interval, made of those of `proportion` (Newcombe 1998)."""
    estimate = first.estimate - second.estimate
    below = np.hypot(first.estimate - first.low, second.high - second.estimate)
    above = np.hypot(first.high - first.estimate, second.estimate - second.low)
    return Value(estimate, estimate - float(below), estimate + float(above), min(first.n, second.n))


@dataclass(frozen=True)
class Paired:
    """What two readers of the same strings have apart."""

    difference: Value  # share that the first reads right minus that of the second
    only_first: int  # strings that only one of them reads right
    only_second: int
    p_value: float  # McNemar's exact test: without a difference, a coin decides which of the two alone is right
    p_within: float  # of a difference as large as a margin, either way: the larger of two one-sided tests' (TOST)


def paired_difference(first: Any, second: Any, margin: float = MARGIN) -> Paired:
    """Compare two readers by whether each reads each string right: (strings,) bool, in the same order.

    The interval is Tango's score interval (Tango 1998). It has width even where both read every string alike. The tests
    against a margin are of the same score.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    n, b, c = len(first), int((first & ~second).sum()), int((~first & second).sum())
    p_value = min(1.0, 2 * float(stats.binom.cdf(min(b, c), b + c, 0.5)))
    above, below = float(stats.norm.sf(_score(b, c, n, -margin))), float(stats.norm.cdf(_score(b, c, n, margin)))
    return Paired(_tango(b, c, n), b, c, p_value, max(above, below))


def _score(b: int, c: int, n: int, delta: float) -> float:
    """Of (b - c) / n against a true difference `delta`: how many standard errors they are apart (Tango 1998)."""
    # The likeliest chance that only the second is right, if the true difference is `delta`.
    linear, constant = -b - c + (2 * n - b + c) * delta, -c * delta * (1 - delta)
    q = (np.sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
    variance = n * (2 * q + delta * (1 - delta))
    return float((b - c - n * delta) / np.sqrt(variance)) if variance > 0 else 0.0


def _tango(b: int, c: int, n: int) -> Value:
    """(b - c) / n, with the differences that the score test does not reject."""
    estimate = (b - c) / n

    def end(sign: int) -> float:  # where the score reaches ∓z, between the estimate and ±1
        if estimate == sign:
            return float(sign)
        return float(brentq(lambda delta: _score(b, c, n, delta) + sign * _Z, estimate, sign * (1 - 1e-12), xtol=1e-10))

    return Value(estimate, end(-1), end(1), n)


@dataclass(frozen=True)
class Replicated:
    """A difference that several replications of an experiment found, each of them one value."""

    difference: Value  # the mean, with Student's interval
    p_value: float  # of the t test against no difference
    # Of one as large as a margin, either way: the larger of two one-sided t tests' (TOST, Schuirmann 1987).
    p_within: float


def mean(values: Any, least_error: float = 0.0) -> Value:
    """The mean of replications (n,), at least two, with Student's interval; `least_error` as of `replicated`."""
    values = np.asarray(values, dtype=float)
    half = float(stats.t.ppf(0.5 + _LEVEL / 2, len(values) - 1)) * _standard_error(values, least_error)
    estimate = float(values.mean())
    return Value(estimate, estimate - half, estimate + half, len(values))


def _standard_error(values: np.ndarray, least: float) -> float:
    return max(float(values.std(ddof=1)) / len(values) ** 0.5, least)


def replicated(values: Any, margin: float, least_error: float = 0.0) -> Replicated:
    """Differences (replications,), at least two, against none, and against a margin of what does not matter.

    Args:
        least_error: standard error of the mean that is known to be there, whatever the replications show: a few of them
            can be alike by chance.
    """
    values = np.asarray(values, dtype=float)
    found, error, freedom = mean(values, least_error), _standard_error(values, least_error), len(values) - 1
    size = abs(found.estimate)
    if error == 0:  # all alike: no test is needed to see a difference, nor that there is none
        return Replicated(found, float(size == 0), float(size >= margin))
    p_value = 2 * float(stats.t.sf(size / error, freedom))
    return Replicated(found, p_value, float(stats.t.sf((margin - size) / error, freedom)))


@dataclass(frozen=True)
class Verdict:
    """What a family of comparisons says of one of them.

    Attributes:
        word: `BETTER` or `WORSE` where a test shows a difference and the interval leaves out 0; `SAME` where another
            one shows that it is within the margin; or `UNDECIDED`.
        p_value, p_within: of both tests, after Holm's correction over the family.
    """

    word: str
    p_value: float
    p_within: float

    @property
    def differs(self) -> bool:
        return self.word in (BETTER, WORSE)

    @property
    def is_better(self) -> bool:
        return self.word == BETTER

    @property
    def is_within(self) -> bool:
        """Whether it is shown to be within the margin, even if a difference is shown, too."""
        return self.p_within < 1 - _LEVEL


def verdicts(family: Sequence[Paired | Replicated]) -> list[Verdict]:
    """Of comparisons that are made together: the more there are, the likelier one is called different by chance."""
    if not family:
        return []
    p_values, p_within = (holm([getattr(gap, name) for gap in family]) for name in ("p_value", "p_within"))
    found = zip(family, p_values.tolist(), p_within.tolist(), strict=True)
    return [Verdict(_word(gap.difference, differs, same), differs, same) for gap, differs, same in found]


def _word(difference: Value, p_value: float, p_within: float) -> str:
    if p_value < 1 - _LEVEL and difference.low > 0:
        return BETTER
    if p_value < 1 - _LEVEL and difference.high < 0:
        return WORSE
    return SAME if p_within < 1 - _LEVEL else UNDECIDED


def holm(p_values: Any) -> np.ndarray:
    """(tests,) p-values of a family, adjusted so that 5 % is the chance of any false alarm in it (Holm 1979)."""
    adjusted: np.ndarray = multipletests(np.asarray(p_values, dtype=float), method="holm")[1]
    return adjusted


def smallest_seen(values: Any, level: float, power: float = 0.8) -> float:
    """The smallest true difference that a t test of so scattered differences (replications,) would have found.

    Args:
        level: of the two-sided test: after Holm, 5 % over the number of tests is on the safe side.
    """
    values = np.asarray(values, dtype=float)
    spread = float(values.std(ddof=1))
    if spread == 0:
        return 0.0
    n = len(values)
    beyond = float(stats.t.isf(level / 2, n - 1))
    # The test statistic of a true difference is a non-central t.
    shift = brentq(lambda shift: float(stats.nct.sf(beyond, n - 1, shift)) - power, 0, 10 * beyond)
    return spread / n**0.5 * float(shift)
