"""Patterns, check digits and lexicons at random, on every head: a text that satisfies them, or why there is none."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from itertools import count, pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqocr.data.sources.datasets import DIGITS
from seqocr.inference import load as loading
from tests.decoding.test_constraints import OTHERS
from tests.fuzz.conftest import Command, examples, strict_json

numbers = count()
LONGEST = 3  # symbols of the heads with slots or tokens
FRAMES = 6
SHORT = ["".join(text) for n in range(LONGEST + 1) for text in product(DIGITS, repeat=n)]
CHECKS = ["luhn", "damm", "ean", "iso7064.mod_11_10", "iso7064.mod_97_10"]

ATOM = st.sampled_from([*"0179", ".", r"\d", "[1-4]", "[^5]", "(12|3)", "(0|77)", "A", "[a-f]"])
TIMES = st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,3}", "{4}", "{7}", "{2,}"])
PATTERN = st.lists(st.tuples(ATOM, TIMES).map("".join), min_size=1, max_size=3).map("".join)
LEXICON = st.lists(st.text(DIGITS, min_size=1, max_size=8) | st.sampled_from(["1A", "11111"]), min_size=1, max_size=6)


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load", functools.cache(loading.load))


def frames(text: str) -> int:
    """That CTC takes to spell it."""
    return len(text) + sum(a == b for a, b in pairwise(text))


def conditions(pattern: str | None, check: str | None, lexicon: list[str] | None) -> list[Callable[[str], bool]]:
    found: list[Callable[[str], bool]] = []
    if pattern is not None:
        found.append(lambda text: re.fullmatch(pattern, text) is not None)
    if check is not None:
        found.append(lambda text: bool(text) and OTHERS[check].is_valid(text))
    if lexicon is not None:
        found.append(lambda text: text in lexicon)
    return found


@pytest.mark.kind("constraints that suit badly, on every head")
@examples(100)
@given(
    head=st.sampled_from(["ar", "parallel", "ctc"]),
    pattern=st.none() | PATTERN,
    check=st.none() | st.none() | st.sampled_from(CHECKS),
    lexicon=st.none() | LEXICON,
    least=st.sampled_from([[], ["--min-fit=0"], ["--min-fit=0.5"]]),
)
def test_constraints(
    command: Command,
    lively_weights: Path,
    line: Path,
    tmp_path: Path,
    head: str,
    pattern: str | None,
    check: str | None,
    lexicon: list[str] | None,
    least: list[str],
) -> None:
    given = [] if pattern is None else [f"--pattern={pattern}"]
    given += [] if check is None else [f"--check={check}"]
    if lexicon is not None:
        path = tmp_path / f"{next(numbers)}.txt"
        path.write_text("\n".join(lexicon))
        given.append(f"--lexicon={path}")
    ended = command("read", line, "--weights", lively_weights, "--head", head, "--format", "json", *given, *least)
    fits = conditions(pattern, check, lexicon)
    outside = any("A" in text for text in [*(lexicon or []), pattern or ""]) or "[a-f]" in (pattern or "")
    if head == "ctc":
        possible = True if lexicon is None else any(frames(t) <= FRAMES and all(f(t) for f in fits) for t in lexicon)
    else:
        possible = any(all(fit(text) for fit in fits) for text in SHORT)
    if not possible:
        assert ended.code == 2
    elif head != "ctc" and not outside:
        assert ended.code == 0
    if ended.code == 0:
        (row,) = strict_json(ended.out)
        satisfied = all(fit(row["text"]) for fit in fits)
        assert satisfied or (row["text"] == "" and row["notes"]), row


@pytest.mark.kind("constraints that suit badly, on every head")
@pytest.mark.parametrize("symbol", DIGITS[::3])
def test_repeated_symbols_take_more_frames(command: Command, lively_weights: Path, line: Path, symbol: str) -> None:
    read = ("read", line, "--weights", lively_weights, "--head", "ctc", "--min-fit", 0)
    for length in range(1, FRAMES + 2):
        ended = command(*read, f"--pattern={symbol}{{{length}}}")
        assert ended.code == (0 if frames(symbol * length) <= FRAMES else 2)
