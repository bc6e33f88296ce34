"""How one writer puts an amount on paper: a pen, a slant and habits that hold for the whole line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from seqocr.data.sampling import Range, signed, within
from seqocr.data.synthetic.paper import Paper
from seqocr.data.synthetic.pen import BENDS, Pose, Tracks, posed_bitmaps

_TOGETHER = 8  # lines on one canvas: few enough for the processor's cache, and of like size
_BEYOND = 4  # pixels around a line that no operation may see the end of
_STEPS = 24  # points along a mark, a flag, a bar or a joining stroke
_TALLEST = 46  # pixels: of a digit's larger side
Posed = Any  # `Tracks` or `Bitmaps`


class OfLine:
    """Places among a line's random numbers."""

    size, stretch, slant, turn, pen, flow, nib, nib_angle, gap, rise, wander = range(11)
    zeros, ones, flags, flag_length, flag_lean, bars, joins, separator, group, ending, bend = range(11, 22)
    margins = slice(22, 26)  # left, right, above, below
    count = 30  # four to spare; those of the paper follow


class OfDigit:
    """Places among the random numbers of a digit."""

    size, stretch, slant, turn, pen, gap, wander, mark, mark_shape, mark_gap, join, sag, flag, bar, kind = range(15)
    bend = slice(16, 16 + 2 * BENDS**2)
    count = 16 + 2 * BENDS**2


@dataclass(frozen=True)
class WriterStyle(Paper):
    """How far hands, and a hand from digit to digit, may depart from print. "±" is a largest departure to either side.

    Attributes:
        size: of digits' larger side, pixels, a line; size_change: ± share of it, a digit.
        stretch: width relative to the height, a line; stretch_change: ± share of it, a digit.
        slant: (least, most) tangent, to the right, a line; slant_change: ±, a digit.
        turn: ± degrees, a digit.
        pen: half its width, of the size, a line; pen_change: ± share of it, a digit.
        flow: most by which fast strokes are thinner; nib: most by which strokes along the nib are thicker.
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
    def line_numbers(self) -> int:
        """Uniform random numbers that a line takes."""
        return OfLine.count + self.paper_numbers

    digit_numbers = OfDigit.count  # and each of its digits

    def __call__(
        self, digits: torch.Tensor, texts: list[str], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """As `seqocr.data.synthetic.layouts.Layout`, of bitmaps."""
        return self.written(lambda pose: posed_bitmaps(digits, pose), texts, lines, noise)

    def written(
        self, pose: Callable[[Pose], Posed], texts: list[str], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """Draw lines.

        Args:
            pose: gives the N posed glyphs of all lines in order.
            texts: what each of the B lines says, N symbols in all.
            lines: (B, line_numbers) float32 uniform in [0, 1).
            noise: (N, digit_numbers) likewise. The two are the only source of randomness.

        Returns:
            B images (h_i, w_i) uint8.
        """
        draw = _Draw(texts, lines, noise)
        how = self._pose(draw)
        glyphs = pose(how)
        strokes = self._added(draw, how, glyphs)
        places, sizes = self._placed(draw, how, glyphs, strokes)
        joins = self._joins(draw, how, glyphs, places)
        images: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for few in sizes[:, 0].argsort().split(_TOGETHER):
            height, width = (int(sizes[few, axis].max()) + 2 * _BEYOND for axis in (1, 0))
            ink = torch.zeros(len(few), height, width)
            canvas_of = torch.full((len(texts),), -1)
            canvas_of[few] = torch.arange(len(few))
            for posed, of, at in ((glyphs, draw.of, places), *((s.tracks, s.of, s.at(places)) for s in strokes), joins):
                canvas = canvas_of[of]
                here = canvas >= 0
                if here.any():
                    posed[here].onto(ink, canvas[here], at[here] + _BEYOND)
            pages = self.on_paper(ink, lines[few, OfLine.count :], sizes[few])
            for i, page in zip(few.tolist(), pages, strict=True):
                w, h = sizes[i].tolist()
                images[i] = page[_BEYOND : _BEYOND + h, _BEYOND : _BEYOND + w]
        return self.stored(images, lines[:, OfLine.count :])

    def _pose(self, draw: _Draw) -> Pose:
        line, digit = draw.line, draw.digit
        height = within(self.size, line[:, OfLine.size])
        own = 1 + self.size_change * signed(digit[:, OfDigit.size])
        # Half of the writers write zeros smaller, and half write ones taller, than the rest.
        for symbol, place, most in (("0", OfLine.zeros, self.zeros), ("1", OfLine.ones, self.ones)):
            habit = 1 + (most - 1) * (2 * line[:, place] - 1).clamp(min=0)
            own = torch.where(draw.symbol == ord(symbol), own * habit, own)
        tall = (height * own).clamp(max=_TALLEST)
        stretch = within(self.stretch, line[:, OfLine.stretch])
        stretch = stretch * (1 + self.stretch_change * signed(digit[:, OfDigit.stretch]))
        slant = within(self.slant, line[:, OfLine.slant]) + self.slant_change * signed(digit[:, OfDigit.slant])
        radius = within(self.pen, line[:, OfLine.pen]) * height
        radius = (radius * (1 + self.pen_change * signed(digit[:, OfDigit.pen]))).clamp(0.7, 4)
        bend = self.bend * line[:, OfLine.bend, None] * signed(digit[:, OfDigit.bend])
        return Pose(
            tall,
            stretch,
            slant,
            math.radians(self.turn) * signed(digit[:, OfDigit.turn]),
            radius,
            self.flow * line[:, OfLine.flow],
            self.nib * line[:, OfLine.nib],
            math.pi * line[:, OfLine.nib_angle],
            bend.view(-1, 2, BENDS, BENDS),
        )

    def _added(self, draw: _Draw, how: Pose, glyphs: Posed) -> list[_Added]:
        """Strokes that belong to a digit: upstrokes of ones, bars of sevens."""
        line, digit, size = draw.line, draw.digit, how.height
        reach, peak = glyphs.reach, glyphs.peak
        found = []
        ones = (draw.symbol == ord("1")) & (line[:, OfLine.flags] < self.flagged)
        length = size * (0.25 + 0.6 * line[:, OfLine.flag_length]) * (0.8 + 0.4 * digit[:, OfDigit.flag])
        lean = 0.5 + 0.6 * line[:, OfLine.flag_lean]  # tangent: how far to the left on the way down
        away = torch.stack([-lean, torch.ones(len(lean))], 1)
        away = away / away.norm(dim=1, keepdim=True) * length[:, None]
        found.append(
            _Added(_curve(peak, peak + away, 0.1 * length, how.radius)[ones], draw.of[ones], ones.nonzero()[:, 0])
        )
        sevens = (draw.symbol == ord("7")) & (line[:, OfLine.bars] < self.barred)
        middle = (reach[:, :2] + reach[:, 2:]) / 2
        half = 0.28 * size * (0.7 + 0.6 * digit[:, OfDigit.bar])
        across = torch.stack([half, -0.2 * half], 1)
        bar = _curve(middle - across, middle + across, 0.1 * half, how.radius)
        found.append(_Added(bar[sevens], draw.of[sevens], sevens.nonzero()[:, 0]))
        return found

    def _marks(self, draw: _Draw, how: Pose) -> tuple[torch.Tensor, torch.Tensor, Tracks]:
        """What stands behind some digits and is none: which digits, how far it is from the baseline, and its track."""
        line, digit = draw.line, draw.digit
        thousands = (draw.left > 0) & (draw.left % 3 == 0) & (line[:, OfLine.group] < self.grouped)
        other = (draw.left > 0) & (digit[:, OfDigit.mark] < self.separated)
        ending = (draw.left == 0) & (line[:, OfLine.ending] < self.ended)
        there = (thousands | other | ending).nonzero()[:, 0]
        size = within(self.size, line[there, OfLine.size])
        shape = digit[there, OfDigit.mark_shape]
        # A writer has one separator; ends are of many kinds, the first ones more often.
        kind = torch.where(
            ending[there],
            (len(_MARKS) * digit[there, OfDigit.kind].square()).long(),
            _kind_of_separator(line[there, OfLine.separator]),
        )
        points, down = _marks_of(kind, shape, size)
        radius = how.radius[there, None] * (1 + 0.4 * (kind == 0)[:, None] * shape[:, None])
        return there, down, Tracks(points, radius.expand(-1, points.shape[1]).contiguous())

    def _placed(
        self, draw: _Draw, how: Pose, glyphs: Posed, strokes: list[_Added]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where glyphs' origins go on their canvases, (N, 2), and the width and height of each line, (B, 2) int64.

        Marks join the strokes on the way.
        """
        reach = glyphs.reach.clone()
        for stroke in strokes:
            if len(stroke.owner):
                own = stroke.tracks.reach
                reach[stroke.owner, 0] = torch.minimum(reach[stroke.owner, 0], own[:, 0])
                reach[stroke.owner, 2] = torch.maximum(reach[stroke.owner, 2], own[:, 2])
        owner, down, marks = self._marks(draw, how)
        size = within(self.size, draw.line[:, OfLine.size])
        gap = within(self.gap, draw.line[:, OfLine.gap]) + self.gap_change * signed(draw.digit[:, OfDigit.gap])
        wide = reach[:, 2] - reach[:, 0]
        step = torch.zeros(len(wide), 2)
        step[:, 0] = torch.maximum(wide + gap * size, 0.55 * wide)  # neighbours may overlap, but not pass each other
        mark_reach = marks.reach
        behind = (0.02 + 0.25 * draw.digit[owner, OfDigit.mark_gap]) * size[owner]
        step[owner, 1] = mark_reach[:, 2] - mark_reach[:, 0] + behind
        # Sums are exact in any batch: whole sixteenths of a pixel.
        step = (step * 16).round().long()
        ends = step.flatten().cumsum(0).view_as(step)
        starts = torch.zeros(len(draw.lines), dtype=torch.long)
        starts[1:] = ends[draw.left == 0, 1][:-1]
        begins = (ends - step - starts[draw.of, None]).float() / 16
        lengths = (ends[draw.left == 0, 1] - starts).float() / 16
        of_line = within(self.size, draw.lines[:, OfLine.size])
        margins = draw.lines[:, OfLine.margins]
        beside = within(self.margin, margins[:, :2]) * of_line[:, None]
        x = begins[:, 0] - reach[:, 0] + beside[draw.of, 0]
        middle = lengths[draw.of] / 2
        wander = self.wander * signed(draw.digit[:, OfDigit.wander]) * draw.line[:, OfLine.wander] * size
        climb = self.rise * signed(draw.line[:, OfLine.rise])
        base = climb * (begins[:, 0] - middle)
        y = base + wander - reach[:, 3]
        top, bottom = (y + reach[:, 1]).clone(), y + reach[:, 3]
        for stroke in strokes:  # an upstroke may begin higher than its one
            if len(stroke.owner):
                own = stroke.tracks.reach + y[stroke.owner, None]
                top[stroke.owner] = torch.minimum(top[stroke.owner], own[:, 1])
        first = torch.full((len(draw.lines),), math.inf).scatter_reduce_(0, draw.of, top, "amin")
        last = torch.full((len(draw.lines),), -math.inf).scatter_reduce_(0, draw.of, bottom, "amax")
        room = within(self.headroom, margins[:, 2:].square()) * of_line[:, None]
        y = y - first[draw.of] + room[draw.of, 0]
        sizes = torch.stack([lengths + beside.sum(1), last - first + room.sum(1)], 1).round().long().clamp(min=8)
        places = torch.stack([x, y], 1)
        mark_x = begins[owner, 1] + beside[draw.of[owner], 0] - mark_reach[:, 0] + behind / 2
        mark_y = (base + room[draw.of, 0] - first[draw.of])[owner] - down
        relative = torch.stack([mark_x, mark_y], 1) - places[owner]
        strokes.append(_Added(marks, draw.of[owner], owner, relative))
        return places, sizes

    def _joins(self, draw: _Draw, how: Pose, glyphs: Posed, places: torch.Tensor) -> tuple[Tracks, torch.Tensor, Any]:
        """Strokes from a digit on into the next, where the pen stays down."""
        ends = glyphs.ends + places[:, None]
        here = torch.arange(len(ends) - 1) if len(ends) > 1 else torch.zeros(0, dtype=torch.long)
        start, end = ends[here, 1], ends[here + 1, 0]
        size = how.height[here]
        away = end - start
        near = (away[:, 0] > -0.3 * size) & (away[:, 0] < 1.5 * size) & (away[:, 1].abs() < 0.85 * size)
        double = (draw.symbol[here] == ord("0")) & (draw.symbol[here + 1] == ord("0"))
        chance = torch.where(double, 0.85, 0.4) * (draw.line[here, OfLine.joins] < self.joined)
        keep = near & (draw.of[here] == draw.of[here + 1]) & (draw.digit[here, OfDigit.join] < chance)
        sag = signed(draw.digit[here, OfDigit.sag]) * 0.3 * size
        return (
            _curve(start, end, sag, 0.8 * how.radius[here])[keep],
            draw.of[here][keep],
            torch.zeros(int(keep.sum()), 2),
        )


class _Draw:
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
class _Added:
    """Strokes beside glyphs: of which lines, which glyph each belongs to, and where it is relative to that."""

    tracks: Tracks
    of: torch.Tensor
    owner: torch.Tensor
    relative: torch.Tensor | float = 0.0

    def at(self, places: torch.Tensor) -> torch.Tensor:
        return places[self.owner] + self.relative


def _curve(start: torch.Tensor, end: torch.Tensor, sag: torch.Tensor, radius: torch.Tensor) -> Tracks:
    """Strokes from start to end (N, 2) that hang by `sag` (N,) pixels in the middle."""
    t = torch.linspace(0, 1, _STEPS)[:, None]
    points = start[:, None] + (end - start)[:, None] * t
    points[:, :, 1] += sag[:, None] * 4 * t[:, 0] * (1 - t[:, 0])
    return Tracks(points, radius[:, None].expand(-1, _STEPS).contiguous())


# Marks as points (x, y up from the baseline), of the digits' size; pen lifts are left out, as overlapping points.
def _line(*points: tuple[float, float]) -> torch.Tensor:
    """A polyline through points, evenly sampled, (_MARK, 2)."""
    corners = torch.tensor(points)
    steps = (corners[1:] - corners[:-1]).norm(dim=1)
    along = torch.cat([torch.zeros(1), steps.cumsum(0)])
    at = torch.linspace(0, float(along[-1]), _MARK)
    i = torch.searchsorted(along, at).clamp(1, len(along) - 1)
    share = ((at - along[i - 1]) / steps[i - 1].clamp(min=1e-6))[:, None]
    return torch.lerp(corners[i - 1], corners[i], share)


def _pieces(*pieces: torch.Tensor) -> torch.Tensor:
    """Several polylines as one mark, (_MARK, 2)."""
    each = _MARK // len(pieces)
    parts = [piece[torch.linspace(0, _MARK - 1, each).round().long()] for piece in pieces]
    return torch.cat([*parts, parts[-1][-1:].expand(_MARK - each * len(pieces), 2)])


_MARK = 64
_CIRCLE = [(0.12 * math.cos(a / 8 * math.pi), 0.12 * math.sin(a / 8 * math.pi)) for a in range(17)]
_STOP = _line((0.0, 0.0), (0.02, 0.0))
_DASH = _line((0.0, 0.3), (0.45, 0.34))
# What can end an amount. The first three, a full stop, a comma and a dash, also set digits apart.
_MARKS = torch.stack(
    [
        _STOP,
        _line((0.04, 0.05), (0.0, -0.18)),
        _DASH,
        _line((0.0, 0.3), (0.5, 0.36), (1.3, 0.3)),
        _pieces(_line((0.0, 0.22), (0.5, 0.26)), _line((0.02, 0.42), (0.5, 0.46))),
        _pieces(_STOP, _line((0.2, 0.1), (0.55, 0.14))),
        _line((0.0, 0.3), (0.15, 0.42), (0.35, 0.24), (0.6, 0.4)),
        _pieces(_line((0.0, 0.45), (0.7, 0.5)), _line((0.22, 0.15), (0.32, 0.8)), _line((0.42, 0.15), (0.52, 0.8))),
        _line(*[(x, 0.7 + y) for x, y in _CIRCLE]),
        _pieces(*(_line(*[(shift + x, 0.75 + y) for x, y in _CIRCLE]) for shift in (0.0, 0.3))),
        _pieces(_line((0.05, 0.05), (0.0, -0.15)), _line((0.2, 0.15), (0.6, 0.2))),
        _line((0.0, 0.05), (0.35, 0.0), (0.9, 0.1)),
    ]
)


def _marks_of(kind: torch.Tensor, shape: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tracks of marks, (M, _MARK, 2) around their origins, and how far that is above the baseline, (M,). Pixels."""
    points = _MARKS[kind] * (size * (0.7 + 0.6 * shape))[:, None, None]
    points = torch.stack([points[..., 0], -points[..., 1]], 2)
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    middle = (low + high) / 2
    return points - middle, -middle[:, 0, 1]


def _kind_of_separator(number: torch.Tensor) -> torch.Tensor:
    """Most write a full stop, some a comma, few a dash."""
    return (number > 0.75).long() + (number > 0.95).long()
