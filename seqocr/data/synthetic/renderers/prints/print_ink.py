"""How ink, needles, heat and pixels make a line of print: masks (h, w) float32 in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from seqocr.data.synthetic.renderers.base import smooth_noise

# 5x7 dots, as character displays, needle printers and old screens draw them; a row a number, its leftmost dot worth 16.
_DOTS = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    ".": (0, 0, 0, 0, 0, 12, 12),
    ",": (0, 0, 0, 0, 12, 4, 8),
    "-": (0, 0, 0, 31, 0, 0, 0),
    "/": (0, 1, 2, 4, 8, 16, 0),
    ":": (0, 12, 12, 0, 12, 12, 0),
    "+": (0, 4, 4, 31, 4, 4, 0),
    " ": (0, 0, 0, 0, 0, 0, 0),
}
_PLAIN_ZERO = (14, 17, 17, 17, 17, 17, 14)


def spaced_mask(
    text: str, face: ImageFont.FreeTypeFont, gaps: np.ndarray, down: np.ndarray, *, pitch: float = 0, stroke: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A line of text, cut to its ink, and what symbol each pixel belongs to.

    Args:
        gaps: (n,) pixels added after each symbol; down: (n,) pixels by which each is moved down.
        pitch: pixels of a fixed cell; 0: as wide as each symbol is.

    Returns:
        Coverage (h, w) float32 in [0, 1], and the left edges (n,) of the symbols.
    """
    widths = np.array([face.getlength(symbol) for symbol in text])
    size = int(face.size)
    steps = np.maximum(widths if not pitch else np.maximum(pitch, 0.9 * widths), 1) + gaps
    starts = np.concatenate(([0.0], np.cumsum(steps)[:-1])) + size
    lefts = starts + (np.maximum(pitch, 0.9 * widths) - widths) / 2 if pitch else starts
    canvas = Image.new("L", (int(starts[-1] + widths[-1]) + 2 * size, 3 * size))
    draw = ImageDraw.Draw(canvas)
    if not pitch and not gaps.any() and not down.any():  # in one call, which is faster
        draw.text((float(lefts[0]), size * 0.8), text, 255, font=face, stroke_width=stroke)
        text = ""
    for symbol, left, lower in zip(text, lefts, down, strict=False):
        if symbol != " ":
            draw.text((float(left), size * 0.8 + float(lower)), symbol, 255, font=face, stroke_width=stroke)
    box = canvas.getbbox() or (size, size, size + max(2, size // 2), 2 * size)
    return np.asarray(canvas.crop(box), np.float32) / 255, starts - box[0]


def has_dots(text: str) -> bool:
    """Whether there are 5x7 dots for all symbols of a text."""
    return all(symbol in _DOTS for symbol in text)


def dot_matrix(text: str, height: float, rng: np.random.Generator) -> np.ndarray:
    """Text of 5x7 dots about `height` pixels high: round, square or run together."""
    cell = max(2, round(height / 7))
    slashed = rng.random() < 0.3
    columns = []
    between = int(rng.integers(1, 3))
    for symbol in text:
        rows = _PLAIN_ZERO if symbol == "0" and not slashed else _DOTS[symbol]
        bits = np.array([[row >> bit & 1 for bit in (4, 3, 2, 1, 0)] for row in rows], np.float32)
        columns += [bits, np.zeros((7, between), np.float32)]
    dots = np.concatenate(columns[:-1], axis=1)
    return np.kron(dots, _dot(cell, rng))


def _dot(cell: int, rng: np.random.Generator) -> np.ndarray:
    """One dot (cell, cell): round, or square and up to as large as its cell."""
    middle = (cell - 1) / 2
    y, x = np.ogrid[:cell, :cell]
    reach = rng.uniform(0.35, 0.65) * cell
    far = np.hypot(y - middle, x - middle) if rng.random() < 0.5 else np.maximum(abs(y - middle), abs(x - middle))
    return np.clip(reach - far + 0.5, 0, 1).astype(np.float32)


def coarse_dots(mask: np.ndarray, cell: int, rng: np.random.Generator) -> np.ndarray:
    """A mask as needles or heating elements of `cell` pixels print it."""
    h, w = mask.shape
    small = Image.fromarray(mask).resize((max(2, w // cell), max(2, h // cell)), Image.Resampling.BOX)
    dots = (np.asarray(small) > rng.uniform(0.35, 0.5)).astype(np.float32)
    dots *= rng.uniform(rng.uniform(0.4, 1), 1, dots.shape).astype(np.float32)  # some press less
    if rng.random() < 0.25:  # an element that is broken, or paper that slips
        dots[int(rng.integers(dots.shape[0]))] *= rng.uniform(0, 0.5)
    return np.kron(dots, np.maximum(_dot(cell, rng), 0.25))


def spread(mask: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Ink that has run into the paper: `amount` pixels further, unevenly, with a ragged edge."""
    soft = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(max(0.3, amount)))
    uneven = smooth_noise(mask.shape, 2.5, rng) * rng.uniform(0.05, 0.25)
    threshold = rng.uniform(0.2, 0.5)
    return np.clip((np.asarray(soft, np.float32) / 255 + uneven * (mask > 0) - threshold) * 3 + 0.5, 0, 1)


def fade(mask: np.ndarray, depth: float, cell: float, rng: np.random.Generator) -> np.ndarray:
    """Ink that is missing in patches of `cell` pixels: worn, faded, badly pressed."""
    patches = smooth_noise(mask.shape, max(1.5, cell), rng)
    least = 0.4 if cell > 0.2 * mask.shape[0] else 0.1  # whole symbols would be lost
    return mask * np.clip(1 - depth * (0.5 + patches), max(1 - depth, least), 1)


def by_symbol(mask: np.ndarray, starts: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Each symbol as strong as its level (n,)."""
    columns = np.searchsorted(starts, np.arange(mask.shape[1]), side="right") - 1
    return mask * levels[columns.clip(0, len(levels) - 1)].astype(np.float32)


def stencil(mask: np.ndarray, starts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bridges left open in each symbol, standing or lying."""
    cut = mask.copy()
    h, w = mask.shape
    thick = max(1, round(h * rng.uniform(0.03, 0.08)))
    if rng.random() < 0.3:
        cut[h // 2 - thick // 2 :][:thick] = 0
        return cut
    for start, end in zip(starts, [*starts[1:], w], strict=True):
        middle = round((start + end) / 2)
        cut[:, max(0, middle - thick // 2) : max(0, middle - thick // 2) + thick] = 0
    # Narrow symbols such as a one would vanish.
    thin = 0.25 * h
    for start, end in zip(starts, [*starts[1:], w], strict=True):
        part = slice(max(0, round(start)), max(1, round(end)))
        if (mask[:, part].max(axis=0, initial=0) > 0.5).sum() < thin + 2 * thick:
            cut[:, part] = mask[:, part]
            cut[h // 2 : h // 2 + thick, part] = 0
    return cut


def lean(mask: np.ndarray, slant: float) -> np.ndarray:
    """A mask (h, w') sheared by `slant` pixels to the right per pixel up."""
    h, w = mask.shape
    wider = math.ceil(abs(slant) * h)
    if not wider:
        return mask
    image = Image.fromarray((mask * 255).astype(np.uint8))
    offset = -slant * h if slant > 0 else 0.0
    data = (1, slant, offset, 0, 1, 0)
    sheared = image.transform((w + wider, h), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(sheared, np.float32) / 255
