"""What renderers share: masks of text, noise, colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqocr.data.sources.fonts import Fonts

# A text, fonts and random numbers to a colour image (h, w, 3) uint8 of that text alone, cut close or with a margin. The
# camera (perspective, blur, light, compression) is applied to it afterwards, the same for all renderers.
Renderer = Callable[[str, Fonts, np.random.Generator], np.ndarray]


def text_mask(
    text: str,
    face: ImageFont.FreeTypeFont,
    *,
    tracking: float = 0.0,
    pitch: float | None = None,
    stroke: int = 0,
    wander: np.ndarray | None = None,
) -> np.ndarray:
    """Coverage (h, w) float32 in [0, 1] of a line of text, cut to its ink.

    Args:
        tracking: pixels added between symbols.
        pitch: pixels from one symbol's centre to the next, for fixed cells; default: as wide as each symbol is.
        stroke: pixels by which outlines are made thicker.
        wander: (n,) pixels by which each symbol is moved down.
    """
    widths = [face.getlength(symbol) for symbol in text]
    size = int(face.size)
    step = [pitch or width + tracking for width in widths]
    pad = size // 2 + stroke
    canvas = Image.new("L", (int(sum(step)) + 2 * pad + size, 3 * size + 2 * stroke))
    draw, x = ImageDraw.Draw(canvas), float(pad)
    for i, (symbol, width, advance) in enumerate(zip(text, widths, step, strict=True)):
        left = x + (advance - width) / 2 if pitch else x
        down = 0.0 if wander is None else float(wander[i])
        # Below each other, symbols of one line would erase one another only where they overlap.
        draw.text((left, size + down), symbol, 255, font=face, stroke_width=stroke)
        x += advance
    box = canvas.getbbox()
    if box is None:  # a space alone, or a symbol that the font lacks
        return np.zeros((size, size // 2), np.float32)
    return np.asarray(canvas.crop(box), np.float32) / 255


def smooth_noise(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> np.ndarray:
    """Noise (h, w) float32 in [-1, 1] that changes over about `cell` pixels."""
    rows, columns = (max(2, round(side / cell) + 1) for side in shape)
    coarse = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32), "F")
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def colour(rng: np.random.Generator, low: float = 0, high: float = 255, tint: float = 40) -> np.ndarray:
    """A random colour (3,) float32 of a brightness from `low` to `high`, channels up to `tint` apart from it."""
    return (rng.uniform(low, high) + rng.uniform(-tint, tint, 3)).clip(0, 255).astype(np.float32)


def blend(ground: np.ndarray, over: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`over` (3,) or (h, w, 3) on `ground` (h, w, 3), by a mask (h, w) in [0, 1]; float32."""
    return ground + (over - ground) * mask[..., None]


def pad(mask: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """A mask (h, w) with zeros around."""
    return np.pad(mask, ((top, bottom), (left, right)))


def to_image(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8."""
    return pixels.clip(0, 255).astype(np.uint8)
