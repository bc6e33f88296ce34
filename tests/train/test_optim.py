"""Muon, and the learning rate's schedule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqocr.train.optim import Muon, orthogonalise, schedule


def random(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(12, 12), (8, 32), (32, 8)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_an_orthogonalised_matrix_turns_as_before_and_stretches_nothing(shape: tuple[int, int], scale: float) -> None:
    left, values, right = torch.linalg.svd(random(*shape), full_matrices=False)
    matrix = left @ torch.diag(values.clamp(min=0.1 * values.max())) @ right  # nothing too small to be found
    found = left.T @ orthogonalise(scale * matrix) @ right.T
    assert found.shape == (min(shape), min(shape))
    assert found.diagonal().min() > 0.6
    assert found.diagonal().max() < 1.3
    torch.testing.assert_close(found, torch.diag(found.diagonal()), atol=1e-3, rtol=0)


def test_nothing_moves_without_a_gradient() -> None:
    assert not orthogonalise(torch.zeros(3, 4)).any()


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8)])
def test_steps_are_those_of_torch_but_for_its_precision(shape: tuple[int, int]) -> None:
    ours, theirs = (torch.nn.Parameter(random(*shape)) for _ in range(2))
    first = ours.detach().clone()
    optimizers = [
        Muon([ours], lr=0.05, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for step in range(3):
        ours.grad, theirs.grad = random(*shape, seed=step + 1), random(*shape, seed=step + 1)
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - theirs).norm() < 0.05 * (theirs - first).norm()


def test_a_parameter_without_a_gradient_stays() -> None:
    weight = torch.nn.Parameter(random(4, 4))
    Muon([weight], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(weight, random(4, 4))


# The learning rate.


@given(warmup=st.integers(0, 100), more=st.integers(1, 500))
def test_the_schedule_rises_to_the_peak_then_falls_to_zero(warmup: int, more: int) -> None:
    steps = warmup + more
    rates = [schedule(step, warmup, steps) for step in range(steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[warmup] == 1
    assert all(rate > 0 for rate in rates[:-1])
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_the_schedule_at_a_few_steps() -> None:
    assert [schedule(step, 4, 12) for step in (0, 1, 3, 4, 8)] == pytest.approx([0.25, 0.5, 1, 1, 0.5])
    assert [schedule(step, 4, 12, "none") for step in (0, 3, 4, 12)] == pytest.approx([0.25, 1, 1, 1])
    assert schedule(6, 4, 12) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
