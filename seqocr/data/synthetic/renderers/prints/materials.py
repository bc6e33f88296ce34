"""Grounds that numbers stand on: paper, boards, cloth, metal, screens, pictures; (h, w, 3) float32."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.synthetic.grain import normal_noise
from seqocr.data.synthetic.renderers.base import colour, smooth_noise

Ground = Callable[[tuple[int, int], np.random.Generator], np.ndarray]
_LETTERS = np.array(list("abcdefghijklmnoprstuvwxyz"))


def flat(shape: tuple[int, int], shade: np.ndarray) -> np.ndarray:
    """One colour (3,) everywhere."""
    return np.broadcast_to(np.asarray(shade, np.float32), (*shape, 3)).copy()


def grain(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise (h, w, 1) float32 of single pixels."""
    return normal_noise(shape, 1, rng) * np.float32(sigma)


def white_paper(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """White to grey or yellowed, nearly even."""
    paper = flat(shape, rng.uniform(185, 255) - np.array((0, 0.3, 1)) * rng.uniform(0, 40) * (rng.random() < 0.5))
    if rng.random() < 0.6:
        paper += grain(shape, rng.uniform(0.5, 5), rng)
    return paper


def coloured_paper(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A label, a ticket, a card of any colour."""
    return flat(shape, colour(rng, 60, 240, 90)) + grain(shape, rng.uniform(0, 4), rng)


def rough_paper(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Recycled, kraft, newspaper or old paper: cloudy, with fibres, or with the back's print showing through."""
    paper = flat(shape, rng.uniform(140, 235) * np.array((1, rng.uniform(0.85, 1), rng.uniform(0.65, 0.98))))
    paper += smooth_noise(shape, rng.uniform(3, 30), rng)[..., None] * rng.uniform(2, 16)
    paper += grain(shape, rng.uniform(2, 12), rng)
    if rng.random() < 0.25:
        through = Image.new("L", shape[::-1])
        for _ in range(int(rng.integers(1, 4))):
            word = "".join(rng.choice(_LETTERS, 12))
            ImageDraw.Draw(through).text((rng.uniform(-20, shape[1] / 2), rng.uniform(-10, shape[0])), word, 255)
        paper -= np.asarray(through.filter(ImageFilter.BoxBlur(1)), np.float32)[..., None] * rng.uniform(0.05, 0.2)
    return paper


def guilloche(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Fine waves or hatching printed on pale paper, as on cheques and tickets."""
    y, x = (axis.astype(np.float32) for axis in np.ogrid[: shape[0], : shape[1]])
    angle, period = rng.uniform(0, math.pi), rng.uniform(3, 9)
    across = math.cos(angle) * x + math.sin(angle) * y + rng.uniform(0, 4) * np.sin(x / rng.uniform(6, 40))
    wave = np.sin(2 * math.pi / period * across).clip(-0.3) ** 2
    pale, line = colour(rng, 200, 250, 15), colour(rng, 120, 200, 50)
    return flat(shape, pale) + (line - pale) * (wave * np.float32(rng.uniform(0.2, 0.8)))[..., None]


def enamel(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Enamel, paint or plastic: strong colour, a slow sheen, at times chips."""
    base = colour(rng, 10, 235, 110) if rng.random() < 0.6 else np.array(_PAINTS[int(rng.integers(len(_PAINTS)))])
    board = flat(shape, base) + smooth_noise(shape, shape[0], rng)[..., None] * np.float32(rng.uniform(0, 30))
    if rng.random() < 0.12:
        chips = smooth_noise(shape, rng.uniform(3, 8), rng) > rng.uniform(0.65, 0.9)
        board[chips] = colour(rng, 30, 160, 30)
    return board


_PAINTS = ((20, 40, 120), (245, 245, 240), (0, 90, 50), (170, 20, 25), (250, 205, 0), (15, 15, 15), (230, 90, 10))


def metal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Brushed, rolled or stained metal."""
    lines = rng.standard_normal((shape[0], 1) if rng.random() < 0.6 else (1, shape[1]), np.float32)
    board = flat(shape, colour(rng, 70, 215, 18)) + lines[..., None] * np.float32(rng.uniform(1, 14))
    board += smooth_noise(shape, 2 * shape[0], rng)[..., None] * np.float32(rng.uniform(0, 60))
    return board + grain(shape, rng.uniform(0, 5), rng)


def cloth(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Woven or knitted, with folds; at times striped."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    period = rng.uniform(2, 5)
    weave = np.sin(2 * math.pi / period * x) * np.sin(2 * math.pi / period * y).astype(np.float32)
    board = flat(shape, colour(rng, 20, 240, 100))
    if rng.random() < 0.2:
        stripe = (x + rng.integers(99)) % int(rng.integers(12, 60)) < rng.integers(6, 12)
        board = np.where(stripe[..., None], colour(rng, 20, 240, 100), board)
    folds = smooth_noise(shape, rng.uniform(0.4, 1.2) * shape[0], rng)
    return board + (weave * rng.uniform(0, 12) + folds * rng.uniform(0, 35))[..., None].astype(np.float32)


def screen(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A window, a button, a cell of a table on a screen: flat, or with a slow gradient."""
    top = colour(rng, 0, 255, 60) if rng.random() < 0.5 else np.float32(rng.choice((0, 18, 32, 240, 255)))
    board = flat(shape, np.ones(3) * top)
    if rng.random() < 0.25:
        board += (np.linspace(0, 1, shape[0], dtype=np.float32)[:, None] * rng.uniform(-50, 50))[..., None]
    return board


def wood(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Boards with a grain along them, painted over at times."""
    h, w = shape
    stretched = smooth_noise((h, max(4, w // 10)), rng.uniform(2, 6), rng)
    rings = np.asarray(Image.fromarray(stretched).resize((w, h), Image.Resampling.BILINEAR))
    base = rng.uniform(60, 220) * np.array((1, rng.uniform(0.7, 0.9), rng.uniform(0.4, 0.75)))
    grained = np.sin(rings * rng.uniform(3, 12)) * rng.uniform(5, 25) + rings * 10
    return flat(shape, base) + grained[..., None].astype(np.float32) + grain(shape, 3, rng)


def stone(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Plaster, concrete, asphalt, grass, leaves: noise of several sizes."""
    board = flat(shape, colour(rng, 40, 220, 40))
    size = rng.uniform(0.5, 2) * shape[0]
    depth = rng.uniform(10, 50)
    for _ in range(4):
        tint = 1 + rng.normal(0, 0.25, 3).astype(np.float32)
        board += smooth_noise(shape, max(1.5, size), rng)[..., None] * tint * np.float32(depth)
        size, depth = size * 0.4, depth * rng.uniform(0.5, 0.95)
    return board


def picture(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Something of a photograph: soft light, shapes with edges, blades, at any focus."""
    h, w = shape
    image = Image.fromarray(stone(shape, rng).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 9))):
        x, y = rng.uniform(-0.2, 1.1) * w, rng.uniform(-0.4, 1.1) * h
        wide, tall = rng.uniform(0.05, 1.2, 2) * (min(w, 3 * h), h)
        fill = tuple(int(v) for v in colour(rng, 10, 245, 70))
        kind = rng.random()
        if kind < 0.35:
            draw.ellipse((x, y, x + wide, y + tall), fill)
        elif kind < 0.75:
            corners = rng.uniform(-0.5, 1, (int(rng.integers(3, 6)), 2)) * (wide, tall) + (x, y)
            draw.polygon([(float(a), float(b)) for a, b in corners], fill)
        else:
            draw.line((x, y, x + wide, y + tall), fill, int(rng.integers(1, 7)))
    if rng.random() < 0.7:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 4)))
    return np.asarray(image, np.float32) + grain(shape, rng.uniform(0, 8), rng)


MATERIALS: tuple[Ground, ...] = (
    white_paper,
    coloured_paper,
    rough_paper,
    guilloche,
    enamel,
    metal,
    cloth,
    screen,
    wood,
    stone,
    picture,
)
