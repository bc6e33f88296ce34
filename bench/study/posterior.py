"""The posterior of a label distribution's strings, given the evidence of their lines."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import entr

from bench.study.label_distributions import Chain, LabelDistribution, Luhn, Placed
from seqocr.decoding.automaton import ACCEPT, REJECT, Automaton, build_lexicon, restrict_length
from seqocr.decoding.check_digits import build_luhn
from seqocr.decoding.trellis import Trellis, sum_last
from seqocr.errors import InputError

_BLOCK = 1_000_000  # numbers that one step of a recursion computes at once


def from_distribution(distribution: LabelDistribution) -> Automaton:
    """The automaton whose weights are the log probabilities of a label distribution's strings."""
    if isinstance(distribution, Luhn):
        found = restrict_length(build_luhn(), distribution.n)
        return Automaton(found.next, found.weight, found.final - distribution.entropy)  # all are equally likely
    if isinstance(distribution, Chain):
        # State 0 is the start, state 1 + i comes after symbol i.
        probabilities = np.vstack([distribution.first, distribution.transition])
        with np.errstate(divide="ignore"):
            weight = np.log(probabilities)
        states = np.where(probabilities > 0, np.arange(1, distribution.k + 1), -1)
        return restrict_length(Automaton(states, weight, np.full(len(states), ACCEPT)), distribution.n)
    if isinstance(distribution, Placed):
        # State 0 is the start, state 1 + place · k + i comes after symbol i at a place; at the last, all end.
        k, n = distribution.k, distribution.n
        probabilities = np.vstack([distribution.first, *distribution.transitions, np.zeros((k, k))])
        after = 1 + k * np.r_[0, np.repeat(np.arange(1, n + 1), k)][:, None] + np.arange(k)
        with np.errstate(divide="ignore"):
            weight = np.log(probabilities)
        final = np.where(np.arange(len(weight)) > (n - 1) * k, ACCEPT, REJECT)
        return Automaton(np.where(probabilities > 0, after, -1), weight, final)
    strings, probabilities = distribution.list_strings()
    return build_lexicon(strings.tolist(), distribution.k, np.log(probabilities).tolist())


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
