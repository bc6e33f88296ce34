"""The likeliest texts of a line, best first, perhaps only those of a form: exactly, for heads of one pass.

A one-pass head gives a lattice: `SlotLattice` (a symbol or "empty" in each slot) or `CTCLattice` (a symbol or blank in
each frame). What an autoregressive head says depends on its prefix, so `beam_search` keeps a stated number of them.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seqocr.decoding.automaton import Automaton
from seqocr.errors import InputError

_NEVER = -math.inf
MOST_BEGINNINGS = 20_000  # that are looked at for one line, before giving up


@dataclass(frozen=True)
class Hypothesis:
    """A text, as ids.

    Attributes:
        ids: of its symbols.
        log_probability: what the head gives it.
        steps: of a head that writes symbol by symbol, the probability of each when it was written.
    """

    ids: tuple[int, ...]
    log_probability: float
    steps: tuple[float, ...] = ()


@dataclass(frozen=True)
class SearchResult:
    """What a line can be read as.

    Attributes:
        candidates: the likeliest texts that fit, best first; none where nothing fits.
        log_fitting: log probability that the head gives to all texts that fit, together; of a beam search, to those
            that it found.
    """

    candidates: list[Hypothesis]
    log_fitting: float

    def confidence(self, place: int = 0) -> float:
        """The probability of a candidate among the texts that fit; 0 where there is none."""
        if place >= len(self.candidates):
            return 0.0
        return min(math.exp(self.candidates[place].log_probability - self.log_fitting), 1.0)

    @property
    def margin(self) -> float:
        """How many times as likely the best text is as the next; infinite where there is no other."""
        if len(self.candidates) < 2:
            return math.inf
        best, following = self.candidates[:2]
        return math.exp(min(best.log_probability - following.log_probability, 700))


class SlotLattice:
    """A line read by slots, each a symbol or, in the end, empty.

    Args:
        log_probs: (slots, k + 1) float; "empty" is the last class.
    """

    def __init__(self, automaton: Automaton, log_probs: np.ndarray) -> None:
        self._padded, self._evidence = automaton.padded, _checked(log_probs, automaton.k)
        n = len(self._evidence)
        # What lies ahead of each state before each slot: the likeliest way on, and all ways together.
        self._best, self._all = np.empty((2, n + 1, len(self._padded.final)))
        self._best[n] = self._all[n] = self._padded.final
        for t in reversed(range(n)):
            scores = self._evidence[t] + self._padded.weight
            self._best[t] = (scores + self._best[t + 1][self._padded.next]).max(axis=1)
            self._all[t] = log_sum(scores + self._all[t + 1][self._padded.next], axis=1)

    def texts(self, count: int) -> SearchResult:
        """The `count` likeliest texts: best-first search, whose estimate of what lies ahead is exact."""
        n, k = len(self._evidence), self._padded.k - 1
        found: list[Hypothesis] = []
        waiting: list[tuple[float, tuple[int, ...], int, float]] = [(-float(self._best[0, 0]), (), 0, 0.0)]
        while waiting and len(found) < count:
            minus_bound, ids, state, so_far = heapq.heappop(waiting)
            if minus_bound == math.inf:
                break
            t = len(ids)
            if t == n:
                found.append(Hypothesis(tuple(i for i in ids if i < k), so_far + float(self._padded.final[state])))
                continue
            scores = so_far + self._evidence[t] + self._padded.weight[state]
            after = self._padded.next[state]
            bounds = scores + self._best[t + 1][after]
            for i in np.flatnonzero(bounds > _NEVER).tolist():
                heapq.heappush(waiting, (-float(bounds[i]), (*ids, i), int(after[i]), float(scores[i])))
        return SearchResult(found, float(self._all[0, 0]))

    def marginals(self, ids: Sequence[int]) -> list[float]:
        """The probability of each symbol of a text at its place, among the texts that fit (forward-backward)."""
        reached, found = np.full(len(self._padded.final), _NEVER), []
        reached[0] = 0.0
        for t, i in enumerate(ids):
            scores = reached[:, None] + self._evidence[t] + self._padded.weight
            there = log_sum(scores[:, i] + self._all[t + 1][self._padded.next[:, i]])
            found.append(min(math.exp(there - self._all[0, 0]), 1.0))
            reached = np.full(len(reached), _NEVER)
            np.logaddexp.at(reached, np.maximum(self._padded.next, 0).ravel(), scores.ravel())
        return found


class CTCLattice:
    """A line read by CTC's frames (Graves et al. 2006).

    Args:
        log_probs: (frames, k + 1) float; blank is the last class.
    """

    def __init__(self, automaton: Automaton, log_probs: np.ndarray) -> None:
        self._paths, self._evidence = automaton.over_frames, _checked(log_probs, automaton.k)
        onward = [self._paths.final]
        for frame in self._evidence[::-1]:
            onward.append(log_sum(frame + self._paths.weight + onward[-1][self._paths.next], axis=1))
        self._onward = np.array(onward[::-1])  # log probability of all accepted ways on from each state

    def texts(self, count: int) -> SearchResult:
        """The `count` likeliest texts, each over all of its paths.

        Prefix search (Graves et al. 2006, section 3.2): the likeliest beginning is extended first. How likely it is
        counts all accepted texts that begin so, hence a complete text that no beginning exceeds is the likeliest left.

        Raises:
            InputError: `MOST_BEGINNINGS` did not decide.
        """
        y, blank, T = self._evidence, self._paths.k - 1, len(self._evidence)
        blanks = y[:, blank].tolist()
        found: list[Hypothesis] = []
        # Complete texts and beginnings in one queue; a beginning has the log probability, per frame, of its last
        # symbol's first frame.
        Entry = tuple[float, tuple[int, ...], int, "np.ndarray | None"]
        waiting: list[Entry] = []
        heapq.heappush(waiting, (-float(self._onward[0, 0]), (), 0, np.full(T, _NEVER)))
        for _ in range(MOST_BEGINNINGS):
            if not waiting or len(found) == count:
                return SearchResult(found, float(self._onward[0, 0]))
            minus, ids, state, begins = heapq.heappop(waiting)
            if minus == math.inf:
                waiting = []
                continue
            if begins is None:
                found.append(Hypothesis(ids, -minus))
                continue
            if ids:
                in_blank, in_symbol = _forward(begins.tolist(), y[:, ids[-1]].tolist(), blanks)
            else:
                in_blank, in_symbol = np.append(0.0, np.cumsum(y[:, blank])), np.full(T + 1, _NEVER)
            either = np.logaddexp(in_blank, in_symbol)
            complete = float(either[-1] + self._paths.final[state])
            if complete > _NEVER:
                heapq.heappush(waiting, (-complete, ids, state, None))
            symbols = np.flatnonzero(self._paths.next[state, :blank] >= 0)
            held = self._paths.next[state, symbols]
            before = np.where((symbols == (ids[-1] if ids else -1))[:, None], in_blank[:-1], either[:-1])
            starts = before + y[:, symbols].T + self._paths.weight[state, symbols][:, None]
            bounds = log_sum(starts + self._onward[1:, held].T, axis=1)
            for i in np.flatnonzero(bounds > _NEVER).tolist():
                after = int(self._paths.next[held[i], blank])
                heapq.heappush(waiting, (-float(bounds[i]), (*ids, int(symbols[i])), after, starts[i]))
        raise InputError(f"a line has too many texts that are about as likely: {MOST_BEGINNINGS:,} do not decide")


def _forward(begins: list[float], symbol: list[float], blank: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """(frames + 1,) each: paths of a beginning that end in blank, and in its last symbol, which begins at each frame
    with log probability `begins`."""
    in_blank, in_symbol, b, s = [_NEVER], [_NEVER], _NEVER, _NEVER
    for begin, y, empty in zip(begins, symbol, blank, strict=True):
        b, s = _add(b, s) + empty, _add(s + y, begin)
        in_blank.append(b)
        in_symbol.append(s)
    return np.array(in_blank), np.array(in_symbol)


def _add(a: float, b: float) -> float:
    high, low = (a, b) if a > b else (b, a)
    return high if low == _NEVER else high + math.log1p(math.exp(low - high))


# The beginnings to go on from, as places in the call before, and the symbol that each is followed by; at the first call
# one place, and the id that begins a text. Gives log probabilities of the next id, (beginnings, classes).
NextTokenFunction = Callable[[Sequence[int], Sequence[int]], np.ndarray]


def beam_search(
    following: NextTokenFunction,
    automaton: Automaton,
    begin: int,
    end: int,
    longest: int,
    count: int = 1,
    width: int = 8,
) -> tuple[SearchResult, int]:
    """The likeliest texts that fit of a head that writes symbol by symbol, and how many passes that took.

    Exact where no more than `width` beginnings of one length fit; else it may miss a better text.

    Args:
        end: the id that ends a text. longest: symbols of a text, at most.
        width: beginnings that are kept after each pass.
    """
    alive: list[tuple[float, tuple[int, ...], int, tuple[float, ...]]] = [(0.0, (), 0, ())]
    done: list[Hypothesis] = []
    parents, symbols, passes = [0], [begin], 0
    while alive:
        log_probs = following(parents, symbols)
        passes += 1
        grown: list[tuple[float, tuple[int, ...], int, tuple[float, ...], int]] = []
        for place, (so_far, ids, state, steps) in enumerate(alive):
            if automaton.final[state] > _NEVER:
                done.append(Hypothesis(ids, so_far + float(log_probs[place, end] + automaton.final[state]), steps))
            if len(ids) == longest:
                continue
            for i in np.flatnonzero(automaton.next[state] >= 0).tolist():
                score = so_far + float(log_probs[place, i] + automaton.weight[state, i])
                if score > _NEVER:
                    chance = math.exp(log_probs[place, i])
                    grown.append((score, (*ids, i), int(automaton.next[state, i]), (*steps, chance), place))
        done.sort(key=lambda each: -each.log_probability)
        grown.sort(key=lambda each: -each[0])
        # A text only becomes less likely as it grows.
        enough = done[count - 1].log_probability if len(done) >= count else _NEVER
        kept = [each for each in grown[:width] if each[0] > enough]
        alive = [each[:4] for each in kept]
        parents, symbols = [each[4] for each in kept], [each[1][-1] for each in kept]
    together = float(log_sum(np.array([each.log_probability for each in done]))) if done else _NEVER
    return SearchResult([each for each in done[:count] if each.log_probability > _NEVER], together), passes


@dataclass(frozen=True)
class Place:
    """Where a symbol is in CTC's frames, and how sure it is.

    Attributes:
        first, last: its frames. confidence: the most that one of them gives it, of what is not blank there.
    """

    first: int
    last: int
    confidence: float


def aligned(log_probs: np.ndarray, ids: Sequence[int]) -> list[Place]:
    """The frames of each symbol of a text on its likeliest path (Viterbi).

    Args:
        log_probs: (frames, k + 1) float; blank is the last class.

    Raises:
        InputError: the text does not fit into so many frames.
    """
    T, blank = len(log_probs), log_probs.shape[1] - 1
    states = [blank, *itertools.chain.from_iterable((i, blank) for i in ids)]
    score = np.full(len(states), _NEVER)
    score[0] = 0.0
    skips = np.array([s >= 2 and states[s] not in (blank, states[s - 2]) for s in range(len(states))])
    came = np.empty((T, len(states)), np.int64)
    for t in range(T):
        stay, one = score, np.append(_NEVER, score[:-1])
        two = np.where(skips, np.append([_NEVER] * 2, score[:-2])[: len(states)], _NEVER)
        if t == 0:  # before the first frame the path is before the first state, or the first symbol
            one[1:2] = 0.0
        choices = np.stack([stay, one, two])
        came[t] = choices.argmax(axis=0)
        score = choices.max(axis=0) + log_probs[t, states]
    at = len(states) - 1 if len(states) == 1 or score[-1] >= score[-2] else len(states) - 2
    if score[at] == _NEVER:
        raise InputError(f"a text of {len(ids)} symbols does not fit into {T} frames")
    frames: list[list[int]] = [[] for _ in ids]
    for t in reversed(range(T)):
        if at % 2:
            frames[at // 2].append(t)
        at -= int(came[t, at])
    of_symbol = log_probs[:, :blank] - log_sum(log_probs[:, :blank], axis=1)[:, None]
    sure = np.exp(np.minimum(of_symbol, 0))
    return [Place(min(f), max(f), float(sure[f, i].max())) for f, i in zip(frames, ids, strict=True)]


def log_sum(x: np.ndarray, axis: int = 0) -> np.ndarray:
    """log of the sum of exp along an axis; scipy has it, but reading does without scipy."""
    most = x.max(axis=axis, keepdims=True)
    shift = np.where(most > _NEVER, most, 0)
    with np.errstate(divide="ignore"):
        total: np.ndarray = np.log(np.exp(x - shift).sum(axis=axis)) + shift.squeeze(axis)
    return total


def _checked(log_probs: np.ndarray, k: int) -> np.ndarray:
    evidence = np.asarray(log_probs, np.float64)
    if evidence.ndim != 2 or evidence.shape[1] != k + 1 or not len(evidence) or np.isnan(evidence).any():
        raise InputError(f"evidence of shape {evidence.shape}: give places x {k + 1} log probabilities, none NaN")
    return evidence
