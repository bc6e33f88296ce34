"""Searches against all texts, enumerated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from seqocr.decoding.automaton import Automaton, build_universal
from seqocr.decoding.limits import Deadline, SearchLimitError
from seqocr.decoding.regex import compile_regex
from seqocr.decoding.search import CTCLattice, SlotLattice, beam_search
from seqocr.errors import InputError
from tests.decoding.test_automaton import random_automaton, weight_of

SEEDS = st.integers(0, 10_000)


def evidence(seed: int, *shape: int) -> np.ndarray:
    return log_softmax(np.random.default_rng(seed).normal(scale=2, size=shape), axis=-1)


def of_slots(automaton: Automaton, y: np.ndarray) -> dict[tuple[int, ...], float]:
    """All texts that fit into slots, and their log probabilities."""
    n, empty = len(y), y.shape[1] - 1
    found = {}
    for length in range(n + 1):
        for ids in itertools.product(range(automaton.k), repeat=length):
            padded = [*ids, *[empty] * (n - length)]
            found[ids] = weight_of(automaton, ids) + float(y[range(n), padded].sum())
    return {ids: score for ids, score in found.items() if score > -math.inf}


def of_frames(automaton: Automaton, y: np.ndarray) -> dict[tuple[int, ...], float]:
    """All texts that CTC can write, each over all of its paths, by enumerating those."""
    blank = y.shape[1] - 1
    paths: dict[tuple[int, ...], list[float]] = {}
    for path in itertools.product(range(blank + 1), repeat=len(y)):
        ids = tuple(i for i, _ in itertools.groupby(path) if i != blank)
        paths.setdefault(ids, []).append(float(y[range(len(y)), path].sum()))
    found = {ids: float(logsumexp(scores)) + weight_of(automaton, ids) for ids, scores in paths.items()}
    return {ids: score for ids, score in found.items() if score > -math.inf}


def check_against(found, texts, count):
    ranked = sorted(texts.values(), reverse=True)[:count]
    assert [each.log_probability for each in found.hypotheses] == pytest.approx(ranked)
    for each in found.hypotheses:
        assert each.log_probability == pytest.approx(texts[each.ids])
    assert len({each.ids for each in found.hypotheses}) == len(found.hypotheses)
    assert found.log_total == (pytest.approx(logsumexp(list(texts.values()))) if texts else -math.inf)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 5))
def test_slots_give_the_likeliest_of_all_texts(seed, n, count):
    automaton = random_automaton(np.random.default_rng(seed))
    y = evidence(seed, n, automaton.k + 1)
    check_against(SlotLattice(automaton, y).n_best(count), of_slots(automaton, y), count)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 5), st.integers(1, 5))
def test_frames_give_the_likeliest_of_all_texts_over_all_their_paths(seed, frames, count):
    automaton = random_automaton(np.random.default_rng(seed))
    y = evidence(seed, frames, automaton.k + 1)
    check_against(CTCLattice(automaton, y).n_best(count), of_frames(automaton, y), count)


def autoregressive(seed: int, k: int):
    """A head whose next symbol depends on all before it: for `beam_search`, and of a whole text."""

    def log_probs(ids: tuple[int, ...]) -> np.ndarray:
        return evidence(hash((seed, ids)) % 2**32, k + 1)  # the last id is the end

    prefixes: list[list[tuple[int, ...]]] = [[()]]

    def next_token(parents, symbols):
        grown = [(*prefixes[-1][p], s) for p, s in zip(parents, symbols, strict=True)]
        if len(prefixes) == 1 and symbols == [-1]:
            grown = [()]
        prefixes.append(grown)
        return np.stack([log_probs(ids) for ids in grown])

    def whole(ids: tuple[int, ...]) -> float:
        steps = [log_probs(ids[:t])[i] for t, i in enumerate(ids)]
        return float(sum(steps) + log_probs(ids)[k])

    return next_token, whole


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 4))
def test_a_beam_that_is_wide_enough_is_exact(seed, longest, count):
    automaton = random_automaton(np.random.default_rng(seed)).support
    next_token, whole = autoregressive(seed, automaton.k)
    found, passes = beam_search(next_token, automaton, -1, automaton.k, longest, count, beam_width=automaton.k**longest)
    texts = {
        ids: whole(ids)
        for n in range(longest + 1)
        for ids in itertools.product(range(automaton.k), repeat=n)
        if weight_of(automaton, ids) > -math.inf
    }
    ranked = sorted(texts.values(), reverse=True)[:count]
    assert [each.log_probability for each in found.hypotheses] == pytest.approx(ranked)
    assert 1 <= passes <= longest + 1


def test_a_beam_of_one_writes_the_likeliest_symbol_that_fits_each_time():
    next_token, _ = autoregressive(5, 3)
    found, passes = beam_search(next_token, compile_regex("[012]{3}", "012"), -1, 3, 10, beam_width=1)
    fresh, _ = autoregressive(5, 3)
    ids: tuple[int, ...] = ()
    log_probs = fresh([0], [-1])
    for _ in range(3):
        ids = (*ids, int(log_probs[0, :3].argmax()))
        log_probs = fresh([0], [ids[-1]])
    assert (found.hypotheses[0].ids, passes) == (ids, 4)


def test_nothing_fits_is_an_answer():
    y = evidence(0, 2, 11)
    found = SlotLattice(compile_regex(r"\d{3}", "0123456789"), y).n_best(2)
    assert (found.hypotheses, found.log_total) == ([], -math.inf)
    assert CTCLattice(compile_regex("11", "0123456789"), y).n_best(1).hypotheses == []  # it takes a blank between


def test_evidence_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="log probabilities, without NaN"):
        SlotLattice(build_universal(2), np.full((2, 3), np.nan))
    with pytest.raises(InputError, match="places x 3 log"):
        CTCLattice(build_universal(2), evidence(0, 2, 4))


def test_a_search_that_does_not_decide_is_given_up(monkeypatch):
    monkeypatch.setattr("seqocr.decoding.search.MAX_HYPOTHESES", 3)
    with pytest.raises(SearchLimitError, match="3 prefixes do not decide"):
        CTCLattice(build_universal(10), np.log(np.full((8, 11), 1 / 11))).n_best(1)


def test_a_queue_that_grows_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr("seqocr.decoding.search._MAX_WAITING", 20)
    with pytest.raises(SearchLimitError, match="too many texts"):
        CTCLattice(build_universal(10), np.log(np.full((8, 11), 1 / 11))).n_best(1)


def test_a_line_that_takes_too_much_work_is_given_up_at_once(monkeypatch):
    monkeypatch.setattr("seqocr.decoding.search._MAX_CELLS", 10 * 10 * 11)
    line, two = evidence(0, 10, 11), compile_regex(r"\d{2}", "0123456789")
    assert SlotLattice(two, line).n_best(1).hypotheses
    for lattice in (SlotLattice, CTCLattice):
        with pytest.raises(SearchLimitError, match=r"takes too much work .*\d+ states times 10 "):
            lattice(compile_regex(r"\d{12}", "0123456789"), line)


def test_no_search_goes_on_past_its_deadline():
    any_text, late, soon = build_universal(3), Deadline(-1), Deadline(60)
    next_token, _ = autoregressive(5, 3)
    for search in (
        lambda deadline: CTCLattice(any_text, evidence(0, 4, 4), deadline),
        lambda deadline: SlotLattice(any_text, evidence(0, 4, 4), deadline),
        lambda deadline: beam_search(next_token, any_text, -1, 3, 2, deadline=deadline),
    ):
        with pytest.raises(SearchLimitError, match="within -1 s of search"):
            search(late)
        search(soon)
    for lattice in (CTCLattice(any_text, evidence(0, 4, 4), soon), SlotLattice(any_text, evidence(0, 4, 4), soon)):
        soon._end = 0.0  # the lattice is there; its search is what would go on
        with pytest.raises(SearchLimitError, match="within 60 s"):
            lattice.n_best(1)
        soon._end = math.inf
