"""Uniform random numbers, and what is made of them."""

from __future__ import annotations

import torch

Range = tuple[float, float]  # (least, most), drawn uniformly


def within(bounds: Range, uniform: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) to numbers between the bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def signed(uniform: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) to numbers in [-1, 1)."""
    return 2 * uniform - 1
