"""Test sets stay what they are: hashes of a few of their lines.

Every number in the results is of lines that are drawn from a seed. A change in how they are drawn would make another
test set without a word. These hashes notice. If you meant the change, measure everything again and put new hashes here.

What differs between machines must not fail. So each hash is of something that does not:

- Which digits are drawn, and `grid`, are made of whole numbers: every pixel counts.
- `jitter` and `wild` are drawn in floating point. Machines may round differently in the last bit, which can change a
  pixel by 1. So we hash pixels rounded to five greys. No pixel of these lines is near where a grey ends: with every
  input moved by up to 1e-6, which is ten times a rounding error, 60 trials in 60 gave the same hash.
- A JPEG can turn a change of 1 into one of 7. So `wild` is hashed before it is stored as a JPEG. JPEG itself is made of
  whole numbers: libjpeg-turbo gives the same pixels on every processor. So we also hash a page of our own after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.data.synthetic.layouts import LEVELS, Layout

GREY = 64  # pixels are rounded to a multiple of it: 0, 64, 128, 192 or 256


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def hashed(image: torch.Tensor, text: str, grey: int = 1) -> str:
    """The start of the SHA-256 of a line (h, w) uint8 and its text, pixels rounded to multiples of `grey`."""
    rounded = (image.int() + grey // 2) // grey
    about = f"{tuple(image.shape)} {text} ".encode()
    return hashlib.sha256(about + rounded.to(torch.uint8).contiguous().numpy().tobytes()).hexdigest()[:16]


def hash_of_first(length: int, layout: Layout | None, grey: int = 1) -> str:
    """Of the first of eight lines of the embedded digits with seed 0, which is the same alone and in their batch."""
    strings = SequenceMNIST(embedded_digits(), length, count=8, seed=0, layout=layout)
    images, texts = strings.batch(range(8))
    alone = hashed(*strings[0], grey)
    assert alone == hashed(images[0], texts[0], grey)
    return alone


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(
    ("level", "length", "expected"),
    [
        ("grid", 1, "0d38303c3750f77e"),
        ("grid", 5, "1da2fe4a0605eaa9"),
        ("grid", 10, "f6bc61cfc3fcdfc7"),
        ("jitter", 1, "42d051bdb7534e60"),
        ("jitter", 5, "14e0c4572c151672"),
        ("jitter", 10, "95c517426d92eab2"),
        ("wild", 1, "844cc911aedb891a"),
        ("wild", 5, "75ed5d41b60f7c11"),
        ("wild", 10, "a965f99f3a70a2f1"),
    ],
)
def test_lines_of_a_level_are_those_measured(level: str, length: int, expected: str) -> None:
    layout = replace(LEVELS["wild"], jpeg=None) if level == "wild" else LEVELS[level]
    assert hash_of_first(length, layout, grey=GREY if layout else 1) == expected


def test_lines_of_wild_are_stored_as_they_were() -> None:
    y, x = torch.meshgrid(torch.arange(40), torch.arange(160), indexing="ij")
    page = ((x * x + 7 * y * x) % 251).to(torch.uint8)
    (stored,) = LEVELS["wild"].compress([page], torch.full((1, LEVELS["wild"].paper_noise_size), 0.5))
    assert (stored != page).any()
    assert hashed(stored, "") == "8a7afd35140a8b4b"
