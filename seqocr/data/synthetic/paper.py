"""Paper that amounts are written on: printed with fine waves, ruled, shaded, photographed."""

import math
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from seqocr.data.augment import blur
from seqocr.data.sampling import Range, signed, within

_BANK = (256, 1024)  # size of the noise that lines take theirs from
_TALLEST = 192  # pixels: of pages


class PaperNoise:
    shade, ink, gradient, across, texture, invert, blur, jpeg, noise, grain_of = range(10)
    grain = slice(10, 12)
    rule, rule_at, rule_dark, rule_two, rule_lean, speckle = range(12, 18)
    angle, pitch, bend, bends, dark, there = range(18, 36, 3)  # of three waves each: three numbers
    count = 36


@dataclass(frozen=True)
class Paper:
    """How far paper may depart from white, and ink from black. All is sampled once per line.

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

    paper_noise_size = PaperNoise.count

    def render(self, ink: torch.Tensor, noise: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Put ink (B, H, W) float32 in [0, 1] on paper, (B, H, W) uint8.

        Args:
            noise: (B, paper_noise_size) float32, uniform in [0, 1).
            sizes: (B, 2), width and height of each line, in the upper left corner of its page.
        """
        _, H, W = ink.shape
        column = noise.unsqueeze(2).unsqueeze(3)  # (B, numbers, 1, 1)
        y, x = torch.arange(H).view(1, H, 1).float(), torch.arange(W).view(1, 1, W).float()
        width, height = (sizes[:, axis].view(-1, 1, 1) for axis in (0, 1))
        # Rules are printed under the ink.
        at = column[:, PaperNoise.rule_at]
        at = torch.where(at < 0.8, 0.99 - 0.16 * at, 0.09 * at) * height  # below, or above
        at = at + 0.04 * signed(column[:, PaperNoise.rule_lean]) * (x - width / 2)
        rule = (1.1 - (y - at - 2).abs()).clamp(0, 1)
        two = (column[:, PaperNoise.rule_two] < 0.25) * (1.1 - (y - at - 6).abs()).clamp(0, 1)
        printed = torch.maximum(rule, two) * (column[:, PaperNoise.rule] < self.rule)
        printed = printed * (0.2 + 0.6 * column[:, PaperNoise.rule_dark])
        ink = torch.lerp(ink, blur(ink), (column[:, PaperNoise.blur] * self.blur).clamp(max=1))
        if self.blur > 1:
            ink = torch.lerp(ink, blur(ink), (column[:, PaperNoise.blur] * self.blur - 1).clamp(0, 1))
        shade, dark = within(self.shade, column[:, PaperNoise.shade]), within(self.ink, column[:, PaperNoise.ink])
        paper = shade + self.gradient * signed(column[:, PaperNoise.gradient]) * (x / width - 0.5)
        paper = paper + self.gradient * signed(column[:, PaperNoise.across]) * (y / height - 0.5)
        paper = self._print_waves(paper, shade, column, x, y)
        paper = paper * (1 - printed)
        page = paper * (1 - dark * ink)
        room = torch.tensor([_BANK[0] - _TALLEST, _BANK[1] // 4])
        grain = []
        for bank, corner in zip(noise[:, PaperNoise.grain_of], noise[:, PaperNoise.grain] * room, strict=True):
            down, right = corner.long().tolist()
            rows, columns = (down + torch.arange(H)) % _BANK[0], (right + torch.arange(W)) % _BANK[1]
            grain.append(_banks()[int(3 * bank.item())][rows][:, columns])
        page = page + self.noise * column[:, PaperNoise.noise] * torch.stack(grain)
        page = torch.where(column[:, PaperNoise.invert] < self.invert, 1 - page, page)
        return page.clamp_(0, 1).mul_(255).round_().to(torch.uint8)

    def _print_waves(
        self, paper: torch.Tensor, shade: torch.Tensor, column: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Print up to two sets of fine bent waves, and one of dots, on paper (B, H, W)."""
        strength = self.texture * shade * (0.3 + 0.7 * column[:, PaperNoise.texture])
        for i, chance in enumerate((0.85, 0.5, 0.3)):
            there = (column[:, PaperNoise.there + i, 0, 0] < chance).nonzero()[:, 0]
            of = column[there]
            # Most are nearly level, as on most cheques.
            off_level = signed(of[:, PaperNoise.angle + i])
            angle = math.pi / 2 * (1 + off_level * off_level.abs())
            period = 3 + 4 * of[:, PaperNoise.pitch + i]  # pixels
            cos, sin = angle.cos(), angle.sin()
            along, across = x * cos + y * sin, y * cos - x * sin
            bent = 2.5 * of[:, PaperNoise.bend + i] * torch.sin(across / (8 + 40 * of[:, PaperNoise.bends + i]))
            wave = torch.sin(2 * math.pi * (along / period + bent)).clamp_(min=-0.2).square_()
            if i == 2:  # dots
                wave = 2 * wave * torch.sin(2 * math.pi * across / period).clamp_(min=0)
            paper = paper.index_add(0, there, -strength[there] * (0.3 + 0.7 * of[:, PaperNoise.dark + i]) * wave)
        return paper

    def compress(self, images: list[torch.Tensor], noise: torch.Tensor) -> list[torch.Tensor]:
        """Images (h_i, w_i) uint8 as they come back from JPEG files."""
        if self.jpeg is None:
            return images
        stored = []
        for page, quality in zip(images, within(self.jpeg, noise[:, PaperNoise.jpeg]).tolist(), strict=True):
            Image.fromarray(page.numpy()).save(file := BytesIO(), "JPEG", quality=round(quality))
            with Image.open(file) as image:
                stored.append(torch.from_numpy(np.array(image)))
        return stored


@cache
def _banks() -> list[torch.Tensor]:
    """Noise of three grains, each of standard deviation 1."""
    noise = torch.randn(_BANK, generator=torch.Generator().manual_seed(0))
    banks = [noise]
    for _ in range(2):
        noise = blur(noise[None])[0]
        banks.append(noise / noise.std())
    return banks
