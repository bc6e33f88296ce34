"""Paper that amounts are written on: printed with fine waves, ruled, shaded, photographed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from seqocr.data.augment import blurred
from seqocr.data.sampling import Range, signed, within

_BANK = (256, 1024)  # size of the noise that lines take theirs from
_TALLEST = 192  # pixels: of pages


class OfPaper:
    """Places among a line's random numbers for its paper."""

    shade, ink, gradient, across, texture, invert, blur, jpeg, noise, grain_of = range(10)
    grain = slice(10, 12)
    rule, rule_at, rule_dark, rule_two, rule_lean, speckle = range(12, 18)
    angle, pitch, bend, bends, dark, there = range(18, 36, 3)  # of three waves each: three numbers
    count = 36


@dataclass(frozen=True)
class Paper:
    """How far paper may depart from white, and ink from black. All is drawn once a line.

    Attributes:
        shade: brightness of the paper in [0, 1]; ink: share of it that ink takes away.
        gradient: ± change of brightness across a line.
        texture: most contrast of waves printed on the paper.
        rule: chance of a ruled line below, or above.
        noise: most standard deviation of noise, of a brightness of 1; blur: most shares of 3x3 binomial filters.
        jpeg: quality that a line is stored in as a JPEG; None: it is not.
        invert: chance that the line is light on dark.
    """

    shade: Range = (0.5, 0.95)
    ink: Range = (0.5, 0.93)
    gradient: float = 0.1
    texture: float = 0.28
    rule: float = 0.4
    noise: float = 0.025
    blur: float = 1.0
    jpeg: Range | None = (40, 95)
    invert: float = 0.03

    paper_numbers = OfPaper.count

    def on_paper(self, ink: torch.Tensor, numbers: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Ink (B, H, W) in [0, 1] to pixels, uint8.

        Args:
            sizes: (B, 2), width and height of each line, in the upper left corner of its page.
        """
        _, H, W = ink.shape
        column = numbers.unsqueeze(2).unsqueeze(3)  # (B, numbers, 1, 1)
        y, x = torch.arange(H).view(1, H, 1).float(), torch.arange(W).view(1, 1, W).float()
        width, height = (sizes[:, axis].view(-1, 1, 1) for axis in (0, 1))
        # Rules are printed under the ink.
        below = column[:, OfPaper.rule_at] < 0.8
        at = torch.where(below, 0.99 - 0.16 * column[:, OfPaper.rule_at], 0.09 * column[:, OfPaper.rule_at]) * height
        at = at + 0.04 * signed(column[:, OfPaper.rule_lean]) * (x - width / 2)
        rule = (1.1 - (y - at - 2).abs()).clamp(0, 1)
        two = (column[:, OfPaper.rule_two] < 0.25) * (1.1 - (y - at - 6).abs()).clamp(0, 1)
        printed = torch.maximum(rule, two) * (column[:, OfPaper.rule] < self.rule)
        printed = printed * (0.2 + 0.6 * column[:, OfPaper.rule_dark])
        ink = torch.lerp(ink, blurred(ink), (column[:, OfPaper.blur] * self.blur).clamp(max=1))
        if self.blur > 1:
            ink = torch.lerp(ink, blurred(ink), (column[:, OfPaper.blur] * self.blur - 1).clamp(0, 1))
        shade, dark = within(self.shade, column[:, OfPaper.shade]), within(self.ink, column[:, OfPaper.ink])
        paper = shade + self.gradient * signed(column[:, OfPaper.gradient]) * (x / width - 0.5)
        paper = paper + self.gradient * signed(column[:, OfPaper.across]) * (y / height - 0.5)
        paper = self._printed_on(paper, shade, column, x, y)
        paper = paper * (1 - printed)
        page = paper * (1 - dark * ink)
        room = torch.tensor([_BANK[0] - _TALLEST, _BANK[1] // 4])
        corners, along_x = (numbers[:, OfPaper.grain] * room).long().tolist(), torch.arange(W)
        banks = [_banks()[int(3 * of)] for of in numbers[:, OfPaper.grain_of].tolist()]
        grain = torch.stack(
            [
                b[(down + torch.arange(H)) % _BANK[0]][:, (right + along_x) % _BANK[1]]
                for b, (down, right) in zip(banks, corners, strict=True)
            ]
        )
        page = page + self.noise * column[:, OfPaper.noise] * grain
        page = torch.where(column[:, OfPaper.invert] < self.invert, 1 - page, page)
        return page.clamp_(0, 1).mul_(255).round_().to(torch.uint8)

    def _printed_on(
        self, paper: torch.Tensor, shade: torch.Tensor, column: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Paper (B, H, W) with up to two sets of fine bent waves, and one of dots."""
        strength = self.texture * shade * (0.3 + 0.7 * column[:, OfPaper.texture])
        for i, chance in enumerate((0.85, 0.5, 0.3)):
            there = (column[:, OfPaper.there + i, 0, 0] < chance).nonzero()[:, 0]
            of = column[there]
            # Most are nearly level, as on most cheques.
            off_level = signed(of[:, OfPaper.angle + i])
            angle = math.pi / 2 * (1 + off_level * off_level.abs())
            period = 3 + 4 * of[:, OfPaper.pitch + i]  # pixels
            cos, sin = angle.cos(), angle.sin()
            along, across = x * cos + y * sin, y * cos - x * sin
            bent = 2.5 * of[:, OfPaper.bend + i] * torch.sin(across / (8 + 40 * of[:, OfPaper.bends + i]))
            wave = torch.sin(2 * math.pi * (along / period + bent)).clamp_(min=-0.2).square_()
            if i == 2:  # dots
                wave = 2 * wave * torch.sin(2 * math.pi * across / period).clamp_(min=0)
            paper = paper.index_add(0, there, -strength[there] * (0.3 + 0.7 * of[:, OfPaper.dark + i]) * wave)
        return paper

    def stored(self, images: list[torch.Tensor], numbers: torch.Tensor) -> list[torch.Tensor]:
        """Images (h_i, w_i) uint8 as they come back from the files they were stored in."""
        if self.jpeg is None:
            return images
        quality = within(self.jpeg, numbers[:, OfPaper.jpeg]).tolist()
        return [_as_jpeg(*of_line) for of_line in zip(images, quality, strict=True)]


@cache
def _banks() -> list[torch.Tensor]:
    """Noise of three grains, each of standard deviation 1."""
    noise = torch.randn(_BANK, generator=torch.Generator().manual_seed(0))
    banks = [noise]
    for _ in range(2):
        noise = blurred(noise[None])[0]
        banks.append(noise / noise.std())
    return banks


def _as_jpeg(page: torch.Tensor, quality: float) -> torch.Tensor:
    """A page (H, W) uint8 after JPEG of that quality."""
    file = BytesIO()
    Image.fromarray(page.numpy()).save(file, "JPEG", quality=round(quality))
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image))
