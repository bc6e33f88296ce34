"""Numbers by hand in registers and other documents."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from seqocr.data.sources.fonts import Font, Fonts
from seqocr.data.sources.strokes import POINTS, Strokes
from seqocr.data.synthetic.renderers.handwriting.hands import Hand, Manner
from seqocr.data.synthetic.renderers.handwriting.pen_shapes import Shapes
from seqocr.data.synthetic.renderers.handwriting.pens import Canvas, Pen
from seqocr.data.synthetic.renderers.handwriting.registers import RegisterRenderer, draw_register

TEXTS = ("1", "18", "1843", "7 0", "1,234.50", "-57", "12/34", "12:30", "+49 170", "018273645501827364550123")


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return Fonts([Font(folder / "DejaVuSans.ttf", "DejaVu", "hand")])


@pytest.mark.parametrize("text", TEXTS)
def test_images_are_colour_and_the_same_for_a_seed(text: str, fonts: Fonts) -> None:
    for seed in range(8):
        image = draw_register(text, fonts, np.random.default_rng(seed))
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert min(image.shape[:2]) >= 8
        np.testing.assert_array_equal(image, draw_register(text, fonts, np.random.default_rng(seed)))


def test_lines_are_about_as_high_as_readers_see_them(fonts: Fonts) -> None:
    heights = [draw_register("1843", fonts, np.random.default_rng(seed)).shape[0] for seed in range(60)]
    assert 24 < np.median(heights) < 70
    assert max(heights) < 160


@pytest.mark.parametrize("with_font", [False, True])
@pytest.mark.parametrize("symbol", "0123456789.,-/:+")
def test_each_symbol_leaves_ink_inside_its_box(symbol: str, with_font: bool, fonts: Fonts) -> None:
    rng = np.random.default_rng(1)
    face = fonts.face(rng, 72, "hand") if with_font else None
    line = Hand(Manner(30.0), Pen(0.02, 0.05), rng, face=face).write(symbol)
    left, top, right, bottom = line.box
    canvas = Canvas(120, 120)
    line.draw(canvas, 50, 70)
    ink = canvas.ink()
    assert ink.max() > 0.5
    rows, columns = np.flatnonzero(ink.max(1) > 0.1), np.flatnonzero(ink.max(0) > 0.1)
    assert rows[0] >= 70 + top - 2
    assert rows[-1] <= 70 + bottom + 2
    assert columns[0] >= 50 + left - 2
    assert columns[-1] <= 50 + right + 2


def test_fonts_digits_keep_apart_however_slanted(fonts: Fonts) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        line = Hand(Manner(30.0, slant=0.9), Pen(0.02, 0.05), rng, face=fonts.face(rng, 72, "hand")).write("8888")
        steps = np.diff([place[0] for place in line.places])
        assert steps.min() > 10


def test_the_pen_presses_on_downstrokes() -> None:
    rng = np.random.default_rng(0)
    pen = Pen(0.01, 0.06, shake=0.0)
    line = Hand(Manner(40.0, slant=0.0, unsteady=0.0), pen, rng).write("0")
    stroke = line.symbols[0].stroke
    assert stroke is not None
    radius = np.hypot(*stroke.aside.T)
    assert radius.max() > 3 * radius.min()


def test_writers_differ_and_repeat_themselves() -> None:
    first, second = Shapes(np.random.default_rng(0)), Shapes(np.random.default_rng(1))
    own = [first.path("4").points for _ in range(2)]
    assert own[0].shape != own[1].shape or np.abs(own[0] - own[1]).max() < 0.2
    other = second.path("4").points
    assert own[0].shape != other.shape or not np.allclose(own[0], other)


def circles() -> Strokes:
    t = torch.linspace(0, 6.28, POINTS)
    circle = torch.stack([0.5 * t.cos(), 0.5 * t.sin(), torch.ones(POINTS)], 1)
    return Strokes(circle.repeat(10, 1, 1), torch.arange(10), torch.arange(10) % 2, "circles", "train")


def test_recorded_strokes_are_written(fonts: Fonts) -> None:
    draw = RegisterRenderer(circles())
    with_strokes = [draw("1843", fonts, np.random.default_rng(seed)) for seed in range(10)]
    without = [draw_register("1843", fonts, np.random.default_rng(seed)) for seed in range(10)]
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(with_strokes, without, strict=True))
