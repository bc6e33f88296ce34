"""Lines are cut to their content where it is a small part of them, whatever else is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from seqocr.data.content import is_blank, trim
from seqocr.data.images import Origin, open_line, origin_of
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.data.synthetic.layouts import level

DIGITS = 255 - np.concatenate([np.pad(x.numpy(), ((0, 0), (2, 2))) for x in embedded_digits().images[::700][:5]], 1)
_NOISE = np.random.default_rng(0)


def page(width: int, height: int, left: int, top: int) -> np.ndarray:
    pixels = np.full((height, width), 255.0)
    pixels[top : top + DIGITS.shape[0], left : left + DIGITS.shape[1]] = DIGITS
    return pixels


def framed(pixels: np.ndarray) -> np.ndarray:
    found = np.full_like(pixels, 30)
    found[6:-6, 6:-6] = pixels[6:-6, 6:-6]
    return found


DAMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "light on dark": lambda x: 255 - x,
    "noise": lambda x: x + _NOISE.normal(0, 15, x.shape),
    "speckles": lambda x: np.where(_NOISE.random(x.shape) < 0.003, 0, x),
    "frame": framed,
    "shade": lambda x: x * np.linspace(0.5, 1, x.shape[1]),
    "faint": lambda x: 255 - (255 - x) / 4,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("size", [(220, 300), (220, 1000), (1000, 400)])
def test_a_line_is_cut_out_of_a_page(damage: str, size: tuple[int, int]) -> None:
    pixels = DAMAGE[damage](page(*size, 30, 120)).clip(0, 255).astype(np.uint8)
    line, left = trim(Image.fromarray(pixels))
    assert 10 <= left <= 36
    assert 120 <= line.width <= 190
    assert 20 <= line.height <= 48
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (line.height, line.width))[:, left]
    assert (windows == np.asarray(line)).all(axis=(1, 2)).any()


def test_a_line_is_cut_out_of_a_strip() -> None:
    line = open_line(page(3000, 60, 1200, 20).astype(np.uint8))
    assert line.width < 190
    assert origin_of(line).scale == 1
    assert 1180 <= origin_of(line).left <= 1206


def test_what_lies_far_from_the_rest_is_kept() -> None:
    pixels = page(1200, 300, 30, 120)
    pixels[124:144, 1150:1153] = 0  # a lone 1
    line, left = trim(Image.fromarray(pixels.astype(np.uint8)))
    assert left < 36
    assert left + line.width > 1153


def test_lines_that_are_tight_stay_as_they_are() -> None:
    images, _ = SequenceMNIST(embedded_digits(), 4, count=60, seed=3).batch(range(60))
    for image in images:
        line = open_line(image)
        assert np.array_equal(np.asarray(line), image.numpy())
        assert origin_of(line) == Origin()


@pytest.mark.parametrize("length", [1, 4])
def test_what_is_cut_away_is_empty(length: int) -> None:
    images, _ = SequenceMNIST(embedded_digits(), length, count=60, seed=3, layout=level("jitter")).batch(range(60))
    lines = [open_line(image) for image in images]
    cut = [(np.asarray(line), image.numpy()) for line, image in zip(lines, images, strict=True) if line.height < 40]
    assert cut, "the test would show nothing"
    for line, image in cut:
        assert (image > 60).sum() - (line > 60).sum() <= 3


def test_lines_on_textured_paper_are_seldom_cut() -> None:
    images, _ = SequenceMNIST(embedded_digits(), 4, count=60, seed=3, layout=level("wild")).batch(range(60))
    assert sum(open_line(image).height < image.shape[0] for image in images) <= 3


def test_blank_is_what_has_no_edges() -> None:
    shade = np.linspace(120, 250, 200).repeat(40).reshape(200, 40).T
    assert is_blank(Image.fromarray(shade.astype(np.uint8)))
    assert not is_blank(Image.fromarray(DIGITS))
