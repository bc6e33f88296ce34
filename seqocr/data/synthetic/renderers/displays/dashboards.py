"""Numbers in smooth type on screens: of dashboards, pumps, scales and players, that shine or are lit from behind."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, colour, smooth_noise, text_mask, to_image
from seqocr.data.synthetic.renderers.wheels.panel import contrast_with, face_size, words_around

_HEIGHTS = (16, 52)  # pixels of a digit
_WIDEST = 480  # pixels: long texts are drawn smaller
# Light of lamps, phosphors and filtered backlights, shares of red, green and blue; and how often each is met.
_LAMPS = {
    (1.0, 0.06, 0.03): 0.2,  # red
    (1.0, 0.3, 0.05): 0.25,  # orange
    (1.0, 0.6, 0.12): 0.12,  # amber
    (0.3, 1.0, 0.2): 0.1,
    (0.15, 0.95, 0.75): 0.08,  # vacuum fluorescent
    (0.1, 0.6, 1.0): 0.08,
    (0.25, 0.3, 1.0): 0.05,
    (0.95, 0.97, 1.0): 0.12,
}
_MOST_LEAK = (
    1.2  # of light that makes a ground as bright as digits are: seen in green, which brightness is mostly made of
)
# Liquid crystals before a backlight or a mirror: grounds that dark digits stand on.
_LIQUIDS = (
    (150, 165, 130),
    (120, 140, 60),
    (175, 180, 170),
    (200, 140, 60),
    (90, 150, 200),
    (110, 175, 110),
    (225, 225, 220),
)


def draw_dashboard(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A screen (h, w, 3) uint8 that shows a text."""
    height = int(rng.integers(*_HEIGHTS))
    mask = _number(text, height, fonts, rng)
    height = min(height, mask.shape[0])
    side, over = (round(rng.uniform(0.05, most) * height) + 2 for most in (1.0, 0.8))
    (h, w), left, top = mask.shape, side, over
    shape = h + 2 * over, w + 2 * side
    ink = np.zeros(shape, np.float32)
    ink[top : top + h, left : left + w] = mask
    clutter = np.zeros(shape, np.float32)
    if rng.random() < 0.65:
        clutter = words_around(shape, (left, top, left + w, top + h), height, fonts, rng)
    for below in (False, True):  # rows of the same size, cut off by the image
        if rng.random() < 0.2:
            gap = round(rng.uniform(0.12, 0.5) * height)
            row = np.roll(mask[:, ::-1], int(rng.integers(w)), 1)  # not this number's own digits
            rows = min(h, over - gap)
            if rows > 0 and below:
                clutter[-rows:, left : left + w] = row[:rows]
            elif rows > 0:
                clutter[:rows, left : left + w] = row[-rows:]
    if rng.random() < 0.15:  # a line between fields
        at = int(rng.choice([max(0, top // 2 - 1), min(shape[0] - 2, top + h + over // 2)]))
        clutter[at : at + max(1, height // 20)] = rng.uniform(0.3, 1)
    draw = (_shine, _shine, _screen, _liquid)[int(rng.integers(4))]
    pixels = _mesh(draw(ink, clutter, height, rng), height, rng)
    cut = [int(rng.uniform(0, most)) for most in (over, over, side, side)]
    return to_image(pixels[cut[0] : shape[0] - cut[1], cut[2] : shape[1] - cut[3]])


def _number(text: str, height: int, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Coverage (h, w) float32 of a text whose digits are about `height` pixels high."""
    kinds = ("display",) if rng.random() < 0.2 else ("print", "narrow", "mono")
    face = fonts.face(rng, face_size(1.35 * height), *kinds)
    scale = 1.35 * height / float(face.size)
    height = round(height / scale)  # before all is made smaller
    spacing = rng.random()
    tracking, pitch = 0.0, None
    if spacing < 0.35:
        tracking = float(rng.uniform(-0.02, 0.3)) * height
    elif spacing < 0.6:  # cells, as many screens have them
        pitch = max(float(rng.uniform(0.65, 1.1)) * height, max(face.getlength(symbol) for symbol in {*text}))
    stroke = 1 if rng.random() < 0.15 and height > 24 else 0
    mask = text_mask(text, face, tracking=tracking, pitch=pitch, stroke=stroke)
    image = Image.fromarray((255 * mask).astype(np.uint8), "L")
    if rng.random() < 0.2:  # leaning digits
        lean = rng.uniform(0.05, 0.25)
        more = int(lean * image.height) + 1
        size = image.width + more, image.height
        image = image.transform(size, Image.Transform.AFFINE, (1, lean, -more, 0, 1, 0), Image.Resampling.BILINEAR)
    fitting = _WIDEST / (scale * image.width)
    wide, high = scale * rng.uniform(0.75, 1.3) * min(1.0, fitting), scale * min(1.0, 1.3 * fitting)
    size = max(4, round(image.width * wide)), max(4, round(image.height * high))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32) / 255


def _spread(mask: np.ndarray, radius: float) -> np.ndarray:
    """A mask (h, w) blurred."""
    image = Image.fromarray((255 * mask).astype(np.uint8), "L")
    return np.asarray(image.filter(ImageFilter.BoxBlur(radius)).filter(ImageFilter.BoxBlur(radius)), np.float32) / 255


def _shine(ink: np.ndarray, clutter: np.ndarray, height: int, rng: np.random.Generator) -> np.ndarray:
    """Digits that shine on a ground that is dark, or lit by leaking light; a camera's sensor has its limit."""
    lamp = np.array(list(_LAMPS)[int(rng.choice(len(_LAMPS), p=list(_LAMPS.values())))], np.float32)
    lamp = (lamp + rng.normal(0, 0.04, 3)).clip(0.005, 1.1).astype(np.float32)
    exposure = float(np.exp(rng.uniform(np.log(0.8), np.log(12))))
    shown = np.maximum(ink, clutter * rng.uniform(0.4, 1.0))
    halo = rng.uniform(0.1, 0.6) * _spread(shown, rng.uniform(0.05, 0.35) * height)
    leak = rng.uniform(0, 0.3) if rng.random() < 0.6 else 0.0
    leak = min(leak, _MOST_LEAK / (exposure * float(lamp[1]) + 0.1))
    leaking = leak * (1 + 0.5 * smooth_noise(ink.shape, rng.uniform(1, 4) * height, rng))
    light = exposure * (shown + halo + leaking)
    veil = rng.uniform(0.0, 0.1) if rng.random() < 0.7 else rng.uniform(0.1, 0.45)  # daylight on the pane
    daylight = veil * (1 + 0.3 * smooth_noise(ink.shape, 3 * height, rng))
    total = light[..., None] * lamp + daylight[..., None] * colour(rng, 200, 255, 30) / 255
    result: np.ndarray = 255 * (1 - np.exp(-total))
    return result


def _screen(ink: np.ndarray, clutter: np.ndarray, height: int, rng: np.random.Generator) -> np.ndarray:
    """A colour screen: flat colours, sometimes shaded grounds and frames."""
    ground = colour(rng, 0, 60, 25) if rng.random() < 0.75 else colour(rng, 150, 255, 30)
    other = colour(rng, 0, 90, 50) if ground.mean() < 100 else colour(rng, 140, 255, 30)
    h, w = ink.shape
    fade = np.linspace(0, rng.uniform(0, 1), h, dtype=np.float32)[:, None] * np.ones((1, w), np.float32)
    if rng.random() < 0.3:
        fade = fade.mean() + 0.3 * smooth_noise((h, w), 2 * height, rng)
    pixels = blend(np.broadcast_to(ground, (h, w, 3)), other, fade)
    digits = contrast_with(ground, rng)
    if ground.mean() < 100 and rng.random() < 0.4:
        lamp = list(_LAMPS)[int(rng.integers(len(_LAMPS)))]
        digits = (255 * np.array(lamp) + rng.uniform(0, 100)).clip(0, 255).astype(np.float32)
    words = digits if rng.random() < 0.5 else digits * rng.uniform(0.4, 0.9) + ground * 0.3
    pixels = blend(blend(pixels, words, clutter), digits, ink)
    if rng.random() < 0.3:
        pixels = pixels + rng.uniform(0.1, 0.5) * _spread(ink, 0.15 * height)[..., None] * (digits - ground)
    return pixels


def _liquid(ink: np.ndarray, clutter: np.ndarray, height: int, rng: np.random.Generator) -> np.ndarray:
    """Dark digits of liquid crystals, with their shadow on the mirror behind."""
    ground = np.array(_LIQUIDS[int(rng.integers(len(_LIQUIDS)))], np.float32) * rng.uniform(0.45, 1.15)
    ground = ground + rng.normal(0, 10, 3).astype(np.float32)
    uneven = 1 + rng.uniform(0, 0.25) * smooth_noise(ink.shape, rng.uniform(1, 6) * height, rng)
    shown = np.maximum(ink, clutter * rng.uniform(0.5, 1.0))
    pixels = ground * uneven[..., None]
    dark = ground * rng.uniform(0.05, 0.5) + rng.uniform(0, 15)
    if rng.random() < 0.6:
        down, right = (int(rng.integers(0, max(2, height // 10))) for _ in range(2))
        shadow = _spread(np.roll(shown, (down, right), (0, 1)), rng.uniform(0.5, 2))
        pixels = blend(pixels, dark, rng.uniform(0.1, 0.4) * shadow)
    return blend(pixels, dark, shown * rng.uniform(0.75, 1))


def _mesh(pixels: np.ndarray, height: int, rng: np.random.Generator) -> np.ndarray:
    """Gaps between a screen's points, or the grid of wires before phosphors."""
    if rng.random() < 0.7:
        return pixels
    every, loss = int(rng.integers(2, max(3, height // 8) + 1)), rng.uniform(0.05, 0.35)
    kept = np.full(pixels.shape[:2], 1.0, np.float32)
    kept[::every] *= 1 - loss
    if rng.random() < 0.7:
        kept[:, ::every] *= 1 - loss
    result: np.ndarray = pixels * kept[..., None]
    return result
