"""Print, and pictures of nothing: drawn from numbers alone, with every symbol on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from seqocr.data.sources.fonts import Font, Fonts
from seqocr.data.synthetic.renderers.prints import clutter, print_ink
from seqocr.data.synthetic.renderers.prints.materials import MATERIALS, Ground
from seqocr.data.synthetic.renderers.prints.nothing import draw_nothing, draw_two_rows
from seqocr.data.synthetic.renderers.prints.printed import draw_print


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    matplotlib = pytest.importorskip("matplotlib")
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    kinds = {"DejaVuSans": "print", "DejaVuSansMono": "mono", "STIXGeneral": "hand"}
    return Fonts(Font(folder / f"{name}.ttf", name, kind) for name, kind in kinds.items())


def test_print_is_the_same_for_the_same_numbers(fonts: Fonts) -> None:
    for seed in range(20):
        one, same = (draw_print("20-7.45", fonts, np.random.default_rng(seed)) for _ in range(2))
        assert one.dtype == np.uint8
        assert one.shape[2] == 3
        assert np.array_equal(one, same)


@pytest.mark.parametrize("text", ["0", "1", "0123456789.,-/:+ 01234567", "1 2", "-", "7:30"])
def test_texts_of_any_length_are_printed(text: str, fonts: Fonts) -> None:
    for seed in range(20):
        image = draw_print(text, fonts, np.random.default_rng(seed))
        assert 10 <= image.shape[0] < 200
        assert image.shape[1] < 3000


def test_print_differs_by_its_text(fonts: Fonts) -> None:
    for seed in range(30):
        images = [draw_print(text, fonts, np.random.default_rng(seed)) for text in ("1830", "1890")]
        assert images[0].shape != images[1].shape or not np.array_equal(*images)


def test_print_stands_out(fonts: Fonts) -> None:
    for seed in range(60):
        image = draw_print("888", fonts, np.random.default_rng(seed)).astype(int)
        assert np.ptp(image.reshape(-1, 3), axis=0).max() > 40


def test_every_symbol_of_dots_has_a_form_of_its_own() -> None:
    forms = {print_ink.dot_matrix(symbol, 14, np.random.default_rng(1)).tobytes() for symbol in "0123456789.,-/:+ "}
    assert len(forms) == 17


def test_lines_know_where_symbols_start() -> None:
    face = ImageFont.load_default(40)
    zeros = np.zeros(3)
    mask, starts = print_ink.spaced_mask("111", face, zeros + 20, zeros)
    parts = [mask[:, max(0, int(start)) : int(start) + 20].max() for start in starts]
    assert min(parts) > 0.5
    lighter = print_ink.by_symbol(mask, starts, np.array((1, 0, 1)))
    assert lighter.sum() == pytest.approx(mask.sum() * 2 / 3, rel=0.1)


def test_stencils_keep_most_of_every_symbol() -> None:
    mask, starts = print_ink.spaced_mask("1080", ImageFont.load_default(40), np.zeros(4), np.zeros(4))
    cut = print_ink.stencil(mask, starts, np.random.default_rng(0))
    assert 0.5 * mask.sum() < cut.sum() < mask.sum()


@pytest.mark.parametrize("material", MATERIALS, ids=lambda material: material.__name__)
def test_grounds_fill_their_shape(material: Ground) -> None:
    for seed in range(5):
        ground = material((31, 77), np.random.default_rng(seed))
        assert ground.shape == (31, 77, 3)
        assert np.isfinite(ground).all()


def test_symbols_that_a_face_lacks_are_not_drawn(fonts: Fonts) -> None:
    face = fonts.face(np.random.default_rng(0), 30, "print")
    assert clutter.can_draw(face, "12 kg")
    assert not clutter.can_draw(face, "12\ue999")
    assert not clutter.letters("\ue999", face).any()
    assert clutter.letters("kg", face).any()


def test_masks_are_put_where_they_fit() -> None:
    canvas = np.zeros((4, 5), np.float32)
    clutter.put(canvas, np.ones((2, 2), np.float32), -1, 3)
    clutter.put(canvas, np.ones((2, 2), np.float32), 9, 0)
    assert canvas.sum() == canvas[3, 0] == 1


@pytest.mark.parametrize("draw", [draw_nothing, draw_two_rows])
def test_pictures_of_nothing_are_the_same_for_the_same_numbers(
    draw: Callable[[Fonts, np.random.Generator], np.ndarray], fonts: Fonts
) -> None:
    for seed in range(20):
        one, same = (draw(fonts, np.random.default_rng(seed)) for _ in range(2))
        assert one.dtype == np.uint8
        assert one.ndim == 3
        assert np.array_equal(one, same)


def test_letters_and_other_symbols_are_printed_in_every_look(fonts):
    for seed in range(150):
        image = draw_print("1A2$%b", fonts, np.random.default_rng(seed))
        assert image.ndim == 3
