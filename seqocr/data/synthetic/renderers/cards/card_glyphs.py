"""Digits of machines for cards and plates as centre lines for a round pen: like Farrington 7B, OCR-A and OCR-B."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

# A point is (x, y) or (x, y, share of the face's corner radius), in a cell 6 wide and 10 high, y down. A stroke whose
# first point is its last one is closed, and its corners are all rounded.
Point = tuple[float, ...]
Stroke = tuple[Point, ...]
Glyph = tuple[Stroke, ...]

_ZERO: Stroke = ((3, 0), (6, 0), (6, 10), (0, 10), (0, 0), (3, 0))
_BOWL: Stroke = ((6, 4.2), (6, 10), (0, 10), (0, 8.2))  # the lower half of 3 and 5
_SIX: Glyph = (((5, 0), (0, 0), (0, 10), (6, 10), (6, 4.4), (0, 4.4, 0.6)),)
_SLANT_SIX: Glyph = (((4.2, 0), (0, 5.6), (0, 10), (6, 10), (6, 4.4), (1.4, 4.4)),)
_EIGHT: Glyph = (
    ((3, 0), (5.4, 0), (5.4, 4.6), (0.6, 4.6), (0.6, 0), (3, 0)),
    ((3, 4.6), (6, 4.6), (6, 10), (0, 10), (0, 4.6), (3, 4.6)),
)


def _turned(glyph: Glyph) -> Glyph:
    return tuple(tuple((6 - p[0], 10 - p[1], *p[2:]) for p in stroke) for stroke in glyph)


# Each symbol's variants: one of them is chosen for all of a line.
MARKS: dict[str, tuple[Glyph, ...]] = {
    ".": ((((3, 9.7), (3, 10)),),),
    ",": ((((3.2, 9.4), (3.2, 10.2), (2.4, 11.6)),),),
    "-": ((((0.8, 5.2), (5.2, 5.2)),),),
    "/": ((((5.4, -0.4), (0.6, 10.4)),), (((4.6, 0), (1.4, 10)),)),
    ":": ((((3, 3), (3, 3.3)), ((3, 8.2), (3, 8.5))),),
    "+": ((((0.4, 5.2), (5.6, 5.2)), ((3, 2.6), (3, 7.8))),),
    " ": ((),),
}
FARRINGTON: dict[str, tuple[Glyph, ...]] = {
    "0": ((_ZERO,),),
    "1": (
        (((0.9, 0), (3.2, 0, 0), (3.2, 10)), ((0.9, 10), (5.3, 10))),
        (((1, 1.7), (3.2, 0, 0), (3.2, 10)),),
        (((1.2, 1.6), (3, 0, 0), (3, 10)), ((1, 10), (5, 10))),
    ),
    "2": (
        (((0, 2.3), (0, 0), (6, 0), (6, 4.6), (0, 8, 0.6), (0, 10, 0), (6, 10)),),
        (((0, 2.3), (0, 0), (6, 0), (6, 4.8), (0, 10, 0), (6, 10)),),
    ),
    "3": (
        (((0, 1.8), (0, 0), (6, 0), (6, 4.6), (2.4, 4.6)), ((2.4, 4.6), (6, 4.6), (6, 10), (0, 10), (0, 8.2))),
        (((0.2, 0), (5.8, 0, 0.1), (2.6, 4.2, 0.1), _BOWL[0], *_BOWL[1:]),),
        (((0.4, 0), (6, 0), (6, 4.6), (2.2, 4.6)), ((2.2, 4.6), (6, 4.6), (6, 10), (0.2, 10))),
    ),
    "4": (
        (((0.8, 0), (0, 6.4, 0.1), (6, 6.4)), ((4.6, 3.4), (4.6, 10))),
        (((0.2, 0), (0.2, 5.6, 0.3), (5.6, 5.6)), ((5.6, 0), (5.6, 10))),
        (((2.6, 0), (0, 7, 0.1), (6, 7)), ((4.6, 4.4), (4.6, 10))),
        (((4.4, 10), (4.4, 0, 0), (0, 7, 0.1), (6, 7)),),
    ),
    "5": ((((5.6, 0), (0.5, 0, 0), (0.4, 4.2, 0), *_BOWL),), (((5.4, 0), (0.8, 0, 0), (0.3, 5, 0.1), *_BOWL),)),
    "6": (_SIX, _SLANT_SIX),
    "7": (
        (((0, 0), (6, 0, 0.1), (6, 1.8, 0.3), (2.7, 5.6, 0.4), (2.7, 10)),),
        (((0, 1.7), (0, 0, 0), (6, 0, 0.1), (2, 10)),),
        (((0, 0), (6, 0, 0.1), (2, 10)),),
    ),
    "8": (_EIGHT,),
    "9": (_turned(_SIX), _turned(_SLANT_SIX)),
}
OCR_A: dict[str, tuple[Glyph, ...]] = {
    "0": ((_ZERO,),),
    "1": ((((0.8, 0), (3, 0), (3, 10)), ((0.6, 10), (5.4, 10), (5.4, 7.6))),),
    "2": ((((0.4, 0), (5.6, 0), (5.6, 5), (0.4, 5), (0.4, 10), (5.6, 10)),),),
    "3": ((((0.2, 0), (5.6, 0), (5.6, 10), (0.2, 10)), ((1.6, 5), (5.6, 5))),),
    "4": ((((0.6, 0), (0.6, 5.6), (5.8, 5.6)), ((4.4, 3.6), (4.4, 10))),),
    "5": ((((5.6, 0), (0.4, 0), (0.4, 5), (5.6, 5), (5.6, 10), (0.2, 10)),),),
    "6": ((((0.4, 0), (0.4, 10), (5.6, 10), (5.6, 5), (0.4, 5)),),),
    "7": ((((0.2, 1.8), (0.2, 0), (5.6, 0), (5.6, 2.6), (3, 5), (3, 10)),),),
    "8": (
        (
            ((3, 0), (4.8, 0), (4.8, 4.6), (1.2, 4.6), (1.2, 0), (3, 0)),
            ((3, 4.6), (5.8, 4.6), (5.8, 10), (0.2, 10), (0.2, 4.6), (3, 4.6)),
        ),
    ),
    "9": ((((5.6, 5), (0.4, 5), (0.4, 0), (5.6, 0), (5.6, 10)),),),
}
OCR_B: dict[str, tuple[Glyph, ...]] = FARRINGTON | {
    "1": ((((0.8, 2.2), (3.2, 0, 0), (3.2, 10)), ((0.8, 10), (5.6, 10))), (((1, 2.4), (3.6, 0, 0), (3.6, 10)),)),
    "2": ((((0.2, 2.6), (0.2, 0), (5.8, 0), (5.8, 4.6), (0.1, 10, 0), (6, 10)),),),
    "3": ((((0.3, 0), (5.8, 0, 0), (2.8, 3.9, 0), (6, 3.9), (6, 10), (0, 10), (0, 9)),),),
    "4": ((((3.2, 0), (0, 7.4, 0), (6.2, 7.4)), ((4.5, 4.8), (4.5, 10))),),
    "6": ((((4.4, 0), (0, 4.6), (0, 10), (6, 10), (6, 4), (0.6, 4), (0.1, 7)),),),
    "7": ((((0, 0), (6, 0, 0), (4, 4, 0.5), (2.4, 6, 0.5), (2.2, 10)),),),
    "9": ((((1.6, 10), (6, 5.4), (6, 0), (0, 0), (0, 6), (5.4, 6), (5.9, 3)),),),
}
FACES = {"farrington": FARRINGTON, "ocr-a": OCR_A, "ocr-b": OCR_B}
_TALL, _WIDE, _MARGIN = 64, 0.55, 12  # of a glyph's tile: pixels of height, width as a share of it, pixels around
_KEPT = 2048  # tiles in memory, of about 6 kB


@dataclass(frozen=True)
class StrokeFace:
    """How strokes are drawn, in shares of the digit's height.

    Attributes:
        name: of `FACES`.
        radius: of corners, in units of the cell (6 x 10).
        width: of the cell; pitch: from centre to centre; pen: the stroke's width.
        slant: to the right at the top.
        dots: distance between dots that stand in place of strokes, or 0.
    """

    name: str
    radius: float = 2.5
    width: float = 0.55
    pitch: float = 0.84
    pen: float = 0.12
    slant: float = 0.0
    dots: float = 0.0


def stroke_face(rng: np.random.Generator, dots: bool = False) -> StrokeFace:
    """A random face of one of the three sets, or one whose strokes are dots."""
    name = str(rng.choice(list(FACES), p=(0.62, 0.13, 0.25)))
    low, high = {"farrington": (1.8, 3.4), "ocr-a": (0.2, 1.4), "ocr-b": (2.6, 3.4)}[name]
    width = float(rng.uniform(0.46, 0.66))
    # A few values of what shapes a glyph, so that its tile is seldom drawn anew.
    return StrokeFace(
        name,
        radius=low + (high - low) * int(rng.integers(3)) / 2,
        width=width,
        pitch=width + float(rng.uniform(0.14, 0.4)),
        pen=0.08 + 0.02 * int(rng.integers(6)),
        slant=float(rng.normal(0, 0.03)),
        dots=0.09 + 0.02 * int(rng.integers(4)) if dots else 0.0,
    )


def _rounded(stroke: Stroke, radius: float) -> list[tuple[float, float]]:
    """The stroke with corners that are quadratic curves."""
    closed = stroke[0][:2] == stroke[-1][:2]
    path = [(stroke[0][0], stroke[0][1])]
    for before, at, after in zip(stroke, stroke[1:], stroke[2:], strict=False):
        r = radius * (at[2] if len(at) > 2 else 1.0)
        ends = []
        for other in (before, after):
            length = math.hypot(other[0] - at[0], other[1] - at[1]) or 1.0
            # An inner edge is shared by two corners, an outer one belongs to one.
            outer = not closed and (other is stroke[0] or other is stroke[-1])
            share = min(r / length, 0.9 if outer else 0.5)
            ends.append((at[0] + (other[0] - at[0]) * share, at[1] + (other[1] - at[1]) * share))
        (ax, ay), (bx, by) = ends
        for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0) if r > 0 else (0.0,):
            u, v, w = (1 - t) ** 2, 2 * t * (1 - t), t * t
            path.append((u * ax + v * at[0] + w * bx, u * ay + v * at[1] + w * by))
        if r <= 0:
            path[-1] = (at[0], at[1])
    path.append((stroke[-1][0], stroke[-1][1]))
    return path


def _dotted(path: list[tuple[float, float]], step: float) -> list[tuple[float, float]]:
    """Points along a path, about `step` from one another and at both of its ends."""
    points = np.asarray(path)
    along = np.concatenate(([0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))))
    at = np.linspace(0, along[-1], max(2, round(along[-1] / step) + 1)) if along[-1] > step / 2 else along[-1:]
    return [(float(np.interp(a, along, points[:, 0])), float(np.interp(a, along, points[:, 1]))) for a in at]


@lru_cache(_KEPT)
def _tile(face: str, symbol: str, variant: int, radius: float, pen: float, dots: float) -> Image.Image:
    """Coverage of one symbol in a cell that is `_TALL` high between its margins of `_MARGIN` (mode "L")."""
    width = round(_TALL * _WIDE)
    canvas = Image.new("L", (2 * (width + 2 * _MARGIN), 2 * (_TALL + 2 * _MARGIN)))
    draw, thick = ImageDraw.Draw(canvas), 2 * pen * _TALL
    variants = FACES[face].get(symbol) or MARKS[symbol]
    across, down = (2 * width - thick) / 6, (2 * _TALL - thick) / 10
    for stroke in variants[variant % len(variants)]:
        corner = 2 * _MARGIN + thick / 2
        path = [(corner + x * across, corner + y * down) for x, y in _rounded(stroke, radius)]
        spots = _dotted(path, 2 * dots * _TALL) if dots else (path[0], path[-1])
        if not dots:
            draw.line(path, fill=255, width=max(1, round(thick)), joint="curve")
        for x, y in spots:
            draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
    return canvas.reduce(2)


def stroke_mask(
    text: str, face: StrokeFace, height: int, rng: np.random.Generator, *, wander: float = 0.0, turn: float = 0.0
) -> np.ndarray:
    """Coverage (h, w) float32 in [0, 1] of a line of strokes, all of the same height: digits from top to bottom.

    Args:
        height: of digits, pixels.
        wander: standard deviation of symbols' shifts, a share of the height.
        turn: standard deviation of symbols' angles, degrees.
    """
    stretch = face.width / _WIDE  # of the whole line, at its end
    pitch = face.pitch * _TALL / stretch
    extra = math.ceil(3 * wander * _TALL) + (_MARGIN if "," in text or "/" in text or turn > 1 else 1)
    canvas = Image.new("L", (round(pitch * len(text)) + 2 * extra, _TALL + 2 * extra))
    variants = {symbol: int(rng.integers(12)) for symbol in sorted(set(text))}
    shifts, angles = rng.normal(0, wander * _TALL, (len(text), 2)), rng.normal(0, turn, len(text))
    for i, symbol in enumerate(text):
        tile = _tile(face.name, symbol, variants[symbol], face.radius, face.pen, face.dots)
        if turn > 1:
            tile = tile.rotate(float(angles[i]), Image.Resampling.BILINEAR)
        left = round(extra + pitch * (i + 0.5) - tile.width / 2 + shifts[i, 0])
        canvas.paste(255, (left, round(extra - _MARGIN + shifts[i, 1])), tile)
    if abs(face.slant) > 0.02:
        rows = canvas.height
        lean = (1, face.slant, -face.slant * rows / 2, 0, 1, 0)
        canvas = canvas.transform(canvas.size, Image.Transform.AFFINE, lean, Image.Resampling.BILINEAR)
    scale = height / _TALL
    size = (max(1, round(canvas.width * scale * stretch)), max(1, round(canvas.height * scale)))
    return np.asarray(canvas.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
