"""Fronts of devices: surfaces, words beside numbers, dust and scratches on the pane before them."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, smooth_noise

UNITS = (
    "km",
    "km",
    "Km",
    "KM",
    "mi",
    "miles",
    "MILES",
    "kWh",
    "m3",
    "h",
    "hours",
    "L",
    "kg",
    "k",
    "K",
    "t",
    "kVA",
    "M",
)
WORDS = (
    *("ODO", "TRIP", "TRIP A", "TOTAL", "TOTAL", "KILOMETER", "METER", "RESET", "HOURS", "No.", "COUNT", "TOTALIZER"),
    *(
        "Range",
        "FUEL",
        "ECO",
        "AM",
        "PM",
        "SERVICE",
        "kilowatt hours",
        "CUBIC METRES",
        "GAL",
        "LITRES",
        "TURN",
        "Diesel",
    ),
)

_SIZES = (8, 12, 16, 24, 40, 72)  # of faces, pixels: few, as opening one takes longer than drawing with it


def face_size(wanted: float) -> int:
    """The smallest of a few sizes of faces that is no smaller than wanted, pixels."""
    return next((size for size in _SIZES if size >= wanted), _SIZES[-1])


def surface(shape: tuple[int, int], base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Plastic, painted or brushed metal (h, w, 3) float32 of about a colour (3,)."""
    relief = rng.uniform(0, 14) * smooth_noise(shape, rng.uniform(20, 120), rng)
    kind = rng.random()
    if kind < 0.2:  # brushed: rows differ
        relief = relief + rng.normal(0, rng.uniform(1, 8), (shape[0], 1)).astype(np.float32)
    elif kind < 0.6:  # grained
        relief = relief + rng.uniform(2, 14) * smooth_noise(shape, rng.uniform(1.5, 3), rng)
    result: np.ndarray = base + relief[..., None]
    return result


def contrast_with(base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) float32 for words on a ground (3,): mostly a grey far from it in brightness, sometimes red."""
    dark = float(base.mean()) > rng.uniform(100, 150)
    if rng.random() < 0.12:
        return np.array([rng.uniform(150, 235), rng.uniform(10, 60), rng.uniform(10, 50)], np.float32)
    grey = rng.uniform(5, 70) if dark else rng.uniform(150, 250)
    return (grey + rng.uniform(-12, 12, 3)).clip(0, 255).astype(np.float32)


def words_around(
    shape: tuple[int, int], box: tuple[int, int, int, int], height: int, fonts: Fonts, rng: np.random.Generator
) -> np.ndarray:
    """Coverage (h, w) float32 of words and of rows of other numbers beside a box (left, top, right, bottom).

    They touch neither the box nor its rows on the left, and are cut off where the image ends.

    Args:
        height: of digits in the box, pixels.
    """
    canvas = Image.new("L", (shape[1], shape[0]))
    draw, (left, top, right, bottom) = ImageDraw.Draw(canvas), box
    face = fonts.face(rng, face_size(height * rng.uniform(0.2, 0.6)), "print", "narrow")
    gap = height * rng.uniform(0.08, 0.3)
    word = WORDS[int(rng.integers(len(WORDS)))]
    if rng.random() < 0.55:  # a unit behind the number
        unit = UNITS[int(rng.integers(len(UNITS)))]
        at = (top, "lt") if rng.random() < 0.3 else (bottom, "lb")
        draw.text((right + gap, at[0]), unit, 255, font=face, anchor=at[1])
    if rng.random() < 0.25:
        draw.text((left - gap, bottom), word, 255, font=face, anchor="rb")
    if rng.random() < 0.3:  # a line of words below, or above
        x = rng.uniform(left - 0.5 * height, right)
        draw.text((x, bottom + gap), f"{word} {UNITS[int(rng.integers(len(UNITS)))]}", 255, font=face, anchor="lt")
    if rng.random() < 0.3:
        digits = "  ".join(str(d) for d in rng.integers(0, 10, 9))
        line = word if rng.random() < 0.5 else digits
        draw.text((rng.uniform(left - 2 * height, right - height), top - gap), line, 255, font=face, anchor="lb")
    return np.asarray(canvas, np.float32) / 255


def pane(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same (h, w, 3) float32 behind a pane with dust, scratches and stains."""
    h, w, _ = pixels.shape
    mask = Image.new("L", (w, h))
    draw = ImageDraw.Draw(mask)
    for _ in range(int(rng.geometric(0.06)) if rng.random() < 0.7 else 0):
        x, y, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0.3, 1.2) * max(1.0, h / 60)
        draw.ellipse((x - r, y - r, x + r, y + r), int(rng.integers(40, 230)))
    for _ in range(int(rng.geometric(0.25)) if rng.random() < 0.4 else 0):
        x, y, angle = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0, 2 * np.pi)
        length = rng.uniform(0.2, 1.5) * h
        end = (x + length * np.cos(angle), y + length * np.sin(angle))
        draw.line(((x, y), end), int(rng.integers(20, 150)))
    grimy = rng.random() < 0.2
    if not grimy and mask.getbbox() is None:
        return pixels
    if rng.random() < 0.5:
        mask = mask.filter(ImageFilter.BoxBlur(0.6))
    cover = np.asarray(mask, np.float32) / 255
    if grimy:
        cover = np.maximum(cover, 0.35 * (smooth_noise((h, w), rng.uniform(4, 40), rng) - 0.2).clip(0, 1))
    dust = np.full(3, rng.uniform(120, 235) if rng.random() < 0.85 else rng.uniform(10, 60), np.float32)
    return blend(pixels, dust, cover)
