"""Numbers of dots: modules of lamps and liquid crystals, signs, and slips from a printer with pins."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, colour, smooth_noise, text_mask, to_image
from seqocr.data.synthetic.renderers.displays import display_looks as looks
from seqocr.data.synthetic.renderers.displays.display_frame import finish, frame
from seqocr.data.synthetic.renderers.displays.dot_glyphs import ROWS, pattern, sampled

PITCH = 8  # pixels from dot to dot where they are drawn, before all is made as small as the image needs
KIND_ODDS = np.array([0.3, 0.12, 0.36, 0.22])  # of crystals, negative crystals, lamps and print
SIGN_ROWS = (9, 17)  # dots of the height of a sign's digits, from and below


def _dot(size: float, kind: str) -> np.ndarray:
    """A dot (PITCH, PITCH) float32 of a size in parts of the pitch; those of print reach beyond it, and are cut off."""
    canvas = Image.new("L", (PITCH * 4, PITCH * 4))
    low, high = PITCH * 2 * (1 - size), PITCH * 2 * (1 + size)
    pen = ImageDraw.Draw(canvas)
    (pen.ellipse if kind == "round" else pen.rectangle)((low, low, high - 1, high - 1), fill=255)
    return np.asarray(canvas.reduce(4), np.float32) / 255


def _dots_of(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """The dots (rows, columns) of a text, of modules with seven rows or of a sign with more."""
    if rng.random() < 0.3 and text.strip():
        rows = int(rng.integers(*SIGN_ROWS))
        face = fonts.face(rng, 48, "print", "narrow", "mono")
        line = text_mask(text, face, tracking=float(rng.uniform(2, 10)), stroke=int(rng.integers(0, 3)))
        # Marks stand below or above digits: with an 8 beside them they keep their places, and the line its height.
        height = text_mask("8", face).shape[0]
        return sampled(line, max(3, round(rows * line.shape[0] / max(height, 1))))
    dots = pattern(text, rng, fixed=bool(rng.random() < 0.7))
    if rng.random() < 0.1:
        dots = np.repeat(dots, 2, axis=1)
    return dots


def dot_masks(
    dots: np.ndarray, unit: float, rng: np.random.Generator, *, lean: float, with_off: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Coverage (h, w) float32 by dots that are on, and, if asked for, by all of them.

    Args:
        dots: (rows, columns), 1 where one is on; unit: height of seven rows in pixels; lean: tangent of the slant.
    """
    size = rng.uniform(0.6, 0.97)
    dot = _dot(size, "round" if rng.random() < 0.5 else "square")
    gains = rng.uniform(rng.uniform(0.5, 1), 1, dots.shape).astype(np.float32)  # no two lamps are the same
    stretch = rng.uniform(0.75, 1.25) if rng.random() < 0.5 else 1.0
    scale = unit / (dots.shape[0] * PITCH)
    masks = []
    for lit in (dots * gains, np.ones_like(dots))[: 1 + with_off]:
        spread = lit[:, None, :, None] * (255 * dot)[None, :, None, :]
        image = Image.fromarray(spread.reshape(dots.shape[0] * PITCH, -1).astype(np.uint8))
        if lean:
            more = int(lean * image.height)
            wide = (image.width + more, image.height)
            image = image.transform(wide, Image.Transform.AFFINE, (1, lean, -more, 0, 1, 0))
        small = (max(1, round(image.width * scale * stretch)), max(1, round(image.height * scale)))
        masks.append(np.asarray(image.resize(small, Image.Resampling.BOX), np.float32) / 255)
    return masks[0], masks[1] if with_off else None


def _impact(dots: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Coverage (h, w) float32 by pins that hit a ribbon: round, overlapping, never quite in line, some of them weak."""
    rows, columns = dots.shape
    pitch = 3 * unit / rows
    radius = pitch * rng.uniform(0.45, 0.75)
    narrow = rng.uniform(0.7, 1.15)
    canvas = Image.new("L", (int((columns + 1) * pitch * narrow + 4), int((rows + 1) * pitch + 4)))
    pen, wander = ImageDraw.Draw(canvas), rng.normal(0, 0.07, (rows, columns, 2)) * pitch
    slip = rng.normal(0, 0.12, columns) * pitch * (rng.random() < 0.3)
    weak = rng.uniform(rng.uniform(0.4, 1), 1, (rows, columns))
    for row, column in np.argwhere(dots > 0):
        x = (column + 1) * pitch * narrow + wander[row, column, 0]
        y = (row + 1) * pitch + wander[row, column, 1] + slip[column]
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(255 * weak[row, column]))
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 0.3) * pitch)).reduce(3)
    mask = np.asarray(canvas, np.float32) / 255
    return (mask * (1 + rng.uniform(0, 0.5) * (smooth_noise(mask.shape, unit / 4, rng) - 0.5))).clip(0, 1)


def print_on_paper(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ink (h, w) of a ribbon on white, yellowed or coloured paper: (h, w, 3) float32."""
    paper = colour(rng, 215, 250, 12) if rng.random() < 0.7 else colour(rng, 140, 235, 40)
    tone = colour(rng, 5, 90, 15) if rng.random() < 0.7 else colour(rng, 60, 120, 60)
    ground = paper * (1 + 0.04 * smooth_noise(ink.shape, 3, rng))[..., None]
    if rng.random() < 0.2:  # a ruled line, or the edge of a coloured band of the form
        row = int(rng.integers(ink.shape[0]))
        ground[row : row + int(rng.integers(1, 3))] *= rng.uniform(0.5, 0.9)
    return blend(ground, tone, ink * rng.uniform(0.45, 1))


def draw_dots(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A text of dots that shine, darken or were hit by pins: (h, w, 3) uint8."""
    kind = looks.choose(KIND_ODDS, rng)
    unit = float(rng.uniform(20, 56) if len(text) < 10 else rng.uniform(18, 32))
    dots = _dots_of(text, fonts, rng)
    unit *= dots.shape[0] / ROWS if dots.shape[0] < ROWS else 1.0
    if kind == 3:
        ink, _, _ = frame(_impact(dots, unit, rng), None, unit, fonts, rng)
        return to_image(print_on_paper(ink, rng))
    if rng.random() < 0.3:  # unlit dots around, of which the sign has more than the text needs
        sides = rng.integers(0, 3, 4)
        dots = np.pad(dots, ((sides[0], sides[1]), (sides[2], sides[3])))
        unit *= 1 + float(sides[0] + sides[1]) / ROWS
    lean = float(rng.uniform(0.05, 0.25)) if rng.random() < 0.08 else 0.0
    with_off = bool(rng.random() < (0.3 if kind == 2 else 0.6))
    lit, ghost = dot_masks(dots, unit, rng, lean=lean, with_off=with_off)
    lit, ghost, window = frame(lit, ghost, unit, fonts, rng)
    if kind == 0:
        pixels = looks.liquid_crystal(lit, ghost, unit, rng, fine=True)
    else:
        pixels = (looks.negative_crystal if kind == 1 else looks.glow)(lit, ghost, unit, rng)
    return to_image(finish(pixels, window, unit, fonts, rng))
