"""Laws of labels: closed forms against enumeration, sampling, and other people's check digits."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from scipy.stats import entropy as entropy_of
from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from bench.study import label_distributions as labels
from bench.study.label_distributions import (
    Independent,
    LabelDistribution,
    Lexicon,
    Luhn,
    Markov,
    Mod97,
    WithoutReplacement,
)
from seqocr.errors import InputError

LABEL_DISTRIBUTIONS = {name: made(5) for name, made in labels.LABEL_DISTRIBUTIONS.items()} | {
    "small pool": WithoutReplacement(5, (3, 0, 1, 4, 2, 2, 5, 1, 1, 1)),
    "independent chain": Markov(5, 0.0),
    "chain of long steps": Markov(5, 0.6, step=3),
    "determined chain": Markov(5, 1.0),
    "even luhn": Luhn(4),
    "full dates": Lexicon.dates(),
    "weighted": Lexicon(np.array([[0, 1, 2], [0, 2, 2], [3, 1, 1], [0, 1, 2]]), 4, np.array([0.5, 1, 3, 0.25])),
    "one string": Lexicon.drawn(5, 1),
}


@pytest.fixture(params=LABEL_DISTRIBUTIONS, scope="module")
def law(request: pytest.FixtureRequest) -> LabelDistribution:
    return LABEL_DISTRIBUTIONS[request.param]


@pytest.fixture(scope="module")
def every(law: LabelDistribution) -> tuple[np.ndarray, np.ndarray]:
    return law.enumerated()


def test_closed_forms_are_what_enumeration_gives(law: LabelDistribution, every: tuple[np.ndarray, np.ndarray]) -> None:
    strings, likely = every
    assert len(np.unique(strings, axis=0)) == len(strings)
    assert likely.sum() == pytest.approx(1)
    assert law.entropy == pytest.approx(-(likely @ np.log(likely)), abs=1e-9)
    marginals = np.array([np.bincount(column, likely, minlength=law.k) for column in strings.T])
    np.testing.assert_allclose(law.marginals, marginals, atol=1e-12)
    # KL divergence of the law from the product of its marginals.
    apart = np.log(marginals[np.arange(law.n), strings]).sum(axis=1)
    assert law.total_correlation == pytest.approx(likely @ (np.log(likely) - apart), abs=1e-9)


def test_a_string_has_the_same_probability_alone_and_in_the_list(
    law: LabelDistribution, every: tuple[np.ndarray, np.ndarray]
) -> None:
    strings, likely = every
    np.testing.assert_allclose(law.probability(strings), likely)
    generator = np.random.default_rng(0)
    others = generator.integers(law.k, size=(2000, law.n))
    known = {tuple(string): p for string, p in zip(strings.tolist(), likely, strict=True)}
    expected = [known.get(tuple(string), 0.0) for string in others.tolist()]
    np.testing.assert_allclose(law.probability(others), expected)


def test_samples_follow_the_law(law: LabelDistribution, every: tuple[np.ndarray, np.ndarray]) -> None:
    drawn = law.sample(20_000, seed=1)
    assert drawn.shape == (20_000, law.n)
    assert (law.probability(drawn) > 0).all()
    assert np.array_equal(drawn, law.sample(20_000, seed=1))
    for column, expected in zip(drawn.T, law.marginals, strict=True):
        assert fits(np.bincount(column, minlength=law.k), 20_000 * expected)
    # The last symbol, given the first: what independent draws would get wrong.
    strings, likely = every
    joint = np.bincount(strings[:, 0] * law.k + strings[:, -1], likely, minlength=law.k**2)
    assert fits(np.bincount(drawn[:, 0] * law.k + drawn[:, -1], minlength=law.k**2), 20_000 * joint)


def fits(seen: np.ndarray, expected: np.ndarray) -> bool:
    """By a chi-square test, in which all rare cells are one."""
    rare = expected < 5
    if (seen[expected == 0] > 0).any():
        return False
    cells = [np.append(counts[~rare], counts[rare].sum()) for counts in (seen, expected)]
    can = cells[1] > 0
    return can.sum() < 2 or chisquare(cells[0][can], cells[1][can]).pvalue > 1e-4


def test_what_depends_on_what() -> None:
    assert LABEL_DISTRIBUTIONS["uniform"].total_correlation == 0
    assert LABEL_DISTRIBUTIONS["frequencies"].total_correlation == pytest.approx(0, abs=1e-12)
    assert LABEL_DISTRIBUTIONS["independent chain"].total_correlation == pytest.approx(0, abs=1e-12)
    assert LABEL_DISTRIBUTIONS["determined chain"].total_correlation == pytest.approx(4 * math.log(10))
    assert LABEL_DISTRIBUTIONS["luhn"].total_correlation == pytest.approx(math.log(10))
    assert LABEL_DISTRIBUTIONS["one string"].total_correlation == 0
    # MNIST's pool is so large that drawing without replacement makes next to no difference, and yet some.
    assert 0 < LABEL_DISTRIBUTIONS["pool"].total_correlation < 2e-8 * 5
    chain = [Markov(5, knob).total_correlation for knob in (0, 0.25, 0.5, 0.75, 1)]
    assert chain == sorted(chain)


@given(st.integers(2, 18), st.data())
@settings(max_examples=60, deadline=None)
def test_check_digits_are_those_of_python_stdnum(n: int, data: st.DataObject) -> None:
    text = data.draw(st.text("0123456789", min_size=n - 1, max_size=n - 1))
    prefix = np.array([list(map(int, text))])
    assert str(Luhn(n).following(prefix).argmax()) == luhn.calc_check_digit(text)
    law, digits = Mod97(n + 1), mod_97_10.calc_check_digits(text)
    assert str(law.following(prefix).argmax()) == digits[0]
    longer = np.column_stack([prefix, [[int(digits[0])]]])
    assert str(law.following(longer).argmax()) == digits[1]


def test_dates_are_days() -> None:
    strings = Lexicon.dates().strings
    assert len(strings) == 36_525
    for day in np.random.default_rng(0).choice(strings, 200).tolist():
        d, m, y = (10 * a + b for a, b in zip(day[::2], day[1::2], strict=True))
        date(2000 + y if y < 50 else 1900 + y, m, d)
    # Of any year's last digit there are all days but 29 February, which even ones have alone.
    assert len(Lexicon.dates(5).strings) == 3655
    assert {tuple(day[[0, 1, 2, 3, 5]]) for day in strings} == set(map(tuple, Lexicon.dates(5).strings))


def test_weights_of_equal_strings_add_up_and_those_of_zero_are_none() -> None:
    law = Lexicon(np.array([[1, 0], [0, 1], [1, 0], [1, 1]]), 2, np.array([1.0, 2.0, 1.0, 0.0]))
    strings, likely = law.enumerated()
    assert strings.tolist() == [[0, 1], [1, 0]]
    assert likely.tolist() == [0.5, 0.5]


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(lambda pool: sum(pool) >= 4),
)
@settings(max_examples=60, deadline=None)
def test_any_pool_knows_its_entropy(n: int, pool: list[int]) -> None:
    law = WithoutReplacement(n, pool)
    _, likely = law.enumerated()
    assert law.entropy == pytest.approx(float(entropy_of(likely)), abs=1e-9)


@given(st.integers(1, 4), st.integers(1, 5), st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_chain_knows_its_entropy(n: int, k: int, knob: float, step: int) -> None:
    law = Markov(n, knob, k, step)
    _, likely = law.enumerated()
    assert law.entropy == pytest.approx(float(entropy_of(likely)), abs=1e-9)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Independent(0),
        lambda: Independent(5, [1, -1]),
        lambda: Independent(5, [0, 0]),
        lambda: Independent(5, [1, math.nan]),
        lambda: WithoutReplacement(5, [2, 2]),
        lambda: WithoutReplacement(5, [2.5, 8]),
        lambda: Markov(5, 1.1),
        lambda: Markov(5, math.nan),
        lambda: Luhn(1),
        lambda: Mod97(2),
        lambda: Lexicon(np.empty((0, 5), np.int64)),
        lambda: Lexicon(np.array([[10]])),
        lambda: Lexicon(np.zeros((1, 19), np.int64)),
        lambda: Lexicon(np.array([[1]]), weights=np.array([0.0])),
        lambda: Lexicon(np.array([[1]]), weights=np.array([1.0, 1.0])),
        lambda: Lexicon.dates(4),
        lambda: Lexicon.drawn(2, 101),
        lambda: Independent(9).enumerated(),
    ],
)
def test_what_is_no_law_is_refused(made) -> None:
    with pytest.raises(InputError, match=r": (give|take|a number with)"):
        made()
