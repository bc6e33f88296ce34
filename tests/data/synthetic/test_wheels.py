"""Number wheels and screens in smooth type."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from seqocr.data.sources.fonts import Font, Fonts
from seqocr.data.synthetic.renderers.base import Renderer
from seqocr.data.synthetic.renderers.displays.dashboards import draw_dashboard
from seqocr.data.synthetic.renderers.wheels.mechanism import turns, window_rows
from seqocr.data.synthetic.renderers.wheels.wheel_digits import DIGITS, Digits
from seqocr.data.synthetic.renderers.wheels.wheels import draw_wheels

RENDERERS = pytest.mark.parametrize("draw", [draw_wheels, draw_dashboard])
FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    return Fonts([Font(FOLDER / "DejaVuSans.ttf", "sans"), Font(FOLDER / "DejaVuSansMono.ttf", "mono", "mono")])


@RENDERERS
@pytest.mark.parametrize("text", ["7", "012345", "1.5", "12,750", "-3", "1 2/3:4+5", "-", " ", "9" * 24])
def test_images_of_any_text(draw: Renderer, text: str, fonts: Fonts) -> None:
    for seed in range(6):
        image = draw(text, fonts, np.random.default_rng(seed))
        again = draw(text, fonts, np.random.default_rng(seed))
        assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
        assert min(image.shape) > 0
        assert np.array_equal(image, again)


@RENDERERS
def test_each_symbol_changes_the_image(draw: Renderer, fonts: Fonts) -> None:
    for a, b in [("012345", "812345"), ("012345", "012346"), ("01.345", "01-345"), ("12 3", "12:3")]:
        for seed in range(4):
            first, second = (draw(text, fonts, np.random.default_rng(seed)) for text in (a, b))
            assert first.shape != second.shape or not np.array_equal(first, second), (a, b, seed)


def test_wheels_show_their_digit_most_and_carry() -> None:
    carried = 0
    for seed in range(200):
        steps = turns([4, 9, 9], np.random.default_rng(seed))
        assert (abs(steps) < 0.5).all()
        carried += steps[2] > 0.3 and steps[0] == steps[1] == steps[2]
        assert steps[2] > -0.1 or steps[1] != steps[2]  # going to 9, the wheel before stands still
    assert carried > 10


def test_drums_are_seen_at_an_angle_at_the_edges() -> None:
    along, facing = window_rows(41, 30.0)
    assert (along[20], facing[20]) == (0, 1)
    assert np.allclose(along, -along[::-1], atol=1e-4)
    assert along[-1] - along[-2] > along[21] - along[20]  # more of the surface in a row


def test_digits_of_all_typefaces_are_as_high_as_asked_and_differ(fonts: Fonts) -> None:
    for seed in range(12):
        digits = Digits(fonts, 30, np.random.default_rng(seed))
        images = {digit: digits[digit] for digit in DIGITS}
        assert {image.height for image in images.values()} == {30}
        assert len({image.tobytes() for image in images.values()}) == len(DIGITS), seed
