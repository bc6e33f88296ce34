"""The posterior and the best strings of a label distribution, against all strings of few symbols, enumerated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import entropy as entropy_of

from bench.study.label_distributions import LABEL_DISTRIBUTIONS, LabelDistribution, Markov
from bench.study.posterior import compute_posterior, find_best, from_distribution, score
from seqocr.decoding.automaton import Automaton, build_lexicon, restrict_length
from seqocr.decoding.check_digits import build_luhn
from seqocr.decoding.ctc_paths import collapse
from seqocr.errors import InputError
from tests.decoding.test_automaton import AUTOMATA, accepted, weight_of


def some_evidence(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=2, size=shape)


def scores_of(weights: dict[tuple[int, ...], float], line: np.ndarray) -> dict[tuple[int, ...], float]:
    return {string: weight + line[range(len(string)), string].sum() for string, weight in weights.items()}


@given(AUTOMATA, st.integers(0, 4), st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_best_is_the_best_of_all_strings(automaton: Automaton, n: int, seed: int) -> None:
    weights, evidence = accepted(automaton, n), some_evidence(seed, 3, n, automaton.k)
    assume(weights)
    ids, scores = find_best(automaton, evidence)
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
    found = compute_posterior(automaton, evidence)
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
    ids, scores = find_best(automaton.closure, evidence)
    for line, string, found in zip(evidence, ids.tolist(), scores, strict=True):
        every = scores_of(weights, line)
        assert tuple(string) == max(every, key=lambda each: every[each])
        assert found == pytest.approx(every[tuple(string)])


@given(AUTOMATA, st.integers(1, 5), st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_ctc_reads_the_best_path(automaton: Automaton, frames: int, seed: int) -> None:
    blank, evidence = automaton.k, some_evidence(seed, 2, frames, automaton.k + 1)
    log_probs = evidence - logsumexp(evidence, axis=2, keepdims=True)
    paths = list(itertools.product(range(blank + 1), repeat=frames))
    weights = {path: weight_of(automaton, tuple(collapse(path, blank))) for path in paths}
    weights = {path: weight for path, weight in weights.items() if weight > -math.inf}
    assume(weights)
    best_paths, scores = find_best(automaton.ctc_topology, log_probs)
    normaliser = compute_posterior(automaton.ctc_topology, log_probs).log_normaliser
    for b, line in enumerate(log_probs):
        every = scores_of(weights, line)
        path = max(every, key=lambda each: every[each])
        assert collapse(best_paths[b].tolist(), blank) == collapse(path, blank)
        assert scores[b] == pytest.approx(every[path])
        texts: dict[tuple[int, ...], float] = {}
        for each, found in every.items():
            text = tuple(collapse(each, blank))
            texts[text] = float(np.logaddexp(texts.get(text, -math.inf), found))
        assert normaliser[b] == pytest.approx(logsumexp(list(texts.values())))


def test_lines_are_read_alike_alone_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    automaton, evidence = restrict_length(build_luhn(), 6), some_evidence(0, 7, 6, 10)
    ids, _ = find_best(automaton, evidence)
    marginals = compute_posterior(automaton, evidence).marginals
    monkeypatch.setattr("bench.study.posterior._BLOCK", 250)
    assert np.array_equal(find_best(automaton, evidence)[0], ids)
    np.testing.assert_allclose(compute_posterior(automaton, evidence).marginals, marginals)
    assert find_best(automaton, evidence[:0])[0].shape == (0, 6)
    assert compute_posterior(automaton, evidence[:0]).marginals.shape == (0, 6, 10)


def test_what_is_ruled_out_is_said() -> None:
    evidence = np.zeros((1, 2, 10))
    with pytest.raises(InputError, match="no accepted string of 2 symbols is possible"):
        find_best(restrict_length(build_luhn(), 3), evidence)
    doubled = build_lexicon([[1, 1]]).ctc_topology
    with pytest.raises(InputError, match="no accepted string of 2 symbols is possible"):
        find_best(doubled, np.zeros((1, 2, 11)))  # it needs a blank between
    assert find_best(doubled, np.zeros((1, 3, 11)))[0].tolist() == [[1, 10, 1]]
    evidence[0, 0, 1] = -math.inf
    with pytest.raises(InputError, match="under the evidence of a line: give"):
        compute_posterior(build_lexicon([[1, 2], [1, 3]]), evidence)
    for bad in (np.zeros((1, 2, 9)), np.zeros((2, 10)), np.full((1, 2, 10), math.nan), np.full((1, 2, 10), math.inf)):
        with pytest.raises(InputError, match=r"evidence of shape .*: give lines"):
            find_best(build_luhn(), bad)


@pytest.fixture(params=[*LABEL_DISTRIBUTIONS, "determined chain"], scope="module")
def distribution(request: pytest.FixtureRequest) -> LabelDistribution:
    return Markov(4, 1.0) if request.param == "determined chain" else LABEL_DISTRIBUTIONS[request.param](5)


def test_the_automaton_of_a_distribution_has_its_probabilities(distribution: LabelDistribution) -> None:
    automaton = from_distribution(distribution)
    strings, likely = distribution.list_strings()
    np.testing.assert_allclose(
        score(automaton, strings, np.zeros((len(strings), distribution.n, distribution.k))), np.log(likely)
    )
    prior = compute_posterior(automaton, np.zeros((1, distribution.n, distribution.k)))  # an image that tells nothing
    assert prior.log_normaliser == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(prior.marginals[0], distribution.marginals, atol=1e-9)
    assert prior.entropy == pytest.approx(distribution.entropy)
    assert prior.total_correlation == pytest.approx(distribution.total_correlation, abs=1e-9)
    with pytest.raises(InputError, match="is possible under the evidence"):
        find_best(automaton, np.zeros((1, distribution.n + 1, distribution.k)))


def test_a_long_string_is_read_under_its_check_digit() -> None:
    """Of a card's 16 digits, any that cannot be read follows from the others; 10^15 strings are no burden."""
    strings = LABEL_DISTRIBUTIONS["luhn"](16).sample(20)
    evidence = np.log(np.eye(10)[strings] * 0.99 + 0.001)
    evidence[np.arange(20), np.arange(20) % 16] = 0
    assert np.array_equal(find_best(from_distribution(LABEL_DISTRIBUTIONS["luhn"](16)), evidence)[0], strings)
    assert np.array_equal(find_best(build_luhn(), evidence)[0], strings)


def test_strings_of_any_other_distribution_are_listed() -> None:
    class Alternating(LabelDistribution):
        n, k = 3, 2

        def next_symbol(self, prefixes: np.ndarray) -> np.ndarray:
            return 1 - np.eye(2)[prefixes[:, -1]] if prefixes.shape[1] else np.full((len(prefixes), 2), 0.5)

    assert accepted(from_distribution(Alternating()), 3) == pytest.approx(
        {(0, 1, 0): -math.log(2), (1, 0, 1): -math.log(2)}
    )
