from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seqocr.decoding.search import prefix_beam_search
from seqocr.errors import InputError
from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.ctc import CTCHead

FEATURES = FeatureMap(dim=8, rows=2, columns=6, prefix=1)


def make(max_length: int = 3, charset: str = "ab", features: FeatureMap = FEATURES) -> CTCHead:
    torch.manual_seed(0)
    return CTCHead(features, charset, max_length).eval()


def saying(head: CTCHead, *paths: str) -> CTCHead:
    """The head made to emit these best paths, `-` for blank, with probability 0.5 a frame."""
    ids = [[head.blank if c == "-" else head.charset.index(c) for c in path] for path in paths]
    classes = head.blank + 1
    logits = torch.full((len(paths), len(paths[0]), classes), math.log(0.5 / (classes - 1)))
    logits.scatter_(2, torch.tensor(ids)[:, :, None], math.log(0.5))
    head.logits = lambda features: logits  # type: ignore[method-assign]
    return head


def collapse(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    """CTC's many-to-one map, written another way than in the library: merge runs, then drop blanks."""
    merged = [path[i] for i in range(len(path)) if i == 0 or path[i] != path[i - 1]]
    return tuple(i for i in merged if i != blank)


def by_enumeration(probs: list[list[float]], blank: int) -> dict[tuple[int, ...], float]:
    totals: dict[tuple[int, ...], float] = {}
    for path in product(range(len(probs[0])), repeat=len(probs)):
        label = collapse(path, blank)
        totals[label] = totals.get(label, 0.0) + math.prod(frame[i] for frame, i in zip(probs, path, strict=True))
    return totals


@pytest.mark.parametrize(
    ("path", "text"),
    [("aabb--", "ab"), ("a-a-a-", "aaa"), ("aaaaaa", "a"), ("------", ""), ("--b-b-", "bb"), ("abab--", "abab")],
)
def test_greedy_merges_repeats_and_drops_blanks(path: str, text: str) -> None:
    decoded = saying(make(max_length=6), path).decode(torch.zeros(1, 1, 1))
    assert decoded.texts == [text]
    assert decoded.passes == 1


def test_the_confidence_of_greedy_is_its_texts_over_all_paths() -> None:
    """As for every other head: the model's probability of the text, not of one way to align it."""
    head, features = make(max_length=3), torch.randn(20, FEATURES.tokens, 8) * 3
    decoded = head.decode(features)
    assert len(set(decoded.texts)) > 5, "all read alike: the test would show little"
    frames = head.logits(features).softmax(dim=2)
    for text, confidence, probs in zip(decoded.texts, decoded.confidences.tolist(), frames.tolist(), strict=True):
        total = by_enumeration(probs, head.blank)[tuple(map(head.charset.index, text))]
        assert confidence == pytest.approx(total, abs=1e-5)
    best_paths = frames.amax(dim=2).prod(dim=1).detach().numpy()
    assert (decoded.confidences > 1.2 * best_paths).sum() > 5, "hardly more than the best path: as above"


def test_beam_search_sums_over_paths_where_greedy_takes_the_best_one() -> None:
    """Each frame: blank 0.6, a 0.4. The best path is two blanks, 0.36; but "a" has three paths, 0.64 together."""
    head = make(charset="a")
    head.logits = lambda features: torch.tensor([[[0.4, 0.6], [0.4, 0.6]]]).log()  # type: ignore[method-assign]
    greedy, beam = head.decode(torch.zeros(1)), head.decode_beam(torch.zeros(1))
    assert greedy.texts == [""]
    assert greedy.confidences.tolist() == pytest.approx([0.36])
    assert beam.texts == ["a"]
    assert beam.confidences.tolist() == pytest.approx([0.64])
    assert beam.passes == 1


@st.composite
def problems(draw: st.DrawFn) -> list[list[float]]:
    """Up to 4 frames over 2 symbols and blank, as probabilities; zeros among them."""
    frames = draw(st.integers(1, 4))
    rows = [draw(st.lists(st.integers(0, 9), min_size=3, max_size=3)) for _ in range(frames)]
    assume(all(sum(row) for row in rows))
    return [[x / sum(row) for x in row] for row in rows]


@settings(max_examples=150, deadline=None)
@given(probs=problems(), blank=st.integers(0, 2))
def test_wide_beam_finds_the_likeliest_text_of_all(probs: list[list[float]], blank: int) -> None:
    totals = by_enumeration(probs, blank)
    logs = [[math.log(p) if p else -math.inf for p in frame] for frame in probs]
    label, score = prefix_beam_search(logs, blank, beam_width=1000)
    assert math.exp(score) == pytest.approx(max(totals.values()))
    assert totals[label] == pytest.approx(max(totals.values()))


@settings(max_examples=100, deadline=None)
@given(probs=problems(), beams=st.integers(1, 3))
def test_narrow_beam_never_claims_more_than_its_text_has(probs: list[list[float]], beams: int) -> None:
    logs = [[math.log(p) if p else -math.inf for p in frame] for frame in probs]
    label, score = prefix_beam_search(logs, 2, beams)
    assert math.exp(score) <= by_enumeration(probs, 2)[label] * (1 + 1e-9)


@pytest.mark.parametrize("max_length", [1, 3, 4, 7, 20])
def test_there_are_frames_for_the_worst_case_of_any_length(max_length: int) -> None:
    head = make(max_length)
    assert head.frames >= 2 * max_length - 1
    features = torch.randn(2, FEATURES.tokens, 8)
    assert head.logits(features).shape == (2, head.frames, 3)
    loss = head.loss(features, ["a" * max_length, "ab" * (max_length // 2)])
    assert torch.isfinite(loss)


def test_a_text_that_needs_more_frames_than_there_are_is_refused_by_name() -> None:
    features = FeatureMap(dim=8, rows=1, columns=6, prefix=1, narrows=True)
    head = make(max_length=5, features=features)
    narrow = torch.randn(2, features.prefix + 2, 8)  # of an image with two columns
    frames = 2 * head.frames // features.columns
    assert frames < 9
    with pytest.raises(InputError, match=rf"'aaaaa' needs 9 CTC frames, the head has {frames}"):
        head.loss(narrow, ["ab", "aaaaa"])


def test_loss_is_the_log_probability_summed_over_paths_a_symbol() -> None:
    head = make()
    features = torch.randn(1, FEATURES.tokens, 8)
    probs = head.logits(features)[0].softmax(1).tolist()
    total = by_enumeration(probs, head.blank)[0, 0, 1]
    assert head.loss(features, ["aab"]).item() == pytest.approx(-math.log(total) / 3, rel=1e-4)


def test_columns_are_read_from_left_to_right() -> None:
    """A change in one image column reaches that column's frames and no other."""
    head = make(max_length=5)
    features = torch.randn(1, FEATURES.tokens, 8)
    changed = features.clone()
    changed[:, FEATURES.prefix + 6 + 2] = torch.randn(8)  # row 1, column 2
    moved = (head.logits(changed) - head.logits(features)).abs().amax(dim=(0, 2)).nonzero().flatten().tolist()
    assert moved == [4, 5]  # two frames a column


def test_more_frames_than_features_to_cut_them_from_are_refused() -> None:
    with pytest.raises(InputError, match="79 frames cannot be cut from 6 columns of 8 features"):
        make(max_length=40)


def test_frames_are_cut_from_their_own_column_from_left_to_right() -> None:
    head = make(max_length=9)  # 17 frames: three a column of 8 features, two features each
    assert head.frames == 18
    features = torch.randn(1, FEATURES.tokens, 8)
    patches = features[:, FEATURES.prefix :].unflatten(1, (FEATURES.rows, FEATURES.columns))
    columns = patches.mean(dim=1)
    for frame in range(18):
        column, part = divmod(frame, 3)
        expected = head.classify.weight @ columns[0, column, 2 * part : 2 * part + 2] + head.classify.bias
        torch.testing.assert_close(head.logits(features)[0, frame], expected)
