"""Strings of a distribution as lines of damaged digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.study.damage import Damage
from bench.study.label_distributions import LABEL_DISTRIBUTIONS, Independent, Lexicon
from bench.study.structured import StructuredLines
from seqocr.data.augment import Augmentation
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError
from tests.conftest import assert_same_alone_and_in_any_batch, coded

MIXTURE = {"clean": 0.0, "erased": 0.5, "blurred": 1.0}


def test_texts_are_strings_of_the_distribution_and_images_are_of_their_digits() -> None:
    distribution, digits = Lexicon.sampled(5, 20), embedded_digits()
    lines = StructuredLines(digits, distribution, 50, Damage("clean"))
    images, texts = lines.batch(range(50))
    assert images.shape == (50, 28, 140)
    assert images.dtype == torch.uint8
    valid = {"".join(map(str, row)) for row in distribution.strings.tolist()}
    assert set(texts) <= valid
    known = {image.numpy().tobytes(): int(label) for image, label in zip(digits.images, digits.labels, strict=True)}
    for image, text in zip(images, texts, strict=True):
        cells = image.view(28, 5, 28).transpose(0, 1)
        assert "".join(str(known[cell.contiguous().numpy().tobytes()]) for cell in cells) == text


@pytest.mark.parametrize("damage", [Damage("noisy", 0.4), MIXTURE])
@pytest.mark.parametrize("augmented", [True, False])
def test_a_line_is_the_same_alone_and_in_any_batch(damage, augmented: bool) -> None:
    digits = coded(200)

    class Items(StructuredLines):
        def __getitem__(self, index: int):
            return self.__getitems__([index])[0]

        def __getitems__(self, indices: list[int]):
            images, texts = self.batch(indices)
            return list(zip(images, texts, strict=True))

    def make() -> Items:
        augmentation = Augmentation() if augmented else None
        return Items(digits, Independent(4), 30, damage, seed=3, augmentation=augmentation)

    assert_same_alone_and_in_any_batch(make)


def test_epochs_and_seeds_draw_other_strings_and_damages_do_not() -> None:
    digits, distribution = embedded_digits(), LABEL_DISTRIBUTIONS["uniform"](5)
    lines = StructuredLines(digits, distribution, 40, Damage("clean"), seed=1)
    for other in (lines.at_epoch(1), StructuredLines(digits, distribution, 40, Damage("clean"), seed=2)):
        assert not np.array_equal(lines.strings, other.strings)
    again = StructuredLines(digits, distribution, 40, Damage("erased", 0.5), seed=1)
    assert np.array_equal(lines.strings, again.strings)
    clean, erased = (each.batch(range(40))[0] for each in (lines, again))
    assert torch.equal(clean[erased > 0], erased[erased > 0])  # the same images, but for what is gone


def test_a_mixture_draws_every_kind_and_amounts_up_to_its_most() -> None:
    lines = StructuredLines(embedded_digits(), LABEL_DISTRIBUTIONS["uniform"](5), 3000, MIXTURE)
    kinds, amounts = np.array(lines._kinds), lines._amounts
    for kind, most in MIXTURE.items():
        here = amounts[kinds == kind]
        assert 900 < len(here) < 1100
        assert here.max() <= most
        assert here.mean() == pytest.approx(most / 2, abs=0.05)


def test_held_out_digits_are_not_augmented() -> None:
    with pytest.raises(InputError, match="augmentation is for training digits only"):
        StructuredLines(
            embedded_digits(), LABEL_DISTRIBUTIONS["uniform"](5), 4, Damage("clean"), augmentation=Augmentation()
        )
