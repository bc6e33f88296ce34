"""Check digits as automata, under python-stdnum's names.

Each is over the symbols that its numbers are made of, in the order of their values.
"""

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

from seqocr.decoding.automaton import ACCEPT, Automaton, accept_if, build, intersect, minimise, unite
from seqocr.decoding.regex import compile_regex
from seqocr.errors import InputError

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _build(
    start: Hashable, step: Callable[[Any, int], Hashable | None], is_valid: Callable[[Any], bool], k: int, least: int
) -> Automaton:
    """Strings of at least `least` of k symbols that lead to a valid state; after None, nothing may follow."""

    def counted(at: tuple[Any, int], symbol: int) -> tuple[Hashable, float] | None:
        after = step(at[0], symbol)
        return None if after is None else ((after, min(at[1] + 1, least)), ACCEPT)

    return minimise(build((start, 0), counted, lambda at: accept_if(at[1] == least and is_valid(at[0])), k))


def build_luhn() -> Automaton:
    """Numbers of two digits or more with the check digit of Luhn's algorithm (ISO/IEC 7812-1)."""

    # Which digits count double is known at the end only. So a state has both sums: if the digit that was read last is
    # the check digit, and if it is the one before.
    def step(sums: tuple[int, int], digit: int) -> tuple[int, int]:
        return (sums[1] + digit) % 10, (sums[0] + sum(divmod(2 * digit, 10))) % 10

    return _build((0, 0), step, lambda sums: sums[0] == 0, 10, 2)


def build_mod97() -> Automaton:
    """Numbers of three digits or more that end in the two check digits of ISO 7064's MOD 97-10, as in an IBAN.

    Check digits are from 02 to 98: others with the same remainder are never issued.
    """

    def step(at: tuple[int, int], digit: int) -> tuple[int, int]:
        remainder, last_two = at
        return (10 * remainder + digit) % 97, last_two % 10 * 10 + digit

    return _build((0, 0), step, lambda at: at[0] == 1 and 2 <= at[1] <= 98, 10, 3)


def _build_damm() -> Automaton:
    """Damm 2004, "Total anti-symmetrische Quasigruppen", with the table of python-stdnum."""
    table = [
        "0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
        "3674209581", "5869720134", "8945362017", "9438617205", "2581436790",
    ]  # fmt: skip
    return _build(0, lambda row, digit: int(table[row][digit]), lambda row: row == 0, 10, 2)


def _build_pure(modulus: int, radix: int, symbols: int) -> Automaton:
    """ISO 7064's pure systems of one check symbol: the sum of symbols, each times a power of the radix, is 1.

    Where the modulus exceeds the radix's symbols by one, the last symbol stands in the last place only (X of ISBN-10).
    """

    def step(at: tuple[int, bool], symbol: int) -> tuple[int, bool] | None:
        value, ended = at
        return None if ended else ((value * radix + symbol) % modulus, symbol == symbols - 1 == modulus - 1)

    return _build((0, False), step, lambda at: at[0] == 1, symbols, 2)


def _build_hybrid(modulus: int) -> Automaton:
    """ISO 7064's hybrid systems, MOD 11,10 and MOD 37,36. There are as many symbols as the modulus has values."""

    # Which symbol is the last is not known: the state is the sum before it is doubled.
    def step(check: int, symbol: int) -> int:
        return ((check or modulus) * 2 % (modulus + 1) + symbol) % modulus

    return _build(modulus // 2, step, lambda check: check == 1, modulus, 2)


def _build_ean() -> Automaton:
    """GTIN of 8, 12, 13 or 14 digits: from the last but one on, every second digit counts three times."""

    def step(at: tuple[int, int, int], digit: int) -> tuple[int, int, int] | None:
        length, last_once, last_thrice = at
        return None if length == 14 else (length + 1, (last_thrice + digit) % 10, (last_once + 3 * digit) % 10)

    return _build((0, 0, 0), step, lambda at: at[0] in (8, 12, 13, 14) and at[1] == 0, 10, 0)


def _build_isbn() -> Automaton:
    """ISBN-10, whose last symbol may be X, and ISBN-13, an EAN that begins with 978 or 979."""

    def step(at: tuple[int, int], symbol: int) -> tuple[int, int] | None:
        place, total = at
        if place == 10 or (symbol == 10 and place < 9):
            return None
        return place + 1, (total + (10 - place) * symbol) % 11

    ten = _build((0, 0), step, lambda at: at == (10, 0), 11, 0)
    thirteen = intersect(_build_ean(), compile_regex(r"97[89]\d{10}", _DIGITS))
    return unite(ten, thirteen.relabel(range(10), 11))


# The symbols that such numbers are made of, in the order of their values, and the function that builds the automaton.
CHECKS: dict[str, tuple[str, Callable[[], Automaton]]] = {
    "luhn": (_DIGITS, build_luhn),
    "damm": (_DIGITS, _build_damm),
    "ean": (_DIGITS, _build_ean),
    "isbn": (_DIGITS + "X", _build_isbn),
    "iso7064.mod_11_10": (_DIGITS, lambda: _build_hybrid(10)),
    "iso7064.mod_11_2": (_DIGITS + "X", lambda: _build_pure(11, 2, 11)),
    "iso7064.mod_37_2": (_DIGITS + _LETTERS + "*", lambda: _build_pure(37, 2, 37)),
    "iso7064.mod_37_36": (_DIGITS + _LETTERS, lambda: _build_hybrid(36)),
    "iso7064.mod_97_10": (_DIGITS, build_mod97),
}
_ALIASES = {"mod97": "iso7064.mod_97_10", "gtin": "ean"}


@cache
def build_check(name: str, charset: str) -> Automaton:
    """The texts whose check digit, one of `CHECKS` or an alias ("mod97", "gtin"), is right. InputError if there is no
    such check, or the charset lacks a symbol of its numbers."""
    known = _ALIASES.get(name, name)
    if known not in CHECKS:
        raise InputError(f"--check {name}: choose one of {', '.join([*sorted(CHECKS), *_ALIASES])}")
    symbols, build_numbers = CHECKS[known]
    if missing := [symbol for symbol in symbols if symbol not in charset]:
        raise InputError(
            f"--check {name} is of numbers with {missing[0]!r}, which is not in the charset {charset!r}: these weights "
            "cannot read them"
        )
    return build_numbers().relabel([charset.index(symbol) for symbol in symbols], len(charset))
