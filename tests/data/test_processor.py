from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import DetrImageProcessor, ViTImageProcessor

from seqocr.data.processor import Processor
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError


def line(n: int = 5) -> torch.Tensor:
    """(28, 28·n) uint8 of real digits."""
    return torch.cat(list(embedded_digits().images[:: 5000 // n][:n]), dim=1)


def test_pixels_are_scaled_to_minus_one_to_one_on_three_equal_channels() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 28, 140)
    pixel_values = Processor(28, 140)(images)
    assert pixel_values.shape == (3, 3, 28, 140)
    assert pixel_values.dtype == torch.float32
    for found, expected in zip(pixel_values, (-1.0, -0.6, 1.0), strict=True):
        torch.testing.assert_close(found, torch.full((3, 28, 140), expected))


def test_mean_and_std_are_a_channel_each() -> None:
    processor = Processor(28, 28, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    found = processor(torch.full((1, 28, 28), 255, dtype=torch.uint8))[0, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([0.9 / 0.5, 0.8 / 1.0, 0.7 / 2.0]))


@pytest.mark.parametrize("kind", ["digits", "colours"])
def test_stretching_agrees_with_the_processor_of_transformers(kind: str) -> None:
    if kind == "digits":
        image = Image.fromarray(line().numpy())
    else:
        rows, columns = np.mgrid[:600, :500]
        image = Image.fromarray(
            np.stack([rows * 255 // 600, columns * 255 // 500, (rows + columns) % 256], 2).astype("uint8")
        )
    theirs = ViTImageProcessor(
        size={"height": 384, "width": 384}, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    expected = torch.as_tensor(np.asarray(theirs(image.convert("RGB"), return_tensors="pt")["pixel_values"]))
    found = Processor(384, 384, keep_aspect=False)([image])
    assert found.shape == expected.shape == (1, 3, 384, 384)
    one_grey_level = 2 / 255
    torch.testing.assert_close(found, expected, atol=1.01 * one_grey_level, rtol=0)


def test_keeping_the_aspect_fills_up_with_nothing() -> None:
    processor = Processor(28, 140)
    short = line(2)
    for image in (short, 255 - short):
        (found,) = processor([image])
        torch.testing.assert_close(found[0, :, :56], image.float() / 127.5 - 1)
        assert (found[:, :, 56:] == 0).all()


def test_keeping_the_aspect_makes_a_line_as_large_as_fits() -> None:
    processor = Processor(28, 140)
    large = torch.zeros(56, 112, dtype=torch.uint8)
    large[:, 56:] = 200  # the right half; at half the size it spans columns 28 to 56, then nothing
    (found,) = processor([large])
    assert (found[0, 14, 30:55] == 200 / 127.5 - 1).all()
    assert (found[0, 14, :26] == -1).all()
    wide = torch.zeros(28, 280, dtype=torch.uint8)
    wide[:, 140:] = 200
    (found,) = processor([wide])
    assert (found[0, :14, :68] == -1).all()
    assert (found[0, :14, 72:] == 200 / 127.5 - 1).all()
    assert (found[0, 14:] == 0).all()
    assert processor([torch.zeros(1, 5000, dtype=torch.uint8)]).shape == (1, 3, 28, 140)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(4, 90), width=st.integers(4, 400), channels=st.sampled_from([1, 3]))
def test_keeping_the_aspect_agrees_with_a_processor_of_transformers(height: int, width: int, channels: int) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[:, :, :] = pixels[:, :, :channels] if channels == 3 else pixels[:, :, :1]
    theirs = DetrImageProcessor(
        size={"max_height": 40, "max_width": 320},
        pad_size={"height": 40, "width": 320},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    expected = theirs([Image.fromarray(pixels)], return_tensors="pt")["pixel_values"]
    found = Processor(40, 320)([Image.fromarray(pixels)])
    one_grey_level = 2 / 255  # theirs resizes with torch, which rounds otherwise than Pillow
    torch.testing.assert_close(found, torch.as_tensor(expected), atol=1.01 * one_grey_level, rtol=0)


@pytest.mark.parametrize("keep_aspect", [True, False])
def test_an_image_becomes_the_same_alone_in_a_list_and_in_a_tensor(keep_aspect: bool) -> None:
    processor = Processor(32, 160, keep_aspect=keep_aspect)
    images = torch.stack([line(3), 255 - line(3), line(3) // 2])  # the second is black on white
    together = processor(images)
    for i in range(3):
        torch.testing.assert_close(processor(images[i : i + 1])[0], together[i], atol=0, rtol=0)
    torch.testing.assert_close(processor(list(images)), together, atol=0, rtol=0)


def test_grey_colour_and_transparent_images_of_any_kind_agree() -> None:
    grey = line(5)
    rgb = grey[:, :, None].expand(-1, -1, 3)
    rgba = torch.cat([rgb, torch.full((28, 140, 1), 255, dtype=torch.uint8)], dim=2)
    pil = Image.fromarray(grey.numpy())
    kinds = [grey, rgb, rgba, grey.numpy(), rgb.numpy(), rgba.numpy(), pil, pil.convert("RGB"), pil.convert("RGBA")]
    processor = Processor(28, 140)
    expected = processor(grey[None])[0]
    for image in kinds:
        assert torch.equal(processor([image])[0], expected)
    assert torch.equal(processor(kinds), expected.expand(len(kinds), -1, -1, -1))


def test_colours_stay_in_their_channels() -> None:
    red = np.zeros((28, 140, 3), dtype=np.uint8)
    red[:, :, 0] = 255
    assert Processor(28, 140)([red])[0].mean(dim=(1, 2)).tolist() == [1, -1, -1]


@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("size", [(28, 140), (14, 56)])
def test_no_images_make_an_empty_batch(size: tuple[int, int], keep_aspect: bool) -> None:
    processor = Processor(28, 140, keep_aspect=keep_aspect)
    for nothing in ([], torch.empty(0, *size, dtype=torch.uint8)):
        assert processor(nothing).shape == (0, 3, 28, 140)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(28, 140), "float32"),
        (np.zeros((28, 140), dtype=np.int64), "int64"),
        (torch.zeros(3, 28, 140, dtype=torch.uint8), "give"),
        (torch.zeros(2, 2, 2, 2, dtype=torch.uint8), "give"),
        (torch.zeros(0, 140, dtype=torch.uint8), "no pixels"),
        (torch.zeros(28, 0, dtype=torch.uint8), "no pixels"),
        (np.zeros((0, 140, 3), dtype=np.uint8), "no pixels"),
    ],
)
def test_what_is_no_image_is_refused(image: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Processor(28, 140)([image])  # type: ignore[list-item]


def test_a_batch_without_pixels_or_of_floats_is_refused() -> None:
    with pytest.raises(InputError, match="no pixels"):
        Processor(28, 140)(torch.zeros(2, 28, 0, dtype=torch.uint8))
    with pytest.raises(InputError, match="float32"):
        Processor(28, 140)(torch.zeros(2, 28, 140))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"height": 0}, "height 0"),
        ({"width": 10**9}, "width 1000000000"),
        ({"width": 140.0}, r"width 140\.0"),
        ({"keep_aspect": "no"}, "keep_aspect 'no'"),
        ({"mean": (0.5, 0.5)}, "mean .* three numbers"),
        ({"mean": 0.5}, "mean 0.5"),
        ({"mean": (0.5, "0.5", 0.5)}, "mean"),
        ({"mean": (0.5, math.nan, 0.5)}, "mean .*nan"),
        ({"mean": (0.5, 10**400, 0.5)}, "mean"),
        ({"std": (0.5, 0.0, 0.5)}, "std .* from 1e-06"),
        ({"std": (0.5, math.inf, 0.5)}, "std .*inf"),
        ({"std": (0.5, -0.5, 0.5)}, "std"),
    ],
)
def test_settings_that_give_no_numbers_are_refused(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Processor(**{"height": 28, "width": 140, **setting})


# Input as wide as the lines.


def test_input_is_as_wide_as_the_widest_line_up_to_a_multiple() -> None:
    processor = Processor(32, 512, width_multiple=32)
    sizes = [(32, 20), (32, 65), (64, 400), (32, 4000)]
    images = [torch.zeros(size, dtype=torch.uint8) for size in sizes]
    assert [processor.input_width(width, height) for height, width in sizes] == [64, 96, 224, 512]
    assert processor(images[:2]).shape == (2, 3, 32, 96)
    assert processor(images).shape == (4, 3, 32, 512)
    assert processor.span(400, 64) == 448  # of the image's own pixels
    assert Processor(32, 512)(images[:2]).shape == (2, 3, 32, 512)


def test_batches_hold_lines_of_one_width() -> None:
    processor = Processor(32, 512, width_multiple=32)
    images = [torch.zeros(32, width, dtype=torch.uint8) for width in (90, 20, 80, 64, 96, 500)]
    assert processor.batches(images, 2) == [[1, 3], [0, 2], [4], [5]]
    assert Processor(32, 512).batches(images, 4) == [[0, 1, 2, 3], [4, 5]]


def test_parts_to_learn_from_are_filled_up_to_less_than_twice_their_width() -> None:
    processor = Processor(32, 512, width_multiple=32)
    widths = (90, 20, 200, 64, 500, 300)
    parts = processor.parts([torch.zeros(32, width, dtype=torch.uint8) for width in widths])
    assert sorted(i for part in parts for i in part) == list(range(6))
    for part in parts:
        found = [processor.input_width(widths[i], 32) for i in part]
        assert max(found) < 2 * min(found)


def test_standardised_lines_look_alike_however_faint_they_are() -> None:
    processor = Processor(28, 140, standardise=True)
    (strong,) = processor([line()])
    faint = (line().float() * 0.3 + 40).round().to(torch.uint8)
    assert strong.mean().abs() < 1e-4
    assert strong.std() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(processor([faint])[0], strong, atol=0.05, rtol=0)
    assert processor([torch.full((28, 140), 90, dtype=torch.uint8)]).abs().max() == 0  # nothing is there


@pytest.mark.parametrize("multiple", [0, -32, 100, 32.0, True])
def test_multiples_that_do_not_divide_the_width_are_refused(multiple: Any) -> None:
    with pytest.raises(InputError, match="width_multiple"):
        Processor(32, 512, width_multiple=multiple)
    with pytest.raises(InputError, match="width_multiple"):
        Processor(32, 512, keep_aspect=False, width_multiple=32)
