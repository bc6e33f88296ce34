"""The camera: the same picture for the same numbers, any size, and still readable."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from seqocr.data.synthetic.camera import photograph
from seqocr.data.synthetic.framing import Frame, choose_frame, extend, take_frame


def scene(height: int = 50, text: str = "123456") -> np.ndarray:
    face = ImageFont.load_default(height * 0.8)
    image = Image.new("RGB", (int(face.getlength(text)) + height // 4, height), (230, 220, 200))
    ImageDraw.Draw(image).text((height // 8, 0), text, (30, 20, 60), font=face)
    return np.array(image)


def test_photographs_are_the_same_for_the_same_numbers() -> None:
    image = scene()
    before = image.copy()
    one, same, other = (photograph(image, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)
    assert np.array_equal(image, before)  # the scene itself is left alone


@pytest.mark.parametrize("shape", [(1, 1), (8, 400), (60, 10), (150, 1400), (300, 40)])
def test_scenes_of_any_size_are_photographed(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    for seed in range(12):
        taken = photograph(image, np.random.default_rng(seed))
        assert taken.ndim == 3
        assert taken.shape[2] == 3
        assert taken.dtype == np.uint8


def test_contrast_is_left() -> None:
    spans = []
    for seed in range(80):
        taken = photograph(scene(), np.random.default_rng(seed)).astype(int)
        spans.append(np.ptp(np.percentile(taken, (3, 97), axis=(0, 1)), axis=0).max())
    assert min(spans) > 15
    assert np.median(spans) > 90


def test_frames_show_no_more_than_twice_the_height() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        frame = choose_frame(40, 200, 1.0, rng)
        assert frame.top + frame.bottom <= 41
        assert frame.top + frame.bottom >= -0.06 * 40 - 1e-6


def test_a_level_frame_adds_and_cuts_what_it_says() -> None:
    image = scene()
    h, w, _ = image.shape
    rng = np.random.default_rng(0)
    assert np.array_equal(take_frame(image, Frame(), rng), image)
    assert np.array_equal(take_frame(image, Frame(left=-2, top=-1, right=-3), rng), image[1:, 2 : w - 3])
    wider = take_frame(image, Frame(left=4, top=5, bottom=6), rng)
    assert wider.shape == (h + 11, w + 4, 3)
    assert np.array_equal(wider[5 : 5 + h, 4:], image)


def test_a_rotated_frame_shows_the_scene_turned() -> None:
    image = np.full((41, 41, 3), 255, np.uint8)
    image[18:23] = 0  # a level bar
    turned = take_frame(image, Frame(angle=np.pi / 2), np.random.default_rng(0))
    assert turned.shape == image.shape
    assert turned[5, 20].max() == 0  # now upright
    assert turned[20, 5].min() == 255


def test_ground_is_continued_around_an_image_that_stays() -> None:
    image = scene()
    h, w, _ = image.shape
    for seed in range(30):
        extended = extend(image, 7, 20, 3, 9, np.random.default_rng(seed))
        assert extended.shape == (h + 29, w + 10, 3)
        assert np.array_equal(extended[20 : 20 + h, 7 : 7 + w], image)
