"""Pictures that hold no number, or not a single one: what a reader has to say nothing about."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, colour, smooth_noise, text_mask, to_image
from seqocr.data.synthetic.renderers.prints import clutter
from seqocr.data.synthetic.renderers.prints.materials import MATERIALS, picture, screen, stone

_Scene = Callable[[np.ndarray, Fonts, np.random.Generator], np.ndarray]
_PRINT = ("print", "mono", "narrow", "display")


def draw_nothing(fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A picture (h, w, 3) uint8 without digits: a bare ground, words, scribbles, lines, bars, shapes."""
    ground = _bare(rng)
    kind = rng.choice(len(_SCENES), p=_SHARES)
    return to_image(_SCENES[int(kind)][1](ground, fonts, rng))


def draw_two_rows(fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Two rows of digits, of one size, on top of each other, (h, w, 3) uint8: neither is the one that is meant."""
    kind = _PRINT if rng.random() < 0.5 else ("hand",)
    face = fonts.face(rng, 2 * int(rng.integers(8, 24)), *kind)
    length = int(rng.integers(2, 9))
    rows = []
    for _ in range(2):
        count = length if rng.random() < 0.6 else int(rng.integers(2, 9))
        rows.append(text_mask("".join(map(str, rng.integers(10, size=count))), face))
    gap, margin = round(rng.uniform(0.15, 0.7) * rows[0].shape[0]), rng.uniform(0, 0.3, 2) * rows[0].shape[0]
    width, height = max(row.shape[1] for row in rows), sum(row.shape[0] for row in rows) + gap
    mask = np.zeros((height + 2 * round(margin[1]), width + 2 * round(margin[0])), np.float32)
    y = float(margin[1])
    right = rng.random() < 0.5
    for row in rows:
        clutter.put(mask, row, margin[0] + (width - row.shape[1] if right else 0), y)
        y += row.shape[0] + gap
    ground = MATERIALS[int(rng.integers(len(MATERIALS)))](mask.shape, rng)
    return to_image(blend(ground, _contrasting(ground, rng), mask))


def _bare(rng: np.random.Generator) -> np.ndarray:
    """A ground of any material, as large as lines of digits are."""
    height = int(rng.integers(20, 90))
    width = int(np.clip(height * np.exp(rng.normal(1.2, 0.5)), height * 0.7, 420))
    material = MATERIALS[int(rng.integers(len(MATERIALS)))]
    if rng.random() < 0.2:
        material = (stone, picture, screen)[int(rng.integers(3))]
    return material((height, width), rng)


def _contrasting(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) that stands out."""
    bright = float(ground[::5, ::5].mean())
    return colour(rng, 0, max(20, bright - 90), 30) if bright > 120 else colour(rng, min(235, bright + 90), 255, 30)


def _over(ground: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return blend(ground, _contrasting(ground, rng), mask * np.float32(rng.uniform(0.4, 1)))


def _empty(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    return ground


def _stained(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Dirt, folds, scratches."""
    h, w, _ = ground.shape
    spots = smooth_noise((h, w), rng.uniform(3, 25), rng)
    return _over(ground, np.clip((spots - rng.uniform(0.3, 0.7)) * 4, 0, 1) * np.float32(rng.uniform(0.1, 0.8)), rng)


def _words(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Words of print or by hand, in a row or two, at times cut off."""
    h, w, _ = ground.shape
    kinds = ("hand",) if rng.random() < 0.4 else _PRINT
    rows = 1 if rng.random() < 0.7 else 2
    size = max(9, 2 * round(h / rows * rng.uniform(0.35, 0.95) / 2))
    face, mask = fonts.face(rng, size, *kinds), np.zeros((h, w), np.float32)
    for row in range(rows):
        ink = clutter.letters(clutter.words(rng, int(rng.integers(1, 4))), face)
        y = (row + 0.5) * h / rows - ink.shape[0] / 2 + rng.normal(0, 0.06) * h
        clutter.put(mask, ink, rng.uniform(-0.3, 0.5) * w if rng.random() < 0.4 else rng.uniform(0, 0.1) * w, y)
    return _over(ground, mask, rng)


def _scribbles(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A pen's trials, signatures, crossings out: smooth paths that run along the picture and cross themselves."""
    h, w, _ = ground.shape
    canvas = Image.new("L", (w, h))
    for _ in range(int(rng.integers(1, 5))):
        count = int(rng.integers(12, 60))
        steps = rng.normal(0, rng.uniform(0.08, 0.25) * h, (count, 2))
        for _ in range(2):
            steps[1:] = 0.6 * steps[:-1] + 0.7 * steps[1:]
        steps[:, 0] += rng.uniform(0, 0.8) * w / count
        path = np.cumsum(steps, axis=0)
        path[:, 1] = h * (0.5 + 0.5 * np.sin((path[:, 1] - path[:, 1].mean()) / h * 2))
        path[:, 0] += rng.uniform(-0.1, 0.4) * w
        ImageDraw.Draw(canvas).line(
            [tuple(point) for point in path.tolist()], 255, int(rng.integers(1, max(2, h // 12)))
        )
    return _over(ground, np.asarray(canvas.filter(ImageFilter.BoxBlur(0.5)), np.float32) / 255, rng)


def _lines(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Rules, grids, dashes: forms that nobody has filled in."""
    h, w, _ = ground.shape
    canvas = Image.new("L", (w, h))
    draw, thick = ImageDraw.Draw(canvas), int(rng.integers(1, 4))
    pitch = rng.uniform(0.25, 1.2) * h
    for y in np.arange(rng.uniform(0, pitch), h, pitch):
        draw.line((0, y, w, y + rng.normal(0, 1)), 255, thick)
    if rng.random() < 0.5:
        across = pitch * rng.uniform(0.6, 4)
        for x in np.arange(rng.uniform(0, across), w, across):
            draw.line((x, 0, x + rng.normal(0, 1), h), 255, thick)
    return _over(ground, np.asarray(canvas, np.float32) / 255, rng)


def _boxes(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Empty windows, cells and displays that are off."""
    h, w, _ = ground.shape
    image = Image.fromarray(to_image(ground))
    draw = ImageDraw.Draw(image)
    count = int(rng.integers(1, 8))
    cell, tall = w / count, h * rng.uniform(0.5, 0.95)
    fill = None if rng.random() < 0.4 else tuple(int(v) for v in colour(rng, 0, 200, 30))
    edge = tuple(int(v) for v in _contrasting(ground, rng).clip(0, 255))
    inset, round_by = cell * rng.uniform(0, 0.12), rng.uniform(0, 0.3) * min(cell, tall) / 2
    for i in range(count):
        box = (i * cell + inset, (h - tall) / 2, max(i * cell + inset + 2, (i + 1) * cell - inset), (h + tall) / 2)
        draw.rounded_rectangle(box, round_by, fill, edge, int(rng.integers(1, 4)))
    return np.asarray(image, np.float32)


def _barcode(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    h, w, _ = ground.shape
    mask = np.zeros((h, w), np.float32)
    wide = round(w * rng.uniform(0.6, 1.2))
    clutter.put(mask, clutter.bars(wide, round(h * rng.uniform(0.4, 1)), rng), rng.uniform(-0.1, 0.2) * w, 0)
    return _over(ground, mask, rng)


def _logo(ground: np.ndarray, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A sign of few shapes: discs, rings, stars, arrows; at times with a word."""
    h, w, _ = ground.shape
    canvas = Image.new("L", (w, h))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 4))):
        r, x, y = rng.uniform(0.15, 0.45) * h, rng.uniform(0.1, 0.9) * w, rng.uniform(0.35, 0.65) * h
        corners = int(rng.integers(3, 9))
        angles = np.linspace(0, 2 * np.pi, 2 * corners + 1)[:-1] + rng.uniform(0, 6)
        reach = np.where(np.arange(2 * corners) % 2, r * rng.uniform(0.3, 1), r)
        points = list(zip((x + reach * np.cos(angles)).tolist(), (y + reach * np.sin(angles)).tolist(), strict=True))
        draw.polygon(points, 255 if rng.random() < 0.7 else None, 255)
        if rng.random() < 0.5:
            inner = r * rng.uniform(0.2, 0.7)
            draw.rectangle((x - inner, y - inner * 0.6, x + inner, y + inner * 0.6), 0)
    mask = np.array(canvas, np.float32) / 255
    if rng.random() < 0.4:
        face = fonts.face(rng, max(8, 2 * round(0.2 * h)), *_PRINT)
        clutter.put(mask, clutter.letters(clutter.word(rng), face), rng.uniform(0, 0.6) * w, rng.uniform(0.3, 0.7) * h)
    return _over(ground, mask, rng)


_SCENES: tuple[tuple[float, _Scene], ...] = (
    (4, _empty),
    (1.5, _stained),
    (5, _words),
    (2, _scribbles),
    (1.5, _lines),
    (1.5, _boxes),
    (1, _barcode),
    (1, _logo),
)
_SHARES = np.array([share for share, _ in _SCENES]) / sum(share for share, _ in _SCENES)
