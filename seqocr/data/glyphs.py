"""How digits, and the marks between them, are written: their size, slant and thickness, and strokes they may have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from seqocr.data.augment import CELL, thickened
from seqocr.data.chance import Draw, OfDigit, OfLine, Range, signed, within

BOX = 60  # pixels: the side of what a digit or mark is drawn in before it is placed
INKED = 0.3  # from this darkness on a column is part of a digit
_TALL = 20  # pixels: an MNIST digit's height


@dataclass(frozen=True)
class Glyphs:
    """How far digits may depart from what they are drawn from. "±" is a largest departure to either side.

    Attributes:
        size: of digits relative to MNIST's, a line; size_change: ± share of it, a digit; stretch: their width, a line.
        slant: ± tangent, a line; slant_change: ± tangent, a digit.
        thickness: ± share of a dilation or erosion mixed in, a line; thickness_change: the same, a digit. Less of an
            erosion where digits are small.
        crisp: most of ink's darkness, at either end, that becomes none or all, a line: strokes with sharp edges.
        crossed: chance that a 7 has a bar; flagged: that a 1 has an upstroke, as most have outside North America.
        mark: chance of a full stop, comma or dash at each place between two digits; end: chance of one, or of an equals
            sign, after the last.
    """

    size: Range = (0.8, 1.25)
    size_change: float = 0.1
    stretch: Range = (1, 1)
    slant: float = 0.3
    slant_change: float = 0.1
    thickness: float = 0.5
    thickness_change: float = 0.15
    crisp: float = 0.0
    crossed: float = 0.0
    flagged: float = 0.0
    mark: float = 0.0
    end: float = 0.0

    def digits(self, digits: torch.Tensor, draw: Draw, height: int) -> torch.Tensor:
        """Digits (N, 28, 28) sized, slanted and thickened, (N, BOX, BOX). They fit a line so many pixels high."""
        size = within(self.size, draw.line[:, OfLine.size])
        size = size * (1 + self.size_change * signed(draw.digit[:, OfDigit.size]))
        size = size.clamp(max=0.8 * height / _TALL)
        slant = self.slant * signed(draw.line[:, OfLine.slant])
        slant = slant + self.slant_change * signed(draw.digit[:, OfDigit.slant])
        x, y = _box()
        to_source = BOX / CELL / size[:, None, None]  # in grid_sample's coordinates the cell is [-1, 1] wide
        wide = within(self.stretch, draw.line[:, OfLine.stretch])[:, None, None]
        across = (x / wide + slant[:, None, None] * y) * to_source
        grid = torch.stack([across, (y * to_source).expand(-1, -1, BOX)], dim=3)
        ink = F.grid_sample(digits[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]
        change = self.thickness * signed(draw.line[:, OfLine.thickness])
        change = change + self.thickness_change * signed(draw.digit[:, OfDigit.thickness])
        # The strokes of small digits are thin already, and would vanish.
        ink = thickened(ink, torch.where(change < 0, change * (size - 0.5).clamp(0, 1), change))
        if self.crisp:
            cut = (self.crisp * draw.line[:, OfLine.crisp]).view(-1, 1, 1)
            ink = ((ink - cut) / (1 - 2 * cut)).clamp_(0, 1)
        # Of a 7 from its middle, of a 1 down from its top.
        for symbol, chance, down, span, lean in (("7", self.crossed, 0.5, 10, 0.0), ("1", self.flagged, 0.0, 8, 2.4)):
            which = ((draw.symbol == ord(symbol)) & (draw.digit[:, OfDigit.stroke] < chance)).nonzero().flatten()
            if len(which):
                ink[which] = self._with_stroke(ink[which], down, span * size[which], lean, draw.digit[which])
        return ink

    def _with_stroke(
        self, ink: torch.Tensor, down: float, length: torch.Tensor, lean: float, digit: torch.Tensor
    ) -> torch.Tensor:
        """Digits (n, BOX, BOX) with one more stroke.

        Args:
            down: where it meets the digit, as a share of its height; with 0 it begins there, else it is halfway then.
            length: pixels, (n,); it varies by a third. lean: radians; it varies by 0.3.
            digit: their random numbers, (n, digit_numbers).
        """
        rows = ink.amax(2) > INKED
        top = rows.int().argmax(1)
        row = (top + down * (BOX - 1 - rows.flip(1).int().argmax(1) - top)).round().long().clamp(max=BOX - 1)
        there = ink[torch.arange(len(ink)), row]
        x = (there * torch.arange(BOX)).sum(1) / there.sum(1).clamp(min=1e-6) - (BOX - 1) / 2
        y = row - (BOX - 1) / 2
        length = length * (1 + signed(digit[:, OfDigit.stroke_length]) / 3)
        angle = lean + 0.3 * signed(digit[:, OfDigit.stroke_lean])
        if not down:
            x, y = x + length / 2 * angle.cos(), y + length / 2 * angle.sin()
        darkness, thickness = ink.amax((1, 2))[:, None, None], 0.6 + 0.8 * digit[:, OfDigit.stroke_thickness]
        return torch.maximum(ink, _segment(length, angle, y, thickness, x) * darkness)

    def marked(self, draw: Draw) -> torch.Tensor:
        """(N,) bool: whether a mark follows each digit."""
        return draw.digit[:, OfDigit.mark] < torch.where(draw.last, self.end, self.mark)

    def marks(self, draw: Draw) -> torch.Tensor:
        """What stands after some digits and is none, (M, BOX, BOX)."""
        there = self.marked(draw)
        line, digit, last = draw.line[there], draw.digit[there], draw.last[there]
        size = within(self.size, line[:, OfLine.size])
        foot = 10 * size  # pixels from the middle of the box down to the baseline
        kind = (digit[:, OfDigit.mark_kind] * torch.where(last, 4, 3)).floor()  # full stop, comma, dash, equals sign
        stop, comma = kind == 0, kind == 1
        dash = kind >= 2
        long = digit[:, OfDigit.mark_length]
        length = torch.where(stop, 0.0, torch.where(comma, 3 + 4 * long, 6 + 10 * long)) * size
        lean = digit[:, OfDigit.mark_lean]
        lean = torch.where(dash, 0.6 * (lean - 0.5), 1.9 + 0.4 * signed(lean))
        down = signed(digit[:, OfDigit.mark_down])
        middle = torch.where(dash, 6 * down, foot + 2 * down)
        thickness = 0.9 + 1.2 * line[:, OfLine.mark_thickness] + 0.6 * digit[:, OfDigit.mark_thickness]
        drawn = _segment(length, lean, middle, thickness)
        second = _segment(length, lean, middle + 5 * size, thickness) * (kind == 3).view(-1, 1, 1)
        return torch.maximum(drawn, second)


@cache
def _box() -> tuple[torch.Tensor, torch.Tensor]:
    """x (1, 1, BOX) and y (1, BOX, 1) of a box's pixels, in [-1, 1]."""
    centres = (torch.arange(BOX) + 0.5) / BOX * 2 - 1
    return centres.view(1, 1, -1), centres.view(1, -1, 1)


def _segment(
    length: torch.Tensor,
    lean: torch.Tensor,
    middle: torch.Tensor,
    thickness: torch.Tensor,
    beside: torch.Tensor | None = None,
) -> torch.Tensor:
    """Straight strokes, (N, BOX, BOX) in [0, 1].

    Args:
        length, thickness: pixels; thickness is half the stroke's.
        lean: angle to the horizontal, radians.
        middle: pixels below the box's middle; beside: to its right.
    """
    x, y = (axis * BOX / 2 for axis in _box())
    if beside is not None:
        x = x - beside.view(-1, 1, 1)
    along, across = lean.cos().view(-1, 1, 1), lean.sin().view(-1, 1, 1)
    y = y - middle.view(-1, 1, 1)
    half = (length / 2).view(-1, 1, 1)
    t = (x * along + y * across).clamp(-half, half)
    distance = ((x - t * along) ** 2 + (y - t * across) ** 2).sqrt()
    return (thickness.view(-1, 1, 1) + 0.5 - distance).clamp(0, 1)
