"""The posterior of a label distribution's strings, given the evidence of their lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import entr

from bench.study import label_distributions as labels
from bench.study.label_distributions import LabelDistribution
from seqocr.decoding.automaton import ACCEPT, REJECT, Automaton, accept_if, build, build_lexicon, restrict_length
from seqocr.decoding.check_digits import build_luhn, build_mod97
from seqocr.decoding.trellis import Trellis, sum_last
from seqocr.errors import InputError

_BLOCK = 1_000_000  # numbers that one step of a recursion computes at once
_MAX_STATES = 50_000  # of a pool


def from_distribution(distribution: LabelDistribution) -> Automaton:
    """The automaton whose weights are the log probabilities of a label distribution's strings.

    Raises:
        InputError: it has too many states or strings.
    """
    if isinstance(distribution, labels.Luhn | labels.Mod97):
        numbers = build_luhn() if isinstance(distribution, labels.Luhn) else build_mod97()
        form = restrict_length(numbers, distribution.n)
        return Automaton(form.next, form.weight, form.final - distribution.entropy)  # all strings are equally likely
    if isinstance(distribution, labels.Markov):
        return restrict_length(_build_chain(distribution.marginals[0], distribution.transition), distribution.n)
    if isinstance(distribution, labels.Independent):
        first = distribution.marginals[0]
        return restrict_length(_build_chain(first, np.tile(first, (distribution.k, 1))), distribution.n)
    if isinstance(distribution, labels.WithoutReplacement):
        return _build_pool(distribution)
    strings, probabilities = distribution.enumerated()
    return build_lexicon(strings.tolist(), distribution.k, np.log(probabilities).tolist())


def _build_chain(first: np.ndarray, transition: np.ndarray) -> Automaton:
    """Strings of any length of a Markov chain: (k,) probabilities of the first symbol, (k, k) from row to column."""
    k = len(first)
    chances = np.vstack([first, transition])  # state 0 is the start, state 1 + i comes after symbol i
    with np.errstate(divide="ignore"):
        weight = np.log(chances)
    return Automaton(np.where(chances > 0, np.arange(1, k + 1), -1), weight, np.full(k + 1, ACCEPT))


def _build_pool(distribution: labels.WithoutReplacement) -> Automaton:
    """Its states are how many of each symbol were taken."""
    n, k, pool = distribution.n, distribution.k, distribution.pool
    if math.comb(n + k, k) > _MAX_STATES:
        raise InputError(f"a pool with strings of {n} has too many states: take Independent of its frequencies")

    def step(taken: tuple[int, ...], symbol: int) -> tuple[tuple[int, ...], float] | None:
        chance = (pool[symbol] - taken[symbol]) / (pool.sum() - sum(taken)) if sum(taken) < n else 0
        after = (*taken[:symbol], taken[symbol] + 1, *taken[symbol + 1 :])
        return (after, math.log(chance)) if chance > 0 else None

    return build((0,) * k, step, lambda taken: accept_if(sum(taken) == n), k)


@dataclass(frozen=True)
class Posterior:
    """Of the strings of n symbols that an automaton accepts.

    Attributes:
        marginals: (B, n, k) float64, the probability of each symbol at each place.
        log_normaliser: (B,) float64, log of the sum over all strings of exp(weight + evidence).
        entropy: (B,) float64, of the whole string, nats.
    """

    marginals: np.ndarray
    log_normaliser: np.ndarray
    entropy: np.ndarray

    @property
    def total_correlation(self) -> np.ndarray:
        """(B,) float64: nats by which the symbols' entropies exceed the string's (Watanabe 1960)."""
        return np.maximum(entr(self.marginals).sum(axis=(1, 2)) - self.entropy, 0)


def compute_posterior(automaton: Automaton, evidence: np.ndarray) -> Posterior:
    """By the forward-backward algorithm; the entropy by the same recursion (Hernando et al. 2005).

    Args:
        automaton: see `from_distribution`.
        evidence: (B, n, k) float, log likelihoods of each symbol.

    Raises:
        InputError: evidence rules out every accepted string, or is of another shape.
    """
    parts = []
    for trellis in _trellises(automaton, evidence):
        ahead = trellis.backward(sum_last)
        _check(ahead[0, :, 0], trellis)
        entropy = np.zeros(ahead.shape[1:])
        for t in reversed(range(len(ahead) - 1)):
            chance = trellis.symbol_probabilities(t, ahead)
            entropy = (entr(chance) + chance * entropy[:, automaton.next]).sum(axis=2)
        parts.append((trellis.marginals(ahead), ahead[0, :, 0], entropy[:, 0]))
    return Posterior(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def find_best(automaton: Automaton, evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest accepted strings, (B, n) int64, and their scores, (B,) float64; see `compute_posterior`."""
    parts = []
    for trellis in _trellises(automaton, evidence):
        parts.append(trellis.best())
        _check(parts[-1][1], trellis)
    ids, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    return ids, scores


def score(automaton: Automaton, ids: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(B,) float64: weight + evidence of strings, (B, n) int; -inf where one is not accepted."""
    state, total = np.zeros(len(ids), np.int64), np.zeros(len(ids))
    for t in range(ids.shape[1]):
        total += automaton.weight[state, ids[:, t]] + evidence[np.arange(len(ids)), t, ids[:, t]]
        state = automaton.next[state, ids[:, t]]  # after -1 the total stays -inf
    return total + automaton.final[state]


def _trellises(automaton: Automaton, evidence: np.ndarray) -> Iterator[Trellis]:
    """Of as many lines at once as fit into memory."""
    size = max(1, _BLOCK // automaton.next.size)
    for start in range(0, max(len(evidence), 1), size):
        yield Trellis(automaton, evidence[start : start + size])


def _check(scores: np.ndarray, trellis: Trellis) -> None:
    if (scores == REJECT).any():
        places = trellis.evidence.shape[1]
        raise InputError(
            f"no accepted string of {places} symbols is possible under the evidence of a line: give another number, or "
            "evidence that allows one"
        )
