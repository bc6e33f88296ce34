"""Oracle (Bayes-optimal) readers: the best exact match that what each symbol's image says allows.

They differ in what they know of the label distribution. `local` knows each symbol's marginal distribution. `marginal`
takes the likeliest symbol at each place given the whole line, as a perfect one-pass head does. `joint` takes the
likeliest string, as a perfect autoregressive head does.

Two numbers say what lies between the last two. C is the conditional total correlation: nats by which the symbols'
entropies, given the image, exceed the string's. G is the probability that the likeliest string is right minus that of
the string of likeliest symbols. It is 0 wherever one string has more than half of the probability: each of its symbols
then has, too.

Of equally likely symbols the smallest id is taken, as argmax does. Probabilities that differ by less than 1e-12 are
equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import entr

from bench.study.label_distributions import LabelDistribution
from bench.study.posterior import compute_posterior, find_best, from_distribution, score
from seqocr.errors import InputError, check_bounds


@dataclass(frozen=True)
class OracleTexts:
    """What an oracle reader reads in B lines.

    Attributes:
        ids: (B, n) int64.
        probability: (B,) float64, posterior probability of the whole string.
    """

    ids: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True)
class Oracles:
    """The oracle readers on B lines.

    Attributes:
        local, marginal, joint: see the module.
        total_correlation: (B,) float64, C, nats.
    """

    local: OracleTexts
    marginal: OracleTexts
    joint: OracleTexts
    total_correlation: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """(B,) float64: G, from 0."""
        return np.maximum(self.joint.probability - self.marginal.probability, 0)


def read(distribution: LabelDistribution, evidence: np.ndarray) -> Oracles:
    """Read lines with the oracle readers.

    Args:
        distribution: of the strings.
        evidence: (B, n, k) float, log likelihoods of each symbol given its own image; a constant per place does not
            matter.

    Raises:
        InputError: evidence rules out every string or is of another shape, or the distribution has too many states.
    """
    automaton = from_distribution(distribution)
    posterior = compute_posterior(automaton, evidence)

    def texts(ids: np.ndarray) -> OracleTexts:
        nats = score(automaton, ids, evidence) - posterior.log_normaliser
        return OracleTexts(ids, np.exp(np.minimum(nats, 0)))

    with np.errstate(divide="ignore"):
        alone = np.round(evidence + np.log(distribution.marginals), 12)
    return Oracles(
        texts(alone.argmax(axis=2)),
        texts(_likeliest(posterior.marginals)),
        texts(find_best(automaton, evidence)[0]),
        posterior.total_correlation,
    )


def _likeliest(chances: np.ndarray) -> np.ndarray:
    """Along the last axis, the first of those that differ by rounding alone."""
    return np.round(chances, 12).argmax(axis=-1)


@dataclass(frozen=True)
class ErasureOracles:
    """Expected values over the strings of a label distribution and over what is erased.

    Attributes:
        local, marginal, joint: probability that the oracle reader has the whole string right.
        total_correlation: C, nats: of the string given its visible symbols.
    """

    local: float
    marginal: float
    joint: float
    total_correlation: float

    @property
    def gap(self) -> float:
        """G, from 0."""
        return max(0.0, self.joint - self.marginal)


def erasure_patterns(n: int, where: str | Sequence[bool], amount: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """What may be erased: (P, n) bool, True for an erased symbol, and the probability of each pattern, (P,).

    Args:
        where: "random" (each symbol independently), "first" or "last" (that many together), or one pattern.
        amount: probability that a symbol is erased, if random; else how many symbols are.

    Raises:
        InputError: there is no such pattern.
    """
    if where == "random":
        check_bounds("the probability to be erased", amount, 0, 1)
        every = np.arange(2**n)[:, None] >> np.arange(n) & 1 == 1
        return every, np.where(every, amount, 1 - amount).prod(axis=1)
    if where in ("first", "last"):
        check_bounds("symbols that are erased", amount, 0, n)
        place = np.arange(n) if where == "first" else np.arange(n)[::-1]
        return (place < amount)[None], np.ones(1)
    pattern = np.array(where)
    if pattern.dtype != bool or pattern.shape != (n,):
        raise InputError(f"erased {where!r}: give 'random', 'first', 'last', or {n} times True or False")
    return pattern[None], np.ones(1)


def read_under_erasure(
    distribution: LabelDistribution, where: str | Sequence[bool], amount: float = 0
) -> ErasureOracles:
    """Oracle readers of clean images some of whose symbols are erased: these say nothing, the others all.

    Exact, by enumeration.

    Args:
        distribution: of the strings.
        where, amount: see `erasure_patterns`.

    Raises:
        InputError: there is no such pattern, or the distribution has too many strings.
    """
    erased, chances = erasure_patterns(distribution.n, where, amount)
    strings, likely = distribution.enumerated()
    possible = chances > 0
    each = [_read_pattern(distribution, strings, likely, np.flatnonzero(pattern)) for pattern in erased[possible]]
    local, marginal, joint, correlation = (np.array(each).T @ chances[possible]).tolist()
    # A sum of probabilities may be rounded up.
    return ErasureOracles(min(local, 1.0), min(marginal, 1.0), min(joint, 1.0), correlation)


def _read_pattern(
    distribution: LabelDistribution, strings: np.ndarray, likely: np.ndarray, erased: np.ndarray
) -> tuple[float, float, float, float]:
    """The attributes of `ErasureOracles`, in their order, for one pattern: `erased` are its places."""
    n, k = distribution.n, distribution.k
    visible = np.delete(np.arange(n), erased)
    keys = strings[:, visible] @ k ** np.arange(len(visible))
    _, group = np.unique(keys, return_inverse=True)  # strings whose visible symbols are the same
    mass = np.bincount(group, likely)
    best = np.zeros(len(mass))
    np.maximum.at(best, group, likely)
    # An erased symbol given what is visible: its distribution, and whether each string has the likeliest one.
    entropies, by_marginals, alone = 0.0, np.ones(len(strings), bool), np.ones(len(strings), bool)
    for place in erased:
        symbols = strings[:, place]
        joint = np.bincount(group * k + symbols, likely, minlength=len(mass) * k).reshape(-1, k)
        entropies += _entropy(joint) - _entropy(mass)
        by_marginals &= symbols == _likeliest(joint / mass[:, None])[group]
        alone &= symbols == _likeliest(distribution.marginals[place])
    correlation = entropies - (_entropy(likely) - _entropy(mass))
    return float(likely[alone].sum()), float(likely[by_marginals].sum()), float(best.sum()), max(0.0, correlation)


def _entropy(chances: np.ndarray) -> float:
    return float(entr(chances).sum())
