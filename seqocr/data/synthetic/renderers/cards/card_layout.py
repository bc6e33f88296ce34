"""Where the digits of a card or a plate stand: groups, gaps, margins, neighbours that are cut off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import text_mask
from seqocr.data.synthetic.renderers.cards.card_glyphs import stroke_face, stroke_mask

_WIDEST = 500  # pixels of a line: long ones are drawn smaller, which keeps the time per line near that of short ones
_LOWEST, _HIGHEST = 16, 54  # pixels of digits
_FONT_SIZE, _DIGIT_SHARE = 48, 0.72  # the one size at which fonts are loaded; digits' share of it


@dataclass(frozen=True)
class Line:
    """A line to be made.

    Attributes:
        mask: coverage (h, w) in [0, 1]; pen: the strokes' width, pixels.
        height: of digits, pixels; top: the row at which they begin; left: the column at which they begin.
    """

    mask: np.ndarray
    pen: float
    height: int
    top: int
    left: int


class Writer:
    """Texts in one random face to masks (h, w).

    Args:
        height: of digits, pixels.
        strokes: in a face of strokes, not in a font.
        dots: strokes are rows of dots.
        wander, turn: see `stroke_mask`.
    """

    def __init__(
        self,
        height: int,
        fonts: Fonts,
        rng: np.random.Generator,
        *,
        strokes: bool,
        dots: bool,
        wander: float,
        turn: float,
    ) -> None:
        self.height, self.rng, self.wander, self.turn = height, rng, wander, turn
        self.strokes = stroke_face(rng, dots) if strokes or dots else None
        kinds = ("mono", "narrow") if rng.random() < 0.65 else ("print",)
        self.font = None if self.strokes else fonts.face(rng, _FONT_SIZE, *kinds)
        self.tracking = float(rng.uniform(0.01, 0.2)) * _FONT_SIZE
        self.pitch = float(rng.uniform(0.55, 0.75)) * _FONT_SIZE if rng.random() < 0.35 else None
        self.pen = (self.strokes.pen if self.strokes else 0.14) * height

    def __call__(self, text: str) -> np.ndarray:
        if self.strokes:
            return stroke_mask(text, self.strokes, self.height, self.rng, wander=self.wander, turn=self.turn)
        assert self.font
        shifts = self.rng.normal(0, self.wander, len(text)) * _FONT_SIZE
        mask = text_mask(text, self.font, tracking=self.tracking, pitch=self.pitch, wander=shifts)
        scale = self.height / _DIGIT_SHARE / _FONT_SIZE
        size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
        image = Image.fromarray((mask * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
        return np.asarray(image, np.float32) / 255


def group(text: str, rng: np.random.Generator) -> str:
    """The text with the gaps that a card's number has, whether or not the text has them."""
    if not text.isdecimal() or rng.random() < 0.2:
        return text
    if len(text) == 4:  # a crop of four digits may lie across two groups
        at = int(rng.integers(1, 4))
        return f"{text[:at]} {text[at:]}" if rng.random() < 0.2 else text
    if len(text) in (15, 19) and rng.random() < 0.5:
        return f"{text[:4]} {text[4:10]} {text[10:]}" if len(text) == 15 else f"{text[:6]} {text[6:]}"
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4)) if len(text) >= 11 else text


def lay_out(text: str, make: str, fonts: Fonts, rng: np.random.Generator) -> Line:
    """A line in a random face, with margins; numbers of cards may have parts of their neighbours at the sides."""
    card = make in ("tipped", "bare", "printed", "engraved")
    text = group(text, rng) if card else text
    tallest = max(_LOWEST, min(_HIGHEST, _WIDEST / (0.9 * len(text))))
    height = round(_LOWEST * (tallest / _LOWEST) ** rng.uniform(0.5 if tallest < 32 else 0.15, 1))
    shaky = make in ("stamped", "peened") and rng.random() < 0.7
    write = Writer(
        height,
        fonts,
        rng,
        strokes=rng.random() < (0.72 if make in ("tipped", "bare", "engraved") else 0.4),
        dots=make == "peened",
        wander=float(rng.uniform(0.01, 0.04)) if shaky else float(rng.uniform(0, 0.008)),
        turn=float(rng.uniform(1, 5)) if shaky else 0.2,
    )
    mask = write(text)
    beside = card and " " not in text and rng.random() < 0.45
    if beside:
        mask = _with_neighbours(mask, write, height, rng)
    loose = rng.random() < (0.45 if card else 0.25)
    sides = rng.uniform(0, 0.8 if loose else 0.3, 4) * height
    left, top, right, bottom = (round(float(side)) + 1 for side in sides)
    if beside:
        left = right = 0
    return Line(np.pad(mask, ((top, bottom), (left, right))), write.pen, height, top, left)


def _with_neighbours(mask: np.ndarray, write: Writer, height: int, rng: np.random.Generator) -> np.ndarray:
    """The mask, and at one or both sides the edge of the next digit, of the same group or of another."""
    parts = [mask]
    for side in (0, 1):
        if rng.random() < 0.35:
            continue
        digit = write(str(int(rng.integers(10))))
        digit = digit[:, digit.max(0) > 0.2]
        shown = max(1, round(min(digit.shape[1], 0.5 * height) * rng.uniform(0.04, 0.3)))
        piece = digit[:, -shown:] if side == 0 else digit[:, :shown]
        between = rng.uniform(0.05, 0.3) if rng.random() < 0.4 else rng.uniform(0.4, 0.9)
        gap = np.zeros((1, round(height * between)), np.float32)
        parts = [piece, gap, *parts] if side == 0 else [*parts, gap, piece]
    rows = max(part.shape[0] for part in parts)
    tops = [(rows - part.shape[0]) // 2 for part in parts]
    return np.hstack([np.pad(p, ((top, rows - p.shape[0] - top), (0, 0))) for p, top in zip(parts, tops, strict=True)])
