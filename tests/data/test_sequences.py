from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from seqocr.data.augment import Augmentation
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError
from tests.conftest import assert_same_alone_and_in_any_batch, coded


def members(image: torch.Tensor) -> list[int]:
    """The indices that `coded` digits spell in their first pixels."""
    return [int(image[0, x]) * 256 + int(image[0, x + 1]) for x in range(0, image.shape[1], 28)]


def labels(image: torch.Tensor) -> str:
    return "".join(str(int(image[5, x]) // 20) for x in range(0, image.shape[1], 28))


lengths = st.one_of(
    st.integers(1, 6), st.tuples(st.integers(1, 3), st.integers(0, 3)).map(lambda p: (p[0], p[0] + p[1]))
)


@settings(max_examples=40, deadline=None)
@given(pool=st.integers(6, 300), length=lengths, seed=st.integers(0, 2**64), epoch=st.integers(0, 5))
def test_without_replacement_each_digit_is_used_at_most_once(
    pool: int, length: int | tuple[int, int], seed: int, epoch: int
) -> None:
    strings = SequenceMNIST(coded(pool), length, seed=seed, epoch=epoch)
    used = []
    shortest, longest = (length, length) if isinstance(length, int) else length
    for image, text in strings:
        assert shortest <= len(text) <= longest
        assert image.shape == (28, 28 * len(text))
        assert image.dtype == torch.uint8
        assert labels(image) == text
        used += members(image)
    assert len(used) == len(set(used))
    assert pool - longest < len(used) <= pool  # and as many as go in are used


@settings(max_examples=15, deadline=None)
@example(seed=2065, augmented=True, length=1)  # a pixel where single precision would round with the batch's size
@given(seed=st.integers(0, 2**32), augmented=st.booleans(), length=lengths)
def test_a_sample_is_the_same_alone_and_in_any_batch(seed: int, augmented: bool, length: int | tuple[int, int]) -> None:
    def make() -> SequenceMNIST:
        return SequenceMNIST(coded(80), length, seed=seed, augmentation=Augmentation() if augmented else None)

    assert_same_alone_and_in_any_batch(make)


def test_digits_lie_side_by_side_on_the_grid_untouched() -> None:
    digits = embedded_digits()
    strings = SequenceMNIST(digits, 3)
    known = {image.numpy().tobytes(): int(label) for image, label in zip(digits.images, digits.labels, strict=True)}
    for i in range(20):
        image, text = strings[i]
        assert [known[cell.contiguous().numpy().tobytes()] for cell in image.split(28, dim=1)] == list(map(int, text))


def test_with_replacement_digits_come_again() -> None:
    strings = SequenceMNIST(coded(10), 5, replacement=True, count=40)
    assert len(strings) == 40
    used = [i for image, _ in strings for i in members(image)]
    assert len(used) == 200
    assert set(used) == set(range(10))


def test_mixed_lengths_are_all_drawn() -> None:
    strings = SequenceMNIST(coded(1000), (1, 4))
    counts = [sum(len(text) == n for _, text in strings) for n in range(1, 5)]
    assert min(counts) > 0.15 * len(strings)
    images, texts = strings.batch(range(10))
    assert isinstance(images, list)
    assert [image.shape[1] for image in images] == [28 * len(text) for text in texts]


def test_seed_epoch_and_augmentation_decide_what_is_drawn() -> None:
    def texts(**settings: int) -> list[str]:
        return SequenceMNIST(coded(300), 5, **settings).batch(range(60))[1]

    assert texts() == texts()
    assert texts(seed=1) != texts()
    assert texts(epoch=1) != texts()
    assert texts(seed=1) != texts(epoch=1)


def test_at_epoch_is_the_same_draw_as_made_anew() -> None:
    made = SequenceMNIST(coded(300), (2, 5), seed=3, epoch=7, augmentation=Augmentation())
    later = SequenceMNIST(coded(300), (2, 5), seed=3, augmentation=Augmentation()).at_epoch(7)
    assert len(made) == len(later)
    for (image, text), (other, same) in zip(made, later, strict=True):
        assert text == same
        assert torch.equal(image, other)


def test_augmentation_changes_pixels_not_texts_and_every_epoch_anew() -> None:
    digits = embedded_digits()
    as_train = type(digits)(digits.images, digits.labels, digits.source, "train")
    plain, _ = SequenceMNIST(as_train, 5).batch(range(5))
    augmented = SequenceMNIST(as_train, 5, augmentation=Augmentation())
    images, texts = augmented.batch(range(5))
    assert texts == SequenceMNIST(as_train, 5).batch(range(5))[1]
    assert ((images.float() - plain.float()).abs().mean(dim=(1, 2)) > 1).all()
    same = SequenceMNIST(as_train[torch.zeros(10, dtype=torch.long)], 1, augmentation=Augmentation())
    assert len({image.numpy().tobytes() for image, _ in same}) == 10  # one digit ten times, distorted ten ways


@pytest.mark.parametrize("split", ["validation", "test"])
def test_augmentation_of_held_out_digits_is_refused(split: str) -> None:
    with pytest.raises(InputError, match=split):
        SequenceMNIST(coded(50, split), augmentation=Augmentation())


def test_iteration_ends_and_indices_are_checked() -> None:
    strings = SequenceMNIST(coded(53), 5)
    assert len(strings) == 10
    assert len(list(strings)) == 10
    assert strings[-1][1] == strings[9][1]
    for index in (10, -11):
        with pytest.raises(IndexError):
            strings[index]
        with pytest.raises(IndexError):
            strings.batch([0, index])


@pytest.mark.parametrize("workers", [0, 1])
def test_data_loader_gives_batches(workers: int) -> None:
    strings = SequenceMNIST(coded(100), 5)
    seen = []
    for images, texts in DataLoader(strings, batch_size=8, num_workers=workers):
        assert images.shape[1:] == (28, 140)
        assert [labels(image) for image in images] == list(texts)
        seen += texts
    assert seen == [text for _, text in strings]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "length 0"),
        ({"length": (3, 2)}, r"length \(3, 2\)"),
        ({"length": 51}, "0 strings"),
        ({"length": 5, "count": 11}, "make 10 strings"),
        ({"length": (1, 5), "count": 60}, "without replacement"),
        ({"count": 0}, "count 0"),
        ({"replacement": True}, "count"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SequenceMNIST(coded(50), **arguments)  # type: ignore[arg-type]


def test_symbols_repeat_as_often_as_asked_for() -> None:
    """One in ten repeats by chance."""
    digits = coded(2000)
    for chance in (0.0, 0.5, 1.0):
        strings = SequenceMNIST(digits, 50, repeats=chance)
        texts = strings.batch(range(len(strings)))[1]
        pairs = [a == b for text in texts for a, b in pairwise(text)]
        assert sum(pairs) / len(pairs) == pytest.approx(chance + (1 - chance) * 0.1, abs=0.04)
    images, texts = SequenceMNIST(digits, 50, repeats=0.5).batch(range(5))
    assert [labels(image) for image in images] == texts
    with pytest.raises(InputError, match=r"repeats 1\.5"):
        SequenceMNIST(digits, repeats=1.5)


def test_labels_stand_for_the_symbols_of_their_set() -> None:
    digits = coded(40)
    letters = replace(digits, symbols="abcdefghij")
    table = str.maketrans("0123456789", "abcdefghij")
    expected = [text.translate(table) for text in SequenceMNIST(digits).batch(range(8))[1]]
    assert SequenceMNIST(letters).batch(range(8))[1] == expected
    with pytest.raises(InputError, match="charset 'abc' has 3 symbols"):
        SequenceMNIST(replace(digits, symbols="abc"))
