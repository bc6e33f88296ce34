"""Digits as paths of a pen: shapes of old and of modern hands, each a little different every time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

_SAMPLES = 4  # points along a curve from one control point to the next
_HABIT, _CHANGE = 3.2, 1.6  # standard deviations of control points: of a writer, and from one digit to the next; of 100
_VARIED = 0.07  # chance that a writer uses another shape of a digit than usual

# Control points "x y" in hundredths of a digit's height, y down from its top to the baseline at 100; curves run through
# them. "!" after a point: a corner. "/": the pen is lifted. Old shapes and modern ones.
_SHAPES: dict[str, tuple[str, ...]] = {
    "0": (
        "30 0, 10 18, 2 50, 8 85, 28 100, 50 82, 58 48, 50 15, 30 0",
        "38 8, 20 4, 5 35, 6 78, 26 100, 50 78, 57 38, 42 6, 26 6, 40 16",
        "24 4, 6 30, 4 75, 26 100, 52 80, 56 35, 44 8",
        "30 2, 8 25, 4 72, 26 100, 50 76, 56 36, 40 4, 30 12, 46 22, 66 14",
        "28 2, 50 20, 56 60, 34 100, 8 86, 2 44, 14 8, 34 4",
        "26 20, 6 34, 2 66, 18 98, 44 94, 52 62, 40 28, 24 20",
        "40 4, 14 8, 0 50, 14 96, 44 92, 58 46, 46 8, 32 2, 26 12, 40 20",
    ),
    "1": (
        "30 0, 27 50, 22 100",
        "5 38, 22 18, 36 0!, 33 50, 30 100",
        "0 62, 18 36, 40 0!, 36 50, 30 100",
        "12 22, 32 0!, 32 50, 31 100 / 8 100, 30 98, 54 99",
        "22 8, 34 0, 34 40, 30 82, 38 100, 50 92",
        "-12 90, 14 50, 40 0!, 37 50, 34 100",
        "33 0, 31 30, 28 70, 27 100",
        "20 12, 34 0!, 33 60, 28 96, 16 102, 8 94",
        "0 44, 22 20, 40 -6!, 30 46, 18 108",
        "-4 96, 20 50, 38 2, 34 30, 26 80, 36 100, 54 84",
    ),
    "2": (
        "6 26, 12 6, 32 0, 50 14, 46 40, 24 72, 4 98!, 30 96, 58 98",
        "8 22, 20 2, 44 4, 50 26, 34 60, 10 92, 2 98, 2 90, 12 84, 28 92, 46 100, 62 90",
        "22 24, 10 28, 8 14, 24 0, 46 8, 48 32, 26 68, 4 96, 12 84, 26 90, 44 102, 60 88",
        "6 10, 30 2, 50 8, 38 42, 4 98!, 30 95, 58 96",
        "10 30, 16 8, 34 0, 50 16, 40 46, 18 78, 2 100, 16 86, 32 94, 52 100, 66 82",
        "2 20, 24 -2, 50 10, 40 44, 0 96!, 20 88, 38 102, 62 94",
        "12 16, 26 0, 46 8, 48 26, 30 66, 12 92, 22 98, 32 88, 22 80, 4 96, 34 102, 60 96",
    ),
    "3": (
        "8 14, 26 0, 48 10, 44 34, 24 46!, 46 54, 54 76, 34 100, 10 94, 2 82",
        "6 4, 28 3, 50 2!, 36 20, 22 42!, 44 46, 56 70, 40 98, 14 100, 0 86",
        "8 16, 26 0, 48 12, 40 36, 20 48, 18 42, 34 44, 54 64, 46 92, 22 102, 2 88",
        "6 8, 18 0, 34 6, 54 0!, 38 20, 24 40!, 44 42, 54 66, 40 96, 12 102, 0 88, 6 82",
        "6 12, 26 -2, 46 12, 24 44, 50 66, 40 112, 10 124, -4 110",
        "4 16, 12 2, 34 0, 44 14, 30 36, 20 40!, 38 40, 54 58, 48 90, 22 104, 2 94, 8 82, 16 90",
        "0 6, 24 -2, 52 4, 30 40!, 50 50, 48 86, 20 100, -4 90",
    ),
    "4": (
        "22 0, 14 34, 2 64!, 30 62, 60 58 / 48 30, 42 66, 36 104",
        "42 0, 22 34, 2 68!, 30 67, 60 66 / 44 26, 42 60, 40 106",
        "30 0, 24 22, 4 60, 8 68, 30 62, 58 58 / 50 36, 46 70, 38 110",
        "60 66, 30 66, 2 68!, 24 34, 46 0!, 44 50, 41 102",
        "26 2, 8 62, 20 72, 34 58, 50 34!, 46 66, 36 104",
        "16 6, 10 40, 8 56!, 30 56, 56 52 / 54 2, 48 50, 42 102",
        "48 -4, 26 30, 0 72!, 34 68, 66 64 / 48 40, 44 70, 34 130",
        "8 8, 6 44, 14 56, 34 54, 54 44 / 54 4, 48 60, 40 104",
    ),
    "5": (
        "12 6, 8 42!, 28 36, 50 50, 50 80, 26 100, 2 88 / 12 6, 34 10, 58 2",
        "16 12, 10 44!, 30 38, 50 54, 46 86, 22 102, 0 90 / 26 4, 44 6, 66 -8",
        "54 2, 32 3, 14 4!, 8 44!, 32 36, 52 56, 46 88, 20 102, 0 90",
        "18 14, 12 42, 34 38, 52 58, 42 92, 16 102, 2 90, 8 84 / 22 4, 34 -4, 48 4, 64 -6",
        "24 14, 16 40, 38 46, 46 70, 30 98, 4 104, -4 94 / 30 6, 50 0, 76 -14",
        "60 0, 34 4, 18 2!, 12 38, 34 36, 48 60, 36 94, 6 100",
        "14 8, 12 40, 32 36, 48 56, 40 90, 14 100, 2 86, 14 80 / 14 8, 36 14, 60 0",
    ),
    "6": (
        "48 2, 22 18, 4 58, 10 92, 30 100, 50 84, 48 60, 28 50, 8 66",
        "54 -12, 24 22, 6 62, 12 94, 32 100, 48 82, 42 60, 22 58, 8 72",
        "50 16, 44 2, 24 10, 6 50, 8 88, 28 102, 48 84, 44 62, 24 56, 8 72",
        "42 0, 14 34, 4 70, 18 100, 42 92, 46 68, 28 58, 14 72, 20 86",
        "36 -14, 14 30, 4 78, 18 101, 38 94, 42 74, 26 64, 8 80",
        "58 4, 40 -2, 18 24, 4 68, 20 102, 46 88, 44 62, 22 60, 6 82",
        "30 0, 12 40, 6 84, 24 102, 46 88, 42 66, 24 62, 8 78",
    ),
    "7": (
        "4 4, 28 4, 54 2!, 34 40, 18 100",
        "4 4, 28 5, 54 2!, 34 40, 18 100 / 12 52, 30 50, 48 46",
        "2 14, 10 0, 26 8, 42 10, 58 0!, 40 34, 22 70, 16 104",
        "4 22, 6 4!, 30 8, 56 2!, 34 40, 20 100",
        "4 6, 30 8, 56 2, 44 24, 26 60, 22 112",
        "0 18, 8 2, 24 8, 40 12, 60 2!, 42 34, 24 70, 18 108 / 14 56, 26 50, 38 56, 52 48",
        "4 22, 6 4!, 30 8, 56 2!, 34 40, 20 100 / 12 54, 50 48",
        "-2 16, 4 2, 20 10, 34 10, 56 0!, 26 42, 20 74, 24 102",
        "6 2, 54 0!, 30 56, 26 104 / 14 44, 48 42",
        "0 10, 20 2, 40 10, 58 2, 46 26, 20 66, 10 116",
    ),
    "8": (
        "48 12, 28 0, 10 16, 20 38, 44 60, 48 86, 26 102, 4 86, 14 60, 40 38, 52 14",
        "30 0, 10 14, 16 38, 44 62, 46 90, 24 101, 4 86, 14 58, 42 36, 48 10, 30 0",
        "28 46, 10 24, 28 0, 46 22, 28 46, 4 74, 28 100, 54 74, 28 46",
        "50 6, 34 -2, 14 10, 14 30, 40 58, 44 88, 22 102, 2 86, 12 62, 36 42, 54 22, 62 -4",
        "54 16, 42 0, 20 8, 18 32, 38 58, 38 90, 18 102, 2 88, 10 66, 34 44, 56 10, 50 -2",
        "26 48, 8 30, 16 4, 42 2, 46 24, 26 46, 2 76, 20 102, 46 90, 46 64, 24 48",
        "44 10, 24 0, 8 18, 26 42, 48 64, 38 98, 10 98, 4 72, 28 46, 48 24, 44 8",
    ),
    "9": (
        "48 16, 28 0, 8 18, 8 44, 28 54, 46 36, 50 8!, 46 60, 38 102",
        "46 14, 26 2, 6 24, 14 50, 34 46, 50 12, 48 56, 34 94, 8 104",
        "46 16, 24 0, 6 24, 16 48, 36 40, 52 6, 46 60, 28 106, 0 126",
        "48 20, 28 0, 8 20, 12 46, 32 48, 50 14, 50 70, 34 108, 12 104, 10 92",
        "44 8, 22 2, 6 26, 18 46, 36 34, 48 6!, 40 60, 26 118",
        "44 10, 26 0, 8 16, 6 40, 22 52, 40 40, 46 6!, 44 40, 46 76, 44 102",
        "40 8, 20 6, 6 30, 20 48, 40 32, 46 4, 42 50, 22 92, -6 108, -16 96",
    ),
    ".": ("0 97, 2 99",),
    ",": ("2 94, 5 102, -4 118",),
    "-": ("0 58, 14 55, 32 54", "0 56, 10 51, 22 57, 34 52"),
    "/": ("42 -8, 20 50, -2 112",),
    ":": ("2 42, 4 44 / 0 92, 2 94",),
    "+": ("20 34, 18 60, 17 84 / -4 60, 18 59, 42 57",),
    '"': ("6 24, 2 44 / 20 22, 15 44",),
}
DITTO = '"'


@dataclass(frozen=True)
class Path:
    """Where a pen goes.

    Attributes:
        points: (n, 2) float64, x and y; ahead: (n, 2), the direction there, of any length.
        last: (n,) bool, where the pen is lifted or turns a corner: the next point is not drawn to.
    """

    points: np.ndarray
    ahead: np.ndarray
    last: np.ndarray


class Shapes:
    """One writer's shapes: of each symbol the one that is usual to the writer."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._usual: dict[str, tuple[_Shape, np.ndarray]] = {}
        self._unsteady = float(rng.uniform(0.5, 1.6))

    def path(self, symbol: str) -> Path:
        """Path of a symbol, in shares of its height, the baseline at y 1."""
        if symbol not in self._usual:
            self._usual[symbol] = self._habit(symbol)
        shape, control = self._usual[symbol]
        if self._rng.random() < _VARIED:
            shape, control = self._habit(symbol)
        control = control + self._rng.normal(0, _CHANGE * self._unsteady / 100, control.shape)
        return Path(shape.curve @ control, shape.slope @ control, shape.last)

    def _habit(self, symbol: str) -> tuple[_Shape, np.ndarray]:
        shapes = _parsed(symbol)
        shape = shapes[int(self._rng.integers(len(shapes)))]
        return shape, shape.control + self._rng.normal(0, _HABIT / 100, shape.control.shape)


def smooth_path(points: np.ndarray) -> Path:
    """A smooth path through points (n, 2), n at least 2."""
    curve, slope = _weights(len(points))
    return Path(curve @ points, slope @ points, np.arange(len(curve)) == len(curve) - 1)


@dataclass(frozen=True)
class _Shape:
    """Control points (k, 2) of a symbol, and the weights (n, k) that make its path and directions of them."""

    control: np.ndarray
    curve: np.ndarray
    slope: np.ndarray
    last: np.ndarray


@cache
def _weights(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (m, count) of control points: of a curve through them (Catmull-Rom), and of its directions."""
    led = np.zeros((count + 2, count))  # with a point before the first and one behind the last
    led[1:-1] = np.eye(count)
    led[0], led[-1] = 2 * led[1] - led[2], 2 * led[-2] - led[-3]
    t = np.arange(_SAMPLES)[:, None] / _SAMPLES
    spline = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    basis = np.concatenate([t**0, t, t**2, t**3], 1) @ spline
    change = np.concatenate([0 * t, t**0, 2 * t, 3 * t**2], 1) @ spline
    parts = [led[i : i + 4] for i in range(count - 1)]
    curve = np.concatenate([*(basis @ part for part in parts), led[-2:-1]])
    slope = np.concatenate([*(change @ part for part in parts), led[-2:-1] - led[-3:-2]])
    return curve, slope


@cache
def _parsed(symbol: str) -> list[_Shape]:
    """Shapes of a symbol."""
    shapes = []
    for text in _SHAPES[symbol]:
        control: list[list[float]] = []
        pieces: list[list[int]] = []  # numbers of control points from a corner to the next
        for stroke in text.split("/"):
            pieces.append([])
            for point in stroke.split(","):
                pieces[-1].append(len(control))
                control.append([float(number) / 100 for number in point.strip().rstrip("!").split()])
                if point.endswith("!"):
                    pieces.append(pieces[-1][-1:])
        curves, slopes, last = [], [], []
        for piece in pieces:
            curve, slope = _weights(len(piece))
            own = np.eye(len(control))[piece]
            curves.append(curve @ own)
            slopes.append(slope @ own)
            last.append(np.arange(len(curve)) == len(curve) - 1)
        shape = _Shape(np.array(control), np.concatenate(curves), np.concatenate(slopes), np.concatenate(last))
        shapes.append(shape)
    return shapes
