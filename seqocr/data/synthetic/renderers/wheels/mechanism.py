"""How wheels of a counter stand: which digits show, and how far each is turned away from the middle of its window."""

from __future__ import annotations

import numpy as np

_TURNING = 0.7  # share of counters whose last wheel is between two digits
_FURTHEST = 0.43  # of a step: beyond half of one, the next digit would be the one that is read
_STUCK = 0.08  # share of counters with another wheel that hangs between two digits


def turns(digits: list[int], rng: np.random.Generator) -> np.ndarray:
    """Steps (n,) float in (-0.5, 0.5) by which wheels are beyond the digits that they show.

    A wheel that passes from 9 to 0 takes the next one along, as gears of counters do.
    """
    steps = rng.normal(0, rng.choice([0.01, 0.03, 0.07]), len(digits))
    if rng.random() < _TURNING:
        last = float(rng.uniform(-_FURTHEST, _FURTHEST))
        for i in reversed(range(len(digits))):
            steps[i] = last
            if digits[i] != (9 if last > 0 else 0):
                break
    if rng.random() < _STUCK:
        steps[int(rng.integers(len(digits)))] = rng.uniform(-0.32, 0.32)
    return steps.clip(-_FURTHEST, _FURTHEST)


def window_rows(height: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """What each row of a window of `height` pixels shows of a drum whose digits are `step` pixels apart.

    Returns:
        (height,) float32: pixels along the surface from the middle of the window.
        (height,) float32: cosines of the angle to the front.
    """
    radius = max(10 * step / (2 * np.pi), 0.55 * height)  # ten digits go round
    y = np.arange(height, dtype=np.float32) - (height - 1) / 2
    sine = y / radius
    return (radius * np.arcsin(sine)).astype(np.float32), np.sqrt(1 - sine * sine).astype(np.float32)
