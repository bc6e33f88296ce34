"""CTC's paths, against torch and against all paths, enumerated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from seqocr.decoding.ctc_paths import align, ctc_log_likelihood
from seqocr.decoding.logarithms import log_add, log_sum
from seqocr.errors import InputError
from tests.decoding.test_search import SEEDS, evidence


def test_the_probability_of_a_text_under_ctc_is_torchs():
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(6, 9, 4, generator=generator).log_softmax(2)
    texts = [[], [0], [1, 1, 1], [0, 1, 2, 0], [2, 2], [0] * 5]
    ours = ctc_log_likelihood(log_probs.double().numpy(), texts)
    for line, ids, score in zip(log_probs, texts, ours, strict=True):
        theirs = -torch.nn.functional.ctc_loss(
            line[:, None], torch.tensor([ids]), [9], [len(ids)], blank=3, reduction="sum"
        )
        assert score == pytest.approx(float(theirs), abs=1e-4)


def test_a_text_that_cannot_be_has_no_probability_and_no_number_stays_none():
    log_probs = np.log(np.full((3, 30, 3), 1e-30))
    log_probs[:, :, 2] = 0.0
    log_probs[1, :, 0] = -np.inf
    log_probs[2, 0, 0] = np.nan
    found = ctc_log_likelihood(log_probs, [[0, 1], [0], [0]])
    assert found[0] == pytest.approx(2 * np.log(1e-30) + np.log(435), rel=1e-3)
    assert found[1] == -np.inf
    assert np.isnan(found[2])


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 5), st.lists(st.integers(0, 1), max_size=3))
def test_an_alignment_is_the_likeliest_path(seed, frames, ids):
    y = evidence(seed, frames, 3)
    needed = len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
    if needed > frames:
        with pytest.raises(InputError, match="does not fit"):
            align(y, ids)
        return
    spans = align(y, ids)
    path = [2] * frames
    for span, i in zip(spans, ids, strict=True):
        path[span.first : span.last + 1] = [i] * (span.last + 1 - span.first)
    paths = [
        float(y[range(frames), each].sum())
        for each in itertools.product(range(3), repeat=frames)
        if [i for i, _ in itertools.groupby(each) if i != 2] == ids
    ]
    assert float(y[range(frames), path].sum()) == pytest.approx(max(paths))
    assert all(0 < span.confidence <= 1 for span in spans)


def test_log_sum_is_scipys():
    x = np.random.default_rng(0).normal(size=(4, 5))
    x[1] = -math.inf
    for axis in (0, 1):
        assert log_sum(x, axis) == pytest.approx(logsumexp(x, axis=axis))
    assert torch.allclose(torch.tensor(log_sum(x, 0)), torch.tensor(x).logsumexp(0))
    assert log_add(-1.0, -2.0) == pytest.approx(logsumexp([-1.0, -2.0]))
    assert log_add(-math.inf, -math.inf) == -math.inf
