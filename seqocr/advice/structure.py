"""What the symbols of labels tell of each other: estimated from a sample of strings of one length.

A pair of places depends where its mutual information is above what shuffled columns give. The likeliest tree over
places (Chow and Liu 1968) sums up the pairs; it is a lower bound of the total correlation. What no pair shows, as a
check digit, is looked for by name.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.stats import binomtest

_SHUFFLES = 200
_MATTERS = 0.2  # nats a string: less than that gains no exact match that anyone would see
_VALID = 0.98  # share of strings that must be of a form; the others may be mislabelled
# Chance that the next string is one that was seen, from which their entropy can be told, and they count as a list.
_COVERED, _LISTED = 0.8, 0.95


@dataclass(frozen=True)
class Structure:
    """What a sample of strings of one length shows."""

    strings: int
    length: int
    distinct: int  # different strings
    covered: float  # chance that the next string is one of these (Good 1953): 1 minus the share of those seen once
    entropy: float | None  # of a string, nats, Miller and Madow's correction; None: too few strings come twice to tell
    places: float  # the sum of the entropies of the places by themselves, likewise corrected
    pairs: float  # nats that the tree of pairs accounts for, above shuffled columns
    p_value: float  # of the permutation test against independence
    smallest: float  # the fewest nats that this sample would have shown
    forms: dict[str, float]  # that the strings are of, by name, with the nats that each accounts for
    alphabets: dict[int, str]  # symbols of places that do not have all, by place from 1

    @property
    def total_correlation(self) -> float:
        """Nats: the difference of the entropies where the string's is known, else the most that was found."""
        known = [] if self.entropy is None else [self.places - self.entropy]
        found = self.pairs if self.p_value < 0.05 else 0.0
        return max(0.0, *known, found, *self.forms.values())

    @property
    def is_list(self) -> bool:
        """Whether the strings are few of those that their symbols could make, and nearly all of them are known."""
        return self.covered >= _LISTED and self.entropy is not None and self.places - self.entropy >= _MATTERS

    @property
    def is_known(self) -> bool:
        """Whether there is a form to decode under."""
        return bool(self.forms) or self.is_list

    @property
    def depends(self) -> bool:
        return self.p_value < 0.05 or self.is_known

    @property
    def enough(self) -> bool:
        """Whether a dependence that matters would have been seen."""
        return self.depends or self.smallest <= _MATTERS

    @property
    def needed(self) -> int:
        """Strings that would be enough: what a sample shows by chance falls with its size."""
        return int(np.ceil(self.strings * max(1.0, self.smallest / _MATTERS) / 100) * 100)


def structure_of(texts: Sequence[str], charset: str, seed: int = 0) -> Structure:
    """Of texts, all of one length, in symbols of the charset; `seed` is of the shuffles."""
    place = {symbol: i for i, symbol in enumerate(charset)}
    ids = np.array([[place[symbol] for symbol in text] for text in texts])
    counts = Counter(texts)
    once = sum(1 for count in counts.values() if count == 1)
    covered = 1 - once / len(texts)
    k, generator = len(charset), np.random.default_rng(seed)
    columns = [np.bincount(column, minlength=k) for column in ids.T]
    found = _tree(ids, k)
    shuffled = [generator.permuted(ids, axis=0) for _ in range(_SHUFFLES)]
    chance = np.array([_tree(each, k) for each in shuffled])
    return Structure(
        strings=len(texts),
        length=ids.shape[1],
        distinct=len(counts),
        covered=covered,
        entropy=miller_madow(np.array(list(counts.values()))) if covered >= _COVERED else None,
        places=sum(miller_madow(column) for column in columns),
        pairs=max(0.0, found - float(chance.mean())),
        p_value=(1 + int((chance >= found).sum())) / (1 + _SHUFFLES),
        smallest=float(np.quantile(chance, 0.95) - chance.mean()) + 1.645 * float(chance.std()),
        forms=_forms(texts, charset, shuffled[:20]),
        alphabets=_alphabets(columns, charset, len(texts)),
    )


def miller_madow(counts: np.ndarray) -> float:
    """Entropy, nats, of what was counted, with the first-order correction of its bias (Miller 1955)."""
    counts = counts[counts > 0]
    share = counts / counts.sum()
    return float(-(share @ np.log(share)) + (len(counts) - 1) / (2 * counts.sum()))


def mutual_information(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """Of two columns of ids below k, nats, as counted."""
    joint = np.bincount(a * k + b, minlength=k * k).reshape(k, k) / len(a)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def _tree(ids: np.ndarray, k: int) -> float:
    """Nats of the tree over places whose pairs tell most of each other."""
    n = ids.shape[1]
    weights = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        weights[i, j] = mutual_information(ids[:, i], ids[:, j], k)
    return -float(minimum_spanning_tree(-weights).sum())


def _alphabets(columns: list[np.ndarray], charset: str, strings: int) -> dict[int, str]:
    """Of places where symbols are missing that chance would have shown, were all equally likely."""
    unlikely = len(charset) * len(columns) * (1 - 1 / len(charset)) ** strings < 0.001
    return {
        place: "".join(symbol for symbol, count in zip(charset, column, strict=True) if count)
        for place, column in enumerate(columns, 1)
        if unlikely and (column == 0).any()
    }


def _forms(texts: Sequence[str], charset: str, shuffled: list[np.ndarray]) -> dict[str, float]:
    """Forms that nearly all strings have and shuffled columns have less often; what they account for is minus the
    logarithm of how often shuffled columns have them by chance."""
    by_chance = ["".join(charset[i] for i in row) for each in shuffled for row in each.tolist()]
    found = {}
    for name, is_of in FORMS.items():
        right = sum(map(is_of, texts))
        chance = (1 + sum(map(is_of, by_chance))) / (2 + len(by_chance))
        seen = binomtest(right, len(texts), chance, alternative="greater").pvalue * len(FORMS)
        if right >= _VALID * len(texts) and seen < 0.001:
            found[name] = -float(np.log(chance))
    return found


def _is_luhn(text: str) -> bool:
    """ISO/IEC 7812-1."""
    if not _is_digits(text) or len(text) < 2:
        return False
    digits = [int(symbol) for symbol in reversed(text)]
    doubled = [d * 2 - 9 * (d > 4) for d in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_mod_97(text: str) -> bool:
    """ISO 7064, MOD 97-10."""
    return _is_digits(text) and len(text) > 2 and int(text) % 97 == 1


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_date(form: str) -> Callable[[str], bool]:
    length = len(datetime(2000, 1, 1).strftime(form))

    def is_of(text: str) -> bool:
        if len(text) != length or not _is_digits(text):
            return False
        try:
            datetime.strptime(text, form)
        except ValueError:
            return False
        return True

    return is_of


# By name: whether a text is of it. To add one: a line here.
FORMS: dict[str, Callable[[str], bool]] = {
    "Luhn check digit": _is_luhn,
    "mod 97 check digits": _is_mod_97,
    "date DDMMYY": _is_date("%d%m%y"),
    "date MMDDYY": _is_date("%m%d%y"),
    "date YYMMDD": _is_date("%y%m%d"),
    "date DDMMYYYY": _is_date("%d%m%Y"),
    "date MMDDYYYY": _is_date("%m%d%Y"),
    "date YYYYMMDD": _is_date("%Y%m%d"),
}
