"""Heads of the study: what sets each apart from the one that it is compared with."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from seqocr.errors import InputError
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.refining import SlotsHead
from seqocr.models.heads.reversed import ReversedHead
from tests.conftest import lively
from tests.models.test_heads import make, random_features

TEXTS = ["1234", "05", "7"]


def test_right_to_left_is_ar_on_reversed_texts() -> None:
    forwards, backwards = lively(make("ar")), lively(make("ar-rtl"))
    assert isinstance(forwards, AutoregressiveHead)
    assert isinstance(backwards, ReversedHead)
    features = random_features(3)
    reversed_texts = [text[::-1] for text in TEXTS]
    assert torch.equal(backwards.loss(features, TEXTS), forwards.loss(features, reversed_texts))
    read = forwards.decode(features)
    assert any(text != text[::-1] for text in read.texts), "the test would show nothing"
    again = backwards.decode(features)
    assert again.texts == [text[::-1] for text in read.texts]
    assert (again.line_passes, again.confidences.tolist()) == (read.line_passes, read.confidences.tolist())
    (one, other) = (head.attention(features[:1], ids) for head, ids in ((forwards, [3, 1]), (backwards, [1, 3])))
    assert one is not None
    assert other is not None
    assert torch.equal(one, other.flip(0))


def test_right_to_left_takes_no_constraints_and_no_runtime() -> None:
    head = make("ar-rtl")
    with pytest.raises(InputError, match="from right to left"):
        head.next_token(random_features(1))
    with pytest.raises(InputError, match="cannot be exported"):
        head.graphs(torch.nn.Identity())


def test_a_decoder_of_slots_learns_what_it_is_read_by() -> None:
    head, features = make("slots"), random_features(3)
    assert isinstance(head, SlotsHead)
    targets = torch.tensor([[*head.encode_text(text), *[head.empty] * (head.max_length - len(text))] for text in TEXTS])
    expected = F.nll_loss(head.log_probs(features).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(head.loss(features, TEXTS), expected)
    assert head.decode(features).passes == 1
    assert head.loss_terms(TEXTS) == len(TEXTS)
