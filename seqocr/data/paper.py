"""What lines are written on, and what becomes of them: paper, ink, noise, blur and JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from seqocr.data.augment import blurred
from seqocr.data.chance import OfLine, Range, signed, within

_BANK = (256, 1024)  # size of the noise that lines take theirs from


@dataclass(frozen=True)
class Paper:
    """How far paper may depart from black, and lines from clean. All is drawn once a line.

    Attributes:
        paper: brightness of the background in [0, 1]; ink: share of it that ink takes away.
        gradient: ± change of brightness across a line.
        texture: most contrast of waves printed on the paper, as on cheques, of that of ink.
        rule: chance of a ruled line.
        noise: most standard deviation of noise, of a brightness of 1; blur: most share of a 3x3 binomial filter.
        jpeg: quality that a line is stored in as a JPEG; None: it is not.
        invert: chance that the line is light on dark.
    """

    paper: Range = (0.0, 0.0)
    ink: Range = (1.0, 1.0)
    gradient: float = 0.0
    texture: float = 0.0
    rule: float = 0.0
    noise: float = 0.0
    blur: float = 0.3
    jpeg: Range | None = None
    invert: float = 0.0

    def on_paper(self, ink: torch.Tensor, lines: torch.Tensor) -> torch.Tensor:
        """Ink (B, H, W) in [0, 1] to pixels, uint8."""
        _, H, W = ink.shape
        column = lines.unsqueeze(2).unsqueeze(3)  # (B, numbers, 1, 1)
        if self.blur:
            ink = torch.lerp(ink, blurred(ink), column[:, OfLine.blur] * self.blur)
        y, x = torch.arange(H).view(1, H, 1) / 40, torch.arange(W).view(1, 1, W) / 40  # of the usual height
        shade, dark = within(self.paper, column[:, OfLine.paper]), within(self.ink, column[:, OfLine.ink])
        paper = shade + self.gradient * signed(column[:, OfLine.gradient]) * (x / 4 + y - 0.75)
        if self.texture:
            strength = self.texture * dark * column[:, OfLine.texture]
            for i in (0, 1):
                angle, pitch = math.pi * column[:, OfLine.angle + i], 5 + 15 * column[:, OfLine.pitch + i]
                along = x * (1 + column[:, OfLine.bends + i]) + y / 2
                bend = 0.4 * column[:, OfLine.bend + i] * torch.sin(2 * math.pi * along)
                wave = torch.sin(2 * math.pi * (pitch * (x * angle.cos() / 2 + y * angle.sin()) / 2 + bend * pitch / 4))
                paper = paper - strength * (column[:, OfLine.waves + i] < (1.0, 0.6)[i]) * wave.clamp_(min=0).square_()
        if self.rule:
            at = torch.where(column[:, OfLine.rule_below] < 0.5, 0.06, 0.94) * H / 40
            at = at + 0.1 * signed(column[:, OfLine.rule_at])
            paper = paper - (column[:, OfLine.rule] < self.rule) * 0.5 * (1 - ((y - at - 0.02 * x) * 40).abs()).clamp(
                0, 1
            )
        # On black paper ink is light.
        page = torch.where(shade > 0.25, paper * (1 - dark * ink), paper + dark * ink * (1 - paper))
        if self.noise:
            room = torch.tensor([_BANK[0] - H, _BANK[1] // 4])
            corners, along = (lines[:, OfLine.grain] * room).long().tolist(), torch.arange(W)
            grain = torch.stack([_noise_bank()[down : down + H, (right + along) % _BANK[1]] for down, right in corners])
            page = page + self.noise * column[:, OfLine.noise] * grain
        page = torch.where(column[:, OfLine.invert] < self.invert, 1 - page, page)
        return page.clamp_(0, 1).mul_(255).round_().to(torch.uint8)

    def stored(self, images: list[torch.Tensor], lines: torch.Tensor) -> list[torch.Tensor]:
        """Images (h, w_i) uint8 as they come back from the files they were stored in."""
        if self.jpeg is None:
            return images
        quality = within(self.jpeg, lines[:, OfLine.jpeg]).tolist()
        return [_as_jpeg(*of_line) for of_line in zip(images, quality, strict=True)]


@cache
def _noise_bank() -> torch.Tensor:
    return torch.randn(_BANK, generator=torch.Generator().manual_seed(0))


def _as_jpeg(page: torch.Tensor, quality: float) -> torch.Tensor:
    """A page (H, W) uint8 after JPEG of that quality."""
    file = BytesIO()
    Image.fromarray(page.numpy()).save(file, "JPEG", quality=round(quality))
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image))
