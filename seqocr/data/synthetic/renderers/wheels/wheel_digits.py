"""Digits as they are printed or moulded on number wheels: of fonts, or of strokes of one width as engraved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from seqocr.data.sources.fonts import Fonts, load_face
from seqocr.data.synthetic.renderers.wheels.panel import face_size

DIGITS = "0123456789"
_FINER = 3  # strokes are drawn this many times larger, then scaled down
_ENGRAVED = 0.4  # share of lines whose digits are strokes, not of a font
_SHARP = 0.8  # cosine of the turn at a point from which on it is a corner
_SQUARES = (0.0, 0.15, 0.3, 0.55)

Point = tuple[float, float]


@dataclass(frozen=True)
class Shapes:
    """Choices an engraver has."""

    square: float  # how far curves are drawn out towards the corners of the cell, 0 (ellipses) to 1
    flat_three: bool
    open_four: bool
    flag: bool  # the 1 has one
    straight: bool  # tails of 6 and 9
    bent_seven: bool


class Digits:
    """Coverage ("L" images) of digits of one typeface, weight, width and slant, drawn when they are first asked for."""

    def __init__(self, fonts: Fonts, height: int, rng: np.random.Generator) -> None:
        self._lean = float(rng.choice([0.0, rng.uniform(-0.05, 0.25)], p=[0.8, 0.2]))
        if rng.random() < _ENGRAVED:
            chances = rng.random(5) < (0.2, 0.2, 0.5, 0.35, 0.3)
            shapes = Shapes(float(rng.choice(_SQUARES)), *(bool(is_so) for is_so in chances))
            pen, wide = float(rng.uniform(0.07, 0.2)), float(rng.uniform(0.42, 0.9))
            self._draw: Callable[[str], Image.Image] = lambda digit: _engrave(digit, shapes, height, wide, pen)
        else:
            face = fonts.face(rng, face_size(1.3 * height), "narrow", "print", "print", "mono")
            wide, thicker = float(rng.uniform(0.8, 1.3)), int(rng.choice([0, 0, 0, 1]))
            path, size = Path(str(face.path)), int(face.size)
            self._draw = lambda digit: _print(_glyph(path, size, digit, thicker), height, wide)
        self._drawn: dict[str, Image.Image] = {}

    def __getitem__(self, digit: str) -> Image.Image:
        if digit not in self._drawn:
            self._drawn[digit] = _slant(self._draw(digit), self._lean)
        return self._drawn[digit]


def _slant(glyph: Image.Image, lean: float) -> Image.Image:
    if not lean:
        return glyph
    more = abs(lean) * glyph.height
    size = glyph.width + math.ceil(more), glyph.height
    shift = -more if lean > 0 else 0.0
    return glyph.transform(size, Image.Transform.AFFINE, (1, lean, shift, 0, 1, 0), Image.Resampling.BILINEAR)


@lru_cache(2048)
def _rows(path: Path, size: int) -> tuple[int, int]:
    """Where digits of a face begin and end, pixels down."""
    _, top, _, bottom = load_face(path, size).getbbox(DIGITS)
    return int(top), max(int(top) + 4, int(bottom))


@lru_cache(8192)
def _glyph(path: Path, size: int, digit: str, thicker: int) -> Image.Image:
    """A digit of a font, cut at its left and right, as high as the font's highest."""
    top, bottom = _rows(path, size)
    glyph = Image.new("L", (2 * size, bottom - top))
    face = load_face(path, size)
    ImageDraw.Draw(glyph).text((size // 2, -top), digit, 255, font=face, stroke_width=thicker)
    left, _, right, _ = glyph.getbbox() or (0, 0, 2, 2)
    return glyph.crop((left, 0, right, glyph.height))


def _print(glyph: Image.Image, height: int, wide: float) -> Image.Image:
    """A glyph in `height` pixels. wide: of its own width."""
    size = max(2, round(glyph.width * height / glyph.height * wide)), height
    return glyph.resize(size, Image.Resampling.BILINEAR)


def _engrave(digit: str, shapes: Shapes, height: int, wide: float, pen: float) -> Image.Image:
    """A digit of strokes. wide, pen: of the digit and of its strokes, in heights."""
    high = _FINER * height
    thick = max(_FINER, round(pen * high))
    inner = np.array((wide * high - thick, high - thick))
    image = Image.new("L", (round(wide * high), high))
    draw, half = ImageDraw.Draw(image), thick / 2
    for stroke, corners in _strokes(digit, shapes):
        points = stroke * inner + half
        draw.line(points.ravel().tolist(), 255, thick)
        for piece in np.split(points, np.flatnonzero(corners[1:-1]) + 1):
            if len(piece) > 2:  # a line is drawn as bars with gaps at the outside of curves
                draw.polygon(_outline(piece, half), 255)
        for x, y in points[corners].tolist():  # ends and corners are round, as the cutter is
            draw.ellipse((x - half, y - half, x + half, y + half), 255)
    box = (0, 0, *image.size)
    if digit == "1":
        box = image.getbbox() or box
    size = max(2, round((box[2] - box[0]) / _FINER)), height
    return image.resize(size, Image.Resampling.BOX, (box[0], 0, box[2], high))


def _outline(curve: np.ndarray, half: float) -> list[float]:
    """Corners of the polygon that a curve (n, 2) of width 2 `half` covers."""
    ways = np.gradient(curve, axis=0)
    ways *= half / np.hypot(ways[:, 0], ways[:, 1]).clip(1e-9)[:, None]
    across = ways[:, ::-1] * (-1, 1)
    outline: list[float] = np.concatenate([curve + across, (curve - across)[::-1]]).ravel().tolist()
    return outline


@lru_cache(2048)
def _strokes(digit: str, shapes: Shapes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Strokes of a digit in a cell of 1 by 1, y down: points (n, 2), and which of them are corners, (n,) bool."""
    strokes = []
    for stroke in _skeleton(digit, shapes):
        points = np.array(stroke)
        ways = np.diff(points, axis=0)
        ways /= np.linalg.norm(ways, axis=1, keepdims=True).clip(1e-9)
        corners = np.ones(len(points), bool)
        corners[1:-1] = (ways[1:] * ways[:-1]).sum(1) < _SHARP
        strokes.append((points, corners))
    return strokes


def _skeleton(digit: str, shapes: Shapes) -> list[list[Point]]:
    def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
        """Degrees from the right, clockwise as seen."""
        angles = np.radians(np.linspace(start, end, max(8, int(abs(end - start) / 12))))
        power = 1 / (1 + shapes.square)
        cos, sin = np.cos(angles), np.sin(angles)
        across, down = np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power
        return [(x + rx * float(a), y + ry * float(d)) for a, d in zip(across, down, strict=True)]

    if shapes.straight:
        six = [[(0.72, 0.0), *arc(0.5, 0.68, 0.5, 0.32, 195, 555)]]
    else:
        six = [[*arc(0.52, 0.42, 0.52, 0.42, -40, -180), (0.0, 0.68)], arc(0.5, 0.68, 0.5, 0.32, 0, 360)]
    three = [arc(0.48, 0.25, 0.45, 0.25, -160, 90), arc(0.48, 0.74, 0.52, 0.26, -90, 160)]
    if shapes.flat_three:
        three = [[(0.05, 0.0), (0.95, 0.0), (0.45, 0.4), *arc(0.48, 0.7, 0.52, 0.3, -90, 160)]]
    four: list[list[Point]] = [[(0.72, 1.0), (0.72, 0.0), (0.0, 0.72), (1.0, 0.72)]]
    if shapes.open_four:
        four = [[(0.45, 0.0), (0.0, 0.72), (1.0, 0.72)], [(0.75, 0.45), (0.75, 1.0)]]
    return {
        "0": [arc(0.5, 0.5, 0.5, 0.5, -90, 270)],
        "1": [[(0.1, 0.22), (0.5, 0.0), (0.5, 1.0)]] if shapes.flag else [[(0.5, 0.0), (0.5, 1.0)]],
        "2": [[*arc(0.5, 0.29, 0.47, 0.29, -170, 35), (0.02, 1.0), (1.0, 1.0)]],
        "3": three,
        "4": four,
        "5": [[(0.92, 0.0), (0.12, 0.0), (0.06, 0.45), *arc(0.47, 0.67, 0.53, 0.33, -130, 155)]],
        "6": six,
        "7": [[(0.0, 0.0), (1.0, 0.0), *([(0.55, 0.45)] if shapes.bent_seven else []), (0.35, 1.0)]],
        "8": [arc(0.5, 0.25, 0.43, 0.25, -90, 270), arc(0.5, 0.74, 0.5, 0.26, -90, 270)],
        "9": [[(1 - x, 1 - y) for x, y in stroke] for stroke in six],
    }[digit]
