"""Synthetic lines of renderers: reproducible, labelled by what they show, opened as files are."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.shown import MARKS
from seqocr.data.sources.datasets import DIGITS, embedded_digits
from seqocr.data.sources.fonts import Fonts, load_fonts
from seqocr.data.synthetic import rendered
from seqocr.data.synthetic.layouts import level
from seqocr.data.synthetic.numbers import add_marks, sample_number
from seqocr.data.synthetic.rendered import WORLDS, PhotographedLines, RenderedLines, _photographed
from tests.data.synthetic.test_registers import circles


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    return load_fonts(Path(matplotlib.get_data_path()) / "fonts" / "ttf")


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_line_is_a_function_of_seed_epoch_and_index(fonts: Fonts) -> None:
    lines = RenderedLines(fonts, seed=3, count=50)
    images, texts = lines.batch(range(10, 14))
    again, texts_again = RenderedLines(fonts, seed=3, count=50).batch([13, 10])
    assert same(again, [images[3], images[0]])
    assert texts_again == [texts[3], texts[0]]
    for other in (RenderedLines(fonts, seed=4, count=50), lines.at_epoch(1)):
        assert not same(other.batch(range(10, 14))[0], images)
    with pytest.raises(IndexError):
        lines.batch([50])


@pytest.mark.parametrize("world", list(WORLDS))
def test_worlds_show_numbers(world: str, fonts: Fonts) -> None:
    images, texts = RenderedLines(fonts, worlds={world: 1.0}, seed=1).batch(range(6))
    for image, text in zip(images, texts, strict=True):
        assert image.dtype == torch.uint8
        assert image.ndim == 2
        assert min(image.shape) >= 4
        assert text
        assert set(text) <= set(DIGITS)


def test_texts_keep_what_the_charset_has(fonts: Fonts) -> None:
    digits, marked = (
        RenderedLines(fonts, charset=charset, worlds={"print": 1.0}, seed=5).batch(range(25))
        for charset in (DIGITS, DIGITS + MARKS)
    )
    assert same(digits[0], marked[0])
    assert any(set(text) & set(MARKS) for text in marked[1])
    assert digits[1] == ["".join(symbol for symbol in text if symbol in DIGITS) for text in marked[1]]


def test_some_images_show_no_number(fonts: Fonts) -> None:
    texts = RenderedLines(fonts, seed=0, count=200)
    empty = [index for index in range(120) if not texts.line(index)[1]]
    assert 0 < len(empty) < 20


def test_numbers_have_marks_between_or_before_digits() -> None:
    generator = np.random.default_rng(0)
    numbers = [sample_number(generator) for _ in range(3000)]
    assert {len(number) for number in numbers} >= set(range(1, 25))
    marked = [number for number in numbers if set(number) & set(MARKS)]
    assert 0.08 < len(marked) / len(numbers) < 0.25
    assert {mark for number in marked for mark in number if mark in MARKS} == set(MARKS)
    assert all(number[-1] in DIGITS for number in numbers)
    assert all("".join(s for s in add_marks("1234567", generator) if s in DIGITS) == "1234567" for _ in range(200))


def test_a_share_of_other_lines_is_photographed() -> None:
    lines = SequenceMNIST(embedded_digits(), (1, 4), count=40, layout=level("wild"))
    images, texts = lines.batch(range(40))
    photographed = PhotographedLines(lines, 0.5, seed=1)
    found, found_texts = photographed.batch(range(40))
    assert found_texts == texts
    changed = sum(not torch.equal(a, b) for a, b in zip(found, images, strict=True))
    assert 10 <= changed <= 30
    assert same(photographed.batch(range(5, 9))[0], found[5:9])
    assert same(PhotographedLines(lines, 0.0).batch(range(40))[0], images)


def test_registers_are_also_written_with_recorded_strokes(fonts: Fonts) -> None:
    shares = {"worlds": {"registers": 1.0}, "seed": 3, "count": 20}
    plain, recorded = RenderedLines(fonts, **shares), RenderedLines(fonts, strokes=circles(), **shares)
    assert recorded.contents != plain.contents
    assert recorded.about["source"].endswith(" and circles")
    assert recorded.at_epoch(1).strokes is recorded.strokes
    both = zip(plain.batch(range(20))[0], recorded.batch(range(20))[0], strict=True)
    assert sum(a.shape != b.shape or bool((a != b).any()) for a, b in both) > 0


def test_a_line_that_no_photograph_leaves_legible_is_not_cut_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long number whose content would be found at one end: cut to that, it would be narrower than its symbols."""
    monkeypatch.setattr(rendered, "photograph", lambda scene, rng: scene)
    scene = np.full((60, 300, 3), 230, np.uint8)
    scene[18:42, 4:16] = 0
    image = _photographed(scene, 16, np.random.default_rng(0))
    assert image.shape == (60, 300)
