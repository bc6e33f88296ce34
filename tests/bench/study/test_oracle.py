"""Oracle readers: by enumeration, by sampling, and where theory says what they are worth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from bench.study.label_distributions import (
    LABEL_DISTRIBUTIONS,
    Independent,
    LabelDistribution,
    Lexicon,
    Luhn,
    Markov,
)
from bench.study.oracle import ErasureOracles, erasure_patterns, read, read_under_erasure
from seqocr.errors import InputError

READERS = ("local", "marginal", "joint")
FIVE = {name: made(5) for name, made in LABEL_DISTRIBUTIONS.items()}


@pytest.fixture(params=FIVE, scope="module")
def law(request: pytest.FixtureRequest) -> LabelDistribution:
    return FIVE[request.param]


def weighted(seed: int) -> Lexicon:
    """A law without any structure, of three symbols out of three, some strings impossible."""
    generator = np.random.default_rng(seed)
    strings = np.array(list(itertools.product(range(3), repeat=3)))
    return Lexicon(strings, 3, generator.exponential(size=27) * (generator.random(27) < 0.7) + (np.arange(27) == 0))


LEXICONS = st.integers(0, 10_000).map(weighted)


@given(LEXICONS, st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_readings_are_what_listing_all_strings_gives(law: Lexicon, seed: int) -> None:
    evidence = np.random.default_rng(seed).normal(size=(4, 3, 3))
    found = read(law, evidence)
    strings, prior = law.enumerated()
    for b, line in enumerate(evidence):
        scores = np.log(prior) + line[np.arange(3), strings].sum(axis=1)
        likely = np.exp(scores - logsumexp(scores))
        known = {tuple(string): p for string, p in zip(strings.tolist(), likely, strict=True)}
        marginals = np.array([np.bincount(column, likely, minlength=3) for column in strings.T])
        expected = {
            "local": (law.marginals * np.exp(line)).argmax(axis=1),
            "marginal": marginals.argmax(axis=1),
            "joint": strings[likely.argmax()],
        }
        for name, ids in expected.items():
            reading = getattr(found, name)
            assert np.array_equal(reading.ids[b], ids), name
            assert reading.probability[b] == pytest.approx(known.get(tuple(ids.tolist()), 0.0))
        # C is the divergence of the posterior from the product of its marginals.
        apart = np.log(marginals[np.arange(3), strings]).sum(axis=1)
        assert found.total_correlation[b] == pytest.approx(likely @ (np.log(likely) - apart), abs=1e-9)
    assert np.array_equal(found.gap, found.joint.probability - found.marginal.probability)
    assert (found.gap >= 0).all()
    assert (found.gap[found.joint.probability > 0.5] == 0).all()


def test_patterns_lie_where_they_are_said_to() -> None:
    assert erasure_patterns(3, "first", 2)[0].tolist() == [[True, True, False]]
    assert erasure_patterns(3, "last", 1)[0].tolist() == [[False, False, True]]
    erased, chances = erasure_patterns(3, "random", 0.2)
    assert len(np.unique(erased, axis=0)) == 8
    np.testing.assert_allclose(chances @ erased, 0.2)
    assert chances.sum() == pytest.approx(1)


def shown(strings: np.ndarray, erased: np.ndarray, k: int) -> np.ndarray:
    """Evidence of clean images: an erased symbol tells nothing, others all."""
    return np.where(erased[:, :, None] | (strings[:, :, None] == np.arange(k)), 0, -math.inf)


@pytest.mark.parametrize(
    ("where", "amount"), [("random", 0.3), ("first", 2), ("last", 2), ((True, False) * 2 + (True,), 0)]
)
def test_expectations_are_what_readers_of_drawn_strings_reach(law: LabelDistribution, where, amount: float) -> None:
    expected = read_under_erasure(law, where, amount)
    count, generator = 2000, np.random.default_rng(0)
    strings = law.sample(count, seed=3)
    possible, chances = erasure_patterns(law.n, where, amount)
    erased = possible[generator.choice(len(possible), count, p=chances)]
    found = read(law, shown(strings, erased, law.k))
    for name in READERS:
        right, chance = (getattr(found, name).ids == strings).all(axis=1).mean(), getattr(expected, name)
        assert abs(right - chance) <= 4.5 * math.sqrt(chance * (1 - chance) / count) + 1e-9, name
    for name in ("total_correlation", "gap"):  # both are means over lines
        values = getattr(found, name)
        assert abs(values.mean() - getattr(expected, name)) <= 4.5 * values.std() / math.sqrt(count) + 1e-9, name


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_random_erasure_is_the_mean_over_patterns(law: LabelDistribution, rate: float) -> None:
    found = read_under_erasure(law, "random", rate)
    total = dict.fromkeys((*READERS, "total_correlation", "gap"), 0.0)
    for pattern in itertools.product([False, True], repeat=law.n):
        chance = rate ** sum(pattern) * (1 - rate) ** (law.n - sum(pattern))
        if chance:
            one = read_under_erasure(law, pattern)
            total = {name: value + chance * getattr(one, name) for name, value in total.items()}
    for name, value in total.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-12), name


@given(LEXICONS, st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(max_examples=60, deadline=None)
def test_who_knows_more_does_not_read_worse(law: Lexicon, erased: tuple[bool, ...]) -> None:
    found = read_under_erasure(law, erased)
    assert found.joint >= found.marginal - 1e-12
    assert found.joint >= found.local - 1e-12
    assert found.total_correlation >= 0
    if sum(erased) < 2:  # a single symbol has no one to depend on
        assert found.gap == pytest.approx(0, abs=1e-12)
        assert found.total_correlation == pytest.approx(0, abs=1e-9)


def test_ends(law: LabelDistribution) -> None:
    """With nothing erased all is read. With everything erased the law is left, and its likeliest string."""
    assert read_under_erasure(law, "random", 0) == ErasureOracles(
        *[pytest.approx(value, abs=1e-9) for value in (1, 1, 1, 0)]
    )
    nothing = read_under_erasure(law, "first", law.n)
    assert nothing.total_correlation == pytest.approx(law.total_correlation, abs=1e-9)
    assert nothing.joint == pytest.approx(law.enumerated()[1].max())
    assert nothing == read_under_erasure(law, "last", law.n) == read_under_erasure(law, (True,) * law.n)


@pytest.mark.parametrize("law", [FIVE["uniform"], FIVE["frequencies"], Markov(5, 0.0)])
@pytest.mark.parametrize(("where", "amount"), [("random", 0.5), ("first", 3), ("last", 5)])
def test_independent_symbols_lie_at_the_origin(law: LabelDistribution, where: str, amount: float) -> None:
    found = read_under_erasure(law, where, amount)
    assert found.total_correlation == pytest.approx(0, abs=1e-9)
    assert found.gap == pytest.approx(0, abs=1e-12)
    assert found.local == pytest.approx(found.joint)


def test_uniform_symbols_are_guessed() -> None:
    assert read_under_erasure(Independent(5), "random", 0.2).local == pytest.approx((1 - 0.2 * 0.9) ** 5)
    assert read_under_erasure(Independent(5), "last", 2).joint == pytest.approx(0.01)


def test_a_chain_has_dependence_that_no_one_needs_to_read_jointly() -> None:
    """Two symbols that follow a visible one: the likeliest string has most of the probability, so G = 0; yet C > 0."""
    found = read_under_erasure(Markov(5, 0.9), "last", 2)
    assert found.total_correlation > 0.1
    assert found.gap == pytest.approx(0, abs=1e-12)
    assert found.marginal == pytest.approx(0.91**2)  # both are one step further
    assert found.local == pytest.approx(0.1 * 0.01)  # it says 00


def test_a_check_digit_is_worth_a_joint_reading() -> None:
    """Two erased digits: ten strings are left, all alike, and any digit in either place. So the joint reader is right
    once in ten, the other two once in a hundred."""
    for erased in itertools.combinations(range(5), 2):
        found = read_under_erasure(Luhn(5), [place in erased for place in range(5)])
        assert found.joint == pytest.approx(0.1)
        assert found.marginal == pytest.approx(0.01)
        assert found.gap == pytest.approx(0.09)
        assert found.total_correlation == pytest.approx(math.log(10))
    one = read_under_erasure(Luhn(5), "first", 1)  # which the check digit restores, in each slot by itself
    assert (one.local, one.marginal, one.joint) == pytest.approx((0.1, 1, 1))


@pytest.mark.parametrize(
    ("where", "amount"),
    [
        ("random", 1.5),
        ("random", math.nan),
        ("first", 6),
        ("last", -1),
        ("middle", 1),
        ((True, False), 0),
        ((1, 0, 0, 0, 0), 0),
    ],
)
def test_what_cannot_be_erased_is_refused(where, amount: float) -> None:
    with pytest.raises(InputError, match=r": give (a number|'random')"):
        read_under_erasure(Independent(5), where, amount)
