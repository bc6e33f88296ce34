"""What holds for every head, then the parallel head's own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seqocr.data.sources.datasets import DIGITS
from seqocr.decoding.output import DecoderOutput
from seqocr.errors import InputError
from seqocr.models.heads.base import FeatureMap, Head, Strategy
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.heads.parallel import ParallelHead
from seqocr.models.heads.registry import HEADS, STUDIED, head_class
from tests.conftest import SMALL_DECODER, lively

FEATURES = FeatureMap(dim=16, rows=2, columns=6, prefix=2)
every_head = pytest.mark.parametrize("name", [*HEADS, *STUDIED])


def make(name: str, charset: str = DIGITS, max_length: int = 4, features: FeatureMap = FEATURES, **more: Any) -> Head:
    torch.manual_seed(0)
    more = {**head_class(name).default_settings(SMALL_DECODER), **more}
    return head_class(name)(features, charset, max_length, **more).eval()


def random_features(batch: int, features: FeatureMap = FEATURES, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, features.tokens, features.dim, generator=generator)


@every_head
def test_loss_is_a_scalar_that_reaches_every_weight_and_the_features(name: str) -> None:
    head, features = make(name), random_features(4).requires_grad_()
    loss = head.loss(features, ["1234", "0", "", "77"])
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    without = [n for n, p in head.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


@every_head
def test_decoding_gives_a_text_and_a_probability_an_image(name: str) -> None:
    head = lively(make(name), scale=0.3)
    decoded = head.decode(random_features(9))
    assert len(decoded.texts) == 9
    assert set("".join(decoded.texts)) <= set(DIGITS)
    longest = head.frames if isinstance(head, CTCHead) else head.max_length
    assert max(map(len, decoded.texts)) <= longest
    assert decoded.confidences.shape == (9,)
    assert decoded.confidences.dtype == np.float32
    assert (decoded.confidences > 0).all()
    assert (decoded.confidences <= 1).all()


@pytest.mark.parametrize("name", ["parallel", "ctc"])
@pytest.mark.parametrize("max_length", [1, 7, 20])
def test_heads_without_recurrence_take_one_pass_whatever_the_length(name: str, max_length: int) -> None:
    head = make(name, max_length=max_length)
    assert head.decode(random_features(3)).passes == 1
    assert head.decode(random_features(3), length=max_length).passes == 1


@every_head
def test_a_reading_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    head, features = lively(make(name)), random_features(12)
    together = head.decode(features)
    for i in range(12):
        alone = head.decode(features[i : i + 1])
        assert alone.texts == together.texts[i : i + 1]
        np.testing.assert_allclose(alone.confidences, together.confidences[i : i + 1], atol=1e-5, rtol=1e-4)


@every_head
def test_a_text_longer_than_the_head_reads_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=rf"'12345' has 5 symbols, the {name} head reads at most 4"):
        make(name).loss(random_features(2), ["1", "12345"])


@every_head
def test_a_symbol_outside_the_charset_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=r"'1x2' has 'x'"):
        make(name).loss(random_features(2), ["12", "1x2"])


@every_head
@pytest.mark.parametrize(("charset", "max_length"), [("", 4), ("0120", 4), ("01", 0), ("01", -1)])
def test_impossible_heads_are_refused(name: str, charset: str, max_length: int) -> None:
    with pytest.raises(InputError, match=r"charset|max_length"):
        make(name, charset=charset, max_length=max_length)


@every_head
def test_any_charset_can_be_learnt_and_read(name: str) -> None:
    """Overfit a handful of strings: of all lengths, with repeats, in letters that are not digits."""
    charset = "zéA9"
    head, texts = make(name, charset=charset, max_length=3), ["zé9", "AAA", "é", "", "9z", "zAz"]
    features = random_features(len(texts))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    before = head.loss(features, texts).item()
    for _ in range(240):  # processors round differently: 120 are enough on most
        optimizer.zero_grad()
        loss = head.loss(features, texts)
        loss.backward()
        optimizer.step()
    assert loss.item() < before / 4
    for variant, decode in head.decode_functions().items():
        assert decode(features).texts == texts, variant


@every_head
def test_the_variant_of_its_name_is_the_head_itself(name: str) -> None:
    head, features = lively(make(name)), random_features(5)
    assert head.decode_functions()[name](features).texts == head.decode(features).texts


def eager_confidences(head: Head, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Of a one-pass head's texts, without the head's own way of computing them."""
    log_probs = head.log_probs(features)
    if not isinstance(head, CTCHead):
        return log_probs.max(dim=2).values.sum(dim=1).exp()
    nats = [
        F.ctc_loss(
            line, torch.tensor(head.encode_text(text)), (len(line),), (len(text),), blank=head.blank, reduction="sum"
        )
        for line, text in zip(log_probs, texts, strict=True)
    ]
    return torch.stack(nats).neg().exp()


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(HEADS)), batch=st.integers(1, 6), max_length=st.integers(1, 8), seed=st.integers(0, 99)
)
def test_confidences_asked_for_late_are_those_of_the_moment(name: str, batch: int, max_length: int, seed: int) -> None:
    head = lively(make(name, max_length=max_length), scale=0.4, seed=seed)
    head.max_length = 3 * FEATURES.columns if name == "ctc" else max_length  # what greedy decoding may write
    features = random_features(batch, seed=seed)
    expected = head.decode(features)
    early = expected.confidences.copy()
    if name != "ar":  # whose confidences test_autoregressive.py compares with those of teacher forcing
        eager = eager_confidences(head, features, expected.texts).detach().numpy()
        np.testing.assert_allclose(early, eager, atol=1e-5, rtol=1e-4)
    with torch.inference_mode():
        late, sent = head.decode(features), pickle.loads(pickle.dumps(head.decode(features)))
    head.decode(features.flip(0))
    lively(head, seed=seed + 1)
    features.zero_()
    assert late.texts == sent.texts == expected.texts
    assert np.array_equal(late.confidences, early)
    assert np.array_equal(sent.confidences, early)


def test_confidences_are_computed_once_and_only_if_asked_for() -> None:
    asked: list[int] = []

    def confidences() -> np.ndarray:
        asked.append(1)
        return np.ones(2)

    decoded = DecoderOutput(["1", "2"], confidences, passes=1)
    assert decoded.texts == ["1", "2"]
    assert asked == []
    assert decoded.confidences is decoded.confidences
    assert asked == [1]


@every_head
def test_weights_that_are_no_numbers_give_no_confidence(name: str) -> None:
    head = make(name)
    with torch.no_grad():
        for p in head.parameters():
            p.fill_(torch.nan)
    for variant, decode in head.decode_functions().items():
        assert np.isnan(decode(random_features(3)).confidences).all(), variant


# What a head says of itself.


def test_strategies_have_names_of_their_own_and_each_decodes() -> None:
    strategies = [strategy for head in HEADS.values() for strategy in head.strategies]
    assert len({each.name for each in strategies}) == len({each.label for each in strategies}) == len(strategies)
    for name, head in HEADS.items():
        made = make(name)
        assert list(made.decode_functions()) == [strategy.name for strategy in head.strategies]
        assert name in made.decode_functions()
        for strategy in head.strategies:
            passes = {made.decode_functions()[strategy.name](random_features(1), length=n).passes for n in (1, 3)}
            assert (passes == {1}) == strategy.is_one_pass, strategy


@pytest.mark.parametrize("name", [name for name in (*HEADS, *STUDIED) if name != "ar-rtl"])
def test_what_a_head_gives_is_of_its_declared_output(name: str) -> None:
    head, features = lively(make(name)), random_features(2)
    if head.output == "tokens":
        log_probs = head.next_token(features[:1])([0, 0], [len(DIGITS), len(DIGITS)])
        assert log_probs.shape[0] == 2
        assert log_probs.shape[1] >= len(DIGITS) + 2
        assert np.allclose(np.exp(log_probs).sum(axis=1), 1)
    else:
        log_probs = head.log_probs(features)
        assert log_probs.shape[2] == len(DIGITS) + 1
        assert torch.allclose(log_probs.exp().sum(dim=2), torch.ones(log_probs.shape[:2]))


@every_head
def test_a_head_that_says_so_writes_exactly_so_many_symbols(name: str) -> None:
    head, features = lively(make(name)), random_features(5)
    written = {len(text) for n in (1, 3) for text in head.decode(features, length=n).texts}
    assert (written == {1, 3}) == head.imposes_length


class Silence(Head):
    """A head that is no one-pass head, and says nothing of itself but its name."""

    name = "silence"

    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        return DecoderOutput([""] * len(features), np.ones(len(features)), passes=1)


def test_a_head_that_declares_nothing_is_decoded_one_way_and_not_exported() -> None:
    head = Silence(FEATURES, DIGITS, 4)
    assert Silence.strategies == (Strategy("silence", "silence"),)
    assert head.decode_functions()["silence"](random_features(2)).texts == ["", ""]
    with pytest.raises(InputError, match="the silence head cannot be exported"):
        head.graphs(nn.Identity())


def test_text_of_leaves_out_what_is_no_symbol() -> None:
    assert make("parallel", charset="abc").text_of([2, 3, 0, 5]) == "ca"


# The parallel head.


def test_a_slot_is_classified_or_empty() -> None:
    head = make("parallel", charset="ab", max_length=3)
    assert isinstance(head, ParallelHead)
    logits = torch.full((3, 3, 3), -9.0)
    for string, row in enumerate([[0, 1, 0], [1, 2, 2], [2, 2, 2]]):
        for slot, symbol in enumerate(row):
            logits[string, slot, symbol] = slot
    head.logits = lambda features: logits  # type: ignore[method-assign]
    decoded = head.decode(random_features(3))
    assert decoded.texts == ["aba", "b", ""]
    expected = logits.softmax(2).amax(2).prod(1)
    np.testing.assert_allclose(decoded.confidences, expected.numpy(), rtol=1e-6)


def test_parallel_loss_counts_every_slot_with_empty_after_the_end() -> None:
    head, features = make("parallel", charset="ab", max_length=3), random_features(2)
    assert isinstance(head, ParallelHead)
    targets = torch.tensor([[0, 1, 2], [2, 2, 2]])
    expected = F.cross_entropy(head.logits(features).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(head.loss(features, ["ab", ""]), expected)


def test_slots_do_not_see_each_other() -> None:
    head, features = lively(make("parallel")), random_features(2)
    assert isinstance(head, ParallelHead)
    before = head.logits(features)
    with torch.no_grad():
        head.queries_and_classes.weight[1] += 1
    changed = (head.logits(features) - before).abs().amax(dim=(0, 2))
    assert changed[1] > 0.01
    assert changed[[0, 2, 3]].max() < 1e-5
