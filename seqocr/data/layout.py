"""How digits become a line as people write it: spacing, slant, a wandering baseline, paper, and damage.

Works on all strings of a batch at once. What a string looks like is a function of its own digits and random numbers
alone: it is the same in any batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from seqocr.data.augment import CELL, blurred, thickened
from seqocr.errors import InputError

Range = tuple[float, float]  # (least, most), drawn uniformly


class _Line:
    """Which of a line's random numbers decides what; a test set is a function of these places."""

    size, slant, thickness, mark_thickness, gap = range(5)
    margins = slice(5, 7)
    rise, blur, jpeg, invert, paper, gradient, texture = range(7, 14)
    angle, pitch, bend, bends, waves = range(14, 24, 2)  # of two waves each: two numbers
    rule, rule_below, rule_at, ink = range(24, 28)
    grain = slice(28, 30)
    noise, crisp, stretch = range(30, 33)
    count = 34  # one to spare


class _Digit:
    """The same for the numbers of a digit, and of the mark or stroke that it may have."""

    size, slant, mark, mark_kind, mark_length, mark_lean, mark_down, mark_thickness = range(8)
    gap = slice(8, 10)  # before a digit, and before the mark after it
    wander = slice(10, 12)  # of both
    stroke, stroke_length, stroke_lean, stroke_thickness, thickness = range(12, 17)
    count = 17


_BOX = 60  # pixels: the side of what a digit or mark is drawn in before it is placed
_BEYOND = 8  # pixels drawn to the right of a line and cut off, so that no operation sees where the batch's canvas ends
_TALL = 20  # pixels: an MNIST digit's height
_INKED = 0.3  # from this darkness on a column is part of a digit
_BANK = (256, 1024)  # size of the noise that lines take theirs from
_TOGETHER = 8  # lines on one canvas: few enough for the processor's cache, and of like width


@dataclass(frozen=True)
class Layout:
    """How far a line may depart from digits side by side on black. What is drawn once a line, and what once a digit,
    is said; "±" is a largest departure to either side.

    Attributes:
        height: pixels.
        margin: pixels of paper on the left and on the right, a line.
        gap: pixels between the ink of neighbours, a line; below 0 they touch or overlap.
        gap_change: ± pixels a gap.
        size: of digits relative to MNIST's, a line; size_change: ± share of it, a digit; stretch: their width, a line.
        slant: ± tangent, a line; slant_change: ± tangent, a digit.
        thickness: ± share of a dilation or erosion mixed in, a line; thickness_change: the same, a digit. Less of an
            erosion where digits are small.
        crisp: most of ink's darkness, at either end, that becomes none or all, a line: strokes with sharp edges.
        crossed: chance that a 7 has a bar; flagged: that a 1 has an upstroke, as most have outside North America.
        rise: ± pixels that the baseline goes up or down over a hundred, a line; wander: ± pixels, a digit.
        mark: chance of a full stop, comma or dash at each place between two digits; end: chance of one, or of an equals
            sign, after the last.
        paper: brightness of the background in [0, 1], a line; ink: share of it that ink takes away.
        gradient: ± change of brightness across a line.
        texture: most contrast of waves printed on the paper, as on cheques, of that of ink; rule: chance of a ruled
            line.
        noise: most standard deviation of noise, of a brightness of 1; blur: most share of a 3x3 binomial filter.
        jpeg: quality that a line is stored in as a JPEG; None: it is not.
        invert: chance that the line is light on dark.
    """

    height: int = 40
    margin: Range = (2, 12)
    gap: Range = (0, 8)
    gap_change: float = 2
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
    rise: float = 4
    wander: float = 2
    mark: float = 0.0
    end: float = 0.0
    paper: Range = (0.0, 0.0)
    ink: Range = (1.0, 1.0)
    gradient: float = 0.0
    texture: float = 0.0
    rule: float = 0.0
    noise: float = 0.0
    blur: float = 0.3
    jpeg: Range | None = None
    invert: float = 0.0

    line_numbers = _Line.count  # uniform random numbers that a line takes
    digit_numbers = _Digit.count  # and each of its digits

    def __post_init__(self) -> None:
        if not CELL <= self.height <= 4 * _BOX:
            raise InputError(f"height {self.height}: give {CELL} to {4 * _BOX} pixels")

    def __call__(
        self, digits: torch.Tensor, texts: list[str], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """Draw lines.

        Args:
            digits: (N, 28, 28) float32 in [0, 1], white on black, those of all lines in order.
            texts: what each of the B lines says, N symbols in all.
            lines: (B, line_numbers) float32 uniform in [0, 1).
            noise: (N, digit_numbers) likewise. The two are the only source of randomness.

        Returns:
            B images (height, w_i) uint8, dark on light if the paper is light.
        """
        draw = _Draw.of_lines(texts, lines, noise)
        boxes = torch.cat([self._digits(digits, draw), self._marks(draw)])
        of, x, y, widths = self._placed(boxes, draw)
        # Lines of about the same width are drawn together, so that little of a canvas is drawn in vain.
        images: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for few in widths.argsort().split(_TOGETHER):
            place = torch.full_like(widths, -1)
            place[few] = torch.arange(len(few))
            among = place[of] >= 0
            size = (len(few), self.height, int(widths[few].max()) + _BEYOND)
            ink = _pasted(boxes[among], place[of[among]], x[among], y[among], size)
            for i, page in zip(few.tolist(), self._on_paper(ink, lines[few]), strict=True):
                images[i] = page[:, : widths[i]]
        if self.jpeg:
            quality = _within(self.jpeg, lines[:, _Line.jpeg]).tolist()
            images = [_as_jpeg(*of_line) for of_line in zip(images, quality, strict=True)]
        return images

    def _digits(self, digits: torch.Tensor, draw: _Draw) -> torch.Tensor:
        """Sized, slanted and thickened, (N, _BOX, _BOX)."""
        size = _within(self.size, draw.line[:, _Line.size])
        size = size * (1 + self.size_change * _signed(draw.digit[:, _Digit.size]))
        size = size.clamp(max=0.8 * self.height / _TALL)
        slant = self.slant * _signed(draw.line[:, _Line.slant])
        slant = slant + self.slant_change * _signed(draw.digit[:, _Digit.slant])
        x, y = _box()
        to_source = _BOX / CELL / size[:, None, None]  # in grid_sample's coordinates the cell is [-1, 1] wide
        wide = _within(self.stretch, draw.line[:, _Line.stretch])[:, None, None]
        across = (x / wide + slant[:, None, None] * y) * to_source
        grid = torch.stack([across, (y * to_source).expand(-1, -1, _BOX)], dim=3)
        ink = F.grid_sample(digits[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]
        change = self.thickness * _signed(draw.line[:, _Line.thickness])
        change = change + self.thickness_change * _signed(draw.digit[:, _Digit.thickness])
        # The strokes of small digits are thin already, and would vanish.
        ink = thickened(ink, torch.where(change < 0, change * (size - 0.5).clamp(0, 1), change))
        if self.crisp:
            cut = (self.crisp * draw.line[:, _Line.crisp]).view(-1, 1, 1)
            ink = ((ink - cut) / (1 - 2 * cut)).clamp_(0, 1)
        # Of a 7 from its middle, of a 1 down from its top.
        for symbol, chance, down, span, lean in (("7", self.crossed, 0.5, 10, 0.0), ("1", self.flagged, 0.0, 8, 2.4)):
            which = ((draw.symbol == ord(symbol)) & (draw.digit[:, _Digit.stroke] < chance)).nonzero().flatten()
            if len(which):
                ink[which] = self._with_stroke(ink[which], down, span * size[which], lean, draw.digit[which])
        return ink

    def _with_stroke(
        self, ink: torch.Tensor, down: float, length: torch.Tensor, lean: float, digit: torch.Tensor
    ) -> torch.Tensor:
        """Digits (n, _BOX, _BOX) with one more stroke.

        Args:
            down: where it meets the digit, as a share of its height; with 0 it begins there, else it is halfway then.
            length: pixels, (n,); it varies by a third. lean: radians; it varies by 0.3.
            digit: their random numbers, (n, digit_numbers).
        """
        rows = ink.amax(2) > _INKED
        top = rows.int().argmax(1)
        row = (top + down * (_BOX - 1 - rows.flip(1).int().argmax(1) - top)).round().long().clamp(max=_BOX - 1)
        there = ink[torch.arange(len(ink)), row]
        x = (there * torch.arange(_BOX)).sum(1) / there.sum(1).clamp(min=1e-6) - (_BOX - 1) / 2
        y = row - (_BOX - 1) / 2
        length = length * (1 + _signed(digit[:, _Digit.stroke_length]) / 3)
        angle = lean + 0.3 * _signed(digit[:, _Digit.stroke_lean])
        if not down:
            x, y = x + length / 2 * angle.cos(), y + length / 2 * angle.sin()
        darkness, thickness = ink.amax((1, 2))[:, None, None], 0.6 + 0.8 * digit[:, _Digit.stroke_thickness]
        return torch.maximum(ink, _segment(length, angle, y, thickness, x) * darkness)

    def _there(self, draw: _Draw) -> torch.Tensor:
        """(N,) bool: whether a mark follows each digit."""
        return draw.digit[:, _Digit.mark] < torch.where(draw.last, self.end, self.mark)

    def _marks(self, draw: _Draw) -> torch.Tensor:
        """What stands after some digits and is none, (M, _BOX, _BOX)."""
        there = self._there(draw)
        line, digit, last = draw.line[there], draw.digit[there], draw.last[there]
        size = _within(self.size, line[:, _Line.size])
        foot = 10 * size  # pixels from the middle of the box down to the baseline
        kind = (digit[:, _Digit.mark_kind] * torch.where(last, 4, 3)).floor()  # full stop, comma, dash, equals sign
        stop, comma = kind == 0, kind == 1
        dash = kind >= 2
        long = digit[:, _Digit.mark_length]
        length = torch.where(stop, 0.0, torch.where(comma, 3 + 4 * long, 6 + 10 * long)) * size
        lean = digit[:, _Digit.mark_lean]
        lean = torch.where(dash, 0.6 * (lean - 0.5), 1.9 + 0.4 * _signed(lean))
        down = _signed(digit[:, _Digit.mark_down])
        middle = torch.where(dash, 6 * down, foot + 2 * down)
        thickness = 0.9 + 1.2 * line[:, _Line.mark_thickness] + 0.6 * digit[:, _Digit.mark_thickness]
        drawn = _segment(length, lean, middle, thickness)
        second = _segment(length, lean, middle + 5 * size, thickness) * (kind == 3).view(-1, 1, 1)
        return torch.maximum(drawn, second)

    def _placed(
        self, boxes: torch.Tensor, draw: _Draw
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Where boxes go, digits and the marks after them side by side.

        Everything that adds up along a line is a whole number of pixels, so that sums are exact in any batch.

        Returns:
            of each box its line, x and y of its upper left corner; and of each line its width. All int64.
        """
        there = self._there(draw)

        def by_digit(values: torch.Tensor) -> torch.Tensor:
            """Of all boxes to (N, 2): of a digit and of the mark after it, 0 where there is none."""
            both = torch.zeros(len(there), 2, dtype=values.dtype)
            both[:, 0], both[there, 1] = values[: len(there)], values[len(there) :]
            return both

        inked = boxes.amax(dim=1) > _INKED  # (boxes, columns)
        left = inked.int().argmax(1)
        wide = by_digit(torch.where(inked.any(1), _BOX - inked.flip(1).int().argmax(1) - left, 0))
        gap = _within(self.gap, draw.line[:, _Line.gap])[:, None]
        gap = gap + self.gap_change * _signed(draw.digit[:, _Digit.gap])
        # Neighbours may overlap, but not pass each other.
        step = torch.maximum(wide + gap.round().long(), (wide + 1) // 2)
        step[:, 1] *= there
        ends = step.flatten().cumsum(0).view_as(step)
        starts = torch.zeros(len(draw.lines), dtype=torch.long)
        starts[1:] = ends[draw.last, 1][:-1]
        margins = _within(self.margin, draw.lines[:, _Line.margins]).round().long()
        x = ends - step - by_digit(left) + (margins[:, 0] - starts)[draw.of, None]
        widths = ends[draw.last, 1] - starts + margins.sum(1) + 4  # ink is a little wider than what counts as inked
        centre = widths[draw.of, None] / 2
        climb = self.rise / 100 * _signed(draw.line[:, _Line.rise])[:, None] * (x + _BOX / 2 - centre)
        wander = self.wander * _signed(draw.digit[:, _Digit.wander])
        y = ((self.height - _BOX) / 2 + climb + wander).round().long()
        x, y = (torch.cat([both[:, 0], both[there, 1]]) for both in (x, y))
        return torch.cat([draw.of, draw.of[there]]), x, y, widths

    def _on_paper(self, ink: torch.Tensor, lines: torch.Tensor) -> torch.Tensor:
        """Ink (B, H, W) in [0, 1] to pixels, uint8."""
        _, H, W = ink.shape
        column = lines.unsqueeze(2).unsqueeze(3)  # (B, numbers, 1, 1)
        if self.blur:
            ink = torch.lerp(ink, blurred(ink), column[:, _Line.blur] * self.blur)
        y, x = torch.arange(H).view(1, H, 1) / 40, torch.arange(W).view(1, 1, W) / 40  # of the usual height
        shade, dark = _within(self.paper, column[:, _Line.paper]), _within(self.ink, column[:, _Line.ink])
        paper = shade + self.gradient * _signed(column[:, _Line.gradient]) * (x / 4 + y - 0.75)
        if self.texture:
            strength = self.texture * dark * column[:, _Line.texture]
            for i in (0, 1):
                angle, pitch = math.pi * column[:, _Line.angle + i], 5 + 15 * column[:, _Line.pitch + i]
                along = x * (1 + column[:, _Line.bends + i]) + y / 2
                bend = 0.4 * column[:, _Line.bend + i] * torch.sin(2 * math.pi * along)
                wave = torch.sin(2 * math.pi * (pitch * (x * angle.cos() / 2 + y * angle.sin()) / 2 + bend * pitch / 4))
                paper = paper - strength * (column[:, _Line.waves + i] < (1.0, 0.6)[i]) * wave.clamp_(min=0).square_()
        if self.rule:
            at = torch.where(column[:, _Line.rule_below] < 0.5, 0.06, 0.94) * H / 40
            at = at + 0.1 * _signed(column[:, _Line.rule_at])
            paper = paper - (column[:, _Line.rule] < self.rule) * 0.5 * (1 - ((y - at - 0.02 * x) * 40).abs()).clamp(
                0, 1
            )
        # On black paper ink is light.
        page = torch.where(shade > 0.25, paper * (1 - dark * ink), paper + dark * ink * (1 - paper))
        if self.noise:
            room = torch.tensor([_BANK[0] - H, _BANK[1] // 4])
            corners, along = (lines[:, _Line.grain] * room).long().tolist(), torch.arange(W)
            grain = torch.stack([_noise_bank()[down : down + H, (right + along) % _BANK[1]] for down, right in corners])
            page = page + self.noise * column[:, _Line.noise] * grain
        page = torch.where(column[:, _Line.invert] < self.invert, 1 - page, page)
        return page.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


@dataclass(frozen=True)
class _Draw:
    """The random numbers of B lines, `lines` (B, ·), and of their N digits, `digit` (N, ·).

    Attributes:
        of: (N,) int64, the line of each digit; line: (N, ·), its numbers; last: (N,) bool, whether it ends the line.
        symbol: (N,) int64, what it is, as a code point.
    """

    lines: torch.Tensor
    digit: torch.Tensor
    of: torch.Tensor
    line: torch.Tensor
    last: torch.Tensor
    symbol: torch.Tensor

    @classmethod
    def of_lines(cls, texts: list[str], lines: torch.Tensor, digit: torch.Tensor) -> _Draw:
        counts = torch.tensor(list(map(len, texts)))
        of = torch.repeat_interleave(torch.arange(len(texts)), counts)
        last = torch.zeros(len(digit), dtype=torch.bool)
        last[counts.cumsum(0) - 1] = True
        return cls(lines, digit, of, lines[of], last, torch.tensor(list(map(ord, "".join(texts)))))


LEVELS: dict[str, Layout | None] = {
    "grid": None,  # side by side in their cells, untouched
    "jitter": Layout(),
    "wild": Layout(
        height=48,
        margin=(0, 20),
        gap=(-5, 10),
        gap_change=3,
        size=(0.8, 1.7),
        size_change=0.25,
        stretch=(0.85, 1.4),
        slant=0.6,
        slant_change=0.15,
        thickness=0.8,
        thickness_change=0.2,
        crisp=0.25,
        crossed=0.4,
        flagged=0.4,
        rise=8,
        wander=3,
        mark=0.15,
        end=0.4,
        paper=(0.45, 1.0),
        ink=(0.4, 0.95),
        gradient=0.15,
        texture=0.2,
        rule=0.4,
        noise=0.04,
        blur=1.0,
        jpeg=(30, 95),
        invert=0.1,
    ),
}


def level(name: str) -> Layout | None:
    """The layout of a level of difficulty; None for the grid.

    Raises:
        InputError: there is no such level.
    """
    if name not in LEVELS:
        raise InputError(f"unknown level {name!r}: choose one of {', '.join(LEVELS)}")
    return LEVELS[name]


def contact_sheet(lines: Sequence[torch.Tensor], columns: int = 3) -> Image.Image:
    """Lines (h, w_i) uint8 on one grey page, `columns` beside each other, twice their size."""
    height, width = len(lines[0]) + 4, max(line.shape[1] for line in lines) + 4
    sheet = Image.new("L", (columns * width, -(-len(lines) // columns) * height), 128)
    for i, line in enumerate(lines):
        sheet.paste(Image.fromarray(line.numpy()), (i % columns * width + 2, i // columns * height + 2))
    return sheet.resize((2 * sheet.width, 2 * sheet.height))


def _within(bounds: Range, uniform: torch.Tensor) -> torch.Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def _signed(uniform: torch.Tensor) -> torch.Tensor:
    return 2 * uniform - 1


@cache
def _box() -> tuple[torch.Tensor, torch.Tensor]:
    """x (1, 1, _BOX) and y (1, _BOX, 1) of a box's pixels, in [-1, 1]."""
    centres = (torch.arange(_BOX) + 0.5) / _BOX * 2 - 1
    return centres.view(1, 1, -1), centres.view(1, -1, 1)


@cache
def _noise_bank() -> torch.Tensor:
    return torch.randn(_BANK, generator=torch.Generator().manual_seed(0))


def _segment(
    length: torch.Tensor,
    lean: torch.Tensor,
    middle: torch.Tensor,
    thickness: torch.Tensor,
    beside: torch.Tensor | None = None,
) -> torch.Tensor:
    """Straight strokes, (N, _BOX, _BOX) in [0, 1].

    Args:
        length, thickness: pixels; thickness is half the stroke's.
        lean: angle to the horizontal, radians.
        middle: pixels below the box's middle; beside: to its right.
    """
    x, y = (axis * _BOX / 2 for axis in _box())
    if beside is not None:
        x = x - beside.view(-1, 1, 1)
    along, across = lean.cos().view(-1, 1, 1), lean.sin().view(-1, 1, 1)
    y = y - middle.view(-1, 1, 1)
    half = (length / 2).view(-1, 1, 1)
    t = (x * along + y * across).clamp(-half, half)
    distance = ((x - t * along) ** 2 + (y - t * across) ** 2).sqrt()
    return (thickness.view(-1, 1, 1) + 0.5 - distance).clamp(0, 1)


def _pasted(
    boxes: torch.Tensor, of: torch.Tensor, x: torch.Tensor, y: torch.Tensor, size: tuple[int, int, int]
) -> torch.Tensor:
    """Boxes (n, _BOX, _BOX) on canvases (B, H, W): that of `of`, with the upper left corner at (x, y), the darkest on
    top. What is off a canvas is lost.
    """
    B, H, W = size
    full_height, full_width = H + 2 * _BOX, W + 2 * _BOX  # with room for what is lost
    rows = (of * full_height + y.clamp(-_BOX, H) + _BOX)[:, None] + torch.arange(_BOX)
    columns = (x.clamp(-_BOX, W) + _BOX)[:, None] + torch.arange(_BOX)
    place = (rows * full_width)[:, :, None] + columns[:, None, :]
    canvas = torch.zeros(B * full_height * full_width)
    canvas.scatter_reduce_(0, place.flatten(), boxes.flatten(), "amax")
    return canvas.view(B, full_height, full_width)[:, _BOX:-_BOX, _BOX:-_BOX]


def _as_jpeg(page: torch.Tensor, quality: float) -> torch.Tensor:
    """A page (H, W) uint8 after JPEG of that quality."""
    file = BytesIO()
    Image.fromarray(page.numpy()).save(file, "JPEG", quality=round(quality))
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image))
