"""A writer's style: a pen, a slant and habits that hold for a whole line of digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from seqocr.data.sampling import Range, signed, within
from seqocr.data.synthetic.marks import sample_marks, scale_marks
from seqocr.data.synthetic.paper import Paper
from seqocr.data.synthetic.pen import BENDS, Transform, TransformedBitmaps, TransformedStrokes, transform_bitmaps

_TOGETHER = 8  # lines on one canvas: few enough for the processor's cache, and of like size
_BEYOND = 4  # pixels around a line that no operation may see the end of
_STEPS = 24  # points along a mark, a flag, a bar or a joining stroke
_TALLEST = 46  # pixels: of a digit's larger side
Glyphs = TransformedStrokes | TransformedBitmaps


class LineNoise:
    """Which of a line's random numbers decides what."""

    size, stretch, slant, turn, pen, flow, nib, nib_angle, gap, rise, wander = range(11)
    zeros, ones, flags, flag_length, flag_lean, bars, joins, separator, group, ending, bend = range(11, 22)
    margins = slice(22, 26)  # left, right, above, below
    count = 30  # four to spare; those of the paper follow


class DigitNoise:
    size, stretch, slant, turn, pen, gap, wander, mark, mark_shape, mark_gap, join, sag, flag, bar, kind = range(15)
    bend = slice(16, 16 + 2 * BENDS**2)
    count = 16 + 2 * BENDS**2


@dataclass(frozen=True)
class WriterStyle(Paper):
    """How far handwriting, and a writer from digit to digit, may depart from print; "±" is a largest departure.

    Attributes:
        size: of digits' larger side, pixels, a line; size_change: ± share of it, a digit.
        stretch: width relative to the height, a line; stretch_change: ± share of it, a digit.
        slant: (least, most) tangent, to the right, a line; slant_change: ±, a digit.
        turn: ± degrees, a digit.
        pen: half its width, of the size, a line; pen_change: ± share of it, a digit.
        flow: most by which fast strokes are thinner; nib: most by which strokes along the nib are thicker.
        nib_angle: of the nib, in half turns clockwise from the line, a line.
        bend: most displacement of parts of a digit, of its size, a line.
        gap: between the ink of neighbours, of the size, a line; gap_change: ±, a digit.
        rise: ± tangent of the baseline; wander: ± of the size, a digit.
        zeros: how small a writer's zeros may be; ones: how tall ones may be. Half of the writers.
        flagged: chance that a writer's ones have an upstroke; barred: that sevens have a bar.
        joined: chance that a writer joins digits where the pen can stay down.
        grouped: chance that thousands are set apart; separated: chance of a mark at any other place.
        ended: chance that something follows the last digit.
        margin: left and right, of the size; headroom: above and below; below 0 ink is cut off.
    """

    size: Range = (20, 44)
    size_change: float = 0.14
    stretch: Range = (0.75, 1.35)
    stretch_change: float = 0.1
    slant: Range = (-0.15, 0.6)
    slant_change: float = 0.1
    turn: float = 6
    pen: Range = (0.028, 0.075)
    pen_change: float = 0.12
    flow: float = 0.5
    nib: float = 0.25
    nib_angle: Range = (0, 1)
    bend: float = 0.07
    gap: Range = (-0.14, 0.3)
    gap_change: float = 0.14
    rise: float = 0.07
    wander: float = 0.1
    zeros: float = 0.6
    ones: float = 1.45
    flagged: float = 0.35
    barred: float = 0.3
    joined: float = 0.3
    grouped: float = 0.5
    separated: float = 0.04
    ended: float = 0.35
    margin: Range = (0.02, 0.7)
    headroom: Range = (-0.04, 0.6)

    @property
    def line_noise_size(self) -> int:
        return LineNoise.count + self.paper_noise_size

    digit_noise_size = DigitNoise.count  # and each of its digits

    def __call__(
        self, digits: torch.Tensor, texts: list[str], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """As `seqocr.data.synthetic.layouts.Layout`, of bitmaps."""
        return self.draw(lambda transform: transform_bitmaps(digits, transform), texts, lines, noise)

    def draw(
        self, transform: Callable[[Transform], Glyphs], texts: list[str], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """As `Layout`, but `transform` gives the N transformed glyphs of all lines in order."""
        sample = _Sample(texts, lines, noise)
        how = self._transform(sample)
        glyphs = transform(how)
        strokes = self._add_strokes(sample, how, glyphs)
        places, sizes = self._place(sample, how, glyphs, strokes)
        joins = self._join(sample, how, glyphs, places)
        images: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for few in sizes[:, 0].argsort().split(_TOGETHER):
            height, width = (int(sizes[few, axis].max()) + 2 * _BEYOND for axis in (1, 0))
            ink = torch.zeros(len(few), height, width)
            canvas_of = torch.full((len(texts),), -1)
            canvas_of[few] = torch.arange(len(few))
            added = [(each.strokes, each.of, each.at(places)) for each in strokes]
            for drawn, of, at in ((glyphs, sample.of, places), *added, joins):
                here = canvas_of[of] >= 0
                drawn[here].draw(ink, canvas_of[of][here], at[here] + _BEYOND)
            pages = self.render(ink, lines[few, LineNoise.count :], sizes[few])
            for i, page in zip(few.tolist(), pages, strict=True):
                w, h = sizes[i].tolist()
                images[i] = page[_BEYOND : _BEYOND + h, _BEYOND : _BEYOND + w]
        return self.compress(images, lines[:, LineNoise.count :])

    def _transform(self, sample: _Sample) -> Transform:
        line, digit = sample.line, sample.digit
        height = within(self.size, line[:, LineNoise.size])
        own = 1 + self.size_change * signed(digit[:, DigitNoise.size])
        # Half of the writers write zeros smaller, and half write ones taller, than the rest.
        for symbol, place, most in (("0", LineNoise.zeros, self.zeros), ("1", LineNoise.ones, self.ones)):
            habit = 1 + (most - 1) * (2 * line[:, place] - 1).clamp(min=0)
            own = torch.where(sample.symbol == ord(symbol), own * habit, own)
        tall = (height * own).clamp(max=_TALLEST)
        stretch = within(self.stretch, line[:, LineNoise.stretch])
        stretch = stretch * (1 + self.stretch_change * signed(digit[:, DigitNoise.stretch]))
        slant = within(self.slant, line[:, LineNoise.slant]) + self.slant_change * signed(digit[:, DigitNoise.slant])
        radius = within(self.pen, line[:, LineNoise.pen]) * height
        radius = (radius * (1 + self.pen_change * signed(digit[:, DigitNoise.pen]))).clamp(0.7, 4)
        bend = self.bend * line[:, LineNoise.bend, None] * signed(digit[:, DigitNoise.bend])
        return Transform(
            tall,
            stretch,
            slant,
            math.radians(self.turn) * signed(digit[:, DigitNoise.turn]),
            radius,
            self.flow * line[:, LineNoise.flow],
            self.nib * line[:, LineNoise.nib],
            math.pi * within(self.nib_angle, line[:, LineNoise.nib_angle]),
            bend.view(-1, 2, BENDS, BENDS),
        )

    def _add_strokes(self, sample: _Sample, how: Transform, glyphs: Glyphs) -> list[_AddedStrokes]:
        """Strokes that belong to a digit: upstrokes of ones, bars of sevens."""
        line, digit, size = sample.line, sample.digit, how.height
        ones = (sample.symbol == ord("1")) & (line[:, LineNoise.flags] < self.flagged)
        length = size * (0.25 + 0.6 * line[:, LineNoise.flag_length]) * (0.8 + 0.4 * digit[:, DigitNoise.flag])
        lean = 0.5 + 0.6 * line[:, LineNoise.flag_lean]  # tangent: how far to the left on the way down
        away = torch.stack([-lean, torch.ones(len(lean))], 1)
        away = away / away.norm(dim=1, keepdim=True) * length[:, None]
        flags = _make_curve(glyphs.peak, glyphs.peak + away, 0.1 * length, how.radius)
        sevens = (sample.symbol == ord("7")) & (line[:, LineNoise.bars] < self.barred)
        middle = (glyphs.bounds[:, :2] + glyphs.bounds[:, 2:]) / 2
        half = 0.28 * size * (0.7 + 0.6 * digit[:, DigitNoise.bar])
        across = torch.stack([half, -0.2 * half], 1)
        bars = _make_curve(middle - across, middle + across, 0.1 * half, how.radius)
        chosen = ((flags, ones), (bars, sevens))
        return [_AddedStrokes(strokes[of], sample.of[of], of.nonzero()[:, 0]) for strokes, of in chosen]

    def _sample_marks(self, sample: _Sample, how: Transform) -> tuple[torch.Tensor, torch.Tensor, TransformedStrokes]:
        """Marks behind digits: which digits, how far above the baseline each mark is, and its strokes."""
        line, digit = sample.line, sample.digit
        thousands = (sample.left > 0) & (sample.left % 3 == 0) & (line[:, LineNoise.group] < self.grouped)
        other = (sample.left > 0) & (digit[:, DigitNoise.mark] < self.separated)
        ending = (sample.left == 0) & (line[:, LineNoise.ending] < self.ended)
        there = (thousands | other | ending).nonzero()[:, 0]
        kind = sample_marks(ending[there], digit[there, DigitNoise.kind], line[there, LineNoise.separator])
        shape = digit[there, DigitNoise.mark_shape]
        points, down = scale_marks(kind, shape, within(self.size, line[there, LineNoise.size]))
        radius = how.radius[there, None] * (1 + 0.4 * (kind == 0)[:, None] * shape[:, None])
        return there, down, TransformedStrokes(points, radius.expand(-1, points.shape[1]).contiguous())

    def _place(
        self, sample: _Sample, how: Transform, glyphs: Glyphs, strokes: list[_AddedStrokes]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Origins of glyphs, (N, 2), and width and height of lines, (B, 2) int64. Marks join the strokes on the way."""
        line, digit = sample.line, sample.digit
        bounds = glyphs.bounds.clone()
        for stroke in strokes:
            own = stroke.strokes.bounds
            bounds[stroke.owner, 0] = torch.minimum(bounds[stroke.owner, 0], own[:, 0])
            bounds[stroke.owner, 2] = torch.maximum(bounds[stroke.owner, 2], own[:, 2])
        owner, down, marks = self._sample_marks(sample, how)
        size = within(self.size, line[:, LineNoise.size])
        gap = within(self.gap, line[:, LineNoise.gap]) + self.gap_change * signed(digit[:, DigitNoise.gap])
        wide = bounds[:, 2] - bounds[:, 0]
        step = torch.zeros(len(wide), 2)
        step[:, 0] = torch.maximum(wide + gap * size, 0.55 * wide)  # neighbours may overlap, but not pass each other
        mark_bounds = marks.bounds
        behind = (0.02 + 0.25 * digit[owner, DigitNoise.mark_gap]) * size[owner]
        step[owner, 1] = mark_bounds[:, 2] - mark_bounds[:, 0] + behind
        # Sums are exact in any batch: whole sixteenths of a pixel.
        step = (step * 16).round().long()
        ends = step.flatten().cumsum(0).view_as(step)
        starts = torch.zeros(len(sample.lines), dtype=torch.long)
        starts[1:] = ends[sample.left == 0, 1][:-1]
        begins = (ends - step - starts[sample.of, None]).float() / 16
        lengths = (ends[sample.left == 0, 1] - starts).float() / 16
        of_line = within(self.size, sample.lines[:, LineNoise.size])
        margins = sample.lines[:, LineNoise.margins]
        beside = within(self.margin, margins[:, :2]) * of_line[:, None]
        x = begins[:, 0] - bounds[:, 0] + beside[sample.of, 0]
        wander = self.wander * signed(digit[:, DigitNoise.wander]) * line[:, LineNoise.wander] * size
        base = self.rise * signed(line[:, LineNoise.rise]) * (begins[:, 0] - lengths[sample.of] / 2)
        y = base + wander - bounds[:, 3]
        top, bottom = y + bounds[:, 1], y + bounds[:, 3]
        for stroke in strokes:  # an upstroke may begin higher than its one
            own = stroke.strokes.bounds[:, 1] + y[stroke.owner]
            top[stroke.owner] = torch.minimum(top[stroke.owner], own)
        first = torch.full((len(sample.lines),), math.inf).scatter_reduce_(0, sample.of, top, "amin")
        last = torch.full((len(sample.lines),), -math.inf).scatter_reduce_(0, sample.of, bottom, "amax")
        room = within(self.headroom, margins[:, 2:].square()) * of_line[:, None]
        y = y - first[sample.of] + room[sample.of, 0]
        sizes = torch.stack([lengths + beside.sum(1), last - first + room.sum(1)], 1).round().long().clamp(min=8)
        places = torch.stack([x, y], 1)
        mark_x = begins[owner, 1] + beside[sample.of[owner], 0] - mark_bounds[:, 0] + behind / 2
        mark_y = (base + room[sample.of, 0] - first[sample.of])[owner] - down
        relative = torch.stack([mark_x, mark_y], 1) - places[owner]
        strokes.append(_AddedStrokes(marks, sample.of[owner], owner, relative))
        return places, sizes

    def _join(
        self, sample: _Sample, how: Transform, glyphs: Glyphs, places: torch.Tensor
    ) -> tuple[TransformedStrokes, torch.Tensor, torch.Tensor]:
        """Strokes from a digit on into the next, where the pen stays down."""
        ends, of, zero, size = glyphs.ends + places[:, None], sample.of, sample.symbol == ord("0"), how.height[:-1]
        start, end, digit = ends[:-1, 1], ends[1:, 0], sample.digit[:-1]
        away = end - start
        near = (away[:, 0] > -0.3 * size) & (away[:, 0] < 1.5 * size) & (away[:, 1].abs() < 0.85 * size)
        chance = torch.where(zero[:-1] & zero[1:], 0.85, 0.4) * (sample.line[:-1, LineNoise.joins] < self.joined)
        keep = near & (of[:-1] == of[1:]) & (digit[:, DigitNoise.join] < chance)
        curve = _make_curve(start, end, signed(digit[:, DigitNoise.sag]) * 0.3 * size, 0.8 * how.radius[:-1])
        return curve[keep], of[:-1][keep], torch.zeros(int(keep.sum()), 2)


class _Sample:
    """The random numbers of lines, and of their digits.

    Attributes:
        lines: (B, ·), of lines; of: (N,), the line of each digit; line: (N, ·), its numbers; digit: (N, ·), its own.
        left: (N,), how many digits follow in the line. symbol: (N,), as a code point.
    """

    def __init__(self, texts: list[str], lines: torch.Tensor, digit: torch.Tensor) -> None:
        counts = torch.tensor(list(map(len, texts)))
        self.lines, self.digit = lines, digit
        self.of = torch.repeat_interleave(torch.arange(len(texts)), counts)
        self.line = lines[self.of]
        self.left = counts.cumsum(0)[self.of] - 1 - torch.arange(len(digit))
        self.symbol = torch.tensor(list(map(ord, "".join(texts))))


@dataclass(frozen=True)
class _AddedStrokes:
    """Strokes beside glyphs: of which lines, which glyph each belongs to, and where it is relative to that."""

    strokes: TransformedStrokes
    of: torch.Tensor
    owner: torch.Tensor
    relative: torch.Tensor | float = 0.0

    def at(self, places: torch.Tensor) -> torch.Tensor:
        return places[self.owner] + self.relative


def _make_curve(start: torch.Tensor, end: torch.Tensor, sag: torch.Tensor, radius: torch.Tensor) -> TransformedStrokes:
    """Strokes from start to end (N, 2) that hang by `sag` (N,) pixels in the middle."""
    t = torch.linspace(0, 1, _STEPS)[:, None]
    points = start[:, None] + (end - start)[:, None] * t
    points[:, :, 1] += sag[:, None] * 4 * t[:, 0] * (1 - t[:, 0])
    return TransformedStrokes(points, radius[:, None].expand(-1, _STEPS).contiguous())
