"""Exact decoding under an automaton: the likeliest string, the posterior of all, and the likeliest text under CTC.

An automaton is deterministic, so one recursion over slots, from the last to the first, answers each of these (Viterbi
1967; Rabiner 1989, "A tutorial on hidden Markov models"). Evidence is log likelihoods, or log probabilities, of each
class in each slot, (B, n, k) float. It may hold -inf, for what cannot be.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import entr, logsumexp

from seqocr.decoding.automaton import Automaton
from seqocr.errors import InputError

_AT_ONCE = 1_000_000  # numbers that one step of a recursion computes: lines are taken in parts


@dataclass(frozen=True)
class Posterior:
    """Of strings, given the evidence of their line.

    Attributes:
        marginals: (B, n, k) float64, the posterior of each symbol by itself.
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


def best(automaton: Automaton, evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest accepted string of n symbols for each line, (B, n) int64, and its score, (B,): weight + evidence.

    Of equals, the first in the order of ids. For slots that may be empty, give `automaton.padded` and evidence with a
    further class, "empty": strings then are of any length up to n.

    Raises:
        InputError: evidence is none, or rules out every accepted string.
    """
    slots, final = _slots(automaton, evidence)
    found = [_best(slots, final, part) for part in _parts(slots, evidence)]
    ids, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    return ids, scores


def posterior(automaton: Automaton, evidence: np.ndarray) -> Posterior:
    """By the forward-backward algorithm; the entropy by the same recursion (Hernando et al. 2005).

    Raises:
        InputError: evidence is none, or rules out every accepted string.
    """
    slots, final = _slots(automaton, evidence)
    found = [_posterior(slots, final, part) for part in _parts(slots, evidence)]
    return Posterior(*(np.concatenate(each) for each in zip(*found, strict=True)))


def score(automaton: Automaton, ids: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(B,) float64: weight + evidence of strings, (B, n) int; -inf where one is not accepted."""
    state, total = np.zeros(len(ids), np.int64), np.zeros(len(ids))
    for t in range(ids.shape[1]):
        total += automaton.weight[state, ids[:, t]] + evidence[np.arange(len(ids)), t, ids[:, t]]
        state = automaton.next[state, ids[:, t]]  # after -1 the total stays -inf
    return total + automaton.final[state]


def best_ctc(automaton: Automaton, log_probs: np.ndarray) -> tuple[list[list[int]], np.ndarray]:
    """The accepted string on the likeliest of CTC's paths for each line, and that path's score, (B,).

    Args:
        log_probs: (B, frames, k + 1); blank is the last class.

    Raises:
        InputError: no accepted string fits into so many frames.
    """
    paths, scores = best(automaton.over_frames, log_probs)
    return [[i for i, _ in itertools.groupby(path) if i != automaton.k] for path in paths.tolist()], scores


def likeliest_ctc(automaton: Automaton, log_probs: np.ndarray, most: int = 10_000) -> tuple[list[int], float]:
    """The likeliest accepted string under CTC, over all of its paths, and its log probability plus weight.

    Prefix search (Graves et al. 2006, section 3.2): the likeliest beginning is extended first. How likely it is counts
    all accepted strings that begin so, hence the first complete string that no beginning exceeds is the likeliest.

    Args:
        log_probs: (frames, k + 1); blank is the last class.
        most: beginnings that are extended at most.

    Raises:
        InputError: no accepted string fits into so many frames, or none is known to be the likeliest by then.
    """
    paths, blank = automaton.over_frames, automaton.k
    _slots(paths, log_probs[None])  # checks
    onwards = [paths.final]  # log probability of all accepted ways on from each state, before each frame
    for frame in log_probs[::-1]:
        onwards.append(_either(frame + paths.weight + onwards[-1][paths.next], axis=1))
    onward = np.array(onwards[::-1])
    # Of a beginning: paths that end in blank, and in its last symbol, after each number of frames.
    in_blank = np.append(0.0, log_probs[:, blank].cumsum())
    waiting: list[tuple[float, tuple[int, ...], int, np.ndarray, np.ndarray]]
    waiting = [(-float(onward[0, 0]), (), 0, in_blank, np.full(len(in_blank), -math.inf))]
    found: tuple[tuple[int, ...], float] = ((), -math.inf)
    for _ in range(most):
        if not waiting or -waiting[0][0] <= found[1]:
            if found[1] == -math.inf:
                raise InputError(f"nothing that is accepted fits into {len(log_probs)} frames: give more frames")
            return list(found[0]), found[1]
        _, prefix, state, in_blank, in_symbol = heapq.heappop(waiting)
        complete = float(np.logaddexp(in_blank[-1], in_symbol[-1]) + paths.final[state])
        found = max(found, (prefix, complete), key=lambda each: each[1])
        for symbol in np.flatnonzero(paths.next[state, :blank] >= 0).tolist():
            before = in_blank if prefix[-1:] == (symbol,) else np.logaddexp(in_blank, in_symbol)
            begins = before[:-1] + log_probs[:, symbol] + paths.weight[state, symbol]
            held = int(paths.next[state, symbol])
            bound = -float(_either(begins + onward[1:, held]))
            if bound < -found[1]:
                forward = _forward(begins, log_probs[:, symbol], log_probs[:, blank])
                heapq.heappush(waiting, (bound, (*prefix, symbol), int(paths.next[held, blank]), *forward))
    raise InputError(f"the likeliest text is not among {most:,} beginnings: give more, or take best_ctc")


def _forward(begins: np.ndarray, symbol: np.ndarray, blank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frames + 1,) each: paths of a beginning that end in blank, and in its last symbol, which begins at each frame
    with log probability `begins`."""
    in_blank, in_symbol = [-math.inf], [-math.inf]
    for begin, y, b in zip(begins.tolist(), symbol.tolist(), blank.tolist(), strict=True):
        in_blank.append(float(np.logaddexp(in_blank[-1], in_symbol[-1])) + b)
        in_symbol.append(float(np.logaddexp(in_symbol[-1] + y, begin)))
    return np.array(in_blank), np.array(in_symbol)


@dataclass(frozen=True)
class _Slot:
    """States that can be reached before a slot: which of those after it each symbol leads to, and its weight."""

    next: np.ndarray
    weight: np.ndarray

    def scores(self, evidence: np.ndarray, after: np.ndarray) -> np.ndarray:
        """(B, k), and (B, states after) -> (B, states, k)."""
        return evidence[:, None, :] + self.weight + after[:, self.next]


def _slots(automaton: Automaton, evidence: np.ndarray) -> tuple[list[_Slot], np.ndarray]:
    """The automaton slot by slot, and the weights of the states at the end."""
    if evidence.ndim != 3 or evidence.shape[2] != automaton.k or np.isnan(evidence).any() or (evidence == np.inf).any():
        raise InputError(
            f"evidence of shape {evidence.shape}: give lines x slots x {automaton.k} log likelihoods, none NaN or inf"
        )
    slots, states = [], np.zeros(1, np.int64)
    for _ in range(evidence.shape[1]):
        following = automaton.next[states]
        after = np.unique(following[following >= 0])
        if not len(after):
            break
        # Where none is allowed (-1), the first stands for it: the weight there is -inf.
        slots.append(_Slot(np.searchsorted(after, following), automaton.weight[states]))
        states = after
    final = automaton.final[states]
    if len(slots) < evidence.shape[1] or (final == -math.inf).all():
        raise InputError(f"nothing that is accepted fits into {evidence.shape[1]} slots or frames: give another number")
    return slots, final


def _parts(slots: list[_Slot], evidence: np.ndarray) -> list[np.ndarray]:
    largest = max((slot.next.size for slot in slots), default=1)
    size = max(1, _AT_ONCE // largest)
    return [evidence[at : at + size] for at in range(0, max(len(evidence), 1), size)]


def _onward(
    slots: list[_Slot], final: np.ndarray, evidence: np.ndarray, reduce: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """n + 1 of (B, states): what lies ahead of each state before each slot, and at the end."""
    ahead = [np.broadcast_to(final, (len(evidence), len(final)))]
    for t in reversed(range(len(slots))):
        ahead.append(reduce(slots[t].scores(evidence[:, t], ahead[-1])))
    if (ahead[-1] == -math.inf).any():
        raise InputError("the evidence of a line rules out every accepted string: give some that allows one")
    return ahead[::-1]


def _best(slots: list[_Slot], final: np.ndarray, evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ahead = _onward(slots, final, evidence, lambda scores: scores.max(axis=2))
    line = np.arange(len(evidence))
    state, ids = np.zeros(len(evidence), np.int64), np.empty(evidence.shape[:2], np.int64)
    for t, slot in enumerate(slots):
        following = slot.next[state]
        scores = evidence[:, t] + slot.weight[state] + ahead[t + 1][line[:, None], following]
        ids[:, t] = scores.argmax(axis=1)
        state = following[line, ids[:, t]]
    return ids, ahead[0][:, 0]


def _posterior(
    slots: list[_Slot], final: np.ndarray, evidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ahead = _onward(slots, final, evidence, lambda scores: _either(scores, axis=2))
    # The posterior is a chain: the chance of each symbol after each state, and the entropy of all that follows.
    chances: list[np.ndarray] = []
    left: np.ndarray = np.zeros((len(evidence), len(final)))
    for t in reversed(range(len(slots))):
        here = ahead[t][:, :, None]
        scores = slots[t].scores(evidence[:, t], ahead[t + 1])
        chance = np.exp(scores - np.where(here > -math.inf, here, 0))
        chances.append(chance)
        left = (entr(chance) + chance * left[:, slots[t].next]).sum(axis=2)
    marginals = np.empty(evidence.shape)
    at: np.ndarray = np.ones((len(evidence), 1))  # the chance of being in each state
    for t, (slot, chance) in enumerate(zip(slots, reversed(chances), strict=True)):
        flow = at[:, :, None] * chance
        marginals[:, t] = flow.sum(axis=1)
        states = ahead[t + 1].shape[1]
        to = np.arange(len(evidence))[:, None, None] * states + slot.next
        at = np.bincount(to.ravel(), flow.ravel(), minlength=len(evidence) * states).reshape(-1, states)
    return marginals, ahead[0][:, 0], left[:, 0]


def _either(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    return logsumexp(scores, axis=axis)
