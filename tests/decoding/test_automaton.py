"""Automata, against all strings of few symbols, enumerated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn as other_luhn
from stdnum.iso7064 import mod_97_10

from seqocr.decoding.automaton import Automaton, build_lexicon, minimise, restrict_length
from seqocr.decoding.check_digits import build_luhn, build_mod97
from seqocr.errors import InputError

AUTOMATA = st.integers(0, 10_000).map(lambda seed: random_automaton(np.random.default_rng(seed)))


def random_automaton(generator: np.random.Generator) -> Automaton:
    """Of up to four states, with circles, dead ends, and weights of which some are equal."""
    size, k = generator.integers(1, 5), generator.integers(1, 4)
    following = generator.integers(-1, size, (size, k))
    weight = np.where(following >= 0, generator.integers(-2, 2, (size, k)) / 2, -math.inf)
    return Automaton(following, weight, np.where(generator.random(size) < 0.6, generator.normal(size=size), -math.inf))


def weight_of(automaton: Automaton, string: tuple[int, ...]) -> float:
    state, total = 0, 0.0
    for symbol in string:
        total += float(automaton.weight[state, symbol])
        state = int(automaton.next[state, symbol])
        if state < 0:
            return -math.inf
    return total + float(automaton.final[state])


def accepted(automaton: Automaton, n: int) -> dict[tuple[int, ...], float]:
    """All strings of n, in order, and their weights."""
    weights = {string: weight_of(automaton, string) for string in itertools.product(range(automaton.k), repeat=n)}
    return {string: weight for string, weight in weights.items() if weight > -math.inf}


@given(AUTOMATA)
@settings(max_examples=150, deadline=None)
def test_the_smallest_automaton_accepts_the_same(automaton: Automaton) -> None:
    if not any(accepted(automaton, n) for n in range(5)):
        with pytest.raises(InputError, match="accepts no string: give"):
            minimise(automaton)
        return
    smallest = minimise(automaton)
    assert len(smallest.final) <= len(automaton.final)
    for n in range(5):
        assert accepted(smallest, n) == pytest.approx(accepted(automaton, n))
        if accepted(automaton, n):
            exact = restrict_length(automaton, n)
            assert accepted(exact, n) == pytest.approx(accepted(automaton, n))
            assert not any(accepted(exact, m) for m in range(5) if m != n)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_check_digits_are_those_of_python_stdnum(n: int) -> None:
    texts = ["".join(map(str, ids)) for ids in itertools.product(range(10), repeat=n)]
    of_luhn = {tuple(map(int, text)) for text in texts if n > 1 and other_luhn.is_valid(text)}
    assert set(accepted(build_luhn(), n)) == of_luhn
    issued = {text for text in texts if n > 2 and mod_97_10.calc_check_digits(text[:-2]) == text[-2:]}
    assert all(mod_97_10.is_valid(text) for text in issued)
    assert set(accepted(build_mod97(), n)) == {tuple(map(int, text)) for text in issued}
    if n > 2:
        assert set(accepted(restrict_length(build_luhn(), n), n)) == of_luhn
        assert len(restrict_length(build_luhn(), n).final) < len(build_luhn().final) * n


def test_check_digits_cost_few_states() -> None:
    # Luhn's of a length: a sum after each digit, none before the first one and after the last.
    assert len(restrict_length(build_luhn(), 6).final) == 1 + 5 * 10 + 1
    assert len(build_mod97().final) < 400


@given(st.dictionaries(st.lists(st.integers(0, 2), max_size=4).map(tuple), st.sampled_from([0.0, -1.5]), min_size=1))
@settings(max_examples=80, deadline=None)
def test_a_lexicon_has_its_strings_of_any_length(words: dict[tuple[int, ...], float]) -> None:
    automaton = build_lexicon(words, 3, list(words.values()))
    assert {string: weight for n in range(5) for string, weight in accepted(automaton, n).items()} == words
    assert len(build_lexicon(words, 3).final) <= len(automaton.final)


def test_equal_endings_are_one() -> None:
    assert len(build_lexicon(itertools.product(range(3), repeat=4), 3).final) == 5
    with pytest.raises(InputError, match="without strings: give"):
        build_lexicon([])
