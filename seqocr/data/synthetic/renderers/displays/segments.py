"""Digits of seven to sixteen segments: liquid crystals, lamps, fluorescent and negative displays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import to_image
from seqocr.data.synthetic.renderers.displays import display_looks as looks
from seqocr.data.synthetic.renderers.displays.display_frame import finish, frame
from seqocr.data.synthetic.renderers.displays.segment_shapes import bar, disc, outlines
from seqocr.data.synthetic.renderers.displays.segment_style import Style, failures, random_style

KIND_ODDS = np.array([0.46, 0.12, 0.42])  # of crystals, negative crystals and glowing displays
SCALE = 3  # drawn at this multiple, then averaged: Pillow's polygons have hard edges
LEAST_THICK = 1.7  # pixels of a segment
MARKS = ".,:"
STEEP = [min(255, max(0, (level - 128) * 4 + 128)) for level in range(256)]


@dataclass
class Row:
    """What a text consists of: polygons (n, 2) in units of a digit's height.

    Attributes:
        polygons: those that are lit or could be; places (3): right, down and size of each; levels: brightness, 0 to 1.
    """

    polygons: list[np.ndarray] = field(default_factory=list)
    places: list[tuple[float, float, float]] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    width: float = 0.0

    def put(self, points: np.ndarray, level: float, x: float = 0.0, size: float = 1.0) -> None:
        """Add a polygon, moved by x, and made smaller towards the baseline."""
        self.polygons.append(points)
        self.places.append((x, 1 - size, size))
        self.levels.append(level)

    def points(self) -> np.ndarray:
        """Corners of all polygons (n, 2)."""
        places = np.repeat(np.array(self.places), [len(points) for points in self.polygons], axis=0)
        return np.asarray(np.concatenate(self.polygons) * places[:, 2:] + places[:, :2])


def lay_out(text: str, style: Style, rng: np.random.Generator) -> Row:
    """A text's polygons from left to right."""
    cell, row, faults = outlines(style.shape), Row(), failures(style.forms, text, rng)
    gains = rng.uniform(0.55, 1, len(text)) if rng.random() < 0.12 else np.ones(len(text))
    marked = any(symbol in text for symbol in MARKS)
    # Where points stand between digits, there is room for them.
    space = max(style.space, 2 * style.dot + 0.06) if marked and style.inside else style.space
    x, size = 0.0, 1.0
    for _ in range(style.blanks if text.strip() else 1):
        _put_cell(row, cell, {}, x, size)
        x += style.shape.width + space
    for i, symbol in enumerate(text):
        gain = float(gains[i])
        if symbol in MARKS:
            # There is no gap to stand in before the first symbol, or after another mark.
            crowded = i == 0 or text[i - 1] in MARKS + " "
            x += _put_mark(row, symbol, style, x, space, gain, own=crowded or not style.inside)
            size = style.small if symbol != ":" else size
        elif symbol == " ":
            x += (style.shape.width if len(text) % 2 else 0.35) * size + space
        elif symbol in style.forms and (symbol != "-" or style.inside):
            levels = {name: gain * faults.get(i, {}).get(name, 1) for name in style.forms[symbol]}
            half = i == 0 and style.half
            parts = {name: cell[name] for name in "bc"} if half else cell
            left = style.shape.width - style.shape.thick if half else 0.0  # where its segments begin
            _put_cell(row, parts, levels, x - left, size)
            x += style.shape.width * size - left + space
        else:
            x += _put_stroke(row, symbol, style, x, gain) + space
    row.width = x - space
    return row


def _put_cell(row: Row, cell: dict[str, list[np.ndarray]], levels: dict[str, float], x: float, size: float) -> None:
    """A digit's segments at x, standing on the baseline."""
    for name, parts in cell.items():
        for points in parts:
            row.put(points, levels.get(name, 0.0), x, size)


def _put_mark(row: Row, symbol: str, style: Style, x: float, space: float, gain: float, *, own: bool) -> float:
    """A point, comma or colon before x, in a cell of its own or in a gap; how far the next symbol moves on."""
    radius, sides = style.dot, 4 if style.square else 10
    wide = 2 * radius + 0.05 + 0.3 * space if own else 0.0
    centre = x + wide / 2 - space / 2
    heights = (0.3, 0.72) if symbol == ":" else (1 - radius,)
    for height in heights:
        row.put(style.shape.lean(disc((centre, height), radius, sides)), gain)
    if symbol == ",":
        tail = np.array([(-0.6, 0), (1, -1), (-1, 2.2)]) * radius + (centre, 1)
        row.put(tail, gain)
    return wide


def _put_stroke(row: Row, symbol: str, style: Style, x: float, gain: float) -> float:
    """A plus, a minus without a cell or a slash: signs of their own beside seven segments; the width."""
    thick, half = style.shape.thick, min(0.55, style.shape.width) / 2
    middle = np.array([x + half, 0.5])
    strokes = [np.array([half, 0])]
    if symbol == "+":
        strokes.append(np.array([0, half]))
    elif symbol == "/":
        strokes = [np.array([half, -0.48])]
    for stroke in strokes:
        row.put(style.shape.lean(bar(middle - stroke, middle + stroke, thick, "open")), gain)
    return 2 * half


def row_masks(row: Row, unit: float, soft: float, with_off: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Coverage (h, w) float32 by what is lit and by all segments, cut to the row's width and height.

    Args:
        unit: a digit's height in pixels; soft: radius, in units, that rounds corners of segments.
    """
    points = row.points()
    low, high = np.minimum(points.min(0), 0), np.maximum(points.max(0), (row.width, 1))
    width, height = ((high - low) * unit).astype(int).tolist()
    size = (width + 2, height + 2)
    corners = ((points - low) * (unit * SCALE)).ravel().tolist()
    ends = np.cumsum([2 * len(polygon) for polygon in row.polygons]).tolist()
    spans = [(corners[start:end], level) for start, end, level in zip([0, *ends], ends, row.levels, strict=False)]
    lit = _coverage([(xy, level) for xy, level in spans if level > 0], size, soft * unit)
    off = _coverage([(xy, 1.0) for xy, level in spans if level == 0], size, soft * unit) if with_off else lit
    return lit, np.maximum(lit, off) if with_off else None


def _coverage(polygons: list[tuple[list[float], float]], size: tuple[int, int], soft: float) -> np.ndarray:
    """Coverage (h, w) float32 by polygons, each as bright as its level, corners rounded by about `soft` pixels."""
    canvas = Image.new("L", (size[0] * SCALE, size[1] * SCALE))
    pen = ImageDraw.Draw(canvas)
    for corners, level in polygons:
        pen.polygon(corners, fill=round(255 * level))
    if soft > 0:
        # Softened, then steepened: what is left are the same areas with round corners.
        canvas = canvas.filter(ImageFilter.BoxBlur(soft * SCALE)).point(STEEP)
    return np.asarray(canvas.reduce(SCALE), np.float32) / 255


def draw_segments(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A text on a display of segments: (h, w, 3) uint8."""
    style = random_style(text, rng)
    unit = float(rng.uniform(18, 58) if len(text) < 10 else rng.uniform(16, 32))
    unit = max(unit, LEAST_THICK / style.shape.thick, 34 if style.shape.ends == "dots" else 0)
    kind = ("crystal", "negative", "glow")[looks.choose(KIND_ODDS, rng)]
    with_off = bool(rng.random() < (0.25 if kind == "glow" else 0.5))
    row = lay_out(text, style, rng)
    # Levels would be lost by steepening, so corners are rounded where all segments are alike.
    alike = set(row.levels) <= {0, 1}
    soft = style.shape.thick * rng.uniform(0.12, 0.3) if alike and rng.random() < 0.3 else 0.0
    lit, ghost = row_masks(row, unit, float(soft), with_off)
    beside = None
    if rng.random() < 0.12:  # a second row, of which a crop shows the edge
        other = lay_out("".join(map(str, rng.integers(0, 10, int(rng.integers(2, 7))))), style, rng)
        beside = row_masks(other, unit * rng.uniform(0.5, 1), 0.0, False)[0]
    lit, ghost, window = frame(lit, ghost, unit, fonts, rng, beside)
    look = {"crystal": looks.liquid_crystal, "negative": looks.negative_crystal, "glow": looks.glow}[kind]
    return to_image(finish(look(lit, ghost, unit, rng), window, unit, fonts, rng))
