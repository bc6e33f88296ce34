"""Label distributions: the exact probability of each string, so that what its symbols tell of each other is known, too.

A distribution is of strings of n symbols, written as ids 0 to k - 1. Each says how likely the next symbol is, given
those before it; samples and probabilities follow from that. Entropies are in nats. Total correlation (Watanabe 1960) is
what the symbols' own entropies exceed the string's by: 0 where they are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import gammaln
from scipy.stats import entropy as entropy_of
from scipy.stats import hypergeom

AMOUNTS = Path(__file__).with_name("amounts.csv")  # place, digit before (0 at the first), digit, count
# Images of each class in MNIST's training half.
_MNIST = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)


class LabelDistribution:
    """Subclasses define `next_symbol`; those of many strings also `marginals` and `entropy`, in closed form.

    Attributes:
        n: symbols in a string.
        k: symbols that there are.
    """

    n: int
    k: int

    def next_symbol(self, prefixes: np.ndarray) -> np.ndarray:
        """(N, t) int ids of possible prefixes, t < n -> (N, k) float64: probabilities of the symbol after each."""
        raise NotImplementedError

    @cached_property
    def marginals(self) -> np.ndarray:
        """(n, k) float64: probabilities of each symbol by itself."""
        strings, probabilities = self.list_strings()
        return np.array([np.bincount(column, probabilities, minlength=self.k) for column in strings.T])

    @cached_property
    def entropy(self) -> float:
        """Of the whole string, nats."""
        return float(entropy_of(self.list_strings()[1]))

    @property
    def total_correlation(self) -> float:
        """Nats that are lost by taking the symbols as independent: KL(distribution || product of its marginals)."""
        return max(0.0, float(entropy_of(self.marginals, axis=1).sum()) - self.entropy)

    def log_likelihood(self, strings: np.ndarray) -> float:
        """Of strings (N, n) ids, nats; -inf if one is impossible."""
        total = 0.0
        for place in range(self.n):
            chances = self.next_symbol(strings[:, :place])[np.arange(len(strings)), strings[:, place]]
            if not chances.all():
                return -math.inf
            total += float(np.log(chances).sum())
        return total

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) int64 strings, the same for the same seed."""
        generator, strings = np.random.default_rng(seed), np.empty((count, 0), np.int64)
        for _ in range(self.n):
            below = self.next_symbol(strings).cumsum(axis=1)
            drawn = (generator.random((count, 1)) * below[:, -1:] >= below).sum(axis=1)
            strings = np.column_stack([strings, drawn])
        return strings

    def list_strings(self) -> tuple[np.ndarray, np.ndarray]:
        """All possible strings, (N, n) int64, in order, and their probabilities (N,)."""
        strings, probabilities = np.empty((1, 0), np.int64), np.ones(1)
        for _ in range(self.n):
            after = self.next_symbol(strings) * probabilities[:, None]
            row, symbol = np.nonzero(after)
            strings, probabilities = np.column_stack([strings[row], symbol]), after[row, symbol]
        return strings, probabilities


class Chain(LabelDistribution):
    """A stationary Markov chain.

    Args:
        first: (k,) probabilities of a symbol at any place.
        transition: (k, k) probabilities, from a symbol (row) to the next (column).
    """

    def __init__(self, n: int, first: np.ndarray, transition: np.ndarray) -> None:
        self.n, self.k, self.first, self.transition = n, len(first), first, transition

    def next_symbol(self, prefixes: np.ndarray) -> np.ndarray:
        return self.transition[prefixes[:, -1]] if prefixes.shape[1] else np.tile(self.first, (len(prefixes), 1))

    @cached_property
    def marginals(self) -> np.ndarray:
        return np.tile(self.first, (self.n, 1))

    @cached_property
    def entropy(self) -> float:
        return float(entropy_of(self.first) + (self.n - 1) * self.first @ entropy_of(self.transition, axis=1))


class Independent(Chain):
    """Each symbol drawn by itself: uniformly, or with the frequencies of classes."""

    def __init__(self, n: int, frequencies: Sequence[float] = (1,) * 10) -> None:
        first = np.array(frequencies) / np.sum(frequencies)
        super().__init__(n, first, np.tile(first, (len(first), 1)))


class Markov(Chain):
    """A digit is followed by the next higher one (9 by 0), or else by any.

    Args:
        knob: probability of the former; at 0 digits are independent, at 1 the first one decides all.
    """

    def __init__(self, n: int, knob: float) -> None:
        super().__init__(
            n, np.full(10, 0.1), np.full((10, 10), (1 - knob) / 10) + knob * np.roll(np.eye(10), 1, axis=1)
        )


class Placed(LabelDistribution):
    """A Markov chain whose transitions differ from place to place.

    Args:
        first: (k,) probabilities of the first symbol.
        transitions: (n - 1, k, k) probabilities, by place, from the symbol before (row) to this one (column).
    """

    def __init__(self, first: np.ndarray, transitions: np.ndarray) -> None:
        self.n, self.k, self.first, self.transitions = 1 + len(transitions), len(first), first, transitions

    @classmethod
    def counted(cls, counts: np.ndarray, strength: float = 10.0) -> Placed:
        """From counts (n, k, k) of pairs: place, symbol before, symbol; at the first place only rows' sum counts.

        After a rare symbol, the next one is as likely as at its place: `strength` strings weigh as the pairs do. There,
        each symbol counts once more than it was seen.
        """
        at_place = counts.sum(axis=1) + 1.0
        at_place /= at_place.sum(axis=1, keepdims=True)
        smoothed = counts[1:] + strength * at_place[1:, None, :]
        return cls(at_place[0], smoothed / smoothed.sum(axis=2, keepdims=True))

    @classmethod
    def amounts(cls, n: int = 5) -> Placed:
        """Amounts of five digits on cheques: pairs counted in labels of real ones (`AMOUNTS`)."""
        if n != 5:
            raise ValueError("amounts have five digits")
        counts = np.zeros((n, 10, 10))
        for row in pd.read_csv(AMOUNTS).itertuples():
            counts[row.place, row.before, row.digit] = row.count
        return cls.counted(counts)

    def next_symbol(self, prefixes: np.ndarray) -> np.ndarray:
        place = prefixes.shape[1]
        if not place:
            return np.tile(self.first, (len(prefixes), 1))
        found: np.ndarray = self.transitions[place - 1][prefixes[:, -1]]
        return found

    @cached_property
    def marginals(self) -> np.ndarray:
        found = [self.first]
        for transition in self.transitions:
            found.append(found[-1] @ transition)
        return np.array(found)

    @cached_property
    def entropy(self) -> float:
        after = [m @ entropy_of(t, axis=1) for m, t in zip(self.marginals[:-1], self.transitions, strict=True)]
        return float(entropy_of(self.first) + sum(after))


class Luhn(LabelDistribution):
    """Digits drawn uniformly, and a last one that makes Luhn's sum (ISO/IEC 7812-1) a multiple of 10."""

    k = 10

    def __init__(self, n: int) -> None:
        self.n = n

    def next_symbol(self, prefixes: np.ndarray) -> np.ndarray:
        if prefixes.shape[1] < self.n - 1:
            return np.full((len(prefixes), 10), 0.1)
        doubled = 2 * prefixes[:, ::-1][:, ::2]  # every second one, from the check digit's neighbour on
        total = (doubled - 9 * (doubled > 9)).sum(axis=1) + prefixes[:, ::-1][:, 1::2].sum(axis=1)
        return np.eye(10)[-total % 10]

    @cached_property
    def marginals(self) -> np.ndarray:
        return np.full((self.n, 10), 0.1)  # doubling as Luhn does is a permutation of the digits

    @cached_property
    def entropy(self) -> float:
        return (self.n - 1) * math.log(10)


class Lexicon(LabelDistribution):
    """A list of strings, each as likely as the others; one that is listed twice, twice as likely.

    Args:
        strings: (K, n) ids.
        k: symbols that there are.
    """

    def __init__(self, strings: np.ndarray, k: int = 10) -> None:
        self.n, self.k, self.strings = strings.shape[1], k, strings[np.lexsort(strings.T[::-1])]

    @classmethod
    def sampled(cls, n: int, count: int) -> Lexicon:
        """So many strings, drawn uniformly from all of n digits."""
        generator, chosen = np.random.default_rng(0), set[int]()
        while len(chosen) < count:
            chosen.update(generator.integers(10**n, size=count - len(chosen)).tolist())
        return cls(np.array(sorted(chosen))[:, None] // 10 ** np.arange(n - 1, -1, -1) % 10)

    @classmethod
    def dates(cls, n: int = 6) -> Lexicon:
        """The days of the years 1950 to 2049, as DDMMYY (n = 6) or DDMMY (n = 5: the last digit of the year). Each
        string is as likely as the others, however many days are written so."""
        days = pd.date_range("1950-01-01", "2049-12-31").strftime("%d%m%y")
        strings = np.array([list(map(int, day)) for day in days])
        return cls(np.unique(strings[:, [0, 1, 2, 3, 5]] if n == 5 else strings, axis=0))

    def next_symbol(self, prefixes: np.ndarray) -> np.ndarray:
        t = prefixes.shape[1]
        # Prefixes as numbers, which stay in the order of the strings: those that begin alike stand side by side.
        places = self.k ** np.arange(t, -1, -1)
        begun = self.strings[:, : t + 1] @ places
        after = (prefixes @ places[:-1])[:, None] + np.arange(self.k)
        counts = np.searchsorted(begun, after, "right") - np.searchsorted(begun, after, "left")
        return counts / counts.sum(axis=1, keepdims=True)


def count_form(strings: np.ndarray, k: int = 10) -> LabelDistribution:
    """What strings (N, n) ids look like, for those who do not know their distribution: a list of them, or a chain whose
    transitions differ from place to place, whichever nine tenths of them make the others likelier by."""
    learned, others = strings[: len(strings) * 9 // 10], strings[len(strings) * 9 // 10 :]

    def chain(given: np.ndarray) -> Placed:
        counts = np.zeros((given.shape[1], k, k))
        for place in range(given.shape[1]):
            before = given[:, place - 1] if place else np.zeros(len(given), np.int64)
            np.add.at(counts[place], (before, given[:, place]), 1)
        return Placed.counted(counts)

    forms: tuple[Callable[[np.ndarray], LabelDistribution], ...] = (partial(Lexicon, k=k), chain)
    return max(forms, key=lambda form: form(learned).log_likelihood(others))(strings)


def pool_total_correlation(n: int, pool: Sequence[int] = _MNIST) -> float:
    """Total correlation of n symbols drawn from a finite pool without replacement.

    A string with m_i of symbol i, of c_i in a pool of N, has probability prod (c_i)_{m_i} / (N)_n, in falling
    factorials; each m_i by itself is hypergeometric.
    """
    counts, size = np.asarray(pool), int(np.sum(pool))
    entropy = _log_falling(size, n)
    for count in counts[counts > 0]:
        taken = np.arange(min(n, count) + 1)
        entropy -= hypergeom(size, count, n).pmf(taken) @ _log_falling(count, taken)
    return n * float(entropy_of(counts)) - float(entropy)


def _log_falling(c: int, m: np.ndarray | int) -> np.ndarray:
    """log of c (c - 1) ... (c - m + 1)."""
    return gammaln(c + 1) - gammaln(c - np.asarray(m) + 1)


# By name, each made for strings of n symbols. To add one is a class and a line here.
LABEL_DISTRIBUTIONS: dict[str, Callable[[int], LabelDistribution]] = {
    "uniform": Independent,
    "frequencies": partial(Independent, frequencies=_MNIST),
    "markov-0.5": partial(Markov, knob=0.5),
    "markov-0.9": partial(Markov, knob=0.9),
    "luhn": Luhn,
    "dates": Lexicon.dates,
    "lexicon-20": partial(Lexicon.sampled, count=20),
    "lexicon-100": partial(Lexicon.sampled, count=100),
    "amounts": Placed.amounts,
}
