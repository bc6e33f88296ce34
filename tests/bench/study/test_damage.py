"""Damage: each kind does what it says, by the amount that it says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.study.damage import KINDS, NUMBERS, Damage, apply_damage
from seqocr.data.sources.datasets import embedded_digits

SOFT = ("covered", "faded", "blurred", "noisy")


def digits(lines: int, n: int = 5) -> torch.Tensor:
    return (embedded_digits().images[: lines * n].float() / 255).view(lines, n, 28, 28)


def numbers(lines: int, n: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand(lines, n, NUMBERS, generator=torch.Generator().manual_seed(seed))


def suffered(kind: str, amount: float, lines: int = 40) -> torch.Tensor:
    return apply_damage(digits(lines), [kind] * lines, torch.full((lines,), amount), numbers(lines))


@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_happens_at_amount_0(kind: str) -> None:
    torch.testing.assert_close(suffered(kind, 0.0), digits(40))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "clean"])
@pytest.mark.parametrize("amount", [0.0, 0.3, 0.9, 1.0])
def test_pixels_stay_brightnesses(kind: str, amount: float) -> None:
    found = suffered(kind, amount)
    assert found.shape == (40, 5, 28, 28)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("kind", SOFT)
def test_more_damage_leaves_less_of_the_digit(kind: str) -> None:
    """What is left is the correlation of each digit with itself before."""
    before = digits(40).flatten(2)

    def left(amount: float) -> float:
        after = suffered(kind, amount).flatten(2)
        a, b = (x - x.mean(dim=2, keepdim=True) for x in (before, after))
        return float(((a * b).sum(2) / (a.norm(dim=2) * b.norm(dim=2) + 1e-6)).mean())

    kept = [left(amount) for amount in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == pytest.approx(1, abs=1e-3)
    assert kept[-1] < 0.5


@pytest.mark.parametrize("amount", [0.2, 0.6])
def test_digits_are_erased_at_the_rate(amount: float) -> None:
    found = suffered("erased", amount, lines=400)
    gone = found.flatten(2).sum(2) == 0
    assert abs(float(gone.float().mean()) - amount) < 4 * (amount * (1 - amount) / gone.numel()) ** 0.5
    torch.testing.assert_close(found[~gone], digits(400)[~gone])


@pytest.mark.parametrize("amount", [0.2, 0.4, 1.0])
def test_the_first_or_last_digits_are_erased(amount: float) -> None:
    count = round(amount * 5)
    first, last = suffered("erased first", amount), suffered("erased last", amount)
    assert (first[:, :count] == 0).all()
    torch.testing.assert_close(first[:, count:], digits(40)[:, count:])
    assert (last[:, 5 - count :] == 0).all()
    torch.testing.assert_close(last[:, : 5 - count], digits(40)[:, : 5 - count])


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_line_is_damaged_the_same_in_any_batch(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(list(KINDS)), min_size=2, max_size=6))
    amounts = torch.tensor(data.draw(st.lists(st.floats(0, 1), min_size=len(kinds), max_size=len(kinds))))
    cells, drawn = digits(len(kinds)), numbers(len(kinds))
    together = apply_damage(cells, kinds, amounts, drawn)
    for i, kind in enumerate(kinds):
        alone = apply_damage(cells[i : i + 1], [kind], amounts[i : i + 1], drawn[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


def test_labels_say_kind_and_amount() -> None:
    assert [Damage("clean").label, Damage("erased first", 0.4).label] == ["clean", "erased first 40%"]
