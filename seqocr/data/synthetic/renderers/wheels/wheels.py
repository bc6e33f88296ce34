"""Mechanical number wheels: car odometers, meters of water, gas and electricity, counters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, smooth_noise, to_image
from seqocr.data.synthetic.renderers.wheels.mechanism import turns, window_rows
from seqocr.data.synthetic.renderers.wheels.panel import contrast_with, pane, surface, words_around
from seqocr.data.synthetic.renderers.wheels.wheel_digits import DIGITS, Digits
from seqocr.data.synthetic.renderers.wheels.wheel_looks import Look, sample_look

_HEIGHTS = (16, 52)  # pixels of a digit
_WIDEST = 480  # pixels: long texts are drawn smaller
_MARK_WIDTHS = {".": 0.25, ",": 0.28, ":": 0.3, " ": 0.5}  # heights of a digit
_UPWARD = 0.75  # share of counters whose next digit comes from below


@dataclass(frozen=True)
class _Cell:
    """One symbol's place: columns `left` to `right`, pixels from the left edge of the first wheel."""

    symbol: str
    left: int
    right: int
    is_last: bool  # of the wheels that look different

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


def draw_wheels(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A counter (h, w, 3) uint8 whose wheels show a text; marks are on the front between windows."""
    look = sample_look(rng)
    fitting = max(14, int(_WIDEST / (len(text) * (look.pitch + look.gap))))
    height = min(int(rng.integers(*_HEIGHTS)), fitting)
    glyphs = Digits(fonts, height, rng)
    cells = _place(text, look, height, max(glyphs[digit].width for digit in {*text} & {*DIGITS} | {"0"}))
    drums = _drums(cells, glyphs, look, height, rng)
    pixels, (x, y) = _front(drums.shape[:2], look, height, fonts, rng)
    _put_windows(pixels, drums, cells, look, (x, y), height, rng)
    _put_marks(pixels, cells, look, (x, y + drums.shape[0] // 2 + height // 2), height, rng)
    pixels = pane(pixels, rng)
    if rng.random() < 0.3:  # lamps of a dashboard: orange, or bluish daylight
        pixels *= np.array(rng.choice([(1.0, 0.78, 0.55), (1.0, 0.88, 0.75), (0.75, 0.9, 1.1), (0.8, 1.0, 0.85)]))
    return to_image(_crop(pixels, (x, y), drums.shape[:2], height, rng))


def _place(text: str, look: Look, height: int, widest: int) -> list[_Cell]:
    gap = round(look.gap * height)
    width = max(round(look.pitch * height) - (gap if look.is_strip else 0), widest + 1)
    digits = [i for i, symbol in enumerate(text) if symbol in DIGITS]
    point = max(text.rfind("."), text.rfind(","))
    first_last = len(text)
    if point > 0 and len(text) - point < 5:  # decimals
        first_last = point
    elif 0 < look.last < len(digits):
        first_last = digits[-look.last]
    cells, x = [], 0
    for i, symbol in enumerate(text):
        wide = width if symbol in DIGITS else max(3, round(_MARK_WIDTHS.get(symbol, 0.55) * height))
        cells.append(_Cell(symbol, x, x + wide, i >= first_last))
        x += wide + (gap if i + 1 < len(text) else 0)
    return cells


def _drums(cells: list[_Cell], glyphs: Digits, look: Look, height: int, rng: np.random.Generator) -> np.ndarray:
    """What is behind the windows, (window height, all columns, 3) float32."""
    wide, high, step = cells[-1].right, round(look.window * height), look.step * height
    along, facing = window_rows(high, step)
    reach = int(along[-1]) + 2
    ink = Image.new("L", (wide, 2 * reach + 1))
    ground = np.empty((1, wide, 3), np.float32)
    ground[:] = look.wheel
    inks = np.empty((1, wide, 3), np.float32)
    inks[:] = look.ink
    wheels = [cell for cell in cells if cell.symbol in DIGITS]
    steps = turns([int(cell.symbol) for cell in wheels], rng) if wheels else np.zeros(0)
    way = 1 if rng.random() < _UPWARD else -1
    # Digits may sit off the middle of the window, by less than would let a turned one's neighbour show more.
    rest = rng.uniform(-1, 1) * max(0.0, min(0.2 * (high - height), 0.07 * height))
    vary, rounding = rng.uniform(0, 0.08), rng.uniform(0, 0.5)
    for cell, turned in zip(wheels, steps, strict=True):
        for k in (-1, 0, 1):
            top = reach + way * (k - turned) * step - height / 2 + rest
            if not -height < top < ink.height:
                continue
            glyph = glyphs[str((int(cell.symbol) + k) % 10)]
            ink.paste(glyph, (round(cell.middle - glyph.width / 2), round(top)))
        columns = slice(cell.left, cell.right)
        across = np.linspace(-1, 1, cell.right - cell.left)[:, None] ** 8  # wheels' edges are round
        tone = (1 + vary * rng.normal()) * (1 - rounding * across)
        ground[0, columns] = (look.last_wheel if cell.is_last else look.wheel) * tone
        inks[0, columns] = (look.last_ink if cell.is_last else look.ink) * tone
    mask = np.asarray(ink, np.float32)[(along + reach).round().astype(int)] / 255
    if rng.random() < 0.3:  # worn print
        bare = (2 * smooth_noise(mask.shape, rng.uniform(1.5, 8), rng) - 0.6).clip(0, 1)
        mask = mask * (1 - rng.uniform(0.2, 0.85) * bare)
    drums = blend(ground, inks, mask)
    if rng.random() < 0.2:  # raised or cut digits
        drums = drums + rng.uniform(-90, 90) * (np.roll(mask, 1, (0, 1)) - np.roll(mask, -1, (0, 1)))[..., None]
    return _light(drums, along / max(1, reach), facing, rng)


def _light(drums: np.ndarray, along: np.ndarray, facing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light on wheels (h, w, 3): less towards the upper and lower edges; a band that shines; the frame's shadow."""
    h = len(along)
    shade = 1 - rng.uniform(0, 1.6) * (1 - facing ** rng.uniform(1, 3)) + rng.uniform(-0.2, 0.2) * along
    if rng.random() < 0.6:
        depth = rng.uniform(0.03, 0.3) * h
        shade = shade * (1 - rng.uniform(0.2, 0.9) * np.exp(-np.arange(h) / depth))
    drums = drums * shade.clip(0.1, 1.3)[:, None, None]
    if rng.random() < 0.3:
        band = np.exp(-(((along - rng.uniform(-0.9, 0.9)) / rng.uniform(0.04, 0.3)) ** 2))
        drums = drums + rng.uniform(10, 110) * band[:, None, None]
    result: np.ndarray = drums.astype(np.float32)
    return result


def _front(
    inner: tuple[int, int], look: Look, height: int, fonts: Fonts, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[int, int]]:
    """The device's front (h, w, 3) float32 with words, and where windows of (height, width) `inner` begin, (x, y)."""
    # More than the crop keeps, so that words are cut off by it.
    side, over = round(rng.uniform(0.1, 0.9) * height) + 2, round(rng.uniform(0.1, 0.6) * height) + 2
    shape = inner[0] + 2 * over, inner[1] + 2 * side
    pixels = surface(shape, look.panel, rng)
    if rng.random() < 0.6:
        box = side, over, side + inner[1], over + inner[0]
        words = words_around(shape, box, height, fonts, rng)
        pixels = blend(pixels, contrast_with(look.panel, rng), words)
    return pixels, (side, over)


def _put_windows(
    pixels: np.ndarray,
    drums: np.ndarray,
    cells: list[_Cell],
    look: Look,
    at: tuple[int, int],
    height: int,
    rng: np.random.Generator,
) -> None:
    """Draw windows in a front, in place: wheels, rims and the gaps between wheels."""
    (x, y), (h, w, _) = at, drums.shape
    rim = int(rng.integers(0, max(2, height // 10)))
    wheels = [cell for cell in cells if cell.symbol in DIGITS]
    if look.is_strip:
        pixels[y - rim : y + h + rim, x - rim : x + w + rim] = look.rim
        seam = look.wheel * rng.uniform(0.2, 1.6)
        pixels[y : y + h, x : x + w] = seam
        bare = rng.random() < 0.3  # no frame beside a mark: wheels next to each other
        for cell in cells:
            if cell.symbol not in DIGITS and not bare:
                pixels[y : y + h, x + cell.left : x + cell.right] = look.panel
    for cell in wheels:
        left, right = x + cell.left, x + cell.right
        if not look.is_strip:
            pixels[max(0, y - rim) : y + h + rim, max(0, left - rim) : right + rim] = look.rim
            if rim and rng.random() < 0.8:  # the lower edge catches light
                pixels[y + h : y + h + rim, left:right] = look.rim * 1.5 + 20
    for cell in wheels:
        pixels[y : y + h, x + cell.left : x + cell.right] = drums[:, cell.left : cell.right]
    if look.is_strip and rng.random() < 0.5:  # lines between wheels
        tone = rng.uniform(-60, 60)
        for cell in wheels:
            pixels[y : y + h, x + cell.left : x + cell.left + 1] += tone


def _put_marks(
    pixels: np.ndarray, cells: list[_Cell], look: Look, at: tuple[int, int], height: int, rng: np.random.Generator
) -> None:
    """Draw what is no digit, in place; `at`: left end of the baseline."""
    canvas = Image.new("L", (pixels.shape[1], pixels.shape[0]))
    draw, (x, base), size = ImageDraw.Draw(canvas), at, height * rng.uniform(0.08, 0.16)
    for cell in cells:
        if cell.symbol not in DIGITS:
            _draw_mark(draw, cell.symbol, x + cell.middle, base, height, size)
    box = canvas.getbbox()
    if box is None:
        return
    mask = np.asarray(canvas, np.float32) / 255
    ground = pixels[base - height // 2, round(x + next(c.middle for c in cells if c.symbol not in DIGITS + " "))]
    ink = contrast_with(ground, rng)
    pixels += (ink - pixels) * mask[..., None]


def _draw_mark(draw: ImageDraw.ImageDraw, symbol: str, x: float, base: float, height: int, size: float) -> None:
    """A mark of strokes `size` pixels thick in the middle of its cell."""
    wide, middle = 0.4 * height, base - height / 2
    thick = max(1, round(size))

    def dot(y: float) -> None:
        draw.ellipse((x - size, y - size, x + size, y + size), 255)

    if symbol in ".,":
        dot(base - size)
    if symbol == ",":
        draw.line((x + size / 2, base - size, x - size, base + 1.6 * size), 255, thick)
    elif symbol == ":":
        dot(middle - 0.2 * height)
        dot(middle + 0.2 * height)
    elif symbol in "-+":
        draw.line((x - wide / 2, middle, x + wide / 2, middle), 255, thick)
        if symbol == "+":
            draw.line((x, middle - wide / 2, x, middle + wide / 2), 255, thick)
    elif symbol == "/":
        draw.line((x - wide / 2, base, x + wide / 2, base - height), 255, thick)


def _crop(
    pixels: np.ndarray, at: tuple[int, int], inner: tuple[int, int], height: int, rng: np.random.Generator
) -> np.ndarray:
    """Cut close to the windows; in some images into them, as far as the digits in the middle stay whole."""
    (x, y), (h, w) = at, inner
    slack = max(0, (h - height) // 2)  # of the window above and below digits
    tight = rng.random() < 0.25
    # As much above as below where it is into windows: a turned wheel must not lose the digit that it shows most.
    inside = -int(rng.uniform(0, 0.5 * slack))
    over = [inside, inside] if tight else [int(rng.uniform(-0.15 * slack, y)) for _ in range(2)]
    # Boxes around digits are often cut into the last one.
    into = 0.15 if rng.random() < 0.3 else 0.05
    side = [int(rng.uniform(-0.05 * height, x)), int(rng.uniform(-into * height, x))]
    return pixels[max(0, y - over[0]) : y + h + over[1], max(0, x - side[0]) : x + w + side[1]]
