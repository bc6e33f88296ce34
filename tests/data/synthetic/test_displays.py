"""Displays of segments and dots: every symbol has a look of its own, and images follow from their seed."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from seqocr.data.sources.fonts import Font, Fonts
from seqocr.data.synthetic.renderers.displays import display_looks as looks
from seqocr.data.synthetic.renderers.displays.dot_glyphs import GLYPHS, ROWS, pattern
from seqocr.data.synthetic.renderers.displays.dot_matrix import draw_dots
from seqocr.data.synthetic.renderers.displays.segment_shapes import ENDS, SEVEN, Shape, outlines
from seqocr.data.synthetic.renderers.displays.segment_style import failures, random_style
from seqocr.data.synthetic.renderers.displays.segments import draw_segments, lay_out, row_masks

SYMBOLS = "0123456789.,-/:+ "


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return Fonts(Font(path, "DejaVu") for path in sorted(folder.glob("DejaVu*.ttf")))


@pytest.mark.parametrize("draw", [draw_segments, draw_dots])
@pytest.mark.parametrize("text", ["7", "-12.5", "0123456789", "9:41", "3,5/8+1 2", ".", " ", "1" * 24])
def test_images_are_small_colour_ones_that_follow_from_their_seed(draw, text, fonts):
    for seed in range(6):
        image = draw(text, fonts, np.random.default_rng(seed))
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert 14 <= image.shape[0] < 260
        np.testing.assert_array_equal(image, draw(text, fonts, np.random.default_rng(seed)))


@pytest.mark.parametrize("draw", [draw_segments, draw_dots])
def test_digits_stand_out_from_their_ground(draw, fonts):
    rng = np.random.default_rng(1)
    for _ in range(60):
        grey = draw("828", fonts, rng) @ np.array([0.3, 0.59, 0.11])
        assert np.percentile(grey, 97) - np.percentile(grey, 3) > 9


@pytest.mark.parametrize("spokes", [7, 14, 16])
@pytest.mark.parametrize("ends", ENDS)
def test_segments_of_a_digit_stay_within_its_box(ends, spokes):
    parts = outlines(Shape(0.6, 0.1, 0.02, ends, spokes=spokes))
    assert set("abcdefg") <= set(parts)
    assert len(parts) == (7 if spokes == 7 else 14)
    points = np.vstack([points for outline in parts.values() for points in outline])
    assert points.min() > -0.051  # joined ends reach half a segment beyond their nodes, and no further
    assert points[:, 0].max() < 0.651
    assert points[:, 1].max() < 1.051


def test_each_symbol_is_drawn_as_none_other_is():
    style = random_style("8", np.random.default_rng(3))
    drawn = {}
    for symbol in SYMBOLS.strip():
        row = lay_out(f"8{symbol}8", style, np.random.default_rng(5))
        drawn[symbol] = row_masks(row, 40, 0.0, False)[0].tobytes()
    assert len(set(drawn.values())) == len(drawn)


def test_unlit_segments_are_shown_beside_those_that_are_lit():
    style = random_style("1", np.random.default_rng(3))
    lit, ghost = row_masks(lay_out("1", style, np.random.default_rng(0)), 40, 0.0, True)
    assert ghost is not None
    assert (ghost >= lit).all()
    assert ghost.sum() > 2 * lit.sum()


def test_dead_segments_leave_a_digit_the_only_one_it_may_be():
    rng = np.random.default_rng(0)
    for _ in range(3000):
        for at, levels in failures(SEVEN, "0123456789", rng).items():
            for segment, level in levels.items():
                left = set(SEVEN[str(at)]) - ({segment} if level == 0 else set())
                near = [digit for digit in "0123456789" if len(left ^ set(SEVEN[digit])) <= 1]
                assert str(at) in near
                assert level > 0 or near == [str(at)]


def test_patterns_of_dots_differ_and_fit_their_modules():
    forms = [(symbol, form.tobytes()) for symbol, options in GLYPHS.items() for form in options]
    assert len({dots for _, dots in forms}) == len(forms)
    assert set(GLYPHS) == set(SYMBOLS)
    rng = np.random.default_rng(0)
    assert pattern("10.5", rng, fixed=True).shape == (ROWS, 4 * 6 - 1)
    assert pattern("10.5", rng, fixed=False).shape[1] < 4 * 6 - 1


def test_a_mask_moves_by_whole_pixels_and_loses_what_leaves_it():
    mask = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(looks.shift(mask, 1, 0), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(looks.shift(mask, 0, -1), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
