"""How digits become a line as people write it: spacing, slant, a wandering baseline, paper, and damage.

Works on all strings of a batch at once. What a string looks like is a function of its own digits and random numbers
alone: it is the same in any batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from PIL import Image

from seqocr.data.augment import CELL, blurred, thickened
from seqocr.errors import InputError

Range = tuple[float, float]  # (least, most), drawn uniformly

_BOX = 48  # pixels: the side of what a digit or mark is drawn in before it is placed
_BEYOND = 8  # pixels drawn to the right of a line and cut off, so that no operation sees where the batch's canvas ends
_INKED = 0.3  # from this darkness on a column is part of a digit
_BANK = (256, 1024)  # size of the noise that lines take theirs from


@dataclass(frozen=True)
class Layout:
    """How far a line may depart from digits side by side on black. What is drawn once a line, and what once a digit,
    is said; "±" is a largest departure to either side.

    Attributes:
        height: pixels.
        margin: pixels of paper on the left and on the right, a line.
        gap: pixels between the ink of neighbours, a line; below 0 they touch or overlap.
        gap_change: ± pixels a gap.
        size: of digits relative to MNIST's, a line; size_change: ± share of it, a digit.
        slant: ± tangent, a line; slant_change: ± tangent, a digit.
        thickness: ± share of a dilation or erosion mixed in, a line.
        rise: ± pixels that the baseline goes up or down over a hundred, a line; wander: ± pixels, a digit.
        mark: chance of a full stop, comma or dash at each place between two digits; end: chance of one, or of an equals
            sign, after the last.
        paper: brightness of the background in [0, 1], a line; ink: share of it that ink takes away.
        gradient: ± change of brightness across a line.
        texture: most contrast of waves printed on the paper, as on cheques, of that of ink; rule: chance of a ruled
            line.
        noise: most standard deviation of noise, of a brightness of 1; blur: most share of a 3x3 binomial filter.
        jpeg: most coarseness of JPEG's quantisation (1 is about quality 50).
        invert: chance that the line is light on dark.
    """

    height: int = 40
    margin: Range = (2, 12)
    gap: Range = (0, 8)
    gap_change: float = 2
    size: Range = (0.8, 1.25)
    size_change: float = 0.1
    slant: float = 0.3
    slant_change: float = 0.1
    thickness: float = 0.5
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
    jpeg: float = 0.0
    invert: float = 0.0

    line_numbers = 32  # uniform random numbers that a line takes
    digit_numbers = 16  # and each of its digits

    def __post_init__(self) -> None:
        if not CELL <= self.height <= 4 * _BOX:
            raise InputError(f"height {self.height}: give {CELL} to {4 * _BOX} pixels")

    def __call__(
        self, digits: torch.Tensor, lengths: list[int], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """Draw lines.

        Args:
            digits: (N, 28, 28) float32 in [0, 1], white on black, those of all lines in order.
            lengths: digits in each of the B lines, N in all.
            lines: (B, line_numbers) float32 uniform in [0, 1).
            noise: (N, digit_numbers) likewise. The two are the only source of randomness.

        Returns:
            B images (height, w_i) uint8, dark on light if the paper is light.
        """
        counts = torch.tensor(lengths)
        of = torch.repeat_interleave(torch.arange(len(lengths)), counts)  # the line of each digit
        line, last = lines[of], torch.zeros(len(digits), dtype=torch.bool)
        last[counts.cumsum(0) - 1] = True
        ink = self._digits(digits, line, noise)
        marks, there = self._marks(line, noise, last)
        canvas, widths = self._placed(torch.stack([ink, marks], 1), there, of, last, lines, line, noise)
        canvas = torch.lerp(canvas, blurred(canvas), lines[:, 8].view(-1, 1, 1) * self.blur)
        page = self._on_paper(canvas, lines)
        page = _as_jpeg(page, lines[:, 9] * self.jpeg) if self.jpeg else page
        light = (lines[:, 10] < self.invert).view(-1, 1, 1)
        pixels = torch.where(light, 1 - page, page).clamp(0, 1).mul(255).round().to(torch.uint8)
        return [image[:, :width] for image, width in zip(pixels, widths, strict=True)]

    def _digits(self, digits: torch.Tensor, line: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Sized, slanted and thickened, (N, _BOX, _BOX)."""
        size = _within(self.size, line[:, 0]) * (1 + self.size_change * _signed(noise[:, 0]))
        slant = self.slant * _signed(line[:, 1]) + self.slant_change * _signed(noise[:, 1])
        x, y = _box()
        to_source = _BOX / CELL / size[:, None, None]  # in grid_sample's coordinates the cell is [-1, 1] wide
        grid = torch.stack([(x + slant[:, None, None] * y) * to_source, (y * to_source).expand(-1, -1, _BOX)], dim=3)
        ink = F.grid_sample(digits[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]
        return thickened(ink, self.thickness * _signed(line[:, 2]))

    def _marks(self, line: torch.Tensor, noise: torch.Tensor, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What may stand after each digit and is none: (N, _BOX, _BOX), and whether it does."""
        there = noise[:, 2] < torch.where(last, self.end, self.mark)
        size = _within(self.size, line[:, 0])
        foot = 10 * size  # pixels from the middle of the box down to the baseline
        kind = (noise[:, 3] * torch.where(last, 4, 3)).floor()  # full stop, comma, dash, equals sign
        stop, comma = kind == 0, kind == 1
        dash = kind >= 2
        length = torch.where(stop, 0.0, torch.where(comma, 3 + 4 * noise[:, 4], 6 + 10 * noise[:, 4])) * size
        lean = torch.where(dash, 0.6 * (noise[:, 5] - 0.5), 1.9 + 0.4 * _signed(noise[:, 5]))
        middle = torch.where(dash, 6 * _signed(noise[:, 6]), foot + 2 * _signed(noise[:, 6]))
        thickness = 0.9 + 1.2 * line[:, 3] + 0.6 * noise[:, 7]
        drawn = _segment(length, lean, middle, thickness)
        second = _segment(length, lean, middle + 5 * size, thickness) * (kind == 3).view(-1, 1, 1)
        return torch.maximum(drawn, second), there

    def _placed(
        self,
        boxes: torch.Tensor,
        there: torch.Tensor,
        of: torch.Tensor,
        last: torch.Tensor,
        lines: torch.Tensor,
        line: torch.Tensor,
        noise: torch.Tensor,
    ) -> tuple[torch.Tensor, list[int]]:
        """Boxes (N, 2, _BOX, _BOX), each digit and its mark, side by side: ink (B, height, W) and the lines' widths.

        Everything that adds up along a line is a whole number of pixels, so that sums are exact in any batch.
        """
        shown = torch.stack([torch.ones_like(there), there], 1)
        inked = boxes.amax(dim=2) > _INKED  # (N, 2, columns)
        left = inked.int().argmax(2)
        right = _BOX - inked.flip(2).int().argmax(2)
        wide = torch.where(inked.any(2), right - left, 0)
        gap = _within(self.gap, line[:, 4])[:, None] + self.gap_change * _signed(noise[:, 8:10])
        # Neighbours may overlap, but not pass each other.
        step = torch.maximum(wide + gap.round().long(), (wide + 1) // 2) * shown
        ends = step.flatten().cumsum(0).view_as(step)
        starts = torch.zeros(len(lines), dtype=torch.long)
        starts[1:] = ends[last, 1][:-1]
        margins = _within(self.margin, lines[:, 5:7]).round().long()
        x = ends - step - left + (margins[:, 0] - starts)[of, None]
        widths = ends[last, 1] - starts + margins.sum(1) + 4  # ink is a little wider than what counts as inked
        centre = widths[of, None] / 2
        climb = self.rise / 100 * _signed(line[:, 7])[:, None] * (x + _BOX / 2 - centre)
        y = ((self.height - _BOX) / 2 + climb + self.wander * _signed(noise[:, 10:12])).round().long()
        W = int(widths.max()) + _BEYOND
        rows = y[..., None] + torch.arange(_BOX)
        columns = x[..., None] + torch.arange(_BOX)
        place = (of[:, None, None] * self.height + rows)[..., None] * W + columns[..., None, :]
        inside = ((rows >= 0) & (rows < self.height))[..., None] & ((columns >= 0) & (columns < W))[..., None, :]
        values = boxes * (inside & shown[..., None, None])
        canvas = torch.zeros(len(lines) * self.height * W)
        canvas.scatter_reduce_(0, torch.where(inside, place, 0).flatten(), values.flatten(), "amax")
        return canvas.view(len(lines), self.height, W), widths.tolist()

    def _on_paper(self, ink: torch.Tensor, lines: torch.Tensor) -> torch.Tensor:
        """Ink (B, H, W) in [0, 1] to brightness."""
        _, H, W = ink.shape
        column = lines.unsqueeze(2).unsqueeze(3)  # (B, numbers, 1, 1)
        y, x = torch.arange(H).view(1, H, 1) / 40, torch.arange(W).view(1, 1, W) / 40  # of the usual height
        shade, dark = _within(self.paper, column[:, 11]), _within(self.ink, column[:, 27])
        paper = shade + self.gradient * _signed(column[:, 12]) * (x / 4 + y - 0.75)
        if self.texture:
            strength = self.texture * dark * column[:, 13]
            for i in (0, 1):
                angle, pitch = math.pi * column[:, 14 + i], 5 + 15 * column[:, 16 + i]
                bend = 0.4 * column[:, 18 + i] * torch.sin(2 * math.pi * (x * (1 + column[:, 20 + i]) + y / 2))
                wave = torch.sin(2 * math.pi * (pitch * (x * angle.cos() / 2 + y * angle.sin()) / 2 + bend * pitch / 4))
                paper = paper - strength * (column[:, 22 + i] < (1.0, 0.6)[i]) * wave.clamp(min=0) ** 2
        if self.rule:
            at = torch.where(column[:, 25] < 0.5, 0.06, 0.94) * H / 40 + 0.1 * _signed(column[:, 26])
            paper = paper - (column[:, 24] < self.rule) * 0.5 * (1 - ((y - at - 0.02 * x) * 40).abs()).clamp(0, 1)
        # On black paper ink is light.
        page = torch.where(shade > 0.25, paper * (1 - dark * ink), paper + dark * ink * (1 - paper))
        if self.noise:
            down = (lines[:, 28] * (_BANK[0] - H)).long().view(-1, 1, 1) + torch.arange(H).view(1, H, 1)
            along = ((lines[:, 29] * _BANK[1]).long().view(-1, 1, 1) + torch.arange(W).view(1, 1, W)) % _BANK[1]
            page = page + self.noise * column[:, 30] * _noise_bank()[down, along]
        return page


LEVELS: dict[str, Layout | None] = {
    "grid": None,  # side by side in their cells, untouched
    "jitter": Layout(),
    "wild": Layout(
        height=48,
        margin=(0, 20),
        gap=(-4, 12),
        gap_change=3,
        size=(0.8, 1.5),
        size_change=0.15,
        slant=0.6,
        slant_change=0.15,
        thickness=0.7,
        rise=8,
        wander=3,
        mark=0.15,
        end=0.4,
        paper=(0.5, 1.0),
        ink=(0.35, 0.95),
        gradient=0.15,
        texture=0.2,
        rule=0.4,
        noise=0.06,
        blur=1.0,
        jpeg=1.0,
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


def _segment(length: torch.Tensor, lean: torch.Tensor, middle: torch.Tensor, thickness: torch.Tensor) -> torch.Tensor:
    """Straight strokes through a box's vertical axis, (N, _BOX, _BOX) in [0, 1].

    Args:
        length, thickness: pixels; thickness is half the stroke's.
        lean: angle to the horizontal, radians.
        middle: pixels below the box's middle.
    """
    x, y = (axis * _BOX / 2 for axis in _box())
    along, across = lean.cos().view(-1, 1, 1), lean.sin().view(-1, 1, 1)
    y = y - middle.view(-1, 1, 1)
    half = (length / 2).view(-1, 1, 1)
    t = (x * along + y * across).clamp(-half, half)
    distance = ((x - t * along) ** 2 + (y - t * across) ** 2).sqrt()
    return (thickness.view(-1, 1, 1) + 0.5 - distance).clamp(0, 1)


# JPEG's luminance quantisation at quality 50 (ITU-T T.81, table K.1).
_QUANTISATION = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float64,
)


def _as_jpeg(pages: torch.Tensor, coarseness: torch.Tensor) -> torch.Tensor:
    """Brightness (B, H, W) after JPEG's rounding of the cosine coefficients of 8x8 blocks.

    Args:
        coarseness: (B,), of the steps rounded to, relative to quality 50's.

    In double precision, whose rounding never moves a coefficient to another step (see `Augmentation`).
    """
    batch, H, W = pages.shape
    padded = F.pad(pages[:, None].double(), (0, -W % 8, 0, -H % 8), mode="replicate")[:, 0] * 255 - 128
    blocks = padded.unfold(1, 8, 8).unfold(2, 8, 8)  # (B, rows, columns, 8, 8)
    k = torch.arange(8, dtype=torch.float64)
    cosines = torch.cos((2 * k + 1) * k[:, None] * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    steps = (_QUANTISATION * coarseness.double().view(-1, 1, 1)).clamp(min=1).view(batch, 1, 1, 8, 8)
    rounded = (cosines @ blocks @ cosines.T / steps).round() * steps
    blocks = (cosines.T @ rounded @ cosines).transpose(2, 3)
    return ((blocks.reshape(padded.shape) + 128) / 255)[:, :H, :W].float()
