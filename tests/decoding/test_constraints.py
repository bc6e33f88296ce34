"""Constraints against the libraries that define them: regular expressions, check digits, lexicons."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import stdnum
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import damm, ean, isbn, luhn
from stdnum.iso7064 import mod_11_2, mod_11_10, mod_37_2, mod_37_36, mod_97_10

from seqocr.decoding.automaton import Automaton, build_universal, intersect
from seqocr.decoding.check_digits import CHECKS, build_check
from seqocr.decoding.constraints import build_constraint, read_lexicon
from seqocr.decoding.regex import compile_regex
from seqocr.errors import InputError

DIGITS = "0123456789"
ALL = DIGITS + "ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
OTHERS = {
    "luhn": luhn,
    "damm": damm,
    "ean": ean,
    "isbn": isbn,
    "iso7064.mod_11_10": mod_11_10,
    "iso7064.mod_11_2": mod_11_2,
    "iso7064.mod_37_2": mod_37_2,
    "iso7064.mod_37_36": mod_37_36,
    "iso7064.mod_97_10": mod_97_10,
}


def accepts(automaton: Automaton, text: str, charset: str = DIGITS) -> bool:
    state = 0
    for symbol in text:
        state = int(automaton.next[state, charset.index(symbol)])
        if state < 0:
            return False
    return bool(automaton.final[state] > -np.inf)


PATTERNS = [
    r"[1-9]\d{3,5}", r"\d+", r"(19|20)\d\d", r"0{2,}|12?3", r"[^5]{1,3}", r"(01)*", r"1.3", r"^\d{2}$", r"(?:1|23)+0?",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_accepts_what_pythons_own_matches(pattern):
    automaton = compile_regex(pattern, DIGITS)
    for n in range(4):
        for symbols in itertools.product(DIGITS, repeat=n):
            text = "".join(symbols)
            assert accepts(automaton, text) == bool(re.fullmatch(pattern.strip("^$"), text)), text


@given(st.text(DIGITS, min_size=1, max_size=7))
def test_long_texts_of_a_pattern(text):
    assert accepts(compile_regex(PATTERNS[0], DIGITS), text) == bool(re.fullmatch(PATTERNS[0], text))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"\d{3", "literal"),  # Python takes this for text, whose brace no charset has
        ("(12", "cannot be used"),
        (r"(\d)\1", "cannot be used"),
        ("[a-c]", "matches no text"),
        ("12A", "'A', which is not in the charset"),
        (r"\d{3}Z?", "'Z', which is not in the charset"),
        ("[^0-9]", "matches no text"),
    ],
)
def test_a_pattern_that_is_of_no_use_says_why(pattern, said):
    if said == "literal":
        said = "matches no text|cannot be used"
    with pytest.raises(InputError, match=said):
        compile_regex(pattern, DIGITS)


def test_letters_in_classes_and_counts_are_not_taken_for_symbols():
    assert accepts(compile_regex(r"\d{2}[0-9A-F]?", DIGITS), "123")
    assert accepts(compile_regex(r"(?P<year>\d\d)", DIGITS), "99")


@pytest.mark.parametrize("name", CHECKS)
def test_checks_are_those_of_python_stdnum(name):
    assert stdnum.__version__
    other, symbols = OTHERS[name], CHECKS[name][0]
    automaton = build_check(name, ALL)
    generator = np.random.default_rng(0)
    alphabet = symbols[:-1] if name in ("iso7064.mod_11_2", "iso7064.mod_37_2", "isbn") else symbols
    right = 0
    for length in [*range(2, 10), *[8, 10, 12, 13, 14] * 4]:
        for _ in range(20):
            begin = "".join(generator.choice(list(alphabet), length - 1))
            if name == "isbn" and length == 13:
                begin = "978" + begin[3:]
            for last in symbols:
                text = begin + last
                if name == "isbn" and (length == 9 or (last == "X" and length != 10)):  # nine: of before 1970
                    continue
                if name == "iso7064.mod_97_10":
                    # Those with check digits 00, 01 and 99 are never issued (see `build_mod97`).
                    assert accepts(automaton, text, ALL) == (
                        length >= 3 and other.is_valid(text) and 2 <= int(text[-2:]) <= 98
                    )
                    right += accepts(automaton, text, ALL)
                    continue
                assert accepts(automaton, text, ALL) == other.is_valid(text), text
                right += other.is_valid(text)
    assert right > 20


def test_the_symbol_that_only_checks_stands_last():
    for name, text in (("iso7064.mod_11_2", "X9"), ("iso7064.mod_37_2", "*1")):
        automaton = build_check(name, ALL)
        assert not any(accepts(automaton, text + last, ALL) for last in ALL)


@pytest.mark.parametrize(
    ("name", "said"),
    [("crc", "choose one of damm"), ("isbn", "'X', which is not in the charset"), ("iso7064.mod_37_36", "'A'")],
)
def test_a_check_that_cannot_be_used_says_why(name, said):
    with pytest.raises(InputError, match=said):
        build_check(name, DIGITS)


def test_a_check_follows_the_order_of_the_charset():
    backwards = DIGITS[::-1]
    assert accepts(build_check("luhn", backwards), "79927398713", backwards)
    assert not accepts(build_check("luhn", backwards), "79927398710", backwards)


def test_mod97_is_short_for_its_long_name():
    assert accepts(build_check("mod97", DIGITS), "9995") is mod_97_10.is_valid("9995")


def test_a_lexicon(tmp_path):
    path = tmp_path / "codes.txt"
    path.write_text("123\n\n 45 \r\n123\n", encoding="utf-8")
    automaton = read_lexicon(path, DIGITS)
    for text, there in (("123", True), ("45", True), ("12", False), ("", False), ("1234", False)):
        assert accepts(automaton, text) is there


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"12\n1A\n", "line 2: '1A' has 'A'"),
        (b"\n \n", "has no text"),
        (b"\xff\xfe\x00", "UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_lexicon_that_is_of_no_use_says_why(tmp_path, data, said):
    path = Path(tmp_path / "codes.txt")
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_lexicon(path, DIGITS)


def test_a_lexicon_is_a_file_of_a_size_that_can_be_held(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--lexicon /dev/zero is no text file"):
        read_lexicon(Path("/dev/zero"), DIGITS)
    with pytest.raises(InputError, match="is no text file"):
        read_lexicon(tmp_path, DIGITS)
    (tmp_path / "codes.txt").write_text("123\n45\n")
    monkeypatch.setattr("seqocr.decoding.constraints.MOST_BYTES", 6)
    with pytest.raises(InputError, match=r"codes\.txt is no text file of at most 6 bytes"):
        read_lexicon(tmp_path / "codes.txt", DIGITS)


@settings(max_examples=30)
@given(st.text(DIGITS, min_size=1, max_size=6))
def test_forms_together_accept_what_each_does(text):
    pattern, check = compile_regex(r"[1-9]\d{2,4}", DIGITS), build_check("luhn", DIGITS)
    assert accepts(intersect(pattern, check), text) == (accepts(pattern, text) and accepts(check, text))
    assert accepts(build_universal(10), text)


def test_no_form_is_none_and_forms_that_exclude_each_other_are_refused(tmp_path):
    assert build_constraint(DIGITS) is None
    (tmp_path / "codes.txt").write_text("18\n19\n")
    assert accepts(build_constraint(DIGITS, pattern="1.", check="luhn", lexicon=tmp_path / "codes.txt"), "18")
    with pytest.raises(InputError, match="--pattern 19 and --check luhn: no text satisfies all of them"):
        build_constraint(DIGITS, pattern="19", check="luhn")
