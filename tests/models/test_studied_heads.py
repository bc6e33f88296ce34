"""Heads of the study: what sets each apart from the one that it is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seqocr.errors import InputError
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.permuted import PermutedHead, _known
from seqocr.models.heads.refining import SlotsHead
from seqocr.models.heads.reversed import ReversedHead
from seqocr.train.config import TrainConfig
from seqocr.train.optim import build_optimizers
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


def permuted(**more: Any) -> PermutedHead:
    head = lively(make("parseq", **more))
    assert isinstance(head, PermutedHead)
    return head


def test_parseq_has_an_even_number_of_orders_from_left_to_right_reversed_and_pairs() -> None:
    orders = permuted(permutations=6)._sampled_orders(4)
    assert [order.tolist() for order in orders[:2]] == [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]
    for one, other in zip(orders[2::2], orders[3::2], strict=True):
        assert one[:-1].tolist() == other[:-1].tolist()[::-1]
        assert sorted(one.tolist()) == [0, 1, 2, 3, 4]
        assert one[-1] == other[-1] == 4  # the end
    assert len(orders) == 6


def test_parseq_learns_a_place_from_the_image_and_what_its_order_has_before() -> None:
    head, order = permuted(), torch.tensor([2, 0, 1, 3])  # of three symbols; 3 is the end
    image = head._layer.image.keys_values(random_features(1))
    known = _known(order)[None]

    def places(tokens: list[int]) -> torch.Tensor:
        return head.logits(torch.arange(4), torch.tensor([[head.begin, *tokens]]), image, known)[0].exp()

    before = places([1, 2, 3])
    changes = {
        symbol: [not torch.equal(a, b) for a, b in zip(before, places(tokens), strict=True)]
        for symbol, tokens in {0: [7, 2, 3], 1: [1, 7, 3], 2: [1, 2, 7]}.items()
    }
    # Place 2 is written first, then 0, then 1: each of them shows in those after it alone.
    assert changes == {
        2: [True, True, False, True],
        0: [False, True, False, True],
        1: [False, False, False, True],
    }


def test_parseq_learns_from_left_to_right_what_it_writes_so() -> None:
    head, features = lively(permuted(permutations=2), scale=0.5, seed=1), random_features(99)
    head._sampled_orders = lambda n: [torch.arange(n + 1)] * 2  # type: ignore[method-assign]
    decoded = head.decode(features)
    whole = [i for i, text in enumerate(decoded.texts) if len(text) < head.max_length]
    assert any(len(decoded.texts[i]) > 1 for i in whole), "the test would show little"
    for i in whole:
        text = decoded.texts[i]
        assert decoded.line_passes[i] == len(text) + 1
        nats = head.loss(features[i : i + 1], [text]).item() * (len(text) + 1)
        assert np.exp(-nats) == pytest.approx(float(decoded.confidences[i]), rel=1e-4)


def test_parseq_reads_every_place_by_the_image_alone_in_one_pass() -> None:
    head, features = permuted(), random_features(3)
    once, again = head.decode_at_once(features), head.decode_refined(features)
    assert (once.passes, once.line_passes, again.passes) == (1, [1, 1, 1], 3)
    first = [head.next_token(features[i : i + 1])([0], [head.begin]) for i in range(3)]
    assert [text[:1] for text in once.texts] == [head.text_of([int(p.argmax())]) for p in first]


def test_parseq_refines_a_place_by_the_others_up_to_the_end() -> None:
    head, features = permuted(), random_features(1)
    image = head._layer.image.keys_values(features)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    logits = head.logits

    def watched(places: Any, tokens: Any, image: Any, known: Any = None) -> torch.Tensor:
        if known is not None:
            seen.append((tokens, known))
        return logits(places, tokens, image, known)

    head.logits = watched  # type: ignore[method-assign]
    head.decode_at_once(features, refinements=1)
    ((tokens, known),) = seen
    first = logits(torch.arange(5), torch.tensor([[head.begin]]), image).argmax(dim=2)[0, :-1].tolist()
    assert tokens.tolist() == [[head.begin, *first]]
    end = first.index(head.end) if head.end in first else len(first)
    for place in range(5):
        assert known[0, place].tolist() == [True, *(i != place and i < end for i in range(4))]


def test_parseq_is_trained_by_the_optimiser_that_its_rivals_have() -> None:
    config = TrainConfig(optimizer="muon")
    for name in ("ar", "parseq"):
        adamw, muon = build_optimizers(dict(Heads(make(name)).named_parameters()), config)
        matrices = sum(p.numel() for group in muon.param_groups for p in group["params"])
        others = sum(p.numel() for group in adamw.param_groups for p in group["params"])
        assert matrices > others, name
    with pytest.raises(InputError, match="permutations 3: give an even number"):
        make("parseq", permutations=3)


class Heads(torch.nn.Module):
    """As a recognizer holds a head."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head
