"""Weighted deterministic finite automata: the sets of texts that a decoder may choose from.

A state machine over symbol ids 0 to k - 1. Constraints give every accepted string weight 0; a label distribution can
give each its log probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seqocr.errors import InputError

ACCEPT, REJECT = 0.0, -math.inf  # log weights


@dataclass(frozen=True, eq=False)
class Automaton:
    """A DFA that starts in state 0. A string's weight is the sum over its transitions plus that of its final state.

    Attributes:
        next: (states, k) int64, the state after each symbol; -1 where the symbol is not allowed.
        weight: (states, k) float64, log weights of transitions; -inf where the symbol is not allowed.
        final: (states,) float64, log weights of ending in each state; -inf where a string cannot end.
    """

    next: np.ndarray
    weight: np.ndarray
    final: np.ndarray

    @property
    def k(self) -> int:
        """Number of symbols in the alphabet."""
        return self.next.shape[1]

    @property
    def support(self) -> Automaton:
        """The same strings, all with weight 0."""
        weight, final = (np.where(each > REJECT, ACCEPT, REJECT) for each in (self.weight, self.final))
        return Automaton(self.next, weight, final)

    @cached_property
    def closure(self) -> Automaton:
        """Each string followed by any number of a further class, "empty": what the slots of a slot lattice hold."""
        ended, k = self.next.shape
        empty = np.where(self.final > REJECT, ended, -1)
        return Automaton(
            np.vstack([np.column_stack([self.next, empty]), [-1] * k + [ended]]),
            np.vstack([np.column_stack([self.weight, self.final]), [REJECT] * k + [ACCEPT]]),
            np.append(self.final, ACCEPT),
        )

    @cached_property
    def ctc_topology(self) -> Automaton:
        """The CTC paths of each string, over the symbols and blank, the last class (Graves et al. 2006)."""
        # A state for each state of this automaton, after a blank; then one for each state and symbol that leads there.
        states, k = self.next.shape
        pairs, place = np.unique(self.next * k + np.arange(k), return_inverse=True)
        after = np.where(self.next >= 0, states - (pairs < 0).sum() + place.reshape(states, k), -1)
        reached, before = np.divmod(pairs[pairs >= 0], k)
        of = np.append(np.arange(states), reached)  # this automaton's state of each of the new ones
        next_, weight = np.column_stack([after[of], of]), np.column_stack([self.weight[of], np.zeros(len(of))])
        again = np.arange(states, len(of))
        next_[again, before], weight[again, before] = again, ACCEPT
        return Automaton(next_, weight, self.final[of])

    def relabel(self, ids: Sequence[int], k: int) -> Automaton:
        """The same strings over an alphabet of k symbols, where symbol i is `ids[i]`."""
        next_, weight = np.full((len(self.final), k), -1), np.full((len(self.final), k), REJECT)
        next_[:, ids], weight[:, ids] = self.next, self.weight
        return Automaton(next_, weight, self.final)


def build(
    start: Any,
    step: Callable[[Any, int], tuple[Hashable, float] | None],
    final: Callable[[Any], float],
    k: int,
) -> Automaton:
    """Build an automaton from a rule, exploring all states that can be reached.

    Args:
        start: the first state; states may be anything hashable.
        step: (state, symbol) -> the next state and the transition's log weight; None where the symbol is not allowed.
        final: state -> log weight of ending there; -inf where a string cannot end.
        k: number of symbols.
    """
    numbers, states = {start: 0}, [start]
    next_, weight = [], []
    for state in states:  # grows while it is walked
        steps = [step(state, symbol) for symbol in range(k)]
        for after in steps:
            if after and after[0] not in numbers:
                numbers[after[0]] = len(states)
                states.append(after[0])
        next_.append([numbers[after[0]] if after else -1 for after in steps])
        weight.append([after[1] if after else REJECT for after in steps])
    return Automaton(np.array(next_), np.array(weight), np.array([final(state) for state in states], float))


def minimise(automaton: Automaton) -> Automaton:
    """Merge equivalent states (Moore 1956) and drop dead ends. Strings and weights stay. InputError if no string is
    accepted."""
    alive, grown = automaton.final > REJECT, np.zeros(0)
    while not np.array_equal(alive, grown):
        alive, grown = alive | ((automaton.next >= 0) & alive[automaton.next]).any(axis=1), alive
    if not alive[0]:
        raise InputError("the constraint accepts no string: give one that allows some")
    after = np.where((automaton.next >= 0) & alive[automaton.next], automaton.next, -1)
    weight = np.where(after >= 0, automaton.weight, REJECT)
    _, first, kinds = np.unique(
        np.column_stack([automaton.final, weight]), axis=0, return_index=True, return_inverse=True
    )
    before = 0
    while before < len(first):
        before, rows = len(first), np.column_stack([kinds, np.where(after >= 0, kinds[after], -1)])
        _, first, kinds = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    # One state of each kind, numbered in the order in which the start leads to them.
    next_ = np.where(after >= 0, kinds[after], -1)[first].tolist()
    weight, final = weight[first].tolist(), automaton.final[first].tolist()

    def step(state: int, symbol: int) -> tuple[int, float] | None:
        return (next_[state][symbol], weight[state][symbol]) if next_[state][symbol] >= 0 else None

    return build(int(kinds[0]), step, final.__getitem__, automaton.k)


def intersect(one: Automaton, other: Automaton) -> Automaton:
    """The strings that both automata accept; their weights add up. InputError if there are none."""

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
        a, b = int(one.next[at[0], symbol]), int(other.next[at[1], symbol])
        if a < 0 or b < 0:
            return None
        return (a, b), float(one.weight[at[0], symbol] + other.weight[at[1], symbol])

    return minimise(build((0, 0), step, lambda at: float(one.final[at[0]] + other.final[at[1]]), one.k))


def unite(one: Automaton, other: Automaton) -> Automaton:
    """The strings that at least one automaton accepts, each with weight 0."""

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
        after = [int(a.next[s, symbol]) if s >= 0 else -1 for a, s in zip((one, other), at, strict=True)]
        return None if after == [-1, -1] else ((after[0], after[1]), ACCEPT)

    def final(at: tuple[int, int]) -> float:
        return accept_if(any(s >= 0 and a.final[s] > REJECT for a, s in zip((one, other), at, strict=True)))

    return minimise(build((0, 0), step, final, one.k))


def restrict_length(automaton: Automaton, n: int) -> Automaton:
    """The strings of n symbols; InputError if there are none."""
    next_ = np.repeat([*range(1, n + 1), -1], automaton.k).reshape(n + 1, automaton.k)
    weight, final = np.where(next_ >= 0, ACCEPT, REJECT), np.full(n + 1, REJECT)
    final[n] = ACCEPT
    return intersect(automaton, Automaton(next_, weight, final))


def build_universal(k: int) -> Automaton:
    """All strings over k symbols."""
    return Automaton(np.zeros((1, k), np.int64), np.zeros((1, k)), np.zeros(1))


def build_lexicon(
    strings: Iterable[Sequence[int]], k: int = 10, log_weights: Sequence[float] | None = None
) -> Automaton:
    """Exactly these strings of ids, of any lengths: a minimal acyclic DFA (Daciuk et al. 2000).

    Args:
        strings: ids below k.
        k: number of symbols.
        log_weights: one per string; default: 0 each.

    Raises:
        InputError: there is no string.
    """
    listed = [tuple(map(int, string)) for string in strings]
    weights = dict(zip(listed, [ACCEPT] * len(listed) if log_weights is None else log_weights, strict=True))
    if not weights:
        raise InputError("a lexicon without strings: give at least one")
    trie, final = [[-1] * k], {}  # the states after each symbol
    for string, weight in weights.items():
        state = 0
        for symbol in string:
            if trie[state][symbol] < 0:
                trie[state][symbol] = len(trie)
                trie.append([-1] * k)
            state = trie[state][symbol]
        final[state] = weight
    next_, ends = np.array(trie), np.full(len(trie), REJECT)
    ends[list(final)] = list(final.values())
    return minimise(Automaton(next_, np.where(next_ >= 0, ACCEPT, REJECT), ends))


def accept_if(condition: bool) -> float:
    """The log weight of a state that is final under a condition."""
    return ACCEPT if condition else REJECT
