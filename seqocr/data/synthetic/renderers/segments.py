"""Digits of seven to sixteen segments: liquid crystals, lamps, fluorescent and negative displays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers import display_looks as looks
from seqocr.data.synthetic.renderers.base import to_image
from seqocr.data.synthetic.renderers.display_frame import finish, frame
from seqocr.data.synthetic.renderers.segment_shapes import (
    ENDS,
    FOURTEEN,
    FOURTEEN_FORMS,
    OTHER_FORMS,
    SEVEN,
    Shape,
    bar,
    disc,
    outlines,
)

ENDS_ODDS = np.array([4, 2, 6, 2, 2, 1.5, 2.5, 0.8])
KIND_ODDS = np.array([0.46, 0.12, 0.42])  # of crystals, negative crystals and glowing displays
SCALE = 3  # drawn at this multiple, then averaged: Pillow's polygons have hard edges
LEAST_THICK = 1.7  # pixels of a segment
STEEP = [min(255, max(0, (level - 128) * 4 + 128)) for level in range(256)]
OFTEN_UNNAMED = 0.25  # of texts without marks: labels of many sets name digits alone, though displays show their points


@dataclass(frozen=True)
class Style:
    """What all digits of one display share, lengths in units of a digit's height.

    Attributes:
        space: between digits; dot: a point's radius; square: points have corners; inside: they take no width of their own.
        forms: segments (a string of names) of each symbol; half: a leading 1 has a cell of two segments alone.
        blanks: cells left of the text where nothing is lit; small: height of the digits after a point, 1 if as all are.
    """

    shape: Shape
    space: float
    dot: float
    square: bool
    inside: bool
    forms: dict[str, str]
    half: bool
    blanks: int
    small: float


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
        return np.concatenate(self.polygons) * places[:, 2:] + places[:, :2]


def random_style(text: str, rng: np.random.Generator) -> Style:
    """A display that fits a text."""
    # Two displays of three have modest proportions, the rest anything from narrow to as wide as high.
    width = rng.normal(0.56, 0.06) if rng.random() < 0.65 else rng.uniform(0.38, 0.95)
    width = float(np.clip(width, 0.36, 1))
    ends = ENDS[looks.choose(ENDS_ODDS, rng)]
    thick = rng.uniform(0.07, 0.17) if rng.random() < 0.7 else rng.uniform(0.045, 0.24)
    thick = float(min(thick, 0.31 * width))
    if ends == "dots":  # enough of them to a segment for it to be seen as one
        width, thick = max(width, 0.5), min(max(thick, 0.06), 0.095)
    gap = 0.0 if ends == "joined" else rng.uniform(0.004, 0.03) if rng.random() < 0.8 else rng.uniform(0.03, 0.07)
    slant = rng.uniform(0.08, 0.19) if rng.random() < 0.5 else rng.uniform(0, 0.27) if rng.random() < 0.3 else 0.0
    if ends == "open":  # or corners are so wide open that bars look like single lamps
        thick, gap = min(thick, 0.15, 0.24 * width), min(gap, 0.025)
    spokes = 7 if rng.random() < 0.9 or ends == "dots" else (14, 14, 16)[int(rng.integers(3))]
    corner = rng.uniform(0, 1) if rng.random() < 0.6 else 0.0
    waist = float(rng.random() < 0.5)
    shape = Shape(width, thick, float(gap), ends, float(corner), waist, float(slant), spokes)
    forms = dict(FOURTEEN if spokes > 7 else SEVEN)
    for symbol, odds in {"6": 0.12, "9": 0.14, "7": 0.2, "1": 0.012}.items():
        if rng.random() < odds:
            forms[symbol] = OTHER_FORMS[symbol].replace("g", "Gg" if spokes > 7 else "g")
    if spokes > 7:
        forms |= {symbol: form for symbol, form in FOURTEEN_FORMS.items() if rng.random() < 0.2}
    if "1" in forms["7"] or forms["1"] == "ef":
        forms["1"] = "ef"
    dot = float(np.clip(thick * rng.uniform(0.45, 0.85), 0.035, 0.12))
    inside = bool(rng.random() < 0.7)
    space = rng.uniform(0.1, 0.28) if rng.random() < 0.75 else rng.uniform(0.06 + thick / 2, 0.65)
    half = bool(text[0] == "1" and forms["1"] == "bc" and rng.random() < 0.2)
    blanks = int(rng.integers(1, 3)) if rng.random() < 0.15 and not half else 0
    small = float(rng.uniform(0.55, 0.85)) if rng.random() < 0.06 else 1.0
    return Style(shape, float(space), dot, bool(rng.random() < 0.4), inside, forms, half, blanks, small)


def _with_points(text: str, rng: np.random.Generator) -> str:
    """A text, at times with points ("_") between its digits that its label leaves out."""
    if not text.isdigit() or len(text) < 2 or rng.random() >= OFTEN_UNNAMED:
        return text
    places = {int(rng.integers(1, len(text)))}
    if rng.random() < 0.15:
        places |= {int(rng.integers(1, len(text)))}
    return "".join("_" * (i in places) + symbol for i, symbol in enumerate(text))


def _fail(forms: dict[str, str], text: str, rng: np.random.Generator) -> dict[int, dict[str, float]]:
    """Brightness of segments that are weak or dead, by place: dead ones only where no other digit is as near."""
    if rng.random() > 0.06:
        return {}
    at = int(rng.integers(len(text)))
    lit = forms.get(text[at], "")
    if not text[at].isdigit() or not lit:
        return {}
    weak = lit[int(rng.integers(len(lit)))]
    rest = set(lit) - {weak}
    others = [set(form) for symbol, form in {**SEVEN, **forms}.items() if symbol != text[at]]
    others += [set(form) for symbol, form in OTHER_FORMS.items() if symbol != text[at]]
    clear = len(lit) > 2 and all(len(rest ^ other) > 1 for other in others)
    return {at: {weak: 0.0 if clear and rng.random() < 0.5 else rng.uniform(0.4, 0.75)}}


def lay_out(text: str, style: Style, rng: np.random.Generator) -> Row:
    """A text's polygons from left to right; "_" is a point that its label leaves out."""
    cell, row, failures = outlines(style.shape), Row(), _fail(style.forms, text, rng)
    gains = rng.uniform(0.55, 1, len(text)) if rng.random() < 0.12 else np.ones(len(text))
    marked = any(symbol in text for symbol in ".,:_")
    # Where points stand between digits, there is room for them.
    space = max(style.space, 2 * style.dot + 0.06) if marked and style.inside else style.space
    x, size = 0.0, 1.0
    for _ in range(style.blanks):
        _put_cell(row, cell, {}, x, size)
        x += style.shape.width + space
    for i, symbol in enumerate(text):
        gain = float(gains[i])
        if symbol in ".,:_":
            x += _put_mark(row, symbol, style, x, space, gain)
            size = style.small if symbol in ".,_" else size
        elif symbol == " ":
            x += (style.shape.width if len(text) % 2 else 0.35) * size + space
        elif symbol in style.forms:
            weak = failures.get(i, {})
            levels = {name: gain * weak.get(name, 1) for name in style.forms[symbol]}
            if symbol == "-" and not style.inside:  # a sign of its own, not a cell's middle
                levels, narrow = {}, bar(np.array([x, 0.5]), np.array([x + 0.32, 0.5]), style.shape.thick, "open")
                row.put(style.shape.lean(narrow), gain)
                x += 0.32 + space
                continue
            if i == 0 and style.half:
                moved = x - (style.shape.width - style.shape.thick)
                _put_cell(row, {name: cell[name] for name in "bc"}, levels, moved, size)
                x += style.shape.thick + space
                continue
            _put_cell(row, cell, levels, x, size)
            x += style.shape.width * size + space
        else:
            x += _put_stroke(row, symbol, style, x, gain) + space
    row.width = x - space
    return row


def _put_cell(row: Row, cell: dict[str, list[np.ndarray]], levels: dict[str, float], x: float, size: float) -> None:
    """A digit's segments at x, standing on the baseline."""
    for name, parts in cell.items():
        for points in parts:
            row.put(points, levels.get(name, 0.0), x, size)


def _put_mark(row: Row, symbol: str, style: Style, x: float, space: float, gain: float) -> float:
    """A point, comma or colon before x; how far the next symbol moves to the right."""
    radius, sides = style.dot, 4 if style.square else 10
    # In front of the first symbol there is no gap to stand in.
    wide = 2 * radius + 0.05 + 0.3 * space if not style.inside or x == 0 else 0.0
    centre = x + wide / 2 - space / 2
    heights = (0.3, 0.72) if symbol == ":" else (1 - radius,)
    for height in heights:
        row.put(style.shape.lean(disc((centre, height), radius, sides)), gain)
    if symbol == ",":
        tail = np.array([(centre - 0.6 * radius, 1.0), (centre + radius, 1 - radius), (centre - radius, 1 + 2.2 * radius)])
        row.put(tail, gain)
    return wide


def _put_stroke(row: Row, symbol: str, style: Style, x: float, gain: float) -> float:
    """A plus or a slash, which seven segments cannot show, as a sign of its own; its width."""
    thick, width = style.shape.thick, min(0.55, style.shape.width)
    if symbol == "+":
        row.put(bar(np.array([x, 0.5]), np.array([x + width, 0.5]), thick, "open"), gain)
        row.put(bar(np.array([x + width / 2, 0.5 - width / 2]), np.array([x + width / 2, 0.5 + width / 2]), thick, "open"), gain)
    else:
        row.put(bar(np.array([x, 0.98]), np.array([x + width, 0.02]), thick * 0.85, "open"), gain)
    return width


def row_masks(row: Row, unit: float, soft: float, with_off: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Coverage (h, w) float32 by what is lit and by all segments, cut to the row's width and height.

    Args:
        unit: a digit's height in pixels; soft: radius, in units, that rounds corners of segments.
    """
    points = row.points()
    left, top, right, bottom = *points.min(0), *points.max(0)
    low, high = min(left, 0), min(top, 0)
    size = (int((max(right, row.width) - low) * unit) + 2, int((max(bottom, 1) - high) * unit) + 2)
    corners = ((points - (low, high)) * (unit * SCALE)).ravel().tolist()
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
    shown = _with_points(text, rng)
    style = random_style(shown, rng)
    unit = float(rng.uniform(18, 58) if len(text) < 10 else rng.uniform(16, 32))
    unit = max(unit, LEAST_THICK / style.shape.thick, 34 if style.shape.ends == "dots" else 0)
    kind = ("crystal", "negative", "glow")[looks.choose(KIND_ODDS, rng)]
    with_off = bool(rng.random() < (0.25 if kind == "glow" else 0.5))
    row = lay_out(shown, style, rng)
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
