"""How digits become a line as people write it: spacing, slant, a wandering baseline, paper, and damage.

Works on all strings of a batch at once. What a string looks like is a function of its own digits and random numbers
alone: it is the same in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from seqocr.data.augment import CELL
from seqocr.data.chance import Draw, OfDigit, OfLine, Range, signed, within
from seqocr.data.glyphs import BOX, INKED, Glyphs
from seqocr.data.paper import Paper
from seqocr.errors import InputError

_BEYOND = 8  # pixels drawn to the right of a line and cut off, so that no operation sees where the batch's canvas ends
_TOGETHER = 8  # lines on one canvas: few enough for the processor's cache, and of like width


@dataclass(frozen=True)
class Layout(Glyphs, Paper):
    """How far a line may depart from digits side by side on black. "±" is a largest departure to either side.

    Attributes:
        height: pixels.
        margin: pixels of paper on the left and on the right, a line.
        gap: pixels between the ink of neighbours, a line; below 0 they touch or overlap.
        gap_change: ± pixels a gap.
        rise: ± pixels that the baseline goes up or down over a hundred, a line; wander: ± pixels, a digit.

    And those of `Glyphs` and `Paper`.
    """

    height: int = 40
    margin: Range = (2, 12)
    gap: Range = (0, 8)
    gap_change: float = 2
    rise: float = 4
    wander: float = 2

    line_numbers = OfLine.count  # uniform random numbers that a line takes
    digit_numbers = OfDigit.count  # and each of its digits

    def __post_init__(self) -> None:
        if not CELL <= self.height <= 4 * BOX:
            raise InputError(f"height {self.height}: give {CELL} to {4 * BOX} pixels")

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
        draw = Draw.of_lines(texts, lines, noise)
        boxes = torch.cat([self.digits(digits, draw, self.height), self.marks(draw)])
        of, x, y, widths = self._placed(boxes, draw)
        # Lines of about the same width are drawn together, so that little of a canvas is drawn in vain.
        images: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for few in widths.argsort().split(_TOGETHER):
            place = torch.full_like(widths, -1)
            place[few] = torch.arange(len(few))
            among = place[of] >= 0
            size = (len(few), self.height, int(widths[few].max()) + _BEYOND)
            ink = _pasted(boxes[among], place[of[among]], x[among], y[among], size)
            for i, page in zip(few.tolist(), self.on_paper(ink, lines[few]), strict=True):
                images[i] = page[:, : widths[i]]
        return self.stored(images, lines)

    def _placed(self, boxes: torch.Tensor, draw: Draw) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Where boxes go, digits and the marks after them side by side.

        Everything that adds up along a line is a whole number of pixels, so that sums are exact in any batch.

        Returns:
            of each box its line, x and y of its upper left corner; and of each line its width. All int64.
        """
        there = self.marked(draw)

        def by_digit(values: torch.Tensor) -> torch.Tensor:
            """Of all boxes to (N, 2): of a digit and of the mark after it, 0 where there is none."""
            both = torch.zeros(len(there), 2, dtype=values.dtype)
            both[:, 0], both[there, 1] = values[: len(there)], values[len(there) :]
            return both

        inked = boxes.amax(dim=1) > INKED  # (boxes, columns)
        left = inked.int().argmax(1)
        wide = by_digit(torch.where(inked.any(1), BOX - inked.flip(1).int().argmax(1) - left, 0))
        gap = within(self.gap, draw.line[:, OfLine.gap])[:, None]
        gap = gap + self.gap_change * signed(draw.digit[:, OfDigit.gap])
        # Neighbours may overlap, but not pass each other.
        step = torch.maximum(wide + gap.round().long(), (wide + 1) // 2)
        step[:, 1] *= there
        ends = step.flatten().cumsum(0).view_as(step)
        starts = torch.zeros(len(draw.lines), dtype=torch.long)
        starts[1:] = ends[draw.last, 1][:-1]
        margins = within(self.margin, draw.lines[:, OfLine.margins]).round().long()
        x = ends - step - by_digit(left) + (margins[:, 0] - starts)[draw.of, None]
        widths = ends[draw.last, 1] - starts + margins.sum(1) + 4  # ink is a little wider than what counts as inked
        centre = widths[draw.of, None] / 2
        climb = self.rise / 100 * signed(draw.line[:, OfLine.rise])[:, None] * (x + BOX / 2 - centre)
        wander = self.wander * signed(draw.digit[:, OfDigit.wander])
        y = ((self.height - BOX) / 2 + climb + wander).round().long()
        x, y = (torch.cat([both[:, 0], both[there, 1]]) for both in (x, y))
        return torch.cat([draw.of, draw.of[there]]), x, y, widths


def _pasted(
    boxes: torch.Tensor, of: torch.Tensor, x: torch.Tensor, y: torch.Tensor, size: tuple[int, int, int]
) -> torch.Tensor:
    """Boxes (n, BOX, BOX) on canvases (B, H, W): that of `of`, with the upper left corner at (x, y), the darkest on
    top. What is off a canvas is lost.
    """
    B, H, W = size
    full_height, full_width = H + 2 * BOX, W + 2 * BOX  # with room for what is lost
    rows = (of * full_height + y.clamp(-BOX, H) + BOX)[:, None] + torch.arange(BOX)
    columns = (x.clamp(-BOX, W) + BOX)[:, None] + torch.arange(BOX)
    place = (rows * full_width)[:, :, None] + columns[:, None, :]
    canvas = torch.zeros(B * full_height * full_width)
    canvas.scatter_reduce_(0, place.flatten(), boxes.flatten(), "amax")
    return canvas.view(B, full_height, full_width)[:, BOX:-BOX, BOX:-BOX]
