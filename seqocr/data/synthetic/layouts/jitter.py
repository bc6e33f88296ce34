"""Digits spaced, sized and slanted as people write them, on clean paper."""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from seqocr.data.augment import CELL, blur, thicken
from seqocr.data.sampling import Range, signed, within
from seqocr.data.synthetic.pen import darken
from seqocr.errors import InputError

BOX = 60  # pixels: the side of the box that a digit is transformed in
_INKED = 0.3  # from this darkness on a column is part of a digit
_TALL = 20  # pixels: an MNIST digit's height
_BEYOND = 8  # pixels drawn to the right of a line and cut off, so that no operation sees where the batch's canvas ends
_TOGETHER = 8  # lines on one canvas: few enough for the processor's cache, and of like width


class LineNoise:
    """Which of a line's random numbers decides what. Test sets are a function of these places."""

    size, slant, thickness, gap, rise, blur = range(6)
    margins = slice(6, 8)
    count = 8


class DigitNoise:
    size, slant, thickness, gap, wander = range(5)
    count = 5


@dataclass(frozen=True)
class JitterLayout:
    """How far a line may depart from digits side by side. "±" is a largest departure to either side.

    What a line looks like is a function of its own digits and random numbers alone: it is the same in any batch.

    Attributes:
        height: pixels.
        margin: pixels of paper on the left and on the right, a line.
        gap: pixels between the ink of neighbours, a line; below 0 they touch or overlap; gap_change: ± pixels a gap.
        size: of digits relative to MNIST's, a line; size_change: ± share of it, a digit.
        slant: ± tangent, a line; slant_change: ± tangent, a digit.
        thickness: ± share of a dilation or erosion mixed in, a line; thickness_change: the same, a digit. Less of an
            erosion where digits are small.
        rise: ± pixels that the baseline goes up or down over a hundred, a line; wander: ± pixels, a digit.
        blur: most share of a 3x3 binomial filter, a line.
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
    thickness_change: float = 0.15
    rise: float = 4
    wander: float = 2
    blur: float = 0.3

    line_noise_size = LineNoise.count
    digit_noise_size = DigitNoise.count

    def __post_init__(self) -> None:
        if not CELL <= self.height <= 4 * BOX:
            raise InputError(f"height {self.height}: give {CELL} to {4 * BOX} pixels")

    def __call__(
        self, digits: torch.Tensor, texts: list[str], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """As `Layout`: white on black, all of one height."""
        counts = torch.tensor(list(map(len, texts)))
        of = torch.repeat_interleave(torch.arange(len(texts)), counts)
        boxes = self._transform(digits, lines[of], noise)
        x, y, widths = self._place(boxes, of, counts, lines, noise)
        # Lines of about the same width share a canvas, so that little of it is drawn in vain.
        images: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for few in widths.argsort().split(_TOGETHER):
            place = torch.full_like(widths, -1)
            place[few] = torch.arange(len(few))
            among = place[of] >= 0
            ink = torch.zeros(len(few), self.height, int(widths[few].max()) + _BEYOND)
            rows, columns = (corner[among, None] + torch.arange(BOX) for corner in (y, x))
            darken(ink, place[of[among]], rows, columns, boxes[among])
            ink = torch.lerp(ink, blur(ink), lines[few, LineNoise.blur].view(-1, 1, 1) * self.blur)
            pages = ink.clamp_(0, 1).mul_(255).round_().to(torch.uint8)
            for i, page in zip(few.tolist(), pages, strict=True):
                images[i] = page[:, : widths[i]]
        return images

    def _transform(self, digits: torch.Tensor, line: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Size, slant and thicken digits (N, 28, 28), to (N, BOX, BOX); `line` is the noise of each digit's line."""
        size = within(self.size, line[:, LineNoise.size]) * (1 + self.size_change * signed(noise[:, DigitNoise.size]))
        size = size.clamp(max=0.8 * self.height / _TALL)
        slant = self.slant * signed(line[:, LineNoise.slant]) + self.slant_change * signed(noise[:, DigitNoise.slant])
        x, y = _box()
        to_source = BOX / CELL / size[:, None, None]  # in grid_sample's coordinates the cell is [-1, 1] wide
        across = (x + slant[:, None, None] * y) * to_source
        grid = torch.stack([across, (y * to_source).expand(-1, -1, BOX)], dim=3)
        ink = F.grid_sample(digits[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]
        change = self.thickness * signed(line[:, LineNoise.thickness])
        change = change + self.thickness_change * signed(noise[:, DigitNoise.thickness])
        # The strokes of small digits are thin already, and would vanish.
        return thicken(ink, torch.where(change < 0, change * (size - 0.5).clamp(0, 1), change))

    def _place(
        self, boxes: torch.Tensor, of: torch.Tensor, counts: torch.Tensor, lines: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Place boxes side by side: x and y of each one's upper left corner, and each line's width, all int64.

        Everything that adds up along a line is a whole number of pixels, so that sums are exact in any batch.
        """
        inked = boxes.amax(dim=1) > _INKED  # (boxes, columns)
        left = inked.int().argmax(1)
        wide = torch.where(inked.any(1), BOX - inked.flip(1).int().argmax(1) - left, 0)
        gap = within(self.gap, lines[of, LineNoise.gap]) + self.gap_change * signed(noise[:, DigitNoise.gap])
        # Neighbours may overlap, but not pass each other.
        ends = torch.maximum(wide + gap.round().long(), (wide + 1) // 2)
        step, ends = ends, ends.cumsum(0)
        last = counts.cumsum(0) - 1
        starts = torch.zeros_like(counts)
        starts[1:] = ends[last][:-1]
        margins = within(self.margin, lines[:, LineNoise.margins]).round().long()
        x = ends - step - left + (margins[:, 0] - starts)[of]
        widths = ends[last] - starts + margins.sum(1) + 4  # ink is a little wider than what counts as inked
        climb = self.rise / 100 * signed(lines[of, LineNoise.rise]) * (x + BOX / 2 - widths[of] / 2)
        wander = self.wander * signed(noise[:, DigitNoise.wander])
        y = ((self.height - BOX) / 2 + climb + wander).round().long()
        return x, y, widths


@cache
def _box() -> tuple[torch.Tensor, torch.Tensor]:
    """x (1, 1, BOX) and y (1, BOX, 1) of a box's pixels, in [-1, 1]."""
    centres = (torch.arange(BOX) + 0.5) / BOX * 2 - 1
    return centres.view(1, 1, -1), centres.view(1, -1, 1)
