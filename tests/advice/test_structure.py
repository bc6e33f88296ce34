"""What labels tell of each other, on distributions whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum.iso7064 import mod_97_10

from bench.study.label_distributions import Independent, LabelDistribution, Lexicon, Luhn, Markov
from seqocr.advice.structure import FORMS, miller_madow, mutual_information, structure_of

DIGITS = "0123456789"


def texts(distribution: LabelDistribution, count: int, seed: int = 0) -> list[str]:
    return ["".join(map(str, row)) for row in distribution.sample(count, seed).tolist()]


def test_independent_digits_seldom_look_dependent() -> None:
    """A permutation test at 5 % raises no more false alarms than that."""
    alarms = [structure_of(texts(Independent(4), 120, seed), DIGITS, seed).p_value < 0.05 for seed in range(60)]
    assert sum(alarms) <= 9  # of 60; at 5 %, more come once in 700 times


MOD_97 = [text + mod_97_10.calc_check_digits(text) for text in texts(Independent(7), 400)]


@pytest.mark.parametrize(
    ("labels", "nats", "form"),
    [
        (texts(Luhn(8), 400), math.log(10), "Luhn check digit"),
        (MOD_97, 2 * math.log(10), "mod 97 check digits"),
        (texts(Lexicon.dates(6), 800), Lexicon.dates(6).total_correlation, "date DDMMYY"),
    ],
    ids=["luhn", "mod 97", "dates"],
)
def test_forms_are_found_by_name(labels: list[str], nats: float, form: str) -> None:
    found = structure_of(labels, DIGITS)
    assert list(found.forms) == [form]
    assert found.depends
    assert found.total_correlation == pytest.approx(nats, abs=0.25)


def test_no_form_is_found_where_there_is_none() -> None:
    for seed in range(5):
        assert structure_of(texts(Independent(6), 300, seed), DIGITS, seed).forms == {}


@pytest.mark.parametrize("knob", [0.2, 0.5, 0.9])
def test_a_chain_s_dependence_is_that_of_its_pairs(knob: float) -> None:
    distribution = Markov(5, knob)
    found = structure_of(texts(distribution, 4000), DIGITS)
    assert found.p_value < 0.01
    assert found.total_correlation == pytest.approx(distribution.total_correlation, rel=0.15)


def test_a_short_list_of_strings_is_seen_as_one() -> None:
    found = structure_of(texts(Lexicon.sampled(5, 100), 1500), DIGITS)
    assert (found.distinct, found.is_list) == (100, True)
    assert found.entropy == pytest.approx(math.log(100), abs=0.05)
    assert found.total_correlation == pytest.approx(Lexicon.sampled(5, 100).total_correlation, abs=0.2)


@pytest.mark.parametrize("n", [1, 2])
def test_short_strings_that_are_all_seen_are_no_list(n: int) -> None:
    found = structure_of(texts(Independent(n), 2000), DIGITS)
    assert found.covered == 1
    assert not found.is_list
    assert not found.depends


def test_places_that_do_not_have_every_symbol_are_named() -> None:
    found = structure_of(texts(Lexicon.dates(6), 800), DIGITS)
    assert found.alphabets == {1: "0123", 3: "01"}


def test_thirty_strings_are_not_enough_and_it_says_how_many_are() -> None:
    few = structure_of(texts(Independent(5), 30, seed=4), DIGITS)
    assert not few.depends
    assert not few.enough
    assert few.needed > 30
    assert structure_of(texts(Independent(5), few.needed * 2, seed=4), DIGITS).enough


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(lambda counts: sum(counts) > 0))
def test_entropy_is_that_of_the_shares_and_the_known_correction(counts: list[int]) -> None:
    there = np.array([count for count in counts if count])
    share = there / there.sum()
    plain = -sum(p * math.log(p) for p in share.tolist())
    assert miller_madow(np.array(counts)) == pytest.approx(plain + (len(there) - 1) / (2 * there.sum()))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_mutual_information_is_symmetric_and_of_a_column_with_itself_its_entropy(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    assert mutual_information(a, b, 4) == pytest.approx(mutual_information(b, a, 4))
    assert mutual_information(a, b, 4) > -1e-12
    share = np.bincount(a)[np.bincount(a) > 0] / len(a)
    assert mutual_information(a, a, 4) == pytest.approx(-(share @ np.log(share)))


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("Luhn check digit", "79927398713", "79927398710"),
        ("mod 97 check digits", "486", "485"),
        ("date DDMMYY", "290224", "290223"),
        ("date YYYYMMDD", "20240229", "20230229"),
        ("date MMDDYY", "123199", "311299"),
    ],
)
def test_a_form_is_of_some_texts_and_not_of_others(form: str, right: str, wrong: str) -> None:
    assert not FORMS[form](wrong)
    assert FORMS[form](right)
