"""Outlines of the segments of a digit: seven, fourteen or sixteen bars of any thickness, ends and slant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

ENDS = ("point", "bevel", "mitre", "round", "open", "block", "joined", "dots")
# Segments that are lit: a top, b upper right, c lower right, d bottom, e lower left, f upper left, g middle.
SEVEN = {
    "0": "abcdef",
    "1": "bc",
    "2": "abdeg",
    "3": "abcdg",
    "4": "bcfg",
    "5": "acdfg",
    "6": "acdefg",
    "7": "abc",
    "8": "abcdefg",
    "9": "abcdfg",
    "-": "g",
}
# Other forms of the same digits: tails of 6 and 9, a hook of 7, 1 on the left.
OTHER_FORMS = {"6": "cdefg", "9": "abcfg", "7": "abcf", "1": "ef"}
# Fourteen segments split g into g1 (G) and g2 (g), and have spokes: h upper left, i upper middle, j upper right,
# k lower left, l lower middle, m lower right.
FOURTEEN = {
    **{symbol: segments.replace("g", "Gg") for symbol, segments in SEVEN.items()},
    "+": "Ggil",
    "/": "jk",
}
FOURTEEN_FORMS = {"0": "abcdefjk", "1": "bcj", "3": "abcdg", "7": "ajk"}
SPOKES = {"h": (0, 0), "i": (1, 0), "j": (2, 0), "k": (0, 2), "l": (1, 2), "m": (2, 2)}  # columns and rows of a third


# Points of a half circle that ends a bar, on its right (7, 2).
_CAP = np.array([(np.cos(turn), np.sin(turn)) for turn in np.linspace(-np.pi / 2, np.pi / 2, 7)])


@dataclass(frozen=True)
class Shape:
    """How a digit is cut into segments, in units of its height.

    Attributes:
        width: of the digit; thick: of a segment; gap: between two of them.
        ends: one of `ENDS`; corner: how much of the outer corners is cut off, 0 to 1 (of mitred segments).
        waist: 0 where mitred verticals end flush at the outer edge, 1 where they taper to the middle.
        slant: the tangent of the angle by which it leans to the right.
        spokes: 7, 14 or 16 segments.
    """

    width: float
    thick: float
    gap: float
    ends: str
    corner: float = 0.0
    waist: float = 0.0
    slant: float = 0.0
    spokes: int = 7

    def lean(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2), sheared by the slant about the baseline."""
        if self.slant == 0:
            return points
        leaning = points.copy()
        leaning[:, 0] += self.slant * (1 - points[:, 1])
        return leaning


def bar(start: np.ndarray, end: np.ndarray, thick: float, ends: str) -> np.ndarray:
    """Outline (n, 2) of a bar between two points that are its outermost ones."""
    length = float(np.hypot(*(end - start)))
    along = (end - start) / max(length, 1e-6)
    across = np.array([-along[1], along[0]])
    half, reach = thick / 2, min(thick / 2, length / 2)
    if ends in ("point", "bevel"):
        tip = 0.0 if ends == "point" else half * 0.45
        offsets = [(0, -tip), (0, tip), (reach, half), (length - reach, half), (length, tip), (length, -tip)]
        offsets += [(length - reach, -half), (reach, -half)]
    elif ends == "round":
        right = _CAP * (reach, half) + (length - reach, 0)
        offsets = [*right, *(_CAP * (-reach, -half) + (reach, 0))]
    else:
        offsets = [(0, -half), (0, half), (length, half), (length, -half)]
    return np.asarray(start + np.array(offsets) @ np.array([along, across]))


def disc(centre: tuple[float, float], radius: float, sides: int = 12) -> np.ndarray:
    """Outline (sides, 2) of a disc, or of a square where there are 4 sides."""
    return np.asarray(_polygon(sides) * radius + np.array(centre))


@lru_cache
def _polygon(sides: int) -> np.ndarray:
    """A regular polygon (sides, 2) about a disc of radius 1."""
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False) + np.pi / sides
    return np.asarray(np.column_stack([np.cos(turn), np.sin(turn)]) / np.cos(np.pi / sides))


def _mitred(shape: Shape) -> dict[str, list[np.ndarray]]:
    """Segments with diagonal cuts where they meet, as most liquid crystals have them."""
    w, t, g, cut = shape.width, shape.thick, shape.gap * 0.7, shape.corner * shape.thick
    top = np.array([(cut + g, 0), (w - cut - g, 0), (w - cut / 2 - g, cut / 2), (w - t - g, t), (t + g, t)])
    top = np.vstack([top, (cut / 2 + g, cut / 2)])
    outer = 0.5 - g / 2 - shape.waist * (t / 2 + g / 2)
    left = np.array([(0, cut + g), (cut / 2, cut / 2 + g), (t, t + g), (t, 0.5 - t / 2 - g), (t / 2, 0.5 - g)])
    left = np.vstack([left, (0, outer)])
    down, mirror = np.array([0, 1]), np.array([w, 0])
    flip_x, flip_y = np.array([-1, 1]), np.array([1, -1])
    middle = bar(np.array([t / 2 + g, 0.5]), np.array([w - t / 2 - g, 0.5]), t, "point")
    outlines = {"a": top, "d": top * flip_y + down, "f": left, "e": left * flip_y + down, "g": middle}
    outlines |= {"b": left * flip_x + mirror, "c": (left * flip_y + down) * flip_x + mirror}
    return {name: [points] for name, points in outlines.items()}


def _dotted(start: np.ndarray, end: np.ndarray, thick: float) -> list[np.ndarray]:
    """A segment made of single lamps."""
    count = max(3, round(float(np.hypot(*(end - start))) / (thick * 1.15)) + 1)
    centres = start + np.linspace(0, 1, count)[:, None] * (end - start)
    return [disc((float(x), float(y)), thick / 2, 8) for x, y in centres]


def _segment(start: np.ndarray, end: np.ndarray, shape: Shape, level: bool) -> list[np.ndarray]:
    """A segment between two nodes (2,), pulled back from them as its ends need it."""
    t, g, ends = shape.thick, shape.gap, shape.ends
    along = (end - start) / float(np.hypot(*(end - start)))
    if ends == "dots":
        back = along * t * (0.05 if level else 0.75)
        return _dotted(start + back, end - back, t)
    pull = {"round": g + 0.2 * t, "open": g + t / 2, "joined": -t / 2}.get(ends, g)
    if ends == "block":
        pull = -t / 2 if level else g + t / 2
    form = {"joined": "round" if shape.corner > 0.5 else "open"}.get(ends, ends)
    return [bar(start + along * pull, end - along * pull, t, form)]


def _spokes(shape: Shape) -> dict[str, list[np.ndarray]]:
    """The segments that fourteen have more than seven."""
    w, t, g = shape.width, shape.thick * 0.85, shape.gap
    form = "round" if shape.ends in ("round", "dots") else "open"
    xs, ys = (t + g, w / 2, w - t - g), (shape.thick + g, 0.5, 1 - shape.thick - g)
    outlines = {}
    for name, (column, row) in SPOKES.items():
        inner = np.array([w / 2 + (column - 1) * (t * 0.6 + g), 0.5 + (row - 1) * (t * 0.6 + g)])
        outlines[name] = [bar(np.array([xs[column], ys[row]]), inner, t * (1 if column == 1 else 0.9), form)]
    return outlines


def outlines(shape: Shape) -> dict[str, list[np.ndarray]]:
    """Outlines (n, 2) of every segment by its name, in units of a digit's height, y down, leaning."""
    w, t = shape.width, shape.thick
    xs, ys = (t / 2, w - t / 2), (t / 2, 0.5, 1 - t / 2)
    node = {(i, j): np.array([x, y]) for i, x in enumerate(xs) for j, y in enumerate(ys)}
    ends = {"a": (0, 0, 1, 0), "d": (0, 2, 1, 2), "g": (0, 1, 1, 1)}
    ends |= {"b": (1, 0, 1, 1), "c": (1, 1, 1, 2), "e": (0, 1, 0, 2), "f": (0, 0, 0, 1)}
    if shape.ends == "mitre":
        found = _mitred(shape)
    else:
        found = {n: _segment(node[p[:2]], node[p[2:]], shape, n in "adg") for n, p in ends.items()}
    if shape.spokes > 7:
        halves = {"G": (xs[0], w / 2), "g": (w / 2, xs[1])}
        form = "open" if shape.ends == "mitre" else shape.ends
        pull = shape.gap + (0 if form in ("point", "bevel") else t / 2)
        for name, (first, last) in halves.items():
            found[name] = [bar(np.array([first + pull, 0.5]), np.array([last - shape.gap, 0.5]), t, form)]
        found |= _spokes(shape)
    if shape.spokes == 16:
        for name, y in (("a", ys[0]), ("d", ys[2])):
            left, right = (np.array([w / 2 + side * (w / 2 - t / 2 - shape.gap), y]) for side in (-1, 1))
            found[name] = [bar(left, np.array([w / 2 - shape.gap / 2, y]), t, "open")]
            found[name].append(bar(np.array([w / 2 + shape.gap / 2, y]), right, t, "open"))
    return {name: [shape.lean(points) for points in parts] for name, parts in found.items()}
