"""What of a constraint a head can write, against all texts, enumerated."""

from __future__ import annotations

import itertools
import re

import pytest

from seqocr.decoding.check_digits import build_check
from seqocr.decoding.reach import count_texts, unreachable_texts
from seqocr.decoding.regex import compile_regex
from seqocr.errors import InputError

DIGITS = "0123456789"


@pytest.mark.parametrize("pattern", ["1", "[01]{2,4}", "(1|22)?0{0,2}", "", "12?|0000"])
def test_texts_are_counted_by_length(pattern):
    texts = ["".join(text) for n in range(5) for text in itertools.product("012", repeat=n)]
    found = [text for text in texts if re.fullmatch(pattern, text)]
    counts = count_texts(compile_regex(pattern, "012"))
    assert counts == [sum(len(text) == n for text in found) for n in range(max(map(len, found)) + 1)]
    for longest in range(5):
        beyond = sorted(text for text in found if len(text) > longest)
        if len(beyond) == len(found):
            with pytest.raises(
                InputError, match=f"at most {longest} symbols.*they have {min(map(len, found))} or more"
            ):
                unreachable_texts(compile_regex(pattern, "012"), "012", longest, "h")
        else:
            said = unreachable_texts(compile_regex(pattern, "012"), "012", longest, "h")
            assert said.endswith(f"cannot read {len(beyond)}, the first of them {beyond[0]}" if beyond else "")
            assert bool(said) == bool(beyond)


def test_of_very_many_texts_the_lengths_are_listed():
    assert unreachable_texts(build_check("ean", DIGITS), DIGITS, 10, "parallel") == (
        "head parallel of these weights writes at most 10 symbols: of the texts that satisfy the constraint, it cannot "
        "read those of 12, 13, 14"
    )


def test_texts_without_limit_are_not_all_expected():
    for pattern in (r"\d+", r"(\d\d)*"):
        assert unreachable_texts(compile_regex(pattern, DIGITS), DIGITS, 3, "h") == ""
    for pattern in (r"\d{11,}", r"\d{300}"):
        with pytest.raises(InputError, match=r"\d+ or more"):
            unreachable_texts(compile_regex(pattern, DIGITS), DIGITS, 10, "h")


def test_repeats_take_frames_of_ctc():
    for pattern, frames in (("1{4}", 7), ("12", 2), ("1123", 5), ("11|2345", 3)):
        automaton = compile_regex(pattern, DIGITS)
        assert isinstance(unreachable_texts(automaton, DIGITS, frames, "h", "ctc"), str)
        with pytest.raises(InputError, match="no text that satisfies the constraint"):
            unreachable_texts(automaton, DIGITS, frames - 1, "h", "ctc")
