"""Automata and exact decoding under them: against all strings, listed, of few symbols."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import entropy as entropy_of
from stdnum import luhn as other_luhn
from stdnum.iso7064 import mod_97_10

from seqocr.data.synthetic.label_distributions import LABEL_DISTRIBUTIONS, LabelDistribution, Markov, WithoutReplacement
from seqocr.decoding import automaton as constraints
from seqocr.decoding.automaton import (
    Automaton,
    from_distribution,
    lexicon,
    luhn,
    minimised,
    mod97,
    of_length,
    positions,
)
from seqocr.decoding.exact import best, best_ctc, likeliest_ctc, posterior, score
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


def some_evidence(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=2, size=shape)


def scores_of(weights: dict[tuple[int, ...], float], line: np.ndarray) -> dict[tuple[int, ...], float]:
    return {string: weight + line[range(len(string)), string].sum() for string, weight in weights.items()}


# Decoding.


@given(AUTOMATA, st.integers(0, 4), st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_best_is_the_best_of_all_strings(automaton: Automaton, n: int, seed: int) -> None:
    weights, evidence = accepted(automaton, n), some_evidence(seed, 3, n, automaton.k)
    assume(weights)
    ids, scores = best(automaton, evidence)
    for line, string, found in zip(evidence, ids.tolist(), scores, strict=True):
        every = scores_of(weights, line)
        assert tuple(string) == max(every, key=lambda each: every[each])
        assert found == pytest.approx(every[tuple(string)])
    np.testing.assert_allclose(score(automaton, ids, evidence), scores)


@given(AUTOMATA, st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_the_posterior_is_that_of_all_strings(automaton: Automaton, n: int, seed: int) -> None:
    weights, evidence = accepted(automaton, n), some_evidence(seed, 3, n, automaton.k)
    assume(weights)
    found = posterior(automaton, evidence)
    strings = np.array(list(weights))
    for b, line in enumerate(evidence):
        scores = np.array(list(scores_of(weights, line).values()))
        likely = np.exp(scores - logsumexp(scores))
        marginals = np.array([np.bincount(column, likely, minlength=automaton.k) for column in strings.T])
        assert found.log_normaliser[b] == pytest.approx(logsumexp(scores))
        np.testing.assert_allclose(found.marginals[b], marginals, atol=1e-12)
        assert found.entropy[b] == pytest.approx(entropy_of(likely), abs=1e-9)
        apart = entropy_of(marginals, axis=1).sum() - entropy_of(likely)
        assert found.total_correlation[b] == pytest.approx(apart, abs=1e-9)


@given(AUTOMATA, st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_slots_past_the_end_are_empty(automaton: Automaton, slots: int, seed: int) -> None:
    evidence, empty = some_evidence(seed, 2, slots, automaton.k + 1), automaton.k
    weights = {
        string + (empty,) * (slots - n): weight
        for n in range(slots + 1)
        for string, weight in accepted(automaton, n).items()
    }
    assume(weights)
    ids, scores = best(automaton.padded, evidence)
    for line, string, found in zip(evidence, ids.tolist(), scores, strict=True):
        every = scores_of(weights, line)
        assert tuple(string) == max(every, key=lambda each: every[each])
        assert found == pytest.approx(every[tuple(string)])


def spelled(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


@given(AUTOMATA, st.integers(1, 5), st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_ctc_reads_the_best_path_and_the_likeliest_text(automaton: Automaton, frames: int, seed: int) -> None:
    blank, evidence = automaton.k, some_evidence(seed, 2, frames, automaton.k + 1)
    log_probs = evidence - logsumexp(evidence, axis=2, keepdims=True)
    paths = list(itertools.product(range(blank + 1), repeat=frames))
    weights = {path: weight_of(automaton, spelled(path, blank)) for path in paths}
    weights = {path: weight for path, weight in weights.items() if weight > -math.inf}
    assume(weights)
    ids, scores = best_ctc(automaton, log_probs)
    normaliser = posterior(automaton.over_frames, log_probs).log_normaliser
    for b, line in enumerate(log_probs):
        every = scores_of(weights, line)
        path = max(every, key=lambda each: every[each])
        assert tuple(ids[b]) == spelled(path, blank)
        assert scores[b] == pytest.approx(every[path])
        texts: dict[tuple[int, ...], float] = {}
        for each, found in every.items():
            text = spelled(each, blank)
            texts[text] = float(np.logaddexp(texts.get(text, -math.inf), found))
        likeliest, total = likeliest_ctc(automaton, line)
        assert total == pytest.approx(max(texts.values()))
        assert texts[tuple(likeliest)] == pytest.approx(total)
        assert normaliser[b] == pytest.approx(logsumexp(list(texts.values())))


def test_lines_are_read_alike_alone_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    automaton, evidence = luhn(6), some_evidence(0, 7, 6, 10)
    ids, _ = best(automaton, evidence)
    marginals = posterior(automaton, evidence).marginals
    monkeypatch.setattr("seqocr.decoding.exact._AT_ONCE", 250)
    assert np.array_equal(best(automaton, evidence)[0], ids)
    np.testing.assert_allclose(posterior(automaton, evidence).marginals, marginals)
    assert best(automaton, evidence[:0])[0].shape == (0, 6)
    assert posterior(automaton, evidence[:0]).marginals.shape == (0, 6, 10)


def test_what_is_ruled_out_is_said() -> None:
    evidence = np.zeros((1, 2, 10))
    with pytest.raises(InputError, match="fits into 2 slots or frames: give another"):
        best(luhn(3), evidence)
    with pytest.raises(InputError, match="fits into 2 slots or frames: give another"):
        best_ctc(lexicon([[1, 1]]), np.zeros((1, 2, 11)))  # it needs a blank between
    assert best_ctc(lexicon([[1, 1]]), np.zeros((1, 3, 11)))[0] == [[1, 1]]
    with pytest.raises(InputError, match="fits into 2 slots or frames: give another"):
        likeliest_ctc(lexicon([[1, 1]]), np.zeros((2, 11)))
    with pytest.raises(InputError, match="not among 3 beginnings: give more"):
        likeliest_ctc(luhn(4), np.zeros((8, 11)), most=3)
    evidence[0, 0, 1] = -math.inf
    with pytest.raises(InputError, match="rules out every accepted string: give"):
        posterior(lexicon([[1, 2], [1, 3]]), evidence)
    for bad in (np.zeros((1, 2, 9)), np.zeros((2, 10)), np.full((1, 2, 10), math.nan), np.full((1, 2, 10), math.inf)):
        with pytest.raises(InputError, match=r"evidence of shape .*: give lines"):
            best(luhn(), bad)


# Forms.


@given(AUTOMATA)
@settings(max_examples=150, deadline=None)
def test_the_smallest_automaton_accepts_the_same(automaton: Automaton) -> None:
    if not any(accepted(automaton, n) for n in range(5)):
        with pytest.raises(InputError, match="accepts no string: give"):
            minimised(automaton)
        return
    smallest = minimised(automaton)
    assert len(smallest.final) <= len(automaton.final)
    for n in range(5):
        assert accepted(smallest, n) == pytest.approx(accepted(automaton, n))
        if accepted(automaton, n):
            exact = of_length(automaton, n)
            assert accepted(exact, n) == pytest.approx(accepted(automaton, n))
            assert not any(accepted(exact, m) for m in range(5) if m != n)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_check_digits_are_those_of_python_stdnum(n: int) -> None:
    texts = ["".join(map(str, ids)) for ids in itertools.product(range(10), repeat=n)]
    of_luhn = {tuple(map(int, text)) for text in texts if n > 1 and other_luhn.is_valid(text)}
    assert set(accepted(luhn(), n)) == of_luhn
    issued = {text for text in texts if n > 2 and mod_97_10.calc_check_digits(text[:-2]) == text[-2:]}
    assert all(mod_97_10.is_valid(text) for text in issued)
    assert set(accepted(mod97(), n)) == {tuple(map(int, text)) for text in issued}
    if n > 2:
        assert set(accepted(luhn(n), n)) == of_luhn
        assert len(luhn(n).final) < len(luhn().final) * n


def test_check_digits_cost_few_states() -> None:
    # Luhn's of a length: a sum after each digit, none before the first one and after the last.
    assert len(luhn(6).final) == 1 + 5 * 10 + 1
    assert len(mod97().final) < 400


def test_positions_have_alphabets_of_their_own() -> None:
    form = positions([(0, 1), (2,), range(3, 5)])
    assert set(accepted(form, 3)) == {(0, 2, 3), (0, 2, 4), (1, 2, 3), (1, 2, 4)}
    assert not accepted(form, 2)


@given(st.dictionaries(st.lists(st.integers(0, 2), max_size=4).map(tuple), st.sampled_from([0.0, -1.5]), min_size=1))
@settings(max_examples=80, deadline=None)
def test_a_lexicon_has_its_strings_of_any_length(words: dict[tuple[int, ...], float]) -> None:
    automaton = lexicon(words, 3, list(words.values()))
    assert {string: weight for n in range(5) for string, weight in accepted(automaton, n).items()} == words
    assert len(lexicon(words, 3).final) <= len(automaton.final)


def test_equal_endings_are_one() -> None:
    assert len(lexicon(itertools.product(range(3), repeat=4), 3).final) == 5
    with pytest.raises(InputError, match="without strings: give"):
        lexicon([])


@pytest.fixture(params=[*LABEL_DISTRIBUTIONS, "other chain", "small pool"], scope="module")
def law(request: pytest.FixtureRequest) -> LabelDistribution:
    others = {"other chain": Markov(4, 1.0, step=3), "small pool": WithoutReplacement(3, (2, 0, 1, 3))}
    return others[request.param] if request.param in others else LABEL_DISTRIBUTIONS[request.param](5)


def test_the_automaton_of_a_law_is_the_law(law: LabelDistribution) -> None:
    automaton = from_distribution(law)
    strings, likely = law.enumerated()
    np.testing.assert_allclose(score(automaton, strings, np.zeros((len(strings), law.n, law.k))), np.log(likely))
    prior = posterior(automaton, np.zeros((1, law.n, law.k)))  # an image that tells nothing
    assert prior.log_normaliser == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(prior.marginals[0], law.marginals, atol=1e-9)
    assert prior.entropy == pytest.approx(law.entropy)
    assert prior.total_correlation == pytest.approx(law.total_correlation, abs=1e-9)
    with pytest.raises(InputError, match="slots or frames: give another"):
        best(automaton, np.zeros((1, law.n + 1, law.k)))


def test_a_long_string_is_read_under_its_check_digit() -> None:
    """Of a card's 16 digits, any that cannot be read follows from the others; a law of 10^15 strings is no burden."""
    strings = LABEL_DISTRIBUTIONS["luhn"](16).sample(20)
    evidence = np.log(np.eye(10)[strings] * 0.99 + 0.001)
    evidence[np.arange(20), np.arange(20) % 16] = 0
    assert np.array_equal(best(from_distribution(LABEL_DISTRIBUTIONS["luhn"](16)), evidence)[0], strings)
    assert np.array_equal(best(luhn(), evidence)[0], strings)


def test_a_pool_of_too_many_states_is_refused() -> None:
    with pytest.raises(InputError, match="too many states: take Independent"):
        from_distribution(LABEL_DISTRIBUTIONS["pool"](12))


def test_any_other_law_is_enumerated() -> None:
    class Alternating(LabelDistribution):
        n, k = 3, 2

        def following(self, prefixes: np.ndarray) -> np.ndarray:
            return 1 - np.eye(2)[prefixes[:, -1]] if prefixes.shape[1] else np.full((len(prefixes), 2), 0.5)

    assert accepted(constraints.from_distribution(Alternating()), 3) == pytest.approx(
        {(0, 1, 0): -math.log(2), (1, 0, 1): -math.log(2)}
    )
