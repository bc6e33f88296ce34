"""The likeliest texts that fit, against all texts, listed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.constraints import anything, of_pattern
from seqocr.decoding.search import CTCLattice, SlotLattice, aligned, beam_search, log_sum
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
    assert [each.log_probability for each in found.candidates] == pytest.approx(ranked)
    for each in found.candidates:
        assert each.log_probability == pytest.approx(texts[each.ids])
    assert len({each.ids for each in found.candidates}) == len(found.candidates)
    if texts:
        assert found.log_fitting == pytest.approx(logsumexp(list(texts.values())))
        assert found.confidence() == pytest.approx(math.exp(ranked[0] - found.log_fitting))
    else:
        assert found.log_fitting == -math.inf
        assert found.confidence() == 0


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 5))
def test_slots_give_the_likeliest_of_all_texts(seed, n, count):
    automaton = random_automaton(np.random.default_rng(seed))
    y = evidence(seed, n, automaton.k + 1)
    check_against(SlotLattice(automaton, y).texts(count), of_slots(automaton, y), count)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 5), st.integers(1, 5))
def test_frames_give_the_likeliest_of_all_texts_over_all_their_paths(seed, frames, count):
    automaton = random_automaton(np.random.default_rng(seed))
    y = evidence(seed, frames, automaton.k + 1)
    check_against(CTCLattice(automaton, y).texts(count), of_frames(automaton, y), count)


def autoregressive(seed: int, k: int):
    """A head whose next symbol depends on all before it: for `beam_search`, and of a whole text."""

    def log_probs(ids: tuple[int, ...]) -> np.ndarray:
        return evidence(hash((seed, ids)) % 2**32, k + 1)  # the last id is the end

    beginnings: list[list[tuple[int, ...]]] = [[()]]

    def following(parents, symbols):
        grown = [(*beginnings[-1][p], s) for p, s in zip(parents, symbols, strict=True)]
        if len(beginnings) == 1 and symbols == [-1]:
            grown = [()]
        beginnings.append(grown)
        return np.stack([log_probs(ids) for ids in grown])

    def whole(ids: tuple[int, ...]) -> float:
        steps = [log_probs(ids[:t])[i] for t, i in enumerate(ids)]
        return float(sum(steps) + log_probs(ids)[k])

    return following, whole


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 4))
def test_a_beam_that_is_wide_enough_is_exact(seed, longest, count):
    automaton = random_automaton(np.random.default_rng(seed)).support
    following, whole = autoregressive(seed, automaton.k)
    found, passes = beam_search(following, automaton, -1, automaton.k, longest, count, width=automaton.k**longest)
    texts = {
        ids: whole(ids)
        for n in range(longest + 1)
        for ids in itertools.product(range(automaton.k), repeat=n)
        if weight_of(automaton, ids) > -math.inf
    }
    ranked = sorted(texts.values(), reverse=True)[:count]
    assert [each.log_probability for each in found.candidates] == pytest.approx(ranked)
    assert 1 <= passes <= longest + 1


def test_a_beam_of_one_writes_the_likeliest_symbol_that_fits_each_time():
    following, _ = autoregressive(5, 3)
    found, passes = beam_search(following, of_pattern("[012]{3}", "012"), -1, 3, 10, width=1)
    fresh, _ = autoregressive(5, 3)
    ids: tuple[int, ...] = ()
    log_probs = fresh([0], [-1])
    for _ in range(3):
        ids = (*ids, int(log_probs[0, :3].argmax()))
        log_probs = fresh([0], [ids[-1]])
    assert (found.candidates[0].ids, passes) == (ids, 4)


def test_nothing_fits_is_an_answer():
    y = evidence(0, 2, 11)
    found = SlotLattice(of_pattern(r"\d{3}", "0123456789"), y).texts(2)
    assert (found.candidates, found.confidence(), found.log_fitting) == ([], 0.0, -math.inf)
    assert CTCLattice(of_pattern("11", "0123456789"), y).texts(1).candidates == []  # it takes a blank between


def test_how_much_better_the_best_text_is_than_the_next():
    y = np.log(np.array([[0.6, 0.3, 0.1]]))
    found = SlotLattice(anything(2), y).texts(2)
    assert found.margin == pytest.approx(2)
    assert SlotLattice(of_pattern("0", "01"), y).texts(2).margin == math.inf


def test_evidence_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="log probabilities, none NaN"):
        SlotLattice(anything(2), np.full((2, 3), np.nan))
    with pytest.raises(InputError, match="places x 3"):
        CTCLattice(anything(2), evidence(0, 2, 4))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 5), st.lists(st.integers(0, 1), max_size=3))
def test_an_alignment_is_the_likeliest_path(seed, frames, ids):
    y = evidence(seed, frames, 3)
    needed = len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
    if needed > frames:
        with pytest.raises(InputError, match="does not fit"):
            aligned(y, ids)
        return
    places = aligned(y, ids)
    path = [2] * frames
    for place, i in zip(places, ids, strict=True):
        path[place.first : place.last + 1] = [i] * (place.last + 1 - place.first)
    paths = [
        float(y[range(frames), each].sum())
        for each in itertools.product(range(3), repeat=frames)
        if [i for i, _ in itertools.groupby(each) if i != 2] == ids
    ]
    assert float(y[range(frames), path].sum()) == pytest.approx(max(paths))
    assert all(0 < place.confidence <= 1 for place in places)


def test_log_sum_is_scipys():
    x = np.random.default_rng(0).normal(size=(4, 5))
    x[1] = -math.inf
    for axis in (0, 1):
        assert log_sum(x, axis) == pytest.approx(logsumexp(x, axis=axis))
    assert torch.allclose(torch.tensor(log_sum(x, 0)), torch.tensor(x).logsumexp(0))
