"""Laws of labels: how likely each string is, exactly, so that what its symbols tell of each other is known, too.

A law is of strings of n symbols, written as ids 0 to k - 1. All of them know themselves through one function, the law
of the next symbol given those before it; sampling, probabilities and enumeration follow from it. Entropies are in nats,
in closed form, and total correlation (Watanabe 1960) is what the symbols' own entropies exceed the string's by: 0 where
they are independent.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
from scipy.special import gammaln
from scipy.stats import entropy as entropy_of
from scipy.stats import hypergeom

from seqocr.errors import InputError

_MOST = 1_000_000  # strings that are enumerated at most
_MNIST = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)  # images of each class in its training half
_DATES = {6: "DDMMYY", 5: "DDMMY"}


class LabelDistribution:
    """Subclasses say what follows a prefix, each symbol's own law, and the string's entropy.

    Attributes:
        n: symbols in a string.
        k: symbols that there are.
    """

    n: int
    k: int

    def following(self, prefixes: np.ndarray) -> np.ndarray:
        """(N, t) int ids of possible prefixes, t < n -> (N, k) float64: the law of the symbol after each."""
        raise NotImplementedError

    @cached_property
    def marginals(self) -> np.ndarray:
        """(n, k) float64: the law of each symbol by itself."""
        raise NotImplementedError

    @cached_property
    def entropy(self) -> float:
        """Of the whole string, nats."""
        raise NotImplementedError

    @property
    def total_correlation(self) -> float:
        """Nats that are lost by taking the symbols as independent: KL(law || product of its marginals)."""
        return max(0.0, float(entropy_of(self.marginals, axis=1).sum()) - self.entropy)

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) int64 strings, the same for the same seed."""
        generator, strings = np.random.default_rng(seed), np.empty((count, 0), np.int64)
        for _ in range(self.n):
            below = self.following(strings).cumsum(axis=1)
            drawn = (generator.random((count, 1)) * below[:, -1:] >= below).sum(axis=1)
            strings = np.column_stack([strings, drawn])
        return strings

    def probability(self, strings: np.ndarray) -> np.ndarray:
        """(N, n) int ids -> (N,) float64; 0 for what cannot be."""
        found, possible = np.zeros(len(strings)), np.arange(len(strings))
        likely = np.ones(len(strings))
        for t in range(self.n):
            prefixes = strings[possible]
            likely *= self.following(prefixes[:, :t])[np.arange(len(possible)), prefixes[:, t]]
            possible, likely = possible[likely > 0], likely[likely > 0]
        found[possible] = likely
        return found

    def enumerated(self) -> tuple[np.ndarray, np.ndarray]:
        """All strings that can be, (N, n) int64, in order, and their probabilities (N,).

        Raises:
            InputError: there are too many.
        """
        strings, likely = np.empty((1, 0), np.int64), np.ones(1)
        for _ in range(self.n):
            after = self.following(strings) * likely[:, None]
            row, symbol = np.nonzero(after)
            if len(row) > _MOST:
                raise InputError(f"this law has more than {_MOST:,} strings: take fewer symbols to enumerate it")
            strings, likely = np.column_stack([strings[row], symbol]), after[row, symbol]
        return strings, likely


class Independent(LabelDistribution):
    """Every symbol drawn by itself: uniformly, or with the frequencies of classes, such as MNIST's."""

    def __init__(self, n: int, frequencies: Sequence[float] = (1,) * 10) -> None:
        weights = np.asarray(frequencies, float)
        if n < 1 or weights.ndim != 1 or not (weights >= 0).all() or not 0 < weights.sum() < math.inf:
            raise InputError(f"n {n}, frequencies {list(frequencies)}: give n from 1 up, and frequencies from 0")
        self.n, self.k, self._of_each = n, len(weights), weights / weights.sum()

    def following(self, prefixes: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self._of_each, (len(prefixes), self.k))

    @cached_property
    def marginals(self) -> np.ndarray:
        return np.tile(self._of_each, (self.n, 1))

    @cached_property
    def entropy(self) -> float:
        return self.n * float(entropy_of(self._of_each))


class WithoutReplacement(LabelDistribution):
    """Drawn from a finite pool, each of its digits once: what has been drawn is a little less likely to come again.

    Args:
        pool: (k,) int, how many there are of each symbol.
    """

    def __init__(self, n: int, pool: Sequence[int]) -> None:
        counts = np.asarray(pool)
        if n < 1 or counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
            raise InputError(f"n {n}, pool {list(pool)}: give how many there are of each symbol")
        if counts.sum() < n:
            raise InputError(f"a pool of {counts.sum()} is too small for strings of {n}: give more, or a smaller n")
        self.n, self.k, self.pool = n, len(counts), counts

    def following(self, prefixes: np.ndarray) -> np.ndarray:
        drawn = (prefixes[:, :, None] == np.arange(self.k)).sum(axis=1)
        return (self.pool - drawn) / (self.pool.sum() - prefixes.shape[1])

    @cached_property
    def marginals(self) -> np.ndarray:
        return np.tile(self.pool / self.pool.sum(), (self.n, 1))  # whatever the place, by symmetry

    @cached_property
    def entropy(self) -> float:
        """A string with m_i of symbol i, of c_i in a pool of N, has probability prod (c_i)_{m_i} / (N)_n, in falling
        factorials; each m_i by itself is hypergeometric."""
        size, m = int(self.pool.sum()), np.arange(self.n + 1)
        found = _log_falling(size, self.n)
        for c in self.pool[self.pool > 0]:
            can = m[m <= c]
            found -= float(hypergeom(size, c, self.n).pmf(can) @ _log_falling(c, can))
        return float(found)


def _log_falling(c: int, m: np.ndarray | int) -> np.ndarray:
    """log of c (c - 1) ... (c - m + 1)."""
    return gammaln(c + 1) - gammaln(c - np.asarray(m) + 1)


class Markov(LabelDistribution):
    """A chain whose next symbol is the one `step` further (circulant), or else any: from independent to determined.

    Args:
        knob: chance of the former; at 0 symbols are independent, at 1 the first one decides all.
    """

    def __init__(self, n: int, knob: float, k: int = 10, step: int = 1) -> None:
        if n < 1 or k < 1 or not 0 <= knob <= 1:
            raise InputError(f"n {n}, k {k}, knob {knob}: give n and k from 1 up, and a knob from 0 to 1")
        self.n, self.k, self.knob = n, k, knob
        self._further = np.full(k, (1 - knob) / k)  # chance of the symbol so much further
        self._further[step % k] += knob

    @cached_property
    def transition(self) -> np.ndarray:
        """(k, k) float64: from a symbol (row) to the next (column)."""
        return np.array([np.roll(self._further, symbol) for symbol in range(self.k)])

    def following(self, prefixes: np.ndarray) -> np.ndarray:
        if prefixes.shape[1] == 0:
            return np.full((len(prefixes), self.k), 1 / self.k)
        return self.transition[prefixes[:, -1]]

    @cached_property
    def marginals(self) -> np.ndarray:
        return np.full((self.n, self.k), 1 / self.k)

    @cached_property
    def entropy(self) -> float:
        return math.log(self.k) + (self.n - 1) * float(entropy_of(self._further))


class Luhn(LabelDistribution):
    """Digits drawn uniformly, and a last one that makes Luhn's sum (ISO/IEC 7812-1) a multiple of 10."""

    k = 10

    def __init__(self, n: int) -> None:
        if n < 2:
            raise InputError(f"n {n}: a number with a check digit has at least 2")
        self.n = n

    def following(self, prefixes: np.ndarray) -> np.ndarray:
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


class Mod97(LabelDistribution):
    """Digits drawn uniformly, and two that make the number 1 modulo 97 (ISO 7064, MOD 97-10, as in an IBAN)."""

    k = 10

    def __init__(self, n: int) -> None:
        if n < 3:
            raise InputError(f"n {n}: a number with two check digits has at least 3")
        self.n = n

    def following(self, prefixes: np.ndarray) -> np.ndarray:
        if prefixes.shape[1] < self.n - 2:
            return np.full((len(prefixes), 10), 0.1)
        remainder = np.zeros(len(prefixes), np.int64)
        for digit in prefixes[:, : self.n - 2].T:
            remainder = (10 * remainder + digit) % 97
        check = np.stack(np.divmod(_check_97(remainder), 10), axis=1)
        return np.eye(10)[check[:, prefixes.shape[1] - self.n + 2]]

    @cached_property
    def marginals(self) -> np.ndarray:
        found = np.full((self.n, 10), 0.1)
        remainders = np.eye(97)[0]  # the law of the number so far, modulo 97
        for _ in range(self.n - 2):
            after = (10 * np.arange(97)[:, None] + np.arange(10)) % 97
            remainders = np.bincount(after.ravel(), np.repeat(remainders / 10, 10), minlength=97)
        for place, digit in zip((-2, -1), np.divmod(_check_97(np.arange(97)), 10), strict=True):
            found[place] = np.bincount(digit, remainders, minlength=10)
        return found

    @cached_property
    def entropy(self) -> float:
        return (self.n - 2) * math.log(10)


def _check_97(remainder: np.ndarray) -> np.ndarray:
    """The two check digits, as a number from 2 to 98, after a number with this remainder."""
    return 98 - 100 * remainder % 97


class Lexicon(LabelDistribution):
    """Finitely many strings, each as likely as the others, or by weight.

    Args:
        strings: (K, n) ids.
        k: symbols that there are.
        weights: (K,) how often each string comes; those of equal strings add up. Without them, equal ones count once.
    """

    def __init__(self, strings: np.ndarray, k: int = 10, weights: np.ndarray | None = None) -> None:
        if strings.ndim != 2 or 0 in strings.shape or strings.min() < 0 or strings.max() >= k:
            raise InputError(f"a lexicon of shape {strings.shape}: give at least one string of ids below {k}")
        self.n, self.k = strings.shape[1], k
        if k**self.n > 2**62:
            raise InputError(f"a lexicon of strings of {self.n}: give shorter ones, whose numbers fit 62 bits")
        if weights is not None:
            if weights.shape != strings.shape[:1] or not (weights >= 0).all() or not 0 < weights.sum() < math.inf:
                raise InputError(f"weights of shape {weights.shape}: give each string one from 0, and not only zeros")
            strings, weights = strings[weights > 0], weights[weights > 0]
        self.strings, which = np.unique(strings, axis=0, return_inverse=True)
        weights = np.ones(len(self.strings)) if weights is None else np.bincount(which, weights)
        self._likely = weights / weights.sum()
        self._below = np.append(0, weights.cumsum())

    @classmethod
    def drawn(cls, n: int, count: int, seed: int = 0, k: int = 10) -> Lexicon:
        """So many strings, drawn uniformly from all of length n."""
        if not 1 <= count <= k**n or k**n > 2**62:
            raise InputError(f"{count:,} of the {k}^{n} strings: give a number from 1 to as many as there are")
        generator, chosen = np.random.default_rng(seed), set[int]()
        while len(chosen) < count:
            chosen.update(generator.integers(k**n, size=count - len(chosen)).tolist())
        ids = np.array(sorted(chosen))
        return cls(ids[:, None] // k ** np.arange(n - 1, -1, -1) % k, k)

    @classmethod
    def dates(cls, n: int = 6) -> Lexicon:
        """The days of the years 1950 to 2049, as DDMMYY (n = 6) or DDMMY (n = 5: the last digit of the year). Each
        string is as likely as the others, however many days are written so."""
        if n not in _DATES:
            raise InputError(f"dates of {n} digits: give 6 (DDMMYY) or 5 (DDMMY)")
        days = [
            f"{day:02}{month:02}{year % 100:02}"
            for year in range(1950, 2050)
            for month in range(1, 13)
            for day in range(1, calendar.monthrange(year, month)[1] + 1)
        ]
        strings = np.array([list(map(int, day)) for day in days])
        return cls(strings[:, [0, 1, 2, 3, 5]] if n == 5 else strings)

    def following(self, prefixes: np.ndarray) -> np.ndarray:
        t = prefixes.shape[1]
        # Prefixes as numbers, which stay in the order of the strings: those that begin alike stand side by side.
        places = self.k ** np.arange(t, -1, -1)
        begun = self.strings[:, : t + 1] @ places
        after = (prefixes @ places[:-1])[:, None] + np.arange(self.k)
        first, end = (np.searchsorted(begun, after, side) for side in ("left", "right"))
        found = self._below[end] - self._below[first]
        total = found.sum(axis=1, keepdims=True)
        return found / np.where(total > 0, total, 1)

    @cached_property
    def marginals(self) -> np.ndarray:
        return np.array([np.bincount(column, self._likely, minlength=self.k) for column in self.strings.T])

    @cached_property
    def entropy(self) -> float:
        return float(entropy_of(self._likely))


# Laws by name, each made for strings of n symbols. To add one is a class and a line here.
LABEL_DISTRIBUTIONS: dict[str, Callable[[int], LabelDistribution]] = {
    "uniform": Independent,
    "frequencies": partial(Independent, frequencies=_MNIST),
    "pool": partial(WithoutReplacement, pool=_MNIST),
    "markov-0.5": partial(Markov, knob=0.5),
    "markov-0.9": partial(Markov, knob=0.9),
    "luhn": Luhn,
    "mod97": Mod97,
    "dates": Lexicon.dates,
    "lexicon-20": partial(Lexicon.drawn, count=20),
    "lexicon-100": partial(Lexicon.drawn, count=100),
    "lexicon-1000": partial(Lexicon.drawn, count=1000),
}
