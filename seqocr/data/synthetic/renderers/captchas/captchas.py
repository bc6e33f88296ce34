"""Captchas of digits: many colours, turned, bent, touching, under lines and dots, as known generators make them."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import to_image
from seqocr.data.synthetic.renderers.captchas.captcha_glyphs import glyph_tile
from seqocr.data.synthetic.renderers.captchas.captcha_noise import (
    GROUNDS,
    Tone,
    add_dots,
    add_lines,
    faint_letters,
    shade_of,
    wave,
)
from seqocr.data.synthetic.renderers.captchas.captcha_styles import STYLES, Style
from seqocr.data.synthetic.renderers.cards.card_grounds import vivid

_WIDEST = 420  # pixels: longer texts have smaller digits
_APART = 70  # of luminance (of 255): digits and their ground, for people and for what reads in grey
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)


def draw_captcha(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Digits of a captcha (see `base.Renderer`)."""
    style = STYLES[int(rng.choice(len(STYLES), p=[style.share for style in STYLES]))]
    height = rng.uniform(style.height[0], max(style.height[0], min(style.height[1], _WIDEST / (0.8 * len(text)))))
    tiles = _tiles(text, style, height, fonts, rng)
    spots, size = _places(tiles, style, height, rng)
    dark = bool(rng.random() < style.dark)
    tone = shade_of(rng, dark)
    name = style.grounds[int(rng.integers(len(style.grounds)))]
    ground = GROUNDS[name]((size[1], size[0]), tone, rng)
    image = Image.fromarray(to_image(ground))
    mean = float((ground[::3, ::3].mean((0, 1)) @ _LUMA).clip(0, 255))
    tones = _tones(len(text), mean, style, rng)
    faint = min(abs(float(np.asarray(fill) @ _LUMA) - mean) for fill in tones) < 95
    own = bool(rng.random() < 0.35)  # lines of the digits' colours hide more than others
    noise = tones if own else [_ints(vivid(rng, 0.1, 1)) for _ in range(4)]
    if rng.random() < 0.06:
        faint_letters(image, tone, fonts, rng)
    lines = int(rng.integers(style.under[0], style.under[1] + 1))
    add_lines(image, min(lines, 2) if own or faint else lines, style.line, noise, rng)
    look = style.looks[int(rng.integers(len(style.looks)))] if height > 22 and not faint else "solid"
    for tile, spot, fill in zip(tiles, spots, tones, strict=True):
        _paste(image, tile, spot, fill, look, tone, rng)
    return _finish(image, style, height, noise, faint or own, rng)


def _finish(
    image: Image.Image, style: Style, height: float, noise: list[Tone], few: bool, rng: np.random.Generator
) -> np.ndarray:
    """Waves, and what is above the digits: a `few` lines and dots, or more."""
    swing = rng.uniform(*style.swing) * height
    bent = swing > 0.4 and rng.random() < 0.85
    if bent:
        image = Image.fromarray(to_image(wave(np.asarray(image), swing, height * rng.uniform(1.4, 5), rng)))
    # A line as thick as a pen hides a digit, so small ones have thin lines.
    thick = max(1, min(style.line, round(height * 0.07)))
    lines = int(rng.integers(style.over[0], style.over[1] + 1))
    add_lines(image, min(lines, 2) if few else lines, thick, noise, rng)
    if rng.random() < 0.08:
        image = image.filter(ImageFilter.SMOOTH)
    pixels = np.array(image)
    share = rng.uniform(*style.dots) * (0.5 if few else 1)
    if share > 0.002:
        size = 1 if height < 24 or share > 0.05 else int(rng.integers(1, 4))
        add_dots(pixels, share, size, noise, rng)
    if rng.random() < 0.1:  # a frame
        pixels[[0, -1]] = noise[0]
        pixels[:, [0, -1]] = noise[0]
    return pixels


def _tiles(text: str, style: Style, height: float, fonts: Fonts, rng: np.random.Generator) -> list[Image.Image]:
    """Masks of all symbols, turned, sheared and of their own sizes; of one font or of one for each."""
    mixed = rng.random() < 0.3
    face = fonts.face(rng, 48, *style.kinds)
    most, crisp = rng.uniform(*style.turn), rng.random() < style.crisp
    tiles = []
    for symbol in text:
        face = fonts.face(rng, 48, *style.kinds) if mixed else face
        angle = rng.uniform(-most, most) if symbol.isdigit() else 0.0
        tall = height * (1 + max(-0.25, min(0.25, rng.normal(0, style.uneven))))
        tile = glyph_tile(symbol, face, tall, angle, rng.uniform(-style.shear, style.shear), rng)
        tiles.append(tile.point(lambda value: 255 * (value > 85)) if crisp else tile)
    return tiles


def _places(
    tiles: list[Image.Image], style: Style, height: float, rng: np.random.Generator
) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """The left upper corner of each tile's place, and the (width, height) of the image."""
    gap = rng.uniform(*style.gap) * height
    pitch = rng.random() < 0.35
    jump = rng.uniform(0, 0.2) * height if rng.random() < 0.7 else 0.0
    x, places, lows, highs = 0.0, [], [], []
    for tile in tiles:
        left, top, right, bottom = tile.getbbox() or (0, tile.height // 2, round(height * 0.4), tile.height // 2 + 1)
        wide = max(right - left, 0.62 * height) if pitch else right - left
        y = rng.uniform(-jump, jump)
        places.append((x + (wide - (right - left)) / 2 - left, y))
        lows.append(y + top)
        highs.append(y + bottom)
        x += wide + max(gap + rng.uniform(-0.04, 0.1) * height, -0.22 * wide)
    wide = max(place[0] + (tile.getbbox() or (0, 0, 1, 1))[2] for place, tile in zip(places, tiles, strict=True))
    loose = 0.3 if rng.random() < 0.7 else 1.2
    above, below, before, after = rng.uniform(0.02, loose, 4) * height * (0.6, 0.6, 1, 1)
    shift = (before, above - min(lows))
    size = (math.ceil(wide + before + after), math.ceil(max(highs) - min(lows) + above + below))
    return [(round(px + shift[0]), round(py + shift[1])) for px, py in places], size


def _tones(count: int, ground: float, style: Style, rng: np.random.Generator) -> list[Tone]:
    """Colours of digits, apart from the ground in brightness; one for all, or one for each."""
    apart = _APART if rng.random() < 0.3 else rng.uniform(_APART, 130)
    pure = rng.random() < 0.4
    if rng.random() >= style.each:
        return [_tone(ground, apart, pure, rng)] * count
    return [_tone(ground, apart, pure, rng) for _ in range(count)]


def _tone(ground: float, apart: float, pure: bool, rng: np.random.Generator) -> Tone:
    """A colour `apart` from the ground's brightness; `pure`: as red, blue or green as it can be."""
    low, high = (0.0, 0.9) if ground > 110 else (0.5, 1.0)
    for _ in range(8):
        tone = vivid(rng, low, high)
        if pure:
            tone = (tone - tone.min()) * (255 * rng.uniform(0.6, 1) / max(1.0, float(np.ptp(tone))))
        if abs(float(tone @ _LUMA) - ground) > apart:
            return _ints(tone)
    return _ints(np.full(3, 20 if ground > 110 else 240, np.float32))


def _ints(tone: np.ndarray) -> Tone:
    return tuple(int(channel) for channel in tone.clip(0, 255))


def _paste(
    image: Image.Image,
    tile: Image.Image,
    at: tuple[int, int],
    fill: Tone,
    look: str,
    ground: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """A digit in one of the looks."""
    share = rng.uniform(0.2, 0.45)
    other = _ints(np.asarray(fill, np.float32) * share + ground * (1 - share))
    if look in ("shadow", "raised"):
        right, down = (2, 2) if look == "shadow" else (1, 1)
        for i in range(1 if look == "shadow" else 3, 0, -1):
            image.paste(other, (at[0] + right * i, at[1] + down * i), tile)
    if look == "hollow":
        tile = ImageChops.subtract(tile.filter(ImageFilter.MaxFilter(3)), tile.filter(ImageFilter.MinFilter(3)))
    if look == "rimmed":
        image.paste(other, at, tile.filter(ImageFilter.MaxFilter(3)))
    if look == "shaded":
        end = np.asarray(fill, np.float32) * rng.uniform(0.3, 0.8) + ground * 0.2
        ramp = np.linspace(0, 1, tile.height, dtype=np.float32)[:, None, None]
        colours = np.asarray(fill, np.float32) * (1 - ramp) + end * ramp
        image.paste(Image.fromarray(to_image(colours)).resize(tile.size), at, tile)
        return
    image.paste(fill, at, tile)
