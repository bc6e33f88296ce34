"""What cards and plates look like without their digits: gradients, pictures, guilloche, holograms, metal."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, smooth_noise, to_image

# Of names of banks behind the digits; without letters that are shaped like digits.
_LETTERS = "ACDEFHKMNPRTUVWXYaekmnprtuvwx"


def vivid(rng: np.random.Generator, low: float = 0.1, high: float = 1.0) -> np.ndarray:
    """A colour (3,) float32 of a value from `low` to `high` (of 1), often saturated."""
    value = low + (high - low) * rng.random()
    saturation = rng.random() ** 1.2 if rng.random() < 0.8 else rng.random() * 0.1
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value), np.float32) * 255


def _enlarge(small: np.ndarray, shape: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    image = Image.fromarray(to_image(small)).resize((shape[1], shape[0]), how)
    return np.asarray(image, np.float32)


def _gradient(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One colour to another over the width, the height, or between corners."""
    rows, columns = ((1, 2), (2, 1), (2, 2), (1, 3), (2, 3))[int(rng.integers(5))]
    low = rng.uniform(0, 0.8)
    one = vivid(rng, low, low + 0.2)
    small = np.array([[vivid(rng, low, min(1, low + 0.5)) for _ in range(columns)] for _ in range(rows)])
    near = rng.random()
    return _enlarge(one * near + small * (1 - near), shape, Image.Resampling.BICUBIC)


def _picture(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """As a photograph is: patches of colour with edges, blurred, over a gradient."""
    image = Image.fromarray(to_image(_gradient(shape, rng)))
    draw = ImageDraw.Draw(image)
    height, width = shape
    mean, share = np.asarray(image).mean((0, 1)), rng.uniform(0.2, 1)
    for _ in range(int(rng.integers(2, 12))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.1, 1.2) * height
        fill = tuple(int(c) for c in vivid(rng) * share + mean * (1 - share))
        angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 9))))
        points = [(x + r * math.cos(a) * 2, y + r * math.sin(a)) for a in angles]
        draw.polygon(points, fill=fill)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 0.2 * height))))
    soft = np.asarray(image, np.float32)
    light = np.ones(shape, np.float32)
    for cell in (height / 3, height / 9, 2):
        light *= 1 + smooth_noise(shape, cell, rng) * rng.uniform(0, 0.22)
    return soft * light[..., None]


def _plain(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    extreme = rng.random()
    tone = vivid(rng, 0.85, 1) if extreme < 0.2 else vivid(rng, 0.05, 0.2) if extreme < 0.45 else vivid(rng)
    return np.broadcast_to(tone, (*shape, 3))


def _waves(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A mask of guilloche: families of curves side by side."""
    height, width = shape
    canvas = Image.new("L", (width, height))
    draw, x = ImageDraw.Draw(canvas), np.arange(0, width + 4, 4)
    for _ in range(int(rng.integers(1, 4))):
        period, swing = rng.uniform(0.6, 6) * height, rng.uniform(0.1, 0.9) * height
        lines, drift, tilt = int(rng.integers(4, 16)), rng.uniform(0.02, 0.2), rng.normal(0, 0.4)
        start = rng.uniform(-0.5, 1) * height
        curve = 2 * math.pi * x / period + rng.uniform(0, 6)
        for i in range(lines):
            y = start + tilt * x + swing * np.sin(curve + i * drift * 3) + i * drift * height * 0.5
            draw.line(np.stack([x, y], 1).ravel().tolist(), fill=255, width=1)
    return np.asarray(canvas, np.float32) / 255


def _stripes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A mask of straight or bent stripes, or of a grid of two of them."""
    y, x = (axis.astype(np.float32) for axis in np.ogrid[: shape[0], : shape[1]])
    total = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, math.pi), rng.uniform(3, 40)
        bend = smooth_noise(shape, shape[0] * 2, rng) * float(rng.choice((0, 2)))
        total += np.sin((x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / period) + bend)
    return (total * rng.uniform(0.5, 4) + 0.5).clip(0, 1)


def _shapes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A mask of parts of logos: discs, rings, bars, arcs."""
    height, width = shape
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 6))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.2, 2) * height
        box = (x - r, y - r, x + r, y + r)
        fill = int(rng.uniform(90, 255))
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse(box, fill=fill)
        elif kind == 1:
            draw.ellipse(box, outline=fill, width=int(rng.integers(1, max(2, height // 5))))
        elif kind == 2:
            draw.polygon([(x, -1), (x + r, -1), (x + r * rng.uniform(-1, 2), height), (x - r, height)], fill=fill)
        else:
            draw.rectangle((x - r, y, x + r, y + r), fill=fill)
    return np.asarray(canvas.filter(ImageFilter.SMOOTH), np.float32) / 255


def _letters(shape: tuple[int, int], fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A mask of a name that is much larger than the digits, or much smaller and repeated."""
    height, width = shape
    word = "".join(_LETTERS[int(i)] for i in rng.integers(0, len(_LETTERS), int(rng.integers(3, 8))))
    if rng.random() < 0.6:
        part = Image.new("L", (max(8, width // 2), max(8, height // 2)))
        at = (rng.uniform(-1, 0.4) * part.width, rng.uniform(-0.8, 0.1) * part.height)
        ImageDraw.Draw(part).text(at, word, 255, font=fonts.face(rng, 48, "print", "display"))
        return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    face = fonts.face(rng, 12, "print")
    word += " "
    step = max(1, int(face.getlength(word)))
    line = Image.new("L", (width + step, 14))
    ImageDraw.Draw(line).text((0, 0), word * (width // step + 2), 255, font=face)
    canvas = Image.new("L", (width, height))
    for row in range(0, height, int(rng.integers(12, 24))):
        canvas.paste(line, (-(row * 7 % step), row))
    return np.asarray(canvas, np.float32) / 255


def _rainbow(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The colours (h, w, 3) of a hologram."""
    y, x = (axis.astype(np.float32) for axis in np.ogrid[: shape[0], : shape[1]])
    angle = rng.uniform(0, 2 * math.pi)
    phase = (x * math.cos(angle) + y * math.sin(angle)) * (6 / (shape[0] * rng.uniform(0.5, 4)))
    phase = phase + smooth_noise(shape, shape[0] * 0.4, rng) * rng.uniform(0, 3)
    shifts = np.array((0, 2.1, 4.2), np.float32)
    return np.asarray(150 + 105 * np.sin(phase[..., None].astype(np.float32) + shifts), np.float32)


def card_ground(shape: tuple[int, int], fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """The ground (h, w, 3) float32 of a card in [0, 255], with a print on it in most."""
    kind = rng.random()
    if kind < 0.28:
        ground = _plain(shape, rng)
    elif kind < 0.68:
        ground = _gradient(shape, rng)
    elif kind < 0.95:
        ground = _picture(shape, rng)
    else:
        ground = metal_ground(shape, rng)
    for _ in range(int(rng.choice(4, p=(0.25, 0.45, 0.2, 0.1)))):
        mask = _pattern(shape, fonts, rng)
        over = _rainbow(shape, rng) if rng.random() < 0.1 else vivid(rng)
        ground = blend(ground, over, mask * rng.uniform(0.08, 0.75) ** 1.3)
    if rng.random() < 0.04:
        ground = blend(ground, _rainbow(shape, rng), np.full(shape, rng.uniform(0.2, 0.7), np.float32))
    if rng.random() < 0.4:  # grain of the plastic, glitter
        ground = ground * (1 + rng.normal(0, rng.uniform(0.01, 0.08), shape).astype(np.float32))[..., None]
    return ground.astype(np.float32)


def _pattern(shape: tuple[int, int], fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    kind = int(rng.choice(5, p=(0.25, 0.2, 0.25, 0.1, 0.2)))
    if kind == 0:
        return _waves(shape, rng)
    if kind == 1:
        return _stripes(shape, rng)
    if kind == 2:
        return _shapes(shape, rng)
    if kind == 3:
        return _letters(shape, fonts, rng)
    return (smooth_noise(shape, shape[0] * rng.uniform(0.15, 0.7), rng) * rng.uniform(1, 9)).clip(0, 1)


def metal_ground(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Bare metal (h, w, 3) float32: brushed, cast or smooth, with wide reflections."""
    warm = rng.normal(0, 8) + (45 if rng.random() < 0.15 else 0)  # brass
    tone = rng.uniform(50, 215) + np.array((warm, warm * 0.5, -warm), np.float32)
    wide = smooth_noise(shape, shape[0] * rng.uniform(0.7, 4), rng) * rng.uniform(0.05, 0.4)
    brushed = rng.random()
    if brushed < 0.55:
        small = rng.normal(0, 1, (shape[0], max(2, shape[1] // int(rng.integers(10, 60))))).astype(np.float32)
        fine = np.asarray(Image.fromarray(small).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
        wide = wide + fine * rng.uniform(0.02, 0.12)
    elif brushed < 0.85:
        wide = wide + smooth_noise(shape, rng.uniform(1.5, 5), rng) * rng.uniform(0.03, 0.25)
    return np.asarray(tone * (1 + wide[..., None]), np.float32)


def rough_ground(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Painted, rusty or cast iron, stone, or rubber (h, w, 3) float32."""
    tone = vivid(rng, 0.15, 0.8) * 0.6 + rng.uniform(20, 90)
    rust = np.array((rng.uniform(90, 160), rng.uniform(50, 90), rng.uniform(20, 60)), np.float32)
    spots = (smooth_noise(shape, shape[0] * rng.uniform(0.1, 0.5), rng) * 3 + rng.uniform(-2, 1)).clip(0, 1)
    ground = blend(np.broadcast_to(tone, (*shape, 3)), rust, spots * rng.uniform(0, 0.8))
    coarse = smooth_noise(shape, rng.uniform(1.2, 6), rng) * rng.uniform(0.03, 0.25)
    return np.asarray(ground * (1 + coarse[..., None]), np.float32)
