"""Speculative decoding: the text of `ar`, token for token, whatever is drafted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.data.synthetic.layouts import level
from seqocr.decoding.output import DecoderOutput
from seqocr.inference.shipped import READER, SHIPPED
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.heads.decoder_step import preallocated
from seqocr.models.heads.parallel import ParallelHead
from seqocr.models.heads.speculative import SpeculativePair
from seqocr.models.recognizer import Recognizer
from tests.conftest import SMALL_DECODER, lively

FEATURES = FeatureMap(dim=16, rows=1, columns=6, prefix=2)
CHARSET = "01234"


def made(seed: int = 0, max_length: int = 6, scale: float = 0.5) -> SpeculativePair:
    torch.manual_seed(seed)
    head = AutoregressiveHead(FEATURES, CHARSET, max_length, **SMALL_DECODER).eval()
    drafter = ParallelHead(FEATURES, CHARSET, max_length).eval()
    return SpeculativePair(lively(head, scale=scale), lively(drafter, scale=scale))


def features(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, FEATURES.tokens, FEATURES.dim, generator=torch.Generator().manual_seed(seed)) * 3


def tokens_of(pair: SpeculativePair, x: torch.Tensor, length: int | None = None) -> list[list[int]]:
    """What `ar` writes, begin and pad included where it writes these, without the end."""
    head, kept = pair.head, []
    step = head.step()
    cross, append = step.cross(x), preallocated(step, len(x), head.vocabulary.budget(length))

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        kept[:] = [tokens]
        return step(tokens[:, -1], tokens.shape[1] - 1, cross, append)

    read = head.greedy(logits, len(x), length)
    rows = kept[0][:, 1:].tolist()
    return [row[: passes - 1] for row, passes in zip(rows, read.line_passes, strict=True)]


def assert_same(found: DecoderOutput, expected: DecoderOutput) -> None:
    assert found.texts == expected.texts
    np.testing.assert_allclose(found.confidences, expected.confidences, atol=1e-5, rtol=1e-3)
    for fewer, all_of in zip(found.line_passes, expected.line_passes, strict=True):
        assert 1 <= fewer <= all_of
    assert found.passes == max(found.line_passes)


drafted = st.lists(st.lists(st.integers(0, 7), max_size=12), min_size=1, max_size=6)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 50),
    max_length=st.integers(1, 8),
    drafts=drafted,
    length=st.none() | st.integers(1, 8),
    scale=st.sampled_from([0.2, 0.5, 1.0]),
)
def test_any_draft_gives_what_ar_writes(
    seed: int, max_length: int, drafts: list[list[int]], length: int | None, scale: float
) -> None:
    length = None if length is None else min(length, max_length)
    pair, x = made(seed, max_length, scale), features(len(drafts), seed)
    assert_same(pair.verify(x, drafts, length), pair.head.decode(x, length))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 50), length=st.none() | st.integers(1, 6), data=st.data())
def test_drafts_that_are_nearly_right_give_what_ar_writes(seed: int, length: int | None, data: st.DataObject) -> None:
    """Some tokens of what `ar` writes are changed, left out, or put in."""
    pair, x = made(seed), features(4, seed)
    drafts = tokens_of(pair, x, length)
    for draft in drafts:
        for _ in range(data.draw(st.integers(0, 3))):
            place, token = data.draw(st.integers(0, len(draft))), data.draw(st.integers(0, 7))
            match data.draw(st.sampled_from(["change", "leave out", "put in"])):
                case "put in":
                    draft.insert(place, token)
                case "change":
                    draft[place : place + 1] = [token]
                case _:
                    del draft[place : place + 1]
    assert_same(pair.verify(x, drafts, length), pair.head.decode(x, length))


@pytest.mark.parametrize("length", [None, 1, 3, 6])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_draft_that_is_right_takes_one_pass(batch: int, length: int | None) -> None:
    pair, x = made(3), features(batch)
    found = pair.verify(x, tokens_of(pair, x, length), length)
    assert found.line_passes == [1] * batch
    assert_same(found, pair.head.decode(x, length))


def test_where_nothing_is_drafted_every_token_takes_a_pass() -> None:
    pair, x = made(3), features(5)
    expected = pair.head.decode(x)
    found = pair.verify(x, [[]] * 5)
    assert found.line_passes == expected.line_passes
    assert_same(found, expected)


def test_one_wrong_digit_takes_two_passes_wherever_it_stands() -> None:
    """What is left of the draft is verified again, whether a symbol was replaced or was one too many."""
    pair, seen = made(3), 0
    for seed in range(12):
        x = features(1, seed)
        right = tokens_of(pair, x, 6)[0]
        for place in range(6):
            other = (right[place] + 1) % len(CHARSET)
            too_many = [*right[:place], other, *right[place:]]
            assert pair.verify(x, [too_many], 6).line_passes == [2]
            replaced = [*right[:place], other, *right[place + 1 :]]
            if right[place + 1 : place + 2] != [right[place]]:  # or else it could be one too many
                assert pair.verify(x, [replaced], 6).line_passes == [2]
                seen += 1
    assert seen > 5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 30), drafts=drafted)
def test_passes_of_a_line_do_not_depend_on_its_batch(seed: int, drafts: list[list[int]]) -> None:
    pair, x = made(seed), features(len(drafts), seed)
    together = pair.verify(x, drafts)
    for i, draft in enumerate(drafts):
        alone = pair.verify(x[i : i + 1], [draft])
        assert (alone.texts[0], alone.line_passes[0]) == (together.texts[i], together.line_passes[i])


def test_passes_are_counted_at_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, x, calls = made(3), features(4), []
    step = pair.head.step()
    several = step.several
    monkeypatch.setattr(step, "several", lambda *given: calls.append(len(given[0])) or several(*given))
    found = pair.verify(x, [[0, 1], [], [4] * 9, tokens_of(pair, x)[3]])
    assert len(calls) == found.passes
    assert sum(calls) == sum(found.line_passes)  # whoever has ended is not read again


def test_the_first_one_pass_head_drafts_and_there_is_no_pair_without_both() -> None:
    built = Recognizer.build("tiny", ["ar", "parallel", "ctc"])
    assert isinstance(built.pairs()["ar-speculative"].drafter, ParallelHead)
    assert isinstance(built.with_heads(["ar", "ctc"]).pairs()["ar-speculative"].drafter, CTCHead)
    for names in (["ar"], ["parallel", "ctc"]):
        assert built.with_heads(names).pairs() == {}
        assert "ar-speculative" not in built.with_heads(names).decode_functions()


@pytest.mark.parametrize(("weights", "name", "count"), [(SHIPPED, "grid", 300), (READER, "wild", 200)])
def test_trained_weights_read_as_ar_does_in_fewer_passes(weights, name: str, count: int) -> None:
    recognizer = load_recognizer(weights)
    length = 5 if weights is SHIPPED else (1, 9)
    strings = SequenceMNIST(embedded_digits(), length, count=count, layout=level(name), seed=9)
    x = recognizer.encode(strings.batch(range(count))[0])
    variants = recognizer.decode_functions()
    found, expected = variants["ar-speculative"](x), variants["ar"](x)
    assert_same(found, expected)
    assert sum(found.line_passes) / count < 1.2
    assert sum(expected.line_passes) / count > 5.5
