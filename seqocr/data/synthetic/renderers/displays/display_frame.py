"""What is around the digits of a display: margins, units and icons, rows cut off, bezels, and the glass in front."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, colour, smooth_noise, text_mask
from seqocr.data.synthetic.renderers.displays.display_looks import blur, choose

# No digits, and no letters that could stand for one.
UNITS = ("km", "kWh", "V", "mV", "A", "W", "kW", "kg", "g", "C", "F", "mph", "km/h", "Hz", "bar", "AM", "PM", "h")
WORDS = ("ODO", "TRIP", "TOTAL", "MAX", "MIN", "HOLD", "SET", "RATE", "FARE", "NET", "TARE", "TEMP", "PULSE", "Watt")
REACH_ODDS = np.array([0.35, 0.45, 0.2])  # of margins cut close, usual and wide
Window = tuple[int, int, int, int]  # left, top, right, bottom of the part that is display, in pixels


def margins(unit: float, rng: np.random.Generator) -> list[int]:
    """Pixels left, top, right and bottom of the digits: mostly less than a third of their height."""
    reach = (0.12, 0.3, 0.9)[choose(REACH_ODDS, rng)]
    return [round(unit * float(side)) for side in rng.uniform(0, reach, 4)]


def paste(canvas: np.ndarray, mask: np.ndarray, x: int, y: int) -> None:
    """A mask, laid onto a canvas (h, w) in place; what does not fit is cut off."""
    h, w = canvas.shape
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + mask.shape[1], w), min(y + mask.shape[0], h)
    if left < right and top < bottom:
        part = canvas[top:bottom, left:right]
        np.maximum(part, mask[top - y : bottom - y, left - x : right - x], out=part)


def frame(
    lit: np.ndarray,
    ghost: np.ndarray | None,
    unit: float,
    fonts: Fonts,
    rng: np.random.Generator,
    beside: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None, Window]:
    """Masks (h, w) with a margin and clutter around them, and the window of the display.

    Args:
        beside: mask of another row, of which the edge of a crop shows a part.
    """
    left, top, right, bottom = margins(unit, rng)
    unit_mask = None
    if rng.random() < 0.2:
        unit_mask = _sign(UNITS, unit * rng.uniform(0.25, 0.55), fonts, rng)
        gap = round(unit * rng.uniform(0.08, 0.3))
        # Half of the crops end within the unit.
        right = gap + round(unit_mask.shape[1] * (rng.uniform(0.15, 0.9) if rng.random() < 0.5 else 1.1))
    if beside is not None:
        edge = round(unit * rng.uniform(0.1, 0.3))
        over = rng.random() < 0.5
        hidden = round(beside.shape[0] * rng.uniform(0.6, 0.9))
        top, bottom = (max(top, edge), bottom) if over else (top, max(bottom, edge))
        top, bottom = (top + beside.shape[0] - hidden, bottom) if over else (top, bottom + beside.shape[0] - hidden)
    h, w = lit.shape
    canvas = np.zeros((h + top + bottom, w + left + right), np.float32)
    if beside is not None:
        y = -hidden if over else canvas.shape[0] - beside.shape[0] + hidden
        paste(canvas, beside, round(rng.uniform(-0.2, 0.6) * w), y)
    if unit_mask is not None:
        low, high = top, top + h - unit_mask.shape[0]
        paste(canvas, unit_mask, left + w + gap, (low, high, (low + high) // 2)[int(rng.integers(3))])
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.15 else 0):
        _put_icon(canvas, (left, top, left + w, top + h), unit, fonts, rng)
    paste(canvas, lit, left, top)
    full = None
    if ghost is not None:
        full = canvas.copy()
        paste(full, ghost, left, top)
    pad = [round(unit * float(side)) for side in rng.uniform(0.08, 0.6, 4)]
    return canvas, full, (left - pad[0], top - pad[1], left + w + pad[2], top + h + pad[3])


def _sign(words: tuple[str, ...], size: float, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A word (h, w), about as high as `size` pixels."""
    face = fonts.face(rng, max(7, round(size * 1.3)), "print", "narrow")
    mask = text_mask(words[int(rng.integers(len(words)))], face)
    return mask * float(rng.uniform(0.6, 1))


def _icon(size: int, rng: np.random.Generator) -> np.ndarray:
    """A battery, an arrow, a ring, a bar or a lamp: (size, about size) float32."""
    canvas = Image.new("L", (2 * size * 2, size * 2))
    pen, s, line = ImageDraw.Draw(canvas), size * 2, max(1, size // 4)
    kind = int(rng.integers(5))
    if kind == 0:
        pen.rectangle((0, s // 5, 2 * s - s // 4, s - s // 5), outline=255, width=line)
        pen.rectangle((2 * s - s // 4, s // 3, 2 * s - 1, s - s // 3), fill=255)
        pen.rectangle((s // 4, s // 3, int(s * rng.uniform(0.4, 1.6)), s - s // 3), fill=255)
    elif kind == 1:
        up, right, down = (0, s - 1, s, s - 1, s // 2, 0), (0, 0, s, s // 2, 0, s - 1), (0, 0, s, 0, s // 2, s - 1)
        pen.polygon((up, right, down)[int(rng.integers(3))], fill=255)
    elif kind == 2:
        pen.ellipse((0, 0, s - 1, s - 1), outline=255, width=line)
    elif kind == 3:
        for i in range(4):
            pen.rectangle((i * s // 2, s - (i + 1) * s // 4, i * s // 2 + s // 3, s - 1), fill=255)
    else:
        pen.ellipse((0, 0, s - 1, s - 1), fill=255)
    box = canvas.getbbox() or (0, 0, 2, 2)
    return np.asarray(canvas.crop(box).reduce(2), np.float32) / 255


def _put_icon(canvas: np.ndarray, text: Window, unit: float, fonts: Fonts, rng: np.random.Generator) -> None:
    """An icon or a word above, below or left of the text, cut off where a crop leaves no room for it."""
    size = max(4, round(unit * rng.uniform(0.12, 0.3)))
    mask = _icon(size, rng) if rng.random() < 0.5 else _sign(WORDS, size, fonts, rng)
    h, w = mask.shape
    gap = round(unit * rng.uniform(0.08, 0.2))
    x = round(rng.uniform(text[0], max(text[0], text[2] - w)))
    places = [(x, text[1] - gap - h), (x, text[3] + gap), (text[0] - gap - w, round(rng.uniform(text[1], text[3] - h)))]
    paste(canvas, mask, *places[int(rng.integers(3))])


def finish(pixels: np.ndarray, window: Window, unit: float, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """The display (h, w, 3) in its case, behind its glass; float32."""
    if rng.random() < 0.4:
        pixels = _bezel(pixels, window, unit, fonts, rng)
    if rng.random() < 0.22:
        pixels = _glass(pixels, rng)
    return pixels


def _bezel(pixels: np.ndarray, window: Window, unit: float, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A case around the window; only crops with wide margins show it."""
    h, w = pixels.shape[:2]
    left, top, right, bottom = window
    if left <= 0 and top <= 0 and right >= w and bottom >= h:
        return pixels
    radius = round(unit * rng.uniform(0, 0.25))
    inside = Image.new("L", (w, h))
    ImageDraw.Draw(inside).rounded_rectangle(window, radius, fill=255)
    mask = np.asarray(inside, np.float32) / 255
    case = colour(rng, 10, 70, 10) if rng.random() < 0.6 else colour(rng, 60, 230, 25)
    around = case * (1 + 0.05 * smooth_noise((h, w), unit / 2, rng))[..., None]
    if rng.random() < 0.25:  # a name or a unit printed on the case, its edge at most
        sign = _sign(WORDS + UNITS, unit * rng.uniform(0.2, 0.35), fonts, rng)
        printed = np.zeros((h, w), np.float32)
        y = top - sign.shape[0] - 2 if rng.random() < 0.5 else bottom + 2
        paste(printed, sign, round(rng.uniform(0, w * 0.7)), y)
        around = blend(around, colour(rng, 0, 60) if case.mean() > 110 else colour(rng, 170, 250), printed)
    edge = blur(mask, max(0.6, unit * rng.uniform(0.01, 0.05)))
    # The case throws a shadow into the window, and its edge catches light.
    shaded = pixels * (1 - rng.uniform(0, 0.6) * (1 - edge) * 2 * mask).clip(0, 1)[..., None]
    around = around + (edge * rng.uniform(-60, 90))[..., None]
    return blend(around, shaded, mask)


def _glass(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the glass mirrors: windows with straight edges, clouds of light, and dust on it."""
    h, w = pixels.shape[:2]
    light = colour(rng, 150, 255, 30)
    if rng.random() < 0.5:
        veil = Image.new("L", (w, h))
        x, wide, lean = rng.uniform(-0.3, 1) * w, rng.uniform(0.3, 3) * h, rng.normal(0, 1) * h
        ImageDraw.Draw(veil).polygon([(x, 0), (x + wide, 0), (x + wide + lean, h), (x + lean, h)], fill=255)
        mask = blur(np.asarray(veil, np.float32) / 255, rng.uniform(0.3, 6))
    else:
        mask = smooth_noise((h, w), rng.uniform(0.5, 2) * h, rng).clip(0, 1)
    mask = mask * rng.uniform(0.05, 0.35)
    if rng.random() < 0.3:
        mask = np.maximum(mask, (rng.random((h, w)) < 0.003) * rng.uniform(0.1, 0.5))
    return blend(pixels, pixels + (255 - pixels) * light / 255, mask)
