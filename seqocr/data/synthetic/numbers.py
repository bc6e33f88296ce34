"""What numbers look like in print: how long, which symbols, and which marks between digits."""

from __future__ import annotations

import numpy as np

from seqocr.data.shown import MARKS

_MARKED = 0.25  # share of numbers with marks
_ZEROS = 0.12  # share with leading or trailing zeros
_REPEATS = 0.12  # chance that a digit is the one before it again
_LONG = 0.22  # share of numbers, where their world has no lengths of its own, that are longer than ten digits


def sample_digits(count: int, rng: np.random.Generator) -> str:
    """A string of `count` digits; zeros at an end, and repeats, are more frequent than by chance."""
    ids = rng.integers(10, size=count)
    for i in range(1, count):
        if rng.random() < _REPEATS:
            ids[i] = ids[i - 1]
    if count > 1 and rng.random() < _ZEROS:
        zeros = int(rng.integers(1, count))
        if rng.random() < 0.5:
            ids[:zeros] = 0
        else:
            ids[-zeros:] = 0
    return "".join(map(str, ids))


def sample_length(longest: int, rng: np.random.Generator) -> int:
    """Digits of a number of any kind: short ones are more frequent."""
    if longest > 10 and rng.random() < _LONG:
        return int(rng.integers(11, longest + 1))
    return 1 + min(int(rng.gamma(2.6, 1.7)), min(longest, 10) - 1)


def sample_number(rng: np.random.Generator, longest: int = 24) -> str:
    """A number of at most `longest` digits as it is printed, perhaps with marks."""
    digits = sample_digits(sample_length(longest, rng), rng)
    return add_marks(digits, rng) if rng.random() < _MARKED else digits


def add_marks(digits: str, rng: np.random.Generator) -> str:
    """Digits with the marks of amounts, decimals, dates, times, telephone and account numbers."""
    kind = int(rng.integers(8))
    if kind == 0:  # decimals
        place = int(rng.integers(1, len(digits))) if len(digits) > 1 else 0
        point = ".,"[int(rng.integers(2))]
        return digits[:place] + point + digits[place:] if place else digits
    if kind == 1:  # thousands
        return _grouped_from_right(digits, 3, ".,  "[int(rng.integers(4))])
    if kind == 2:  # amounts
        if len(digits) < 3:
            return digits
        point, between = (".", ",") if rng.random() < 0.5 else (",", ".")
        return _grouped_from_right(digits[:-2], 3, between if rng.random() < 0.6 else "") + point + digits[-2:]
    if kind == 3:  # signs
        return "-+"[int(rng.random() < 0.3)] + digits
    if kind == 4 and len(digits) in (4, 6, 8):  # dates and times
        mark = "./-:"[int(rng.integers(4))]
        return mark.join(digits[i : i + 2] for i in range(0, min(len(digits), 6), 2)) + digits[6:]
    if kind in (5, 6):  # groups
        size = int(rng.integers(2, 6))
        mark = "   -./"[int(rng.integers(6))]
        return mark.join(digits[i : i + size] for i in range(0, len(digits), size))
    place = int(rng.integers(1, len(digits))) if len(digits) > 1 else 0
    return digits[:place] + MARKS[int(rng.integers(len(MARKS)))] + digits[place:] if place else digits


def _grouped_from_right(digits: str, size: int, mark: str) -> str:
    first = len(digits) % size or size
    return mark.join([digits[:first], *(digits[i : i + size] for i in range(first, len(digits), size))])
