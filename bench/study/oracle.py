"""Ideal readers: the best that can be made of what each symbol's image says, by what a reader knows of the law.

`local` knows each symbol's own law. `marginal_mode` takes the likeliest symbol in each slot given the whole line, as
an ideal one-pass head does. `joint_mode` takes the likeliest string, as an ideal autoregressive head does.

Two numbers say what lies between them. C is the conditional total correlation: nats by which the symbols' entropies,
given the image, exceed the string's. G is the chance that the likeliest string is right minus that of the string of
likeliest symbols. It is 0 wherever one string has more than half of the probability: each of its symbols then has, too.

Of equally likely symbols the smallest id is taken, as argmax does. Chances that differ by less than 1e-12 are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr

from seqocr.decoding import exact
from seqocr.decoding.automaton import Automaton, from_distribution
from seqocr.errors import InputError, check_bounds

if TYPE_CHECKING:
    from seqocr.data.synthetic.label_distributions import LabelDistribution


@dataclass(frozen=True)
class Reading:
    """What a reader makes of each line.

    Attributes:
        ids: (B, n) int64.
        probability: (B,) float64, of the whole string, under the posterior.
    """

    ids: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True)
class Readings:
    """Of the ideal readers, and the two axes.

    Attributes:
        local, marginal_mode, joint_mode: see the module.
        total_correlation: (B,) float64, C, nats.
    """

    local: Reading
    marginal_mode: Reading
    joint_mode: Reading
    total_correlation: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """(B,) float64: G, from 0."""
        return np.maximum(self.joint_mode.probability - self.marginal_mode.probability, 0)


def read(law: LabelDistribution, evidence: np.ndarray, automaton: Automaton | None = None) -> Readings:
    """
    Args:
        evidence: (B, n, k) log likelihoods of each symbol, given its own image. They may be off by a constant a slot.
        automaton: of the law, for who calls this often; see `constraints.from_distribution`.

    Raises:
        InputError: evidence is none or rules out every string, or the law has too many states.
    """
    automaton = automaton or from_distribution(law)
    posterior = exact.posterior(automaton, evidence)

    def reading(ids: np.ndarray) -> Reading:
        nats = exact.score(automaton, ids, evidence) - posterior.log_normaliser
        return Reading(ids, np.exp(np.minimum(nats, 0)))

    with np.errstate(divide="ignore"):
        alone = np.round(evidence + np.log(law.marginals), 12)
    return Readings(
        reading(alone.argmax(axis=2)),
        reading(_likeliest(posterior.marginals)),
        reading(exact.best(automaton, evidence)[0]),
        posterior.total_correlation,
    )


def _likeliest(chances: np.ndarray) -> np.ndarray:
    """Along the last axis, the first of those that only rounding tells apart."""
    return np.round(chances, 12).argmax(axis=-1)


@dataclass(frozen=True)
class Erased:
    """Expectations over the strings of a law and over what is erased.

    Attributes:
        local, marginal_mode, joint_mode: chance that the reader has the whole string right.
        total_correlation: C, nats: of the string given its visible symbols.
    """

    local: float
    marginal_mode: float
    joint_mode: float
    total_correlation: float

    @property
    def gap(self) -> float:
        """G, from 0."""
        return max(0.0, self.joint_mode - self.marginal_mode)


def patterns(n: int, where: str | Sequence[bool], amount: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """What may be erased: (P, n) bool, True for an erased symbol, and the chance of each pattern, (P,).

    Args:
        where: "random" (each symbol by itself), "first" or "last" (so many together), or one pattern.
        amount: chance that a symbol is erased, if random; else how many symbols are.

    Raises:
        InputError: there is no such pattern.
    """
    if where == "random":
        check_bounds("the chance to be erased", amount, 0, 1)
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


def under_erasure(law: LabelDistribution, where: str | Sequence[bool], amount: float = 0) -> Erased:
    """Of clean images some of whose symbols are erased: these tell nothing, the others all. Exact, by enumeration.

    Args:
        where, amount: see `patterns`.

    Raises:
        InputError: there is no such pattern, or the law has too many strings.
    """
    erased, chances = patterns(law.n, where, amount)
    strings, likely = law.enumerated()
    possible = chances > 0
    each = [_under(law, strings, likely, np.flatnonzero(pattern)) for pattern in erased[possible]]
    local, marginal_mode, joint_mode, correlation = (np.array(each).T @ chances[possible]).tolist()
    # A sum of chances may be rounded up.
    return Erased(min(local, 1.0), min(marginal_mode, 1.0), min(joint_mode, 1.0), correlation)


def _under(
    law: LabelDistribution, strings: np.ndarray, likely: np.ndarray, erased: np.ndarray
) -> tuple[float, float, float, float]:
    """The attributes of `Erased`, in their order, for one pattern: `erased` are its places."""
    visible = np.delete(np.arange(law.n), erased)
    keys = strings[:, visible] @ law.k ** np.arange(len(visible))
    _, group = np.unique(keys, return_inverse=True)  # strings that look alike
    mass = np.bincount(group, likely)
    best = np.zeros(len(mass))
    np.maximum.at(best, group, likely)
    # An erased symbol by what is visible: its law, and whether each string has the likeliest one.
    entropies, by_marginals, alone = 0.0, np.ones(len(strings), bool), np.ones(len(strings), bool)
    for place in erased:
        symbols = strings[:, place]
        joint = np.bincount(group * law.k + symbols, likely, minlength=len(mass) * law.k).reshape(-1, law.k)
        entropies += _entropy(joint) - _entropy(mass)
        by_marginals &= symbols == _likeliest(joint / mass[:, None])[group]
        alone &= symbols == _likeliest(law.marginals[place])
    correlation = entropies - (_entropy(likely) - _entropy(mass))
    return float(likely[alone].sum()), float(likely[by_marginals].sum()), float(best.sum()), max(0.0, correlation)


def _entropy(chances: np.ndarray) -> float:
    return float(entr(chances).sum())
