"""Renderers of cards and captchas: the contract of renderers, and that every symbol is drawn."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from seqocr.data.sources.fonts import Font, Fonts
from seqocr.data.synthetic.renderers.base import Renderer
from seqocr.data.synthetic.renderers.captchas.captchas import draw_captcha
from seqocr.data.synthetic.renderers.cards.card_glyphs import FACES, StrokeFace, stroke_face, stroke_mask
from seqocr.data.synthetic.renderers.cards.card_layout import group
from seqocr.data.synthetic.renderers.cards.cards import draw_card

TEXTS = ("7", "4071", "12/27", "1234 5678 9012 3456", "0123456789012345", "8.50", "-3,7+1:2", "0" * 24)


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    paths = [path for path in sorted(folder.glob("DejaVuSans*")) if "Display" not in path.stem]  # it has no digits
    return Fonts(Font(path, path.stem, "mono" if "Mono" in path.stem else "print") for path in paths)


@pytest.mark.parametrize("draw", [draw_card, draw_captcha])
def test_image_is_the_same_for_a_seed_and_another_for_another(draw: Renderer, fonts: Fonts) -> None:
    one, again, other = (draw("4071", fonts, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one, again)
    assert one.shape != other.shape or not np.array_equal(one, other)


@pytest.mark.parametrize("draw", [draw_card, draw_captcha])
@pytest.mark.parametrize("text", TEXTS)
def test_images_are_colour_and_of_a_line(draw: Renderer, text: str, fonts: Fonts) -> None:
    for seed in range(12):
        image = draw(text, fonts, np.random.default_rng(seed))
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert image.flags.c_contiguous
        assert 12 <= image.shape[0] <= 180
        assert image.shape[1] <= 1000
        assert image.std() > 3


@pytest.mark.parametrize("name", FACES)
def test_every_symbol_of_a_face_of_strokes_has_a_shape_of_its_own(name: str) -> None:
    masks = [
        stroke_mask(symbol, StrokeFace(name), 32, np.random.default_rng(0)).tobytes() for symbol in "0123456789.,-/:+"
    ]
    assert len(set(masks)) == len(masks)


def test_faces_of_strokes_keep_to_the_height() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = np.flatnonzero(stroke_mask("0123456789", stroke_face(rng), 40, rng).max(1) > 0.5)
        assert 36 <= rows[-1] - rows[0] + 1 <= 42


def test_gaps_change_no_digit() -> None:
    rng = np.random.default_rng(0)
    for length in range(1, 25):
        text = "".join(str(i % 10) for i in range(length))
        assert group(text, rng).replace(" ", "") == text
    assert group("12/27", rng) == "12/27"
