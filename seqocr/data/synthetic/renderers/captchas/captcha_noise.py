"""What captchas hide digits in: grounds, lines, curves, dots, speckle, waves."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import smooth_noise, to_image
from seqocr.data.synthetic.renderers.cards.card_grounds import vivid

Shape = tuple[int, int]
Tone = tuple[int, ...]
_FAINT = "abcdefghkmnpqrstuvwxyACEFHKMNPRTUVWXY"  # small letters behind the digits


def shade_of(rng: np.random.Generator, dark: bool) -> np.ndarray:
    """A colour (3,) float32 of grounds: white or near it, or `dark`."""
    if dark:
        return vivid(rng, 0.0, 0.3)
    tint = rng.uniform(0, 70, 3) if rng.random() < 0.6 else np.zeros(3)
    return (255 - tint * rng.random()).astype(np.float32)


def _plain(shape: Shape, tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.broadcast_to(tone, (*shape, 3))


def _gradient(shape: Shape, tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    dark = tone.mean() < 128
    small = np.stack([tone, shade_of(rng, dark) * rng.uniform(0.7, 1), shade_of(rng, dark), tone]).reshape(2, 2, 3)
    small = small if rng.random() < 0.5 else np.broadcast_to(small[0 if rng.random() < 0.5 else 1], (2, 2, 3))
    image = Image.fromarray(to_image(small)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def _grain(shape: Shape, tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coloured or grey noise of single pixels or of small blocks."""
    block = int(rng.choice((1, 1, 2, 3, 6)))
    channels = 3 if rng.random() < 0.7 else 1
    rows, columns = -(-shape[0] // block), -(-shape[1] // block)
    noise = rng.normal(0, rng.uniform(5, 34), (rows, columns, channels)).astype(np.float32)
    return tone + noise.repeat(block, 0).repeat(block, 1)[: shape[0], : shape[1]]


def _clouds(shape: Shape, tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    swing = rng.uniform(15, 55)
    layers = [smooth_noise(shape, shape[0] * rng.uniform(0.15, 0.8), rng) for _ in range(3)]
    return tone + np.stack(layers, 2) * swing


def _grid(shape: Shape, tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grid, hatching, stripes or rings: thin lines of another shade."""
    image = Image.fromarray(to_image(np.broadcast_to(tone, (*shape, 3))))
    draw, (height, width) = ImageDraw.Draw(image), shape
    fill = _near(tone, rng)
    step, lean = int(rng.integers(4, 16)), float(rng.choice((0, 0, 1, -1, 0.5)))
    if rng.random() < 0.15:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        for r in range(step, width, step):
            draw.ellipse((x - r, y - r, x + r, y + r), outline=fill)
        return np.asarray(image, np.float32)
    for x in range(-height, width + height, step):
        draw.line((x, 0, x + lean * height, height), fill=fill)
    if rng.random() < 0.7:
        for y in range(int(rng.integers(step)), height + (width if lean else 0), step):
            draw.line((0, y, width, y - (width if lean else 0)), fill=fill)
    return np.asarray(image, np.float32)


def _near(tone: np.ndarray, rng: np.random.Generator) -> Tone:
    """A colour 20 to 90 from a tone, towards the middle."""
    towards = -1 if tone.mean() > 128 else 1
    return tuple(int(c) for c in (tone + towards * rng.uniform(20, 90) * rng.uniform(0.2, 1, 3)).clip(0, 255))


GROUNDS: dict[str, Callable[[Shape, np.ndarray, np.random.Generator], np.ndarray]] = {
    "plain": _plain,
    "gradient": _gradient,
    "grain": _grain,
    "clouds": _clouds,
    "grid": _grid,
}


def faint_letters(image: Image.Image, tone: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> None:
    """Small faint letters all over."""
    draw, face = ImageDraw.Draw(image), fonts.face(rng, 12, "print", "mono")
    for _ in range(int(rng.integers(5, 25))):
        at = (rng.uniform(-5, image.width), rng.uniform(-8, image.height))
        draw.text(at, _FAINT[int(rng.integers(len(_FAINT)))], _near(tone, rng), font=face)


def add_lines(image: Image.Image, count: int, width: int, tones: list[Tone], rng: np.random.Generator) -> None:
    """Straight lines, waves and arcs from side to side or anywhere, each of one of the tones."""
    draw = ImageDraw.Draw(image)
    across, high = image.size
    for _ in range(count):
        fill, kind = tones[int(rng.integers(len(tones)))], rng.random()
        thick = int(rng.integers(1, width + 1))
        if kind < 0.45:
            whole = rng.random() < 0.5
            x0, x1 = (0, across) if whole else rng.uniform(0, across, 2)
            draw.line((x0, rng.uniform(0, high), x1, rng.uniform(0, high)), fill=fill, width=thick)
        elif kind < 0.75:
            along = np.linspace(0, across, 24)
            swing, period = rng.uniform(0.08, 0.4) * high, rng.uniform(0.6, 3) * across
            up = rng.uniform(0.2, 0.8) * high + swing * np.sin(2 * math.pi * along / period + rng.uniform(0, 6))
            draw.line(np.stack([along, up], 1).ravel().tolist(), fill=fill, width=thick)
        elif kind < 0.9:
            x, y, r = rng.uniform(0, across), rng.uniform(0, high), rng.uniform(0.3, 1.5) * high
            start = rng.uniform(0, 360)
            box = (x - r * 1.5, y - r, x + r * 1.5, y + r)
            draw.arc(box, start, start + rng.uniform(40, 200), fill=fill, width=thick)
        else:
            x, y, r = rng.uniform(0, across), rng.uniform(0, high), rng.uniform(2, 0.2 * high + 3)
            draw.ellipse((x - r, y - r, x + r, y + r), outline=fill, width=1)


def add_dots(pixels: np.ndarray, share: float, size: int, tones: list[Tone], rng: np.random.Generator) -> None:
    """Dots of `size` pixels on a `share` of the image (h, w, 3), in place."""
    height, width = pixels.shape[:2]
    count = int(share * height * width / size**2)
    colours = np.asarray(tones)[rng.integers(0, len(tones), count)]
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    for down in range(size):
        for right in range(size):
            pixels[np.minimum(rows + down, height - 1), np.minimum(columns + right, width - 1)] = colours


def wave(pixels: np.ndarray, swing: float, period: float, rng: np.random.Generator) -> np.ndarray:
    """The image (h, w, 3) bent by sine waves of `swing` and `period` pixels, down and, less, to the side."""
    height, width = pixels.shape[:2]
    x, y = np.arange(width), np.arange(height)
    down = swing * np.sin(2 * math.pi * x / period + rng.uniform(0, 6))
    side = 0.5 * swing * np.sin(2 * math.pi * y / max(period, height) + rng.uniform(0, 6)) * (rng.random() < 0.6)
    columns = (x[None] + side[:, None]).round().astype(int).clip(0, width - 1)
    exact = y[:, None] + down[None]
    if rng.random() < 0.3:  # as the simple generators do it, with steps
        return np.asarray(pixels[exact.round().astype(int).clip(0, height - 1), columns])
    upper = np.floor(exact).astype(int)
    part = (exact - upper).astype(np.float32)[..., None]
    top = pixels[upper.clip(0, height - 1), columns].astype(np.float32)
    return np.asarray(top + (pixels[(upper + 1).clip(0, height - 1), columns] - top) * part, np.float32)
