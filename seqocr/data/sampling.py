"""Uniform random numbers, and what is made of them."""

import torch

Range = tuple[float, float]  # (least, most), sampled uniformly


def within(bounds: Range, uniform: torch.Tensor) -> torch.Tensor:
    """Scale numbers in [0, 1) to lie between the bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def signed(uniform: torch.Tensor) -> torch.Tensor:
    """Scale numbers in [0, 1) to [-1, 1)."""
    return 2 * uniform - 1


def hash_seed(x: int) -> int:
    """Scatter the bits of an integer over 63 bits (SplitMix64), so that neighbouring seeds give unrelated streams."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return (x ^ (x >> 31)) % 2**63


def sample_of_class(labels: torch.Tensor, classes: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """For each of the classes (M,) int64, a place in `labels` (N,) int64, from 0 up, that has it; if none does, any.

    Args:
        uniform: (M,) float in [0, 1), chooses among the places of a class.
    """
    counts = labels.bincount(minlength=int(classes.max()) + 1 if len(classes) else 0)
    starts = counts.cumsum(0) - counts
    places = starts[classes] + (uniform * counts[classes]).long()
    return labels.argsort(stable=True)[places.clamp(max=len(labels) - 1)]
