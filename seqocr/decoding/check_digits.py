"""Check digits as automata, under python-stdnum's names.

Each is over the symbols that its numbers are made of, in the order of their values.
"""

from collections.abc import Callable
from functools import cache

from seqocr.decoding.automaton import ACCEPT, Automaton, accept_if, build, intersect, minimise, unite
from seqocr.decoding.regex import compile_regex
from seqocr.errors import InputError

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def build_luhn() -> Automaton:
    """Numbers of two digits or more with the check digit of Luhn's algorithm (ISO/IEC 7812-1)."""

    # Which digits count double is known at the end only. So a state has both sums: if the digit that was read last is
    # the check digit, and if it is the one before.
    def step(state: tuple[int, int, int], digit: int) -> tuple[tuple[int, int, int], float]:
        length, last, before = state
        return (min(length + 1, 2), (before + digit) % 10, (last + sum(divmod(2 * digit, 10))) % 10), ACCEPT

    return minimise(build((0, 0, 0), step, lambda state: accept_if(state[:2] == (2, 0)), 10))


def build_mod97() -> Automaton:
    """Numbers of three digits or more that end in the two check digits of ISO 7064's MOD 97-10, as in an IBAN.

    Check digits are from 02 to 98: others with the same remainder are never issued.
    """

    def step(state: tuple[int, int, int], digit: int) -> tuple[tuple[int, int, int], float]:
        length, remainder, last_two = state
        return (min(length + 1, 3), (10 * remainder + digit) % 97, last_two % 10 * 10 + digit), ACCEPT

    def final(state: tuple[int, int, int]) -> float:
        return accept_if(state[0] == 3 and state[1] == 1 and 2 <= state[2] <= 98)

    return minimise(build((0, 0, 0), step, final, 10))


def _build_damm() -> Automaton:
    """Damm 2004, "Total anti-symmetrische Quasigruppen", with the table of python-stdnum."""
    table = [
        "0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
        "3674209581", "5869720134", "8945362017", "9438617205", "2581436790",
    ]  # fmt: skip

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float]:
        return (int(table[at[0]][symbol]), min(at[1] + 1, 2)), ACCEPT

    return minimise(build((0, 0), step, lambda at: accept_if(at == (0, 2)), 10))


def _build_pure(modulus: int, radix: int, symbols: int) -> Automaton:
    """ISO 7064's pure systems of one check symbol: the sum of symbols, each times a power of the radix, is 1.

    Where the modulus exceeds the radix's symbols by one, the last symbol stands in the last place only (X of ISBN-10).
    """

    def step(at: tuple[int, int, bool], symbol: int) -> tuple[tuple[int, int, bool], float] | None:
        value, length, ended = at
        if ended:
            return None
        return ((value * radix + symbol) % modulus, min(length + 1, 2), symbol == symbols - 1 == modulus - 1), ACCEPT

    return minimise(build((0, 0, False), step, lambda at: accept_if(at[:2] == (1, 2)), symbols))


def _build_hybrid(modulus: int) -> Automaton:
    """ISO 7064's hybrid systems, MOD 11,10 and MOD 37,36. There are as many symbols as the modulus has values."""

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float]:
        check, length = at
        # Which symbol is the last is not known: the state holds the sum before it is doubled.
        doubled = (check or modulus) * 2 % (modulus + 1)
        return ((doubled + symbol) % modulus, min(length + 1, 2)), ACCEPT

    return minimise(build((modulus // 2, 0), step, lambda at: accept_if(at == (1, 2)), modulus))


def _build_ean() -> Automaton:
    """GTIN of 8, 12, 13 or 14 digits: from the last but one on, every second digit counts three times."""

    def step(at: tuple[int, int, int], symbol: int) -> tuple[tuple[int, int, int], float] | None:
        length, last_once, last_thrice = at
        if length == 14:
            return None
        return (length + 1, (last_thrice + symbol) % 10, (last_once + 3 * symbol) % 10), ACCEPT

    def final(at: tuple[int, int, int]) -> float:
        return accept_if(at[0] in (8, 12, 13, 14) and at[1] == 0)

    return minimise(build((0, 0, 0), step, final, 10))


def _build_isbn() -> Automaton:
    """ISBN-10, whose last symbol may be X, and ISBN-13, an EAN that begins with 978 or 979."""

    def step(at: tuple[int, int], symbol: int) -> tuple[tuple[int, int], float] | None:
        place, total = at
        if place == 10 or (symbol == 10 and place < 9):
            return None
        return (place + 1, (total + (10 - place) * symbol) % 11), ACCEPT

    ten = minimise(build((0, 0), step, lambda at: accept_if(at == (10, 0)), 11))
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
