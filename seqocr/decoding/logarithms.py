"""Sums of probabilities that are kept as logarithms."""

import math

import numpy as np


def log_sum(x: np.ndarray, axis: int = 0) -> np.ndarray:
    """log of the sum of exp along an axis, as scipy's `logsumexp`, which is slow to import."""
    most = x.max(axis=axis, keepdims=True)
    shift = np.where(most > -math.inf, most, 0)
    with np.errstate(divide="ignore"):
        total: np.ndarray = np.log(np.exp(x - shift).sum(axis=axis)) + shift.squeeze(axis)
    return total


def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)) of two numbers; numpy's `logaddexp` takes ten times as long for two floats."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
