from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from seqocr.data.augment import Augmentation, LineAugmentation
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError

NOTHING = Augmentation(rotation=0, scale=0, shear=0, shift=0, elastic=0, stroke=0, blur=0)
STRENGTHS = [field.name for field in fields(Augmentation)]


def digits(count: int = 12) -> torch.Tensor:
    return embedded_digits().images[:: 5000 // count][:count].float() / 255


def noise(augmentation: Augmentation, count: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, augmentation.noise_size, generator=torch.Generator().manual_seed(seed))


def test_everything_at_zero_changes_nothing() -> None:
    torch.testing.assert_close(NOTHING(digits(), noise(NOTHING)), digits(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("field", STRENGTHS)
def test_each_field_alone_changes_digits_within_range(field: str) -> None:
    augmentation = replace(NOTHING, **{field: getattr(Augmentation(), field)})
    changed = augmentation(digits(), noise(augmentation))
    assert changed.shape == (12, 28, 28)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - digits()).abs().amax(dim=(1, 2)).mean() > 0.05


def test_a_digit_is_distorted_the_same_in_any_company() -> None:
    augmentation, count = Augmentation(), 400  # more than one chunk
    images, numbers = digits(count), noise(augmentation, count)
    whole = augmentation(images, numbers)
    for i in (0, 159, 160, 399):
        alone = augmentation(images[i : i + 1], numbers[i : i + 1])[0]
        torch.testing.assert_close(alone, whole[i], atol=1e-5, rtol=0)


def test_other_noise_gives_another_digit() -> None:
    augmentation = Augmentation()
    assert not torch.equal(
        augmentation(digits(), noise(augmentation)), augmentation(digits(), noise(augmentation, seed=1))
    )


def test_largest_shift_moves_by_that_many_pixels() -> None:
    augmentation = replace(NOTHING, shift=2.0)
    numbers = torch.full((12, augmentation.noise_size), 0.5)  # in the middle: no change
    numbers[:, 4] = 1.0
    moved = augmentation(digits(), numbers)
    torch.testing.assert_close(moved[:, :, :-2], digits()[:, :, 2:], atol=1e-4, rtol=0)


def test_quarter_turn_is_a_quarter_turn() -> None:
    augmentation = replace(NOTHING, rotation=90.0)
    numbers = torch.full((12, augmentation.noise_size), 0.5)
    numbers[:, 0] = 1.0
    turned = augmentation(digits(), numbers)
    torch.testing.assert_close(turned, digits().rot90(1, (1, 2)), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("number", "sign"), [(1.0, 1), (0.0, -1)])
def test_stroke_thickens_or_thins(number: float, sign: int) -> None:
    augmentation = replace(NOTHING, stroke=1.0)
    numbers = torch.full((12, augmentation.noise_size), number)
    change = augmentation(digits(), numbers) - digits()
    assert (change * sign >= -1e-4).all()
    assert (change.sum(dim=(1, 2)) * sign > 1).all()


def test_full_blur_is_the_binomial_filter() -> None:
    augmentation = replace(NOTHING, blur=1.0)
    dot = torch.zeros(1, 28, 28)
    dot[0, 10, 10] = 1
    blurred = augmentation(dot, torch.ones(1, augmentation.noise_size))
    expected = torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])) / 16
    torch.testing.assert_close(blurred[0, 9:12, 9:12], expected, atol=1e-4, rtol=0)


def test_half_the_strength_is_half_of_every_change() -> None:
    half = Augmentation().with_strength(0.5)
    assert {name: getattr(half, name) * 2 for name in STRENGTHS} == {n: getattr(Augmentation(), n) for n in STRENGTHS}
    assert Augmentation().with_strength(1) == Augmentation()
    assert Augmentation().with_strength(0) == NOTHING
    with pytest.raises(InputError, match=r"strength -0\.1"):
        Augmentation().with_strength(-0.1)


@pytest.mark.parametrize("size", [(10_000, 4), (10_000, 49), (4, 10_000), (4, 4), (300, 50)])
def test_lines_of_any_shape_are_changed(size: tuple[int, int]) -> None:
    augmentation = LineAugmentation()
    for seed in range(5):
        (drawn,) = noise(augmentation, 1, seed)  # type: ignore[arg-type]
        height, width = augmentation(torch.full(size, 99, dtype=torch.uint8), drawn).shape
        assert 1 <= height <= 64 or width <= 2
        assert width >= 1
