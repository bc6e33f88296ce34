"""What a number must look like: a regular expression, a check digit, a list of texts. Each becomes an automaton.

`seqocr.decoding.search` reads under them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import interegular
import numpy as np
from interegular.fsm import anything_else

from seqocr.decoding.automaton import Automaton, explored, luhn, minimised, mod97
from seqocr.decoding.automaton import lexicon as of_strings
from seqocr.errors import InputError
from seqocr.files import shown

_DIGITS = "0123456789"
_MOST_STATES = 200_000
_ACCEPTED, _REFUSED = 0.0, -math.inf


def build_constraint(
    charset: str, *, pattern: str | None = None, check: str | None = None, lexicon: Path | str | None = None
) -> Automaton | None:
    """The texts that are all of what is given; None where nothing is.

    Args:
        charset: the symbols that can be read.
        pattern: a regular expression that the whole text matches.
        check: a name of `CHECKS`.
        lexicon: a file of texts, one a line.

    Raises:
        InputError: one of them cannot be used with this charset, or no text is all of them.
    """
    found = [
        *([of_pattern(pattern, charset)] if pattern is not None else []),
        *([of_check(check, charset)] if check is not None else []),
        *([of_lexicon(Path(lexicon), charset)] if lexicon is not None else []),
    ]
    if not found:
        return None
    whole = found[0]
    for other in found[1:]:
        try:
            whole = both(whole, other)
        except InputError:
            given = {"--pattern": pattern, "--check": check, "--lexicon": lexicon}
            named = " and ".join(f"{name} {value}" for name, value in given.items() if value is not None)
            raise InputError(f"{named}: no text is of all these forms; give one less") from None
    return whole


def anything(k: int) -> Automaton:
    """All strings of k symbols."""
    return Automaton(np.zeros((1, k), np.int64), np.zeros((1, k)), np.zeros(1))


def both(one: Automaton, other: Automaton) -> Automaton:
    """The strings that both accept; their weights add up.

    Raises:
        InputError: there are none.
    """

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
        a, b = int(one.next[at[0], symbol]), int(other.next[at[1], symbol])
        if a < 0 or b < 0:
            return None
        return (a, b), float(one.weight[at[0], symbol] + other.weight[at[1], symbol])

    return minimised(explored((0, 0), step, lambda at: float(one.final[at[0]] + other.final[at[1]]), one.k))


def of_pattern(pattern: str, charset: str) -> Automaton:
    """The texts that match a regular expression from beginning to end; `^` and `$` there are allowed.

    Raises:
        InputError: it cannot be read, no text of the charset matches it, or it names a symbol outside the charset.
    """
    inner = re.sub(r"(?<!\\)\$$", "", pattern.removeprefix("^"))
    try:
        re.compile(inner)
        machine: Any = interegular.parse_pattern(inner).to_fsm()
    except Exception as error:  # a parser of its own, whose errors have no common kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"--pattern {pattern!r} cannot be used ({reason}): give a regular expression without look-behind, "
            "references to groups, or anchors inside"
        ) from None
    if len(machine.states) > _MOST_STATES:
        raise InputError(f"--pattern {pattern!r} has {len(machine.states):,} states: give a simpler one")
    if outside := sorted(_literals(inner) - set(charset)):
        raise InputError(
            f"--pattern {pattern!r} has {outside[0]!r}, which is not in the charset {charset!r}: these weights cannot "
            "read it"
        )
    other = machine.alphabet.get(anything_else)
    keys = [machine.alphabet.get(symbol, other) for symbol in charset]

    def step(state: int, i: int) -> tuple[int, float] | None:
        after = machine.map.get(state, {}).get(keys[i])
        return None if after is None else (after, _ACCEPTED)

    final: Callable[[int], float] = lambda state: _ACCEPTED if state in machine.finals else _REFUSED  # noqa: E731
    try:
        return minimised(explored(machine.initial, step, final, len(charset)))
    except InputError:
        raise InputError(
            f"--pattern {pattern!r} matches no text of the charset {charset!r}: give one that matches some"
        ) from None


def _literals(pattern: str) -> set[str]:
    """Letters and digits that a pattern names, one by one: neither classes such as \\d, nor counts, nor ranges."""
    bare = re.sub(r"\\.|\{[\d,]*\}|\(\?[a-zA-Z]+\)|\(\?P<\w+>|\w-\w|\[\^[^\]]*\]", " ", pattern)
    return {symbol for symbol in bare if symbol.isalnum()}


def of_lexicon(path: Path, charset: str) -> Automaton:
    """The texts of a file, one a line; empty lines do not count.

    Raises:
        InputError: the file cannot be read, has no text, or one with a symbol outside the charset.
    """
    name = shown(path)
    try:
        texts = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise InputError(f"--lexicon {name} cannot be read ({reason}): give a text file, one text a line") from error
    for number, text in enumerate(texts, 1):
        if outside := [symbol for symbol in text if symbol not in charset]:
            raise InputError(
                f"--lexicon {name}, line {number:,}: {shown(text)!r} has {outside[0]!r}, which is not in the charset "
                f"{charset!r}"
            )
    strings = {tuple(map(charset.index, text)) for text in texts if text}
    if not strings:
        raise InputError(f"--lexicon {name} has no text: give one a line")
    return of_strings(sorted(strings), len(charset))


# Check digits, by python-stdnum's names (its modules `luhn`, `damm`, `ean`, `isbn`, `iso7064.mod_97_10` ...).
# Each is an automaton over the symbols that its numbers are made of, in the order of those.


def _damm() -> Automaton:
    """Damm 2004, "Total anti-symmetrische Quasigruppen": the table that python-stdnum has, too."""
    table = [
        "0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
        "3674209581", "5869720134", "8945362017", "9438617205", "2581436790",
    ]  # fmt: skip
    return minimised(
        explored(
            (0, 0),
            lambda at, symbol: ((int(table[at[0]][symbol]), min(at[1] + 1, 2)), _ACCEPTED),
            lambda at: _ACCEPTED if at == (0, 2) else _REFUSED,
            10,
        )
    )


def _pure(modulus: int, radix: int, symbols: int) -> Automaton:
    """ISO 7064's pure systems of one check symbol: sums of symbols, each times a power of the radix, are 1.

    Where the modulus exceeds the symbols by one, the last symbol stands in the last place only (X of ISBN-10).
    """

    def step(at: tuple[int, int, bool], symbol: int) -> tuple[tuple[int, int, bool], float] | None:
        value, length, ended = at
        if ended:
            return None
        return ((value * radix + symbol) % modulus, min(length + 1, 2), symbol == symbols - 1 == modulus - 1), _ACCEPTED

    def final(at: tuple[int, int, bool]) -> float:
        return _ACCEPTED if at[0] == 1 and at[1] == 2 else _REFUSED

    return minimised(explored((0, 0, False), step, final, symbols))


def _hybrid(modulus: int) -> Automaton:
    """ISO 7064's hybrid systems: MOD 11,10 and MOD 37,36. There are as many symbols as the modulus has values."""

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float]:
        check, length = at
        # Whether this symbol is the last is not known: what counts is the sum before it is doubled.
        doubled = (check or modulus) * 2 % (modulus + 1)
        return ((doubled + symbol) % modulus, min(length + 1, 2)), _ACCEPTED

    return minimised(explored((modulus // 2, 0), step, lambda at: _ACCEPTED if at == (1, 2) else _REFUSED, modulus))


def _ean() -> Automaton:
    """GTIN of 8, 12, 13 or 14 digits: every second digit from the last but one on counts thrice."""

    def step(at: tuple[int, int, int], symbol: int) -> tuple[tuple[int, int, int], float] | None:
        length, last_once, last_thrice = at
        if length == 14:
            return None
        return (length + 1, (last_thrice + symbol) % 10, (last_once + 3 * symbol) % 10), _ACCEPTED

    def final(at: tuple[int, int, int]) -> float:
        return _ACCEPTED if at[0] in (8, 12, 13, 14) and at[1] == 0 else _REFUSED

    return minimised(explored((0, 0, 0), step, final, 10))


def _isbn() -> Automaton:
    """ISBN-10, whose last symbol may be X, and ISBN-13, which is an EAN that begins with 978 or 979."""

    def ten(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
        place, total = at
        if place == 10 or (symbol == 10 and place < 9):
            return None
        return (place + 1, (total + (10 - place) * symbol) % 11), _ACCEPTED

    short = explored((0, 0), ten, lambda at: _ACCEPTED if at == (10, 0) else _REFUSED, 11)
    ean = _widened(_ean(), 11)
    long = both(ean, of_pattern(r"97[89]\d{10}", _DIGITS + "X"))
    return _either_of(minimised(short), long)


def _widened(automaton: Automaton, k: int) -> Automaton:
    """Over more symbols, the further of which are not allowed."""
    more = k - automaton.k
    return Automaton(
        np.pad(automaton.next, ((0, 0), (0, more)), constant_values=-1),
        np.pad(automaton.weight, ((0, 0), (0, more)), constant_values=_REFUSED),
        automaton.final,
    )


def _either_of(one: Automaton, other: Automaton) -> Automaton:
    """The strings that one of two automata accepts, each with weight 0."""

    def after(automaton: Automaton, state: int, symbol: int) -> int:
        return int(automaton.next[state, symbol]) if state >= 0 else -1

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
        following = after(one, at[0], symbol), after(other, at[1], symbol)
        return None if following == (-1, -1) else (following, _ACCEPTED)

    def final(at: tuple[int, int]) -> float:
        ends = [a.final[s] for a, s in zip((one, other), at, strict=True) if s >= 0]
        return _ACCEPTED if max(ends, default=_REFUSED) > _REFUSED else _REFUSED

    return minimised(explored((0, 0), step, final, one.k))


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# By name: the symbols that such numbers are made of, in the order of their values, and what makes the automaton.
CHECKS: dict[str, tuple[str, Callable[[], Automaton]]] = {
    "luhn": (_DIGITS, luhn),
    "damm": (_DIGITS, _damm),
    "ean": (_DIGITS, _ean),
    "isbn": (_DIGITS + "X", _isbn),
    "iso7064.mod_11_10": (_DIGITS, lambda: _hybrid(10)),
    "iso7064.mod_11_2": (_DIGITS + "X", lambda: _pure(11, 2, 11)),
    "iso7064.mod_37_2": (_DIGITS + _LETTERS + "*", lambda: _pure(37, 2, 37)),
    "iso7064.mod_37_36": (_DIGITS + _LETTERS, lambda: _hybrid(36)),
    "iso7064.mod_97_10": (_DIGITS, mod97),
}
_SHORT = {"mod97": "iso7064.mod_97_10", "gtin": "ean"}


@cache
def _check_made(name: str) -> Automaton:
    return CHECKS[name][1]()


def of_check(name: str, charset: str) -> Automaton:
    """The texts whose check digit is right.

    Raises:
        InputError: there is no such check, or the charset lacks a symbol of its numbers.
    """
    known = _SHORT.get(name, name)
    if known not in CHECKS:
        raise InputError(f"--check {name}: choose one of {', '.join([*sorted(CHECKS), *_SHORT])}")
    symbols = CHECKS[known][0]
    if missing := [symbol for symbol in symbols if symbol not in charset]:
        raise InputError(
            f"--check {name} is of numbers with {missing[0]!r}, which is not in the charset {charset!r}: these weights "
            "cannot read them"
        )
    return _over(_check_made(known), symbols, charset)


def _over(automaton: Automaton, symbols: str, charset: Sequence[str]) -> Automaton:
    """The same strings with symbols at their places in a charset that has them."""
    next_, weight = (
        np.full((len(automaton.final), len(charset)), fill, each.dtype)
        for fill, each in ((-1, automaton.next), (_REFUSED, automaton.weight))
    )
    places = [charset.index(symbol) for symbol in symbols]
    next_[:, places], weight[:, places] = automaton.next, automaton.weight
    return Automaton(next_, weight, automaton.final)
