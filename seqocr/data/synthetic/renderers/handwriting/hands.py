"""Hands: a writer's symbols, from shapes, from a font or from recorded strokes, set in a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFont

from seqocr.data.synthetic.renderers.handwriting.pen_shapes import Path, Shapes, smooth_path
from seqocr.data.synthetic.renderers.handwriting.pens import SCALE, Canvas, Pen, Stroke, draw_glyph, warp

_DESCENDING, _SMALL = "34579", "012"  # of digits that are not of one height
_MARKS = ".,-/:+"
_CLOSEST = -0.1  # of the height: neighbours' ink, seen upright
_JOINED = 0.5  # chance that a joining writer's pen stays down


@dataclass(frozen=True)
class Manner:
    """How a writer writes; everything that holds for a whole line.

    Attributes:
        height: of digits, pixels; width: of theirs relative to the shapes'; slant: tangent, to the right.
        unsteady: departures of size, slant and place from one digit to the next, relative to a usual writer's.
        gap: between neighbours' ink, of the height.
        hanging: digits are of different height, as in old print.
        joined: the pen stays down between some digits.
        pitch: pixels from one digit's middle to the next, for fixed cells.
    """

    height: float
    width: float = 1.0
    slant: float = 0.3
    unsteady: float = 1.0
    gap: float = 0.12
    hanging: bool = False
    joined: bool = False
    pitch: float | None = None


@dataclass
class Symbol:
    """A symbol around the left end of its baseline: a stroke, or a font's mask.

    Attributes:
        box: left, top, right and bottom, pixels; sides: left and right as if it had no slant.
    """

    box: tuple[float, float, float, float]
    sides: tuple[float, float]
    stroke: Stroke | None = None
    mask: Image.Image | None = None

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        if self.mask is not None:
            canvas.put(self.mask, x + self.box[0], y + self.box[1])
        if self.stroke is not None:
            canvas.stroke(self.stroke, x, y)


class Line:
    """Symbols, and where each is from the line's left end and baseline; pixels."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []
        self.places: list[tuple[float, float]] = []

    def add(self, symbol: Symbol, x: float, y: float = 0.0) -> None:
        self.symbols.append(symbol)
        self.places.append((x, y))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the ink."""
        if not self.symbols:
            return 0.0, -10.0, 5.0, 0.0
        boxes = np.array([symbol.box for symbol in self.symbols]) + np.tile(np.array(self.places), 2)
        low, high = boxes.min(0).tolist(), boxes.max(0).tolist()
        return low[0], low[1], high[2], high[3]

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        for symbol, place in zip(self.symbols, self.places, strict=True):
            symbol.draw(canvas, x + place[0], y + place[1])


# A symbol to its path, in shares of its height, the baseline at y 1; None: the source lacks it.
Recorded = Callable[[str], Path | None]


class Hand:
    """A writer with a pen.

    Args:
        face: a font to take digits from, of any size; recorded: paths to take them from. By default they are shapes of
            `pen_shapes`; marks always are.
    """

    def __init__(
        self,
        manner: Manner,
        pen: Pen,
        rng: np.random.Generator,
        face: ImageFont.FreeTypeFont | None = None,
        recorded: Recorded | None = None,
    ) -> None:
        self.manner, self.pen, self.rng = manner, pen, rng
        self._face, self._recorded = face, recorded
        self._shapes = Shapes(rng)
        self._small_zero = float(rng.uniform(0.6, 1)) if rng.random() < 0.3 else 1.0
        self._weight, self._of_face = 0, 1.0
        if face is not None:
            self._weight = int(rng.integers(0, 1 + max(1, round(0.5 * pen.full * face.size))))
            _, top, _, bottom = face.getbbox("0", anchor="ls")
            high = max(float(bottom - top), 1.0)
            self._of_face = SCALE * manner.height / high
            # Marks as bold as the font: a one is little more than its stem.
            stem = float(np.asarray(draw_glyph(face, "1", self._weight)[0], np.float32).sum()) / 255 / high**2
            self.pen = replace(pen, full=max(pen.full, 0.4 * stem), hair=max(pen.hair, 0.3 * stem))

    def write(self, text: str) -> Line:
        """Set a text in a line."""
        manner, rng = self.manner, self.rng
        line, x, before = Line(), 0.0, ""
        for i, char in enumerate(text):
            if char == " ":
                x, before = x + manner.height * float(rng.uniform(0.3, 0.5)), ""
                continue
            symbol, down = self._symbol(char), float(rng.normal(0, 0.035 * manner.unsteady)) * manner.height
            left, right = symbol.sides
            if manner.pitch:
                at = (i + 0.5) * manner.pitch - (symbol.box[0] + symbol.box[2]) / 2
            else:
                gap = manner.height * max(_CLOSEST, manner.gap + float(rng.normal(0, 0.04 * manner.unsteady)))
                if char in _MARKS or (before and before in _MARKS):
                    gap = max(gap, 0.06 * manner.height)
                at = x - left + (max(gap, -0.25 * (right - left)) if line.symbols else 0.0)
                x = at + right
            line.add(symbol, at, down)
            if manner.joined and char.isdigit() and before.isdigit():
                self._join(line)
            before = char
        return line

    def written(self, path: Path, scale: float) -> Symbol:
        """A symbol along a path, `scale` pixels high, the path's baseline at y 1."""
        manner, rng = self.manner, self.rng
        turn, change, stretch = rng.normal(0, 0.045 * manner.unsteady, 3).tolist()
        slant, wide = manner.slant + change, manner.width * (1 + 1.5 * stretch) * scale
        matrix = np.array([[wide, turn * wide], [-(slant + turn) * scale, scale]])
        placed = Path((path.points - (0, 1)) @ matrix, path.ahead @ matrix, path.last)
        stroke = self.pen.along(placed, manner.height, rng)
        upright = placed.points[:, 0] + manner.slant * placed.points[:, 1]
        thick = self.pen.full * manner.height
        return Symbol(stroke.box(), (float(upright.min()) - thick, float(upright.max()) + thick), stroke)

    def _symbol(self, char: str) -> Symbol:
        scale, shift = self._size(char)
        if self._face is not None and char.isdigit():
            symbol = self._of_font(self._face, char, scale / self.manner.height)
        else:
            path = self._recorded(char) if self._recorded and char.isdigit() else None
            symbol = self.written(path or self._shapes.path(char), scale)
        return _lowered(symbol, shift) if shift else symbol

    def _size(self, char: str) -> tuple[float, float]:
        """Height of a symbol, and how far below the baseline it ends; pixels."""
        height = self.manner.height * float(self.rng.normal(1, 0.05 * self.manner.unsteady))
        if char == "0":
            height *= self._small_zero
        if self.manner.hanging and char in _SMALL:
            return 0.68 * height, 0.0
        if self.manner.hanging and char in _DESCENDING:
            return 0.95 * height, 0.27 * height
        return height, 0.0

    def _of_font(self, face: ImageFont.FreeTypeFont, char: str, scale: float) -> Symbol:
        rng, unsteady = self.rng, self.manner.unsteady
        glyph, bottom = draw_glyph(face, char, self._weight)
        w, h = glyph.size
        high = scale * self._of_face
        wide = w * self.manner.width * high * float(rng.normal(1, 0.05))
        tall, lean = max(2, round(h * high)), self.manner.slant * h * high
        mask = warp(glyph, max(2, round(wide)), tall, lean, rng.normal(0, 0.035 * unsteady, (2, 3, 3)) * h)
        top = (bottom * high - tall) / SCALE
        inside = mask.getbbox()
        if inside is None:
            return Symbol((0.0, top, wide / SCALE, bottom / SCALE), (0.0, wide / SCALE), mask=mask)
        mask = mask.crop(inside)
        right, start = (inside[2] - inside[0]) / SCALE, (max(0.0, -lean) - inside[0]) / SCALE
        box = (0.0, top + inside[1] / SCALE, right, top + inside[3] / SCALE)
        return Symbol(box, (start, start + wide / SCALE), mask=mask)

    def _join(self, line: Line) -> None:
        """A hairline from the last symbol but one to the last, where that is not far."""
        before, after = (symbol.stroke for symbol in line.symbols[-2:])
        if before is None or after is None or self.rng.random() > _JOINED:
            return
        start, end = before.points[-1] + line.places[-2], after.points[0] + line.places[-1]
        away, height = (end - start) / self.manner.height, self.manner.height
        if not -0.1 < away[0] < 0.7 or abs(away[1]) > 1.1:
            return
        sag = (start + end) / 2 + (0, float(self.rng.uniform(-0.02, 0.12)) * height)
        path = smooth_path(np.stack([start, sag, end]))
        stroke = replace(self.pen, full=self.pen.hair).along(path, height, self.rng)
        # Under the last symbol, which the next join begins at.
        line.symbols.insert(-1, Symbol(stroke.box(), (0.0, 0.0), stroke))
        line.places.insert(-1, (0.0, 0.0))


def scrawl(hand: Hand, letters: int) -> Line:
    """A word that cannot be read, of loops and downstrokes."""
    rng, x, points = hand.rng, 0.0, [(0.0, 0.95)]
    for _ in range(letters):
        high, low, step = rng.random(3).tolist()
        top = -0.15 if high < 0.2 else 0.4 + 0.15 * high
        below = 1.35 if low < 0.15 else 1.0
        step = 0.12 + 0.18 * step
        points += [(x + 0.6 * step, (top + 1) / 2 + 0.1), (x + step, top), (x + 0.8 * step, (top + below) / 2)]
        points += [(x + 0.9 * step, below), (x + 1.4 * step, below - 0.1)]
        x += 1.5 * step
    line = Line()
    line.add(hand.written(smooth_path(np.array(points)), hand.manner.height), 0.0)
    return line


def _lowered(symbol: Symbol, by: float) -> Symbol:
    left, top, right, bottom = symbol.box
    stroke = None if symbol.stroke is None else replace(symbol.stroke, points=symbol.stroke.points + np.array((0, by)))
    return Symbol((left, top + by, right, bottom + by), symbol.sides, stroke, symbol.mask)
