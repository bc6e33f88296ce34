"""The likeliest texts of a line, best first, under an automaton.

Heads of one pass give a lattice, which is searched exactly: `SlotLattice` (a symbol or "empty" in each slot) or
`CTCLattice` (a symbol or blank in each frame). What an autoregressive head gives depends on the prefix, so
`beam_search` keeps a number of hypotheses.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.limits import NO_DEADLINE, Deadline, SearchLimitError
from seqocr.decoding.logarithms import log_add, log_sum
from seqocr.decoding.trellis import Trellis, sum_last

MAX_HYPOTHESES = 20_000  # that a search of one line extends before it gives up
_MAX_CELLS = 500_000_000  # states times classes times slots or frames of a line: about half a minute, and 1 GB
_MAX_WAITING = 10 * MAX_HYPOTHESES  # prefixes in memory


@dataclass(frozen=True)
class Hypothesis:
    """A text, as the ids of its symbols."""

    ids: tuple[int, ...]
    log_probability: float  # the head's, plus the automaton's weight
    step_probabilities: tuple[float, ...] = ()  # of an autoregressive head: of each symbol given those before it


@dataclass(frozen=True)
class SearchResult:
    """The n best texts of a line."""

    hypotheses: list[Hypothesis]  # best first; empty where no text is accepted
    log_total: float  # log probability of all accepted texts together; of a beam search, of those that it completed


def _trellis(automaton: Automaton, log_probs: np.ndarray, deadline: Deadline) -> Trellis:
    """Of one line. A `SearchLimitError` if it would take too much work and memory."""
    if automaton.next.size * len(log_probs) > _MAX_CELLS:
        raise SearchLimitError(
            f"takes too much work under this constraint ({len(automaton.next):,} states times {len(log_probs)} slots "
            "or frames): give a constraint that allows fewer texts, or another head"
        )
    return Trellis(automaton, np.asarray(log_probs)[None], deadline)


class SlotLattice:
    """The slots of a line: a symbol in each, then "empty" in those that are left over.

    Args:
        automaton: of the accepted texts.
        log_probs: (slots, k + 1) float; "empty" is the last class. InputError if of another shape, or with NaN.
        deadline: of all searches; a `SearchLimitError` once it has passed.
    """

    def __init__(self, automaton: Automaton, log_probs: np.ndarray, deadline: Deadline = NO_DEADLINE) -> None:
        self._trellis = _trellis(automaton.closure, log_probs, deadline)
        self._all = self._trellis.backward(sum_last)

    def n_best(self, count: int) -> SearchResult:
        """The `count` likeliest texts: best-first search, whose estimate of what lies ahead is exact."""
        closure, evidence = self._trellis.automaton, self._trellis.evidence[0]
        ahead = self._trellis.backward(lambda scores: scores.max(axis=2))[:, 0]
        n, k = len(evidence), closure.k - 1
        found: list[Hypothesis] = []
        waiting: list[tuple[float, tuple[int, ...], int, float]] = [(-float(ahead[0, 0]), (), 0, 0.0)]
        while waiting and len(found) < count:
            self._trellis.deadline.check()
            minus_bound, ids, state, so_far = heapq.heappop(waiting)
            if minus_bound == math.inf:
                break
            t = len(ids)
            if t == n:
                found.append(Hypothesis(tuple(i for i in ids if i < k), so_far + float(closure.final[state])))
                continue
            scores = so_far + evidence[t] + closure.weight[state]
            after = closure.next[state]
            bounds = scores + ahead[t + 1][after]
            for i in np.flatnonzero(bounds > -math.inf).tolist():
                heapq.heappush(waiting, (-float(bounds[i]), (*ids, i), int(after[i]), float(scores[i])))
        return SearchResult(found, float(self._all[0, 0, 0]))

    def marginals(self, ids: Sequence[int]) -> list[float]:
        """The posterior probability of each symbol of a text at its place, among the accepted texts."""
        of_place = self._trellis.marginals(self._all)[0]
        return [min(float(of_place[t, i]), 1.0) for t, i in enumerate(ids)]


class CTCLattice:
    """The frames of a line, as CTC reads them (Graves et al. 2006).

    Args:
        automaton: of the accepted texts.
        log_probs: (frames, k + 1) float; blank is the last class. InputError if of another shape, or with NaN.
        deadline: of all searches; a `SearchLimitError` once it has passed.
    """

    def __init__(self, automaton: Automaton, log_probs: np.ndarray, deadline: Deadline = NO_DEADLINE) -> None:
        trellis = _trellis(automaton.ctc_topology, log_probs, deadline)
        self._paths, self._evidence, self._deadline = trellis.automaton, trellis.evidence[0], deadline
        self._ahead = trellis.backward(sum_last)[:, 0]

    def n_best(self, count: int) -> SearchResult:
        """The `count` likeliest texts, each over all of its paths.

        Prefix search (Graves et al. 2006, section 3.2): the likeliest prefix is extended first. Its probability is that
        of all accepted texts that begin so, hence a complete text that no prefix exceeds is the likeliest left.
        `SearchLimitError` if `MAX_HYPOTHESES` prefixes do not decide.
        """
        y, blank, T = self._evidence, self._paths.k - 1, len(self._evidence)
        blanks = y[:, blank].tolist()
        found: list[Hypothesis] = []
        # Complete texts and prefixes in one queue. A prefix comes with what is before its last symbol, per frame, which
        # it shares with others as long (a row of its own would fill memory), and with the weight of that symbol.
        Entry = tuple[float, tuple[int, ...], int, "np.ndarray | None", float]
        waiting: list[Entry] = [(-float(self._ahead[0, 0]), (), 0, np.full(T, -math.inf), 0.0)]
        for _ in range(MAX_HYPOTHESES):
            if not waiting or len(found) == count:
                break
            self._deadline.check()
            minus, ids, state, before, weight = heapq.heappop(waiting)
            if minus == math.inf:
                break
            if before is None:
                found.append(Hypothesis(ids, -minus))
                continue
            if ids:
                of_symbol = y[:, ids[-1]]
                begins = before + of_symbol + weight
                in_blank, in_symbol = _prefix_forward(begins.tolist(), of_symbol.tolist(), blanks)
            else:
                in_blank, in_symbol = np.append(0.0, np.cumsum(y[:, blank])), np.full(T + 1, -math.inf)
            either = np.logaddexp(in_blank, in_symbol)
            complete = float(either[-1] + self._paths.final[state])
            if complete > -math.inf:
                heapq.heappush(waiting, (-complete, ids, state, None, 0.0))
            symbols = np.flatnonzero(self._paths.next[state, :blank] >= 0)
            held, weights = self._paths.next[state, symbols], self._paths.weight[state, symbols]
            repeats = symbols == (ids[-1] if ids else -1)
            starts = np.where(repeats[:, None], in_blank[:-1], either[:-1]) + y[:, symbols].T + weights[:, None]
            bounds = log_sum(starts + self._ahead[1:, held].T, axis=1)
            for i in np.flatnonzero(bounds > -math.inf).tolist():
                after = int(self._paths.next[held[i], blank])
                shared = in_blank[:-1] if repeats[i] else either[:-1]
                longer = (*ids, int(symbols[i]))
                heapq.heappush(waiting, (-float(bounds[i]), longer, after, shared, float(weights[i])))
            if len(waiting) > _MAX_WAITING:
                self._give_up()
        else:
            self._give_up()
        return SearchResult(found, float(self._ahead[0, 0]))

    def _give_up(self) -> NoReturn:
        raise SearchLimitError(
            f"has too many texts that are about as likely ({MAX_HYPOTHESES:,} prefixes do not decide): give a "
            "constraint that allows fewer, or another head"
        )


def _prefix_forward(begins: list[float], symbol: list[float], blank: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """(frames + 1,) each: log probability of a prefix's paths that end in blank, and in its last symbol.

    Args:
        begins: per frame, log probability that the last symbol begins there; symbol, blank: that a frame holds it.
    """
    in_blank, in_symbol, b, s = [-math.inf], [-math.inf], -math.inf, -math.inf
    for begin, y, empty in zip(begins, symbol, blank, strict=True):
        b, s = log_add(b, s) + empty, log_add(s + y, begin)
        in_blank.append(b)
        in_symbol.append(s)
    return np.array(in_blank), np.array(in_symbol)


def prefix_beam_search(log_probs: list[list[float]], blank: int, beam_width: int) -> tuple[tuple[int, ...], float]:
    """The most probable text under CTC, approximately, in a time that is bounded (Hannun et al. 2014).

    Args:
        log_probs: frames x classes, of which one is `blank`.
        beam_width: prefixes kept after each frame; exact when at least as many as there are prefixes.

    Returns:
        the ids, and their log probability over the paths that were kept.
    """
    nothing = -math.inf
    # For each prefix: log probability of its paths ending in blank, and of those ending in its last symbol.
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, nothing)}
    for frame in log_probs:
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [nothing, nothing])
        for prefix, (in_blank, in_symbol) in kept.items():
            either = log_add(in_blank, in_symbol)
            steps = [(prefix, 0, either + frame[blank])]
            for symbol, score in enumerate(frame):
                if symbol == blank:
                    continue
                if prefix and symbol == prefix[-1]:  # it goes on; or, after a blank, it is a second one
                    steps += [(prefix, 1, in_symbol + score), ((*prefix, symbol), 1, in_blank + score)]
                else:
                    steps.append(((*prefix, symbol), 1, either + score))
            for after, kind, score in steps:
                grown[after][kind] = log_add(grown[after][kind], score)
        best = sorted(grown.items(), key=lambda item: log_add(*item[1]), reverse=True)[:beam_width]
        kept = {prefix: (scores[0], scores[1]) for prefix, scores in best}
    prefix, scores = max(kept.items(), key=lambda item: log_add(*item[1]))
    return prefix, log_add(*scores)


# (parents, symbols) -> (hypotheses, classes) log probabilities of the next id. `parents` are the hypotheses to extend,
# as places in the call before, `symbols` the id that each is extended by; first, place 0 and the id that begins a text.
NextTokenFunction = Callable[[Sequence[int], Sequence[int]], np.ndarray]


def beam_search(
    next_token: NextTokenFunction,
    automaton: Automaton,
    begin: int,
    end: int,
    max_length: int,
    count: int = 1,
    beam_width: int = 8,
    deadline: Deadline = NO_DEADLINE,
) -> tuple[SearchResult, int]:
    """The `count` likeliest accepted texts of an autoregressive head.

    Exact where no more than `beam_width` prefixes of one length are accepted; else it may miss a better text.

    Args:
        next_token: see `NextTokenFunction`.
        automaton: of the accepted texts.
        begin, end: ids that begin and end a text.
        max_length: symbols in a text, at most.
        beam_width: hypotheses kept after each pass.
        deadline: a `SearchLimitError` once it has passed.

    Returns:
        the texts, and the number of decoder passes.
    """
    # Of each hypothesis: log probability, ids, state, probability of each symbol; of a new one also its parent.
    alive: list[tuple[float, tuple[int, ...], int, tuple[float, ...]]] = [(0.0, (), 0, ())]
    done: list[Hypothesis] = []
    parents, symbols, passes = [0], [begin], 0
    while alive:
        deadline.check()
        log_probs = next_token(parents, symbols)
        passes += 1
        grown: list[tuple[float, tuple[int, ...], int, tuple[float, ...], int]] = []
        for place, (so_far, ids, state, steps) in enumerate(alive):
            if automaton.final[state] > -math.inf:
                done.append(Hypothesis(ids, so_far + float(log_probs[place, end] + automaton.final[state]), steps))
            if len(ids) == max_length:
                continue
            for i in np.flatnonzero(automaton.next[state] >= 0).tolist():
                score = so_far + float(log_probs[place, i] + automaton.weight[state, i])
                if score > -math.inf:
                    chance = math.exp(log_probs[place, i])
                    grown.append((score, (*ids, i), int(automaton.next[state, i]), (*steps, chance), place))
        done.sort(key=lambda each: -each.log_probability)
        grown.sort(key=lambda each: -each[0])
        # A text only becomes less likely as it grows.
        enough = done[count - 1].log_probability if len(done) >= count else -math.inf
        kept = [each for each in grown[:beam_width] if each[0] > enough]
        alive = [each[:4] for each in kept]
        parents, symbols = [each[4] for each in kept], [each[1][-1] for each in kept]
    total = float(log_sum(np.array([each.log_probability for each in done]))) if done else -math.inf
    return SearchResult([each for each in done[:count] if each.log_probability > -math.inf], total), passes
