"""Layouts: what each parameter does, and that a line depends on nothing but itself."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_same_alone_and_in_any_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqocr.data.augment import Augmentation
from seqocr.data.chance import OfDigit, OfLine
from seqocr.data.levels import LEVELS, Layout
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import Digits, embedded_digits
from seqocr.errors import InputError

PLAIN: dict[str, Any] = {f.name: 0.0 for f in fields(Layout)} | {
    "height": 48,
    "margin": (6, 6),
    "gap": (4, 4),
    "size": (1, 1),
    "stretch": (1, 1),
    "paper": (0, 0),
    "ink": (1, 1),
    "jpeg": None,
}


def draw(count: int = 40, length: int | tuple[int, int] = (1, 4), seed: int = 0, **changes: Any) -> list[torch.Tensor]:
    strings = SequenceMNIST(embedded_digits(), length, count=count, seed=seed, layout=Layout(**{**PLAIN, **changes}))
    return [image.float() for image in strings.batch(range(count))[0]]


def ink_columns(image: torch.Tensor) -> torch.Tensor:
    return (image > 80).any(dim=0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(["jitter", "wild"]), augmented=st.booleans())
def test_a_line_is_the_same_alone_and_in_any_batch(seed: int, level: str, augmented: bool) -> None:
    digits = embedded_digits()[:120]
    digits = Digits(digits.images, digits.labels, digits.source, "train")

    def make() -> SequenceMNIST:
        augmentation = Augmentation() if augmented else None
        return SequenceMNIST(digits, (1, 6), seed=seed, augmentation=augmentation, layout=LEVELS[level])

    assert_same_alone_and_in_any_batch(make)


@pytest.mark.parametrize("level", ["jitter", "wild"])
def test_lines_of_a_level_differ_and_fit(level: str) -> None:
    strings = SequenceMNIST(embedded_digits(), (1, 10), count=60, layout=LEVELS[level])
    images, texts = strings.batch(range(60))
    layout = LEVELS[level]
    assert layout is not None
    assert all(image.dtype == torch.uint8 and len(image) == layout.height for image in images)
    long = torch.tensor([image.shape[1] for image, text in zip(images, texts, strict=True) if len(text) > 7])
    short = torch.tensor([image.shape[1] for image, text in zip(images, texts, strict=True) if len(text) < 4])
    assert long.float().mean() > 2 * short.float().mean()
    assert len({tuple(image.flatten().tolist()) for image in images}) == 60


def test_the_plain_layout_shows_the_digits_themselves() -> None:
    digits = embedded_digits()
    strings = SequenceMNIST(digits, 1, count=20, layout=Layout(**PLAIN))
    plain = SequenceMNIST(digits, 1, count=20)
    for i in range(20):
        (image, text), (cell, same) = strings[i], plain[i]
        assert text == same
        ours, theirs = image.float(), cell.float()
        assert ours.sum().item() == pytest.approx(theirs.sum().item(), rel=0.03)
        assert ours.amax().item() == pytest.approx(theirs.amax().item(), abs=4)


def test_gaps_are_as_wide_as_asked_for() -> None:
    digits = embedded_digits()
    ones = digits[digits.labels == 0]  # a zero's ink has no gap of its own
    for gap in (2, 9):
        layout = Layout(**{**PLAIN, "gap": (gap, gap)})
        strings = SequenceMNIST(ones, 2, count=30, layout=layout)
        for image, _ in (strings[i] for i in range(30)):
            inked = ink_columns(image).int()
            edges = inked.diff().nonzero().flatten()
            assert len(edges) == 4
            assert int(edges[2] - edges[1]) == pytest.approx(gap, abs=2)
            assert int(edges[0]) + 1 == pytest.approx(6, abs=1)
    touching = SequenceMNIST(ones, 2, count=30, layout=Layout(**{**PLAIN, "gap": (-4, -4)}))
    assert all(len(ink_columns(image).int().diff().nonzero()) == 2 for image, _ in (touching[i] for i in range(30)))


CHANGES: list[dict[str, Any]] = [
    {"margin": (0, 20)},
    {"gap": (-3, 12)},
    {"gap_change": 3},
    {"size": (0.7, 1.4)},
    {"size_change": 0.3},
    {"stretch": (0.7, 0.9)},
    {"slant": 0.5},
    {"slant_change": 0.3},
    {"thickness": 0.9},
    {"thickness_change": 0.5},
    {"crisp": 0.4},
    {"rise": 15.0},
    {"wander": 5.0},
    {"mark": 1.0},
    {"end": 1.0},
    {"paper": (0.5, 1.0)},
    {"ink": (0.3, 0.9)},
    {"gradient": 0.2},
    {"texture": 0.6, "paper": (0.8, 0.8)},  # of full ink
    {"rule": 1.0, "paper": (0.8, 0.8)},
    {"noise": 0.1, "paper": (0.8, 0.8)},
    {"blur": 1.0},
    {"jpeg": (20, 40)},
    {"invert": 1.0},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_every_parameter_changes_lines(changes: dict[str, Any]) -> None:
    before = draw(length=3, **{name: value for name, value in changes.items() if name == "paper" and len(changes) > 1})
    after = draw(length=3, **changes)
    assert all(torch.isfinite(image).all() for image in after)
    changed = [a.shape != b.shape or not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(changed) >= 30


def test_no_parameter_is_left_out() -> None:
    elsewhere = {"height", "crossed", "flagged"}  # have a test of their own
    assert {name for changes in CHANGES for name in changes} | elsewhere == {field.name for field in fields(Layout)}


@pytest.mark.parametrize(("symbol", "parameter"), [("7", "crossed"), ("1", "flagged")])
def test_strokes_are_added_to_their_digit_alone(symbol: str, parameter: str) -> None:
    strings = [
        SequenceMNIST(
            embedded_digits(), 1, count=200, layout=Layout(**{**PLAIN, "margin": (20, 20), parameter: chance})
        )
        for chance in (0.0, 1.0)
    ]
    (plain, texts), (stroked, _) = (s.batch(range(200)) for s in strings)
    for before, after, text in zip(plain, stroked, texts, strict=True):
        if text != symbol:
            assert torch.equal(before, after)
        else:
            assert after.float().sum() > before.float().sum()
    assert texts.count(symbol) > 5


def test_light_paper_has_dark_ink_and_inverted_paper_light() -> None:
    for invert, sign in ((0.0, -1), (1.0, 1)):
        for image in draw(paper=(0.8, 0.8), invert=invert):
            background = image.median()
            strongest = max((image.amax() - background, 1), (background - image.amin(), -1))
            assert strongest[1] == sign


def pieces(image: torch.Tensor) -> list[torch.Tensor]:
    """Parts (height, w) of a line that columns without ink set apart."""
    inked = F.pad(ink_columns(image).int(), (1, 1))
    starts, ends = ((inked.diff() == sign).nonzero().flatten().tolist() for sign in (1, -1))
    return [image[:, start:end] for start, end in zip(starts, ends, strict=True)]


MARKED: dict[str, Any] = {**PLAIN, "gap": (8, 8)}


@pytest.mark.parametrize(("where", "place"), [("mark", 1), ("end", 2)])
def test_marks_are_drawn_where_they_are_asked_for_and_not_read(where: str, place: int) -> None:
    digits = embedded_digits()
    zeros = digits[digits.labels == 0][:10]  # whose ink has no gap of its own
    plain, marked = (
        SequenceMNIST(zeros, 2, count=40, replacement=True, layout=Layout(**{**MARKED, where: chance}))
        for chance in (0.0, 1.0)
    )
    marks = []
    for (before, _), (after, text) in zip(plain, marked, strict=True):
        found = pieces(after)
        assert len(found) == 3
        marks.append(found.pop(place))
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, pieces(before), strict=True))
        assert text == "00"
    assert len({mark.numpy().tobytes() for mark in marks}) == 40  # each drawn by hand


@pytest.mark.parametrize(
    ("number", "end", "height", "width", "strokes", "row"),
    [
        (0.1, False, 3, 3, 1, 34),  # a full stop, at the foot of digits
        (0.5, False, 8, 4, 1, 34),  # a comma, higher than wide
        (0.9, False, 3, 13, 1, 24),  # a dash, half way up
        (0.1, True, 3, 3, 1, 34),
        (0.4, True, 8, 4, 1, 34),
        (0.6, True, 3, 13, 1, 24),
        (0.9, True, 8, 13, 2, 26),  # an equals sign, after the last digit alone
    ],
)
def test_a_mark_is_a_full_stop_a_comma_a_dash_or_an_equals_sign(
    number: float, end: bool, height: int, width: int, strokes: int, row: int
) -> None:
    layout = Layout(**{**MARKED, "end" if end else "mark": 1.0})
    lines, numbers = torch.full((1, layout.line_numbers), 0.5), torch.full((2, layout.digit_numbers), 0.5)
    lines[:, OfLine.mark_thickness] = 0
    numbers[:, OfDigit.mark_kind] = number
    numbers[:, OfDigit.mark] = 0
    digits = embedded_digits()
    (line,) = layout(digits.images[digits.labels == 0][:2].float() / 255, ["00"], lines, numbers)
    mark = pieces(line)[2 if end else 1]
    inked = ink_columns(mark.T).nonzero().flatten()
    assert (int(inked[-1] - inked[0]) + 1, mark.shape[1]) == (pytest.approx(height, abs=1), pytest.approx(width, abs=1))
    assert len(pieces(mark.T)) == strokes
    assert inked.float().mean().item() == pytest.approx(row, abs=2)


def test_a_line_may_be_very_long() -> None:
    (image, text) = SequenceMNIST(embedded_digits(), 90, count=1, layout=LEVELS["wild"])[0]
    assert len(text) == 90
    assert image.shape[1] > 1100


def test_an_impossible_height_is_refused() -> None:
    with pytest.raises(InputError, match="height 12"):
        replace(Layout(), height=12)
