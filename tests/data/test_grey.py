"""Pixels of every depth, transparency and colour, from a file, Pillow or an array, give the same grey line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seqocr.data.images import open_line
from seqocr.data.pixels import Fit
from seqocr.errors import InputError

INK = np.zeros((20, 60), bool)
INK[4:16, 6:14] = INK[4:16, 30:34] = INK[4:16, 44:56] = True
GREY = np.where(INK, 0, 255).astype(np.uint8)
GREY[4:16, 30:34] = 128
RGB = np.repeat(GREY[:, :, None], 3, axis=2)


def of(source: object) -> np.ndarray:
    return np.asarray(open_line(source)).astype(int)


def with_alpha(value: int) -> np.ndarray:
    return np.dstack([np.full((*GREY.shape, 3), value, np.uint8), 255 - GREY])


DEEP = {
    "10 bits in 16": GREY.astype(np.uint16) * 4,
    "12 bits in 16": GREY.astype(np.uint16) * 16,
    "16 bits": GREY.astype(np.uint16) * 257,
    "a small part of 16 bits": GREY.astype(np.uint16) * 4 + 20_000,
    "int32 to 255": GREY.astype(np.int32),
    "int32": GREY.astype(np.int32) * 2**20,
    "float to 1": GREY / np.float32(255),
    "float to 255": GREY.astype(np.float32),
    "float from -1": GREY / np.float32(127.5) - 1,
}


@pytest.mark.parametrize("kind", DEEP)
def test_the_full_range_is_used_of_any_depth(tmp_path: Path, kind: str) -> None:
    assert np.abs(of(DEEP[kind]) - GREY).max() <= 1
    image = Image.fromarray(DEEP[kind])
    assert np.abs(of(image) - GREY).max() <= 1
    image.save(tmp_path / "line.tif")
    assert np.abs(of(tmp_path / "line.tif") - GREY).max() <= 1


def test_sixteen_bits_in_the_other_order() -> None:
    swapped = Image.frombytes("I;16B", GREY.shape[::-1], (GREY * np.uint16(16)).astype(">u2").tobytes())
    assert np.abs(of(swapped) - GREY).max() <= 1


def test_arrays_of_any_shape_and_type_are_the_same_line() -> None:
    kinds = [
        GREY,
        GREY[:, :, None],
        RGB,
        RGB / 255,
        RGB.astype(np.uint16) * 257,
        np.dstack([RGB, np.full_like(GREY, 255)]),
    ]
    kinds += [with_alpha(0) / 255, torch.tensor(GREY), torch.tensor(GREY / 255, requires_grad=True)]
    for kind in kinds:
        assert np.abs(of(kind) - GREY).max() <= 1
    assert np.array_equal(of(GREY > 99), 255 * (GREY > 99))


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "CMYK", "HSV", "YCbCr", "P"])
def test_images_of_any_mode_are_the_same_line(mode: str) -> None:
    image = Image.fromarray(RGB)
    if mode == "P":
        image = Image.fromarray(GREY).convert("P")
    if mode in ("LA", "La", "RGBA", "RGBa"):
        image = Image.fromarray(with_alpha(0))
    image = image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
    assert np.abs(of(image) - GREY).max() <= 2


def test_light_ink_on_a_transparent_ground_is_seen() -> None:
    assert np.array_equal(of(with_alpha(255)), 255 - GREY)
    assert np.ptp(of(with_alpha(200))) == 200
    assert np.ptp(of(with_alpha(100))) == 155  # on white: contrast enough


@pytest.mark.parametrize(
    ("ink", "paper"), [((200, 0, 0), (0, 102, 0)), ((255, 255, 0), (255, 255, 255)), ((0, 0, 255), (0, 0, 0))]
)
def test_colours_of_equal_grey_keep_their_contrast(ink: tuple[int, ...], paper: tuple[int, ...]) -> None:
    line = of(np.where(INK[:, :, None], ink, paper).astype(np.uint8))
    assert np.ptp(line) == 255
    assert np.ptp(line[INK]) == np.ptp(line[~INK]) == 0


def test_colours_with_contrast_are_pillows_grey() -> None:
    blue = Image.fromarray(np.where(INK[:, :, None], (20, 40, 160), (250, 240, 200)).astype(np.uint8))
    assert np.array_equal(of(blue), np.asarray(blue.convert("L")))


def test_what_was_given_stays_as_it_is() -> None:
    image = Image.fromarray(with_alpha(0))
    image.getexif()[0x0112] = 6
    assert open_line(image).size == image.size[::-1]
    assert (image.mode, image.size, image.getexif()[0x0112]) == ("RGBA", GREY.shape[::-1], 6)
    line = open_line(GREY)
    assert open_line(line) is line


def test_an_encoder_is_given_what_the_line_shows() -> None:
    fit, expected = Fit(20, 60), Fit(20, 60)([GREY])
    for image in (with_alpha(0), Image.fromarray(with_alpha(0)), Image.fromarray(DEEP["16 bits"])):
        assert np.array_equal(fit([image]), expected)
    turned = Image.fromarray(np.rot90(GREY))
    turned.getexif()[0x0112] = 6
    assert np.array_equal(fit([turned]), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((20, 60), np.nan), "not finite"),
        (np.zeros((20, 60), complex), "complex128: give uint8"),
        (np.zeros((3, 20, 60)), r"shape \(3, 20, 60\): give \(h, w\)"),
        (np.zeros((0, 60)), "without pixels"),
        ([1, 2], "of type list: give a path"),
        (None, "of type NoneType: give a path"),
    ],
)
def test_what_is_no_image_is_refused(image: object, message: str) -> None:
    with pytest.raises(InputError, match=f"image 3 .*{message}"):
        open_line(image, "image 3")
