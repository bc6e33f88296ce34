"""Oracle readers: by enumeration, by sampling, and where theory says what they are worth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from bench.study.label_distributions import LABEL_DISTRIBUTIONS, Lexicon, Luhn, Markov
from bench.study.oracle import read


def weighted(seed: int) -> Lexicon:
    """A distribution without any structure, of three symbols out of three, some strings impossible."""
    generator = np.random.default_rng(seed)
    strings = np.array(list(itertools.product(range(3), repeat=3)))
    return Lexicon(np.repeat(strings, generator.integers(0, 5, 27) + (np.arange(27) == 0), axis=0), 3)


LEXICONS = st.integers(0, 10_000).map(weighted)


@given(LEXICONS, st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_readings_are_what_listing_all_strings_gives(distribution: Lexicon, seed: int) -> None:
    evidence = np.random.default_rng(seed).normal(size=(4, 3, 3))
    found = read(distribution, evidence)
    strings, prior = distribution.list_strings()
    for b, line in enumerate(evidence):
        scores = np.log(prior) + line[np.arange(3), strings].sum(axis=1)
        likely = np.exp(scores - logsumexp(scores))
        known = {tuple(string): p for string, p in zip(strings.tolist(), likely, strict=True)}
        marginals = np.array([np.bincount(column, likely, minlength=3) for column in strings.T])
        expected = {
            "local": (distribution.marginals * np.exp(line)).argmax(axis=1),
            "marginal": marginals.argmax(axis=1),
            "joint": strings[likely.argmax()],
        }
        for name, ids in expected.items():
            assert np.array_equal(found.ids[name][b], ids), name
            assert found.probability[name][b] == pytest.approx(known.get(tuple(ids.tolist()), 0.0))
        # C is the divergence of the posterior from the product of its marginals.
        apart = np.log(marginals[np.arange(3), strings]).sum(axis=1)
        assert found.total_correlation[b] == pytest.approx(likely @ (np.log(likely) - apart), abs=1e-9)
    assert np.array_equal(found.gap, found.probability["joint"] - found.probability["marginal"])
    assert (found.gap >= 0).all()
    assert (found.gap[found.probability["joint"] > 0.5] == 0).all()


def evidence_of(strings: np.ndarray, erased: tuple[int, ...]) -> np.ndarray:
    """Of clean images of digits: an erased one tells nothing, others all."""
    shown = np.where(strings[:, :, None] == np.arange(10), 0, -math.inf)
    shown[:, erased] = 0
    return shown


@pytest.mark.parametrize("name", LABEL_DISTRIBUTIONS)
def test_ends(name: str) -> None:
    """With nothing erased all is read. With everything erased the likeliest string is left."""
    distribution = LABEL_DISTRIBUTIONS[name](5)
    strings = distribution.sample(20, seed=3)
    clean, empty = (read(distribution, evidence_of(strings, erased)) for erased in ((), (0, 1, 2, 3, 4)))
    for ids in clean.ids.values():
        assert np.array_equal(ids, strings)
    assert clean.total_correlation == pytest.approx(np.zeros(20), abs=1e-9)
    assert empty.total_correlation == pytest.approx(np.full(20, distribution.total_correlation), abs=1e-9)
    assert empty.probability["joint"] == pytest.approx(np.full(20, distribution.list_strings()[1].max()))


def test_a_chain_has_dependence_that_no_one_needs_to_read_jointly() -> None:
    """Two symbols that follow a visible one: the likeliest string has most of the probability, so G = 0; yet C > 0."""
    found = read(Markov(5, 0.9), evidence_of(np.array([[5, 6, 7, 8, 9]]), (3, 4)))
    assert found.total_correlation[0] > 0.1
    assert found.gap[0] == pytest.approx(0, abs=1e-12)
    assert found.probability["marginal"][0] == pytest.approx(0.91**2)  # both are one step further


def test_a_check_digit_is_worth_a_joint_reading() -> None:
    """Two erased digits: ten strings are left, all alike, and any digit in either place. So the joint reader is right
    once in ten, and one that takes them one by one only by chance."""
    strings = Luhn(5).sample(50)
    for erased in itertools.combinations(range(5), 2):
        found = read(Luhn(5), evidence_of(strings, erased))
        assert found.probability["joint"] == pytest.approx(np.full(50, 0.1))
        assert found.total_correlation == pytest.approx(np.full(50, math.log(10)))
    one = read(Luhn(5), evidence_of(strings, (0,)))  # which the check digit restores, in each slot by itself
    assert np.array_equal(one.ids["marginal"], strings)
