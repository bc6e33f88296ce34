"""Label distributions of labels: closed forms against enumeration, sampling, and other people's check digits."""

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

from bench.study import label_distributions as labels
from bench.study.label_distributions import (
    LabelDistribution,
    Lexicon,
    Luhn,
    Markov,
    Placed,
    pool_total_correlation,
)

LABEL_DISTRIBUTIONS = {name: made(5) for name, made in labels.LABEL_DISTRIBUTIONS.items()} | {
    "independent chain": Markov(5, 0.0),
    "determined chain": Markov(5, 1.0),
    "even luhn": Luhn(4),
    "full dates": Lexicon.dates(),
    "weighted": Lexicon(np.array([[0, 1, 2], [0, 2, 2], [3, 1, 1], [0, 1, 2]]), 4),
    "one string": Lexicon.sampled(5, 1),
}


@pytest.fixture(params=LABEL_DISTRIBUTIONS, scope="module")
def distribution(request: pytest.FixtureRequest) -> LabelDistribution:
    return LABEL_DISTRIBUTIONS[request.param]


@pytest.fixture(scope="module")
def every(distribution: LabelDistribution) -> tuple[np.ndarray, np.ndarray]:
    return distribution.list_strings()


def test_closed_forms_are_what_enumeration_gives(
    distribution: LabelDistribution, every: tuple[np.ndarray, np.ndarray]
) -> None:
    strings, likely = every
    assert len(np.unique(strings, axis=0)) == len(strings)
    assert likely.sum() == pytest.approx(1)
    assert distribution.entropy == pytest.approx(-(likely @ np.log(likely)), abs=1e-9)
    marginals = np.array([np.bincount(column, likely, minlength=distribution.k) for column in strings.T])
    np.testing.assert_allclose(distribution.marginals, marginals, atol=1e-12)
    # KL divergence of the distribution from the product of its marginals.
    apart = np.log(marginals[np.arange(distribution.n), strings]).sum(axis=1)
    assert distribution.total_correlation == pytest.approx(likely @ (np.log(likely) - apart), abs=1e-9)


def test_samples_follow_the_distribution(distribution: LabelDistribution, every: tuple[np.ndarray, np.ndarray]) -> None:
    drawn = distribution.sample(20_000, seed=1)
    assert drawn.shape == (20_000, distribution.n)
    assert set(map(tuple, drawn)) <= set(map(tuple, every[0]))
    assert np.array_equal(drawn, distribution.sample(20_000, seed=1))
    for column, expected in zip(drawn.T, distribution.marginals, strict=True):
        assert fits(np.bincount(column, minlength=distribution.k), 20_000 * expected)
    # The last symbol, given the first: what independent draws would get wrong.
    strings, likely = every
    joint = np.bincount(strings[:, 0] * distribution.k + strings[:, -1], likely, minlength=distribution.k**2)
    assert fits(np.bincount(drawn[:, 0] * distribution.k + drawn[:, -1], minlength=distribution.k**2), 20_000 * joint)


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
    assert 0 < pool_total_correlation(5) < 2e-8 * 5
    chain = [Markov(5, knob).total_correlation for knob in (0, 0.25, 0.5, 0.75, 1)]
    assert chain == sorted(chain)


@given(st.integers(2, 18), st.data())
@settings(max_examples=60, deadline=None)
def test_check_digits_are_those_of_python_stdnum(n: int, data: st.DataObject) -> None:
    text = data.draw(st.text("0123456789", min_size=n - 1, max_size=n - 1))
    prefix = np.array([list(map(int, text))])
    assert str(Luhn(n).next_symbol(prefix).argmax()) == luhn.calc_check_digit(text)


def test_dates_are_days() -> None:
    strings = Lexicon.dates().strings
    assert len(strings) == 36_525
    for day in np.random.default_rng(0).choice(strings, 200).tolist():
        d, m, y = (10 * a + b for a, b in zip(day[::2], day[1::2], strict=True))
        date(2000 + y if y < 50 else 1900 + y, m, d)
    # Of any year's last digit there are all days but 29 February, which even ones have alone.
    assert len(Lexicon.dates(5).strings) == 3655
    assert {tuple(day[[0, 1, 2, 3, 5]]) for day in strings} == set(map(tuple, Lexicon.dates(5).strings))


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(lambda pool: sum(pool) >= 4),
)
@settings(max_examples=60, deadline=None)
def test_a_pool_depends_as_listing_its_strings_says(n: int, pool: list[int]) -> None:
    class Pool(LabelDistribution):
        k = len(pool)

        def next_symbol(self, prefixes: np.ndarray) -> np.ndarray:
            drawn = (prefixes[:, :, None] == np.arange(self.k)).sum(axis=1)
            return (np.array(pool) - drawn) / (sum(pool) - prefixes.shape[1])

    distribution = Pool()
    distribution.n = n
    assert pool_total_correlation(n, pool) == pytest.approx(distribution.total_correlation, abs=1e-9)


@given(st.integers(1, 4), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_any_chain_knows_its_entropy(n: int, knob: float) -> None:
    distribution = Markov(n, knob)
    assert distribution.entropy == pytest.approx(float(entropy_of(distribution.list_strings()[1])), abs=1e-9)


def test_amounts_end_in_zeros_as_real_ones_do() -> None:
    """Of 408 amounts of five digits on real cheques, 72 end in 000 and 98 in 00."""
    amounts = Placed.amounts()
    strings, probabilities = amounts.list_strings()
    ends = [float(probabilities[(strings[:, -zeros:] == 0).all(axis=1)].sum()) for zeros in (2, 3)]
    assert ends == pytest.approx([98 / 408, 72 / 408], abs=0.05)
    assert 0.5 < amounts.total_correlation < 0.7


@pytest.mark.parametrize(
    ("name", "form"), [("lexicon-100", Lexicon), ("markov-0.5", Placed), ("amounts", Placed), ("uniform", Placed)]
)
def test_a_form_that_is_counted_is_nearly_the_distribution(name: str, form: type[LabelDistribution]) -> None:
    made = LABEL_DISTRIBUTIONS[name]
    counted = labels.count_form(made.sample(20_000))
    assert isinstance(counted, form)
    others = made.sample(2000, seed=1)
    assert counted.log_likelihood(others) == pytest.approx(made.log_likelihood(others), rel=0.02)


def test_what_is_impossible_has_no_likelihood() -> None:
    assert Lexicon.sampled(5, 1).log_likelihood(np.array([[0, 0, 0, 0, 0]])) == -math.inf
