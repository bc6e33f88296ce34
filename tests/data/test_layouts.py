"""Layouts: what each parameter does, and that a line depends on nothing but itself."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqocr.data.augment import Augmentation
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits, embedded_digits
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.data.synthetic.layouts.jitter import JitterLayout
from seqocr.errors import InputError
from tests.conftest import assert_same_alone_and_in_any_batch

PLAIN: dict[str, Any] = {f.name: 0.0 for f in fields(JitterLayout)} | {
    "height": 48,
    "margin": (6, 6),
    "gap": (4, 4),
    "size": (1, 1),
}


def draw(count: int = 40, length: int | tuple[int, int] = (1, 4), seed: int = 0, **changes: Any) -> list[torch.Tensor]:
    strings = SequenceMNIST(
        embedded_digits(), length, count=count, seed=seed, layout=JitterLayout(**{**PLAIN, **changes})
    )
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
    assert all(image.dtype == torch.uint8 for image in images)
    long = torch.tensor([image.shape[1] for image, text in zip(images, texts, strict=True) if len(text) > 7])
    short = torch.tensor([image.shape[1] for image, text in zip(images, texts, strict=True) if len(text) < 4])
    assert long.float().mean() > 2 * short.float().mean()
    assert len({tuple(image.flatten().tolist()) for image in images}) == 60


def test_the_plain_layout_shows_the_digits_themselves() -> None:
    digits = embedded_digits()
    strings = SequenceMNIST(digits, 1, count=20, layout=JitterLayout(**PLAIN))
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
        layout = JitterLayout(**{**PLAIN, "gap": (gap, gap)})
        strings = SequenceMNIST(ones, 2, count=30, layout=layout)
        for image, _ in (strings[i] for i in range(30)):
            inked = ink_columns(image).int()
            edges = inked.diff().nonzero().flatten()
            assert len(edges) == 4
            assert int(edges[2] - edges[1]) == pytest.approx(gap, abs=2)
            assert int(edges[0]) + 1 == pytest.approx(6, abs=1)
    touching = SequenceMNIST(ones, 2, count=30, layout=JitterLayout(**{**PLAIN, "gap": (-4, -4)}))
    assert all(len(ink_columns(image).int().diff().nonzero()) == 2 for image, _ in (touching[i] for i in range(30)))


CHANGES: list[dict[str, Any]] = [
    {"margin": (0, 20)},
    {"gap": (-3, 12)},
    {"gap_change": 3},
    {"size": (0.7, 1.4)},
    {"size_change": 0.3},
    {"slant": 0.5},
    {"slant_change": 0.3},
    {"thickness": 0.9},
    {"thickness_change": 0.5},
    {"rise": 15.0},
    {"wander": 5.0},
    {"blur": 1.0},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_every_parameter_changes_lines(changes: dict[str, Any]) -> None:
    before = draw(length=3)
    after = draw(length=3, **changes)
    assert all(torch.isfinite(image).all() for image in after)
    changed = [a.shape != b.shape or not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(changed) >= 30


def test_no_parameter_is_left_out() -> None:
    assert {name for changes in CHANGES for name in changes} | {"height"} == {
        field.name for field in fields(JitterLayout)
    }


def test_a_line_may_be_very_long() -> None:
    (image, text) = SequenceMNIST(embedded_digits(), 90, count=1, layout=LEVELS["wild"])[0]
    assert len(text) == 90
    assert image.shape[1] > 1100


def test_an_impossible_height_is_refused() -> None:
    with pytest.raises(InputError, match="height 12"):
        replace(JitterLayout(), height=12)
