"""An automaton unrolled over lines."""

import math
from collections.abc import Callable

import numpy as np

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.limits import NO_DEADLINE, Deadline
from seqocr.decoding.logarithms import log_sum
from seqocr.errors import InputError


class Trellis:
    """An automaton over n steps, with the evidence of B lines: the recursions that all lattices share (Rabiner 1989).

    Args:
        automaton: of strings over k symbols.
        evidence: (B, n, k) float, log likelihoods or log probabilities; -inf for what cannot be.
        deadline: of all recursions together.

    Raises:
        InputError: the evidence has another shape, or holds NaN or inf.
    """

    def __init__(self, automaton: Automaton, evidence: np.ndarray, deadline: Deadline = NO_DEADLINE) -> None:
        values = np.asarray(evidence, np.float64)
        if values.ndim != 3 or values.shape[2] != automaton.k or not (values < math.inf).all():
            raise InputError(
                f"evidence of shape {values.shape}: give lines x places x {automaton.k} log probabilities, without NaN "
                "and inf"
            )
        self.automaton, self.evidence, self.deadline = automaton, values, deadline

    def backward(self, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """(n + 1, B, states): the score of what follows each state, before each step and at the end.

        Args:
            reduce: takes an array's last axis, the choice of symbols, to their maximum or sum.
        """
        B, n, _ = self.evidence.shape
        ahead = np.empty((n + 1, B, len(self.automaton.final)))
        ahead[n] = self.automaton.final
        for t in reversed(range(n)):
            self.deadline.check()
            ahead[t] = reduce(self._scores(t, ahead))
        return ahead

    def _scores(self, t: int, ahead: np.ndarray) -> np.ndarray:
        """(B, states, k): of each symbol and what follows it."""
        found: np.ndarray = self.evidence[:, t, None] + self.automaton.weight + ahead[t + 1][:, self.automaton.next]
        return found

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Viterbi: the likeliest accepted string of n symbols of each line, (B, n) int64, and its score, (B,) float64.

        Of equally likely strings, the first in the order of ids. Where none is accepted, the score is -inf.
        """
        ahead = self.backward(lambda scores: scores.max(axis=2))
        line, n = np.arange(len(self.evidence)), self.evidence.shape[1]
        state, ids = np.zeros(len(line), np.int64), np.empty((len(line), n), np.int64)
        for t in range(n):
            after = self.automaton.next[state]
            scores = self.evidence[:, t] + self.automaton.weight[state] + ahead[t + 1][line[:, None], after]
            ids[:, t] = scores.argmax(axis=1)
            state = after[line, ids[:, t]]
        return ids, ahead[0][:, 0]

    def symbol_probabilities(self, t: int, ahead: np.ndarray) -> np.ndarray:
        """(B, states, k): the posterior probability of each symbol at a place, given the state before it.

        Args:
            ahead: from `backward` with a sum.
        """
        return np.exp(self._scores(t, ahead) - np.where(ahead[t] > -math.inf, ahead[t], 0)[:, :, None])

    def marginals(self, ahead: np.ndarray) -> np.ndarray:
        """(B, n, k) float64: the posterior probability of each symbol at each place (forward-backward).

        Args:
            ahead: from `backward` with a sum.
        """
        (B, n, _), states = self.evidence.shape, len(self.automaton.final)
        found, reached = np.empty(self.evidence.shape), np.zeros((B, states))
        reached[:, 0] = 1.0
        after = np.arange(B)[:, None, None] * states + np.maximum(self.automaton.next, 0)
        for t in range(n):
            self.deadline.check()
            flow = reached[:, :, None] * self.symbol_probabilities(t, ahead)
            found[:, t] = flow.sum(axis=1)
            arrived = np.bincount(after.ravel(), flow.ravel(), B * states)
            reached = arrived.reshape(B, states).astype(np.float64, copy=False)
        return found


def sum_last(scores: np.ndarray) -> np.ndarray:
    """For `Trellis.backward`: the log probability of all strings together."""
    return log_sum(scores, axis=-1)
