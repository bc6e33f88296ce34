"""Texts of a given form, as one weighted deterministic automaton: check digits, lexicons, laws of labels.

`seqocr.decoding.search` reads under them. An automaton of a label distribution gives each string its log probability,
any other one gives 0 to each that it accepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from seqocr.errors import InputError

if TYPE_CHECKING:
    from seqocr.data.synthetic.label_distributions import LabelDistribution, WithoutReplacement

_MOST = 50_000  # ways to draw from a pool that an automaton is made of


@dataclass(frozen=True, eq=False)
class Automaton:
    """It starts in state 0. A string's weight is the sum over its symbols, and of the state that it ends in.

    Attributes:
        next: (states, k) int64, the state after each symbol; -1 where it is not allowed.
        weight: (states, k) float64, log weights; -inf where a symbol is not allowed.
        final: (states,) float64, log weights of ending there; -inf where a string cannot.
    """

    next: np.ndarray
    weight: np.ndarray
    final: np.ndarray

    @property
    def k(self) -> int:
        """Symbols that there are."""
        return self.next.shape[1]

    @property
    def support(self) -> Automaton:
        """The same strings, each as likely as the others."""
        weight, final = (np.where(each > -math.inf, 0.0, -math.inf) for each in (self.weight, self.final))
        return Automaton(self.next, weight, final)

    @cached_property
    def padded(self) -> Automaton:
        """Of the same strings, each followed by any number of a further class, "empty": what slots hold that may be
        more than the symbols."""
        ended, k = self.next.shape
        empty = np.where(self.final > -math.inf, ended, -1)
        return Automaton(
            np.vstack([np.column_stack([self.next, empty]), [-1] * k + [ended]]),
            np.vstack([np.column_stack([self.weight, self.final]), [-math.inf] * k + [0.0]]),
            np.append(self.final, 0.0),
        )

    @cached_property
    def over_frames(self) -> Automaton:
        """Of CTC's paths to the same strings, over the symbols and blank, the last class (Graves et al. 2006)."""
        blank = self.k

        def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
            state, before = at
            if symbol in (blank, before):
                return (state, symbol), 0.0
            after = int(self.next[state, symbol])
            return None if after < 0 else ((after, symbol), float(self.weight[state, symbol]))

        return explored((0, blank), step, lambda at: float(self.final[at[0]]), blank + 1)


def explored(
    start: Any,
    step: Callable[[Any, int], tuple[Hashable, float] | None],
    final: Callable[[Any], float],
    k: int,
) -> Automaton:
    """The automaton of a rule, whose states are anything that can be hashed.

    Args:
        start: the state before the first symbol.
        step: (state, symbol) -> the state after it and the symbol's log weight; None where it is not allowed.
        final: log weight of a string that ends in a state; -inf where none can.
        k: symbols that there are.
    """
    numbers, states = {start: 0}, [start]
    following, weight = [], []
    for state in states:  # which grows on the way
        steps = [step(state, symbol) for symbol in range(k)]
        for after in steps:
            if after and after[0] not in numbers:
                numbers[after[0]] = len(states)
                states.append(after[0])
        following.append([numbers[after[0]] if after else -1 for after in steps])
        weight.append([after[1] if after else -math.inf for after in steps])
    return Automaton(np.array(following), np.array(weight), np.array([final(state) for state in states], float))


def minimised(automaton: Automaton) -> Automaton:
    """Of the same strings with the same weights; states that end alike are one (Moore 1956), and dead ends are cut.

    Raises:
        InputError: no string is accepted.
    """
    alive, grown = automaton.final > -math.inf, np.zeros(0)
    while not np.array_equal(alive, grown):
        alive, grown = alive | ((automaton.next >= 0) & alive[automaton.next]).any(axis=1), alive
    if not alive[0]:
        raise InputError("this form accepts no string: give one that allows some")
    after = np.where((automaton.next >= 0) & alive[automaton.next], automaton.next, -1)
    weight = np.where(after >= 0, automaton.weight, -math.inf)
    _, first, kinds = np.unique(
        np.column_stack([automaton.final, weight]), axis=0, return_index=True, return_inverse=True
    )
    before = 0
    while before < len(first):
        before, rows = len(first), np.column_stack([kinds, np.where(after >= 0, kinds[after], -1)])
        _, first, kinds = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    # Representatives, numbered in the order in which the start leads to them.
    merged = Automaton(np.where(after >= 0, kinds[after], -1)[first], weight[first], automaton.final[first])
    return explored(int(kinds[0]), _step_of(merged), lambda state: float(merged.final[state]), merged.k)


def _step_of(automaton: Automaton) -> Callable[[int, int], tuple[int, float] | None]:
    following, weight = automaton.next.tolist(), automaton.weight.tolist()
    return lambda state, symbol: (
        (following[state][symbol], weight[state][symbol]) if following[state][symbol] >= 0 else None
    )


def of_length(automaton: Automaton, n: int) -> Automaton:
    """Only its strings of n symbols.

    Raises:
        InputError: there are none.
    """
    inner = _step_of(automaton)

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
        after = inner(at[1], symbol) if at[0] < n else None
        return after and ((at[0] + 1, after[0]), after[1])

    return minimised(
        explored((0, 0), step, lambda at: float(automaton.final[at[1]]) if at[0] == n else -math.inf, automaton.k)
    )


def positions(alphabets: Sequence[Collection[int]], k: int = 10) -> Automaton:
    """Strings whose every place has an alphabet of its own, (n,) collections of ids below k."""
    return explored(
        0,
        lambda t, symbol: (t + 1, 0.0) if t < len(alphabets) and symbol in alphabets[t] else None,
        lambda t: _accepted(t == len(alphabets)),
        k,
    )


def lexicon(strings: Iterable[Sequence[int]], k: int = 10, log_weights: Sequence[float] | None = None) -> Automaton:
    """These strings of ids, of any lengths: a trie whose equal endings are one (Daciuk et al. 2000).

    Args:
        log_weights: one a string; 0 each without them.

    Raises:
        InputError: there is no string.
    """
    listed = [tuple(map(int, string)) for string in strings]
    weights = dict(zip(listed, [0.0] * len(listed) if log_weights is None else log_weights, strict=True))
    if not weights:
        raise InputError("a lexicon without strings: give at least one")
    begun = {string[:t] for string in weights for t in range(len(string) + 1)}
    return minimised(
        explored(
            (),
            lambda prefix, symbol: ((*prefix, symbol), 0.0) if (*prefix, symbol) in begun else None,
            lambda prefix: weights.get(prefix, -math.inf),
            k,
        )
    )


def luhn(n: int | None = None) -> Automaton:
    """Digits with the check digit of Luhn's algorithm (ISO/IEC 7812-1), n of them or any number from 2 up."""

    # Which digits count double is known at the end only. So a state has both sums: if the digit that was read last is
    # the check digit, and if it is the one before.
    def step(state: tuple[int, int, int], digit: int) -> tuple[tuple[int, int, int], float]:
        length, last, before = state
        return (min(length + 1, 2), (before + digit) % 10, (last + sum(divmod(2 * digit, 10))) % 10), 0.0

    any_length = minimised(explored((0, 0, 0), step, lambda state: _accepted(state[:2] == (2, 0)), 10))
    return any_length if n is None else of_length(any_length, n)


def mod97(n: int | None = None) -> Automaton:
    """Digits that end in the two check digits of ISO 7064's MOD 97-10, n of them or any number from 3 up.

    Check digits are from 02 to 98: others with the same remainder are never issued.
    """

    def step(state: tuple[int, int, int], digit: int) -> tuple[tuple[int, int, int], float]:
        length, remainder, last_two = state
        return (min(length + 1, 3), (10 * remainder + digit) % 97, last_two % 10 * 10 + digit), 0.0

    def final(state: tuple[int, int, int]) -> float:
        return _accepted(state[0] == 3 and state[1] == 1 and 2 <= state[2] <= 98)

    any_length = minimised(explored((0, 0, 0), step, final, 10))
    return any_length if n is None else of_length(any_length, n)


def chain(first: np.ndarray, transition: np.ndarray) -> Automaton:
    """Strings of any length of a Markov chain, and their log probabilities.

    Args:
        first: (k,) float64, chances of the first symbol.
        transition: (k, k) float64, from a symbol (row) to the next (column).
    """
    k = len(first)
    chances = np.vstack([first, transition])  # state 0 is the start, state 1 + i comes after symbol i
    with np.errstate(divide="ignore"):
        weight = np.log(chances)
    return Automaton(np.where(chances > 0, np.arange(1, k + 1), -1), weight, np.zeros(k + 1))


def from_distribution(law: LabelDistribution) -> Automaton:
    """The strings of a law, and their log probabilities. Any law that this function does not know is enumerated.

    Raises:
        InputError: it has too many states or strings.
    """
    from seqocr.data.synthetic import label_distributions as labels  # a neighbour of it brings torch

    if isinstance(law, labels.Luhn | labels.Mod97):
        form = luhn(law.n) if isinstance(law, labels.Luhn) else mod97(law.n)
        return Automaton(form.next, form.weight, form.final - law.entropy)  # all its strings are as likely
    if isinstance(law, labels.Markov):
        return of_length(chain(law.marginals[0], law.transition), law.n)
    if isinstance(law, labels.Independent):
        return of_length(chain(law.marginals[0], np.tile(law.marginals[0], (law.k, 1))), law.n)
    if isinstance(law, labels.WithoutReplacement):
        return _of_pool(law)
    strings, likely = law.enumerated()
    return lexicon(strings.tolist(), law.k, np.log(likely).tolist())


def _of_pool(law: WithoutReplacement) -> Automaton:
    """Its states are how many of each symbol have been drawn."""
    if math.comb(law.n + law.k, law.k) > _MOST:
        raise InputError(f"a pool with strings of {law.n} has too many states: take Independent of its frequencies")

    def step(drawn: tuple[int, ...], symbol: int) -> tuple[tuple[int, ...], float] | None:
        chance = (law.pool[symbol] - drawn[symbol]) / (law.pool.sum() - sum(drawn)) if sum(drawn) < law.n else 0
        after = (*drawn[:symbol], drawn[symbol] + 1, *drawn[symbol + 1 :])
        return (after, math.log(chance)) if chance > 0 else None

    return explored((0,) * law.k, step, lambda drawn: _accepted(sum(drawn) == law.n), law.k)


def _accepted(is_so: bool) -> float:
    return 0.0 if is_so else -math.inf
