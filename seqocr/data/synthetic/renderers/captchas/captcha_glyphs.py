"""Single symbols for captchas: of a font, turned, sheared and scaled by one transform."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_KEPT = 4096  # glyphs in memory, of about 7 kB


@lru_cache(_KEPT)
def _glyph(face: ImageFont.FreeTypeFont, symbol: str) -> Image.Image:
    """A symbol in the middle of a square that is twice the font's size, its digits' middle at the centre."""
    side = 2 * int(face.size)
    tile = Image.new("L", (side, side))
    top, bottom = face.getbbox("0", anchor="ls")[1::2]
    ImageDraw.Draw(tile).text((side / 2, side / 2 - (top + bottom) / 2), symbol, 255, font=face, anchor="ms")
    return tile


@lru_cache(_KEPT)
def _digit_height(face: ImageFont.FreeTypeFont) -> float:
    """Pixels of the font's digits."""
    box = face.getbbox("0", anchor="ls")
    return float(max(1, box[3] - box[1]))


def glyph_tile(
    symbol: str, face: ImageFont.FreeTypeFont, height: float, angle: float, shear: float, rng: np.random.Generator
) -> Image.Image:
    """A mask (mode "L") of a symbol whose digits would be `height` pixels.

    Args:
        angle: degrees; shear: shift to the side, a share of the height.
    """
    source, scale = _glyph(face, symbol), height / _digit_height(face)
    side = 2 * math.ceil(height)
    wide = scale * float(rng.uniform(0.85, 1.15))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # From places in the tile to places in the glyph: turn back, then shear back, then scale back.
    a, b, d, e = cos / wide, (sin + shear * cos) / wide, -sin / scale, cos / scale
    middle, centre = side / 2, source.width / 2
    c, f = centre - a * middle - b * middle, centre - d * middle - e * middle
    return source.transform((side, side), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
