"""What displays are made of: liquid crystals on a reflector, and segments or dots that glow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageFilter

from seqocr.data.synthetic.renderers.base import blend, smooth_noise

Table = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
GREY = np.array([0.3, 0.59, 0.11], np.float32)
# Grounds of liquid crystals: darkest and lightest colour. Reflectors are grey-green, backlights anything.
GROUNDS = {
    "grey": ((120, 128, 112), (208, 212, 198)),
    "green-grey": ((85, 105, 85), (165, 185, 150)),
    "yellow-green": ((95, 130, 10), (200, 225, 80)),
    "olive": ((55, 58, 25), (150, 150, 95)),
    "green": ((10, 80, 10), (60, 190, 50)),
    "dark green": ((4, 34, 3), (40, 85, 38)),
    "teal": ((20, 60, 60), (110, 160, 150)),
    "blue": ((10, 70, 150), (60, 165, 245)),
    "amber": ((190, 80, 10), (255, 160, 60)),
    "white": ((190, 200, 205), (240, 245, 250)),
    "any": ((40, 40, 40), (235, 235, 235)),
}
GROUND_ODDS = np.array([5, 4, 3, 3, 2, 5, 1.5, 1.5, 0.7, 1.5, 0.8])
BLUISH = np.array([0.2, 0.3, 1], np.float32)  # of segments: what polarizers leave
LEAST_CONTRAST = 16.0  # grey levels between segments and ground; less than this drowns in a camera's noise
# What share of a light's power lands in red, green and blue: a lamp that saturates the sensor turns to the sum of it.
LIGHTS = {
    "red": ((1, 0.03, 0.01), (1, 0.16, 0.08)),
    "orange": ((1, 0.16, 0.01), (1, 0.42, 0.06)),
    "yellow": ((1, 0.55, 0.02), (1, 0.8, 0.15)),
    "green": ((0.05, 1, 0.05), (0.4, 1, 0.3)),
    "cyan": ((0.05, 0.75, 0.6), (0.35, 1, 1)),
    "blue": ((0.03, 0.1, 1), (0.25, 0.5, 1)),
    "white": ((0.75, 0.85, 0.85), (1, 1, 1)),
    "pink": ((1, 0.1, 0.3), (1, 0.4, 0.8)),
}
LIGHT_ODDS = np.array([6, 5, 2, 3, 3, 2, 2, 0.5])
DASHBOARD_ODDS = np.array([5, 6, 3, 0.7, 1.5, 0.4, 0.4, 0.2])


def choose(odds: np.ndarray, rng: np.random.Generator) -> int:
    """A random index of odds (n,), which need not add up to 1."""
    return int(np.searchsorted(np.cumsum(odds), rng.random() * odds.sum(), side="right"))


def pick(table: Table, odds: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A name of a table, and a colour (3,) between its two, each channel a little off the line between them."""
    name = list(table)[choose(odds, rng)]
    low, high = (np.array(c, np.float32) for c in table[name])
    between = np.clip(rng.uniform() + rng.uniform(-0.15, 0.15, 3), 0, 1).astype(np.float32)
    return name, low + (high - low) * between


def _apart(rng: np.random.Generator, reach: float) -> np.ndarray:
    """A random difference of colour (3,) float32 of up to `reach`."""
    return rng.uniform(-reach, reach, 3).astype(np.float32)


def blur(mask: np.ndarray, radius: float) -> np.ndarray:
    """A mask (h, w) float32 in [0, 1], softened; wide radii at a lower resolution, where nobody sees it."""
    image = Image.fromarray((mask.clip(0, 1) * 255).astype(np.uint8))
    less = int(radius / 2)
    if less > 1:
        coarse = image.reduce(less).filter(ImageFilter.GaussianBlur(radius / less))
        image = coarse.resize(image.size, Image.Resampling.BILINEAR)
    else:
        image = image.filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, np.float32) / 255


def shift(mask: np.ndarray, right: int, down: int) -> np.ndarray:
    """A mask (h, w), moved by pixels; what leaves it is lost."""
    h, w = mask.shape
    moved = np.zeros_like(mask)
    moved[max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)] = mask[
        max(-down, 0) : h + min(-down, 0), max(-right, 0) : w + min(-right, 0)
    ]
    return moved


def slope(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A plane (h, w) from -1 to 1 that rises in a random direction."""
    turn = rng.uniform(0, 2 * np.pi)
    down, across = np.sin(turn), np.cos(turn)
    rows = np.linspace(-down, down, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-across, across, shape[1], dtype=np.float32)[None]
    return (rows + columns) / np.float32(abs(down) + abs(across))


def _backlight(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """How bright a ground (h, w) is, about 1: it falls off to one side, or in a band along an edge, and is cloudy."""
    light = 1 + rng.uniform(0, 0.3) * slope(shape, rng)
    light = light + rng.uniform(0, 0.1) * smooth_noise(shape, rng.uniform(0.4, 2) * shape[0], rng)
    if rng.random() < 0.25:  # lamps sit at one edge: the far one is dark
        rows = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
        rows = rows if rng.random() < 0.7 else 1 - rows
        light = light * (1 - rng.uniform(0.3, 0.9) / (1 + np.exp(-(rows - rng.uniform(0.75, 1)) * rng.uniform(8, 25))))
    return np.asarray(light, np.float32)


def liquid_crystal(
    lit: np.ndarray, ghost: np.ndarray | None, unit: float, rng: np.random.Generator, *, fine: bool = False
) -> np.ndarray:
    """Dark segments on a lighter ground: (h, w, 3) float32.

    Args:
        lit: coverage (h, w) by segments that are on; ghost: by all of them, or None where unlit ones are unseen.
        unit: a digit's height in pixels; fine: of parts so small that a camera pales them.
    """
    name, ground_colour = pick(GROUNDS, GROUND_ODDS, rng)
    ink = ground_colour * rng.uniform(0, 0.25) + 9 + _apart(rng, 9) + rng.uniform(0, 22) * BLUISH
    weak = name == "dark green" or rng.random() < 0.3
    strength = rng.uniform(0.2, 0.65) if weak else rng.uniform(0.5, 0.97)
    gap = float((ground_colour - ink) @ GREY)
    if gap < LEAST_CONTRAST:  # a ground as dark as this one needs all of the ink
        ink, gap = ink * 0.2, float((ground_colour - ink * 0.2) @ GREY)
    strength = min(1.0, max(strength, (1.5 if fine else 1.0) * LEAST_CONTRAST / max(gap, 1)))
    if fine or unit < 28:  # edges share pixels with the ground
        strength = max(strength, 0.6 if fine else 0.4)
    ground = ground_colour * _backlight(lit.shape, rng)[..., None]
    if rng.random() < 0.5:  # the shadow on the reflector, behind the glass
        reach = rng.uniform(0.015, 0.07) * unit
        right, down = round(rng.normal(0, 0.6) * reach), round(abs(rng.normal(0.7, 0.5)) * reach)
        shadow = blur(shift(lit, right, down), rng.uniform(0.1, 0.5) * reach + 0.3)
        ground = ground * (1 - rng.uniform(0.08, 0.4) * strength * shadow)[..., None]
    # Seen from aside, one end of the display is paler than the other.
    shown = lit * strength * (1 + rng.uniform(0, 0.22) * (slope(lit.shape, rng) - 1))
    if ghost is not None:
        shown = np.maximum(shown, ghost * strength * rng.uniform(0.03, 0.22))
    if rng.random() < 0.3:
        shown = blur(shown, rng.uniform(0.01, 0.025) * unit)
    return blend(ground, ink, shown)


def negative_crystal(lit: np.ndarray, ghost: np.ndarray | None, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Light segments on a dark or blue ground that shines through a little; flaps and electronic paper look so, too."""
    _, light = pick(LIGHTS, np.array([1, 2, 1, 2, 2, 1, 8, 0.5]), rng)
    _, ground_light = pick(LIGHTS, np.array([1, 1, 0.5, 1.5, 1, 5, 4, 0.5]), rng)
    paper = 255 * light ** rng.uniform(0.3, 0.9) * rng.uniform(0.45, 1)
    ground_colour = ground_light * rng.uniform(5, 110) + rng.uniform(0, 25)
    if float((paper - ground_colour) @ GREY) < 3 * LEAST_CONTRAST:
        ground_colour = ground_colour * 0.15
    ground = ground_colour * _backlight(lit.shape, rng)[..., None]
    shown = lit * rng.uniform(0.55, 1) * (1 + rng.uniform(0, 0.25) * (slope(lit.shape, rng) - 1))
    if ghost is not None:
        shown = np.maximum(shown, ghost * rng.uniform(0.03, 0.18))
    pixels = blend(ground, paper, shown)
    if rng.random() < 0.5:
        pixels = pixels + (blur(lit, rng.uniform(0.05, 0.3) * unit) * rng.uniform(0, 60))[..., None] * light
    return pixels


def glow(lit: np.ndarray, ghost: np.ndarray | None, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Segments that shine: a core that saturates the sensor, a halo, and light that leaks onto the ground around.

    Args: as of `liquid_crystal`.
    """
    # Dashboards by night are shot too long: cores turn yellow or white, and so much light leaks that the ground is red.
    night = rng.random() < 0.3
    _, light = pick(LIGHTS, DASHBOARD_ODDS if night else LIGHT_ODDS, rng)
    exposure = float(np.exp(rng.uniform(np.log(5 if night else 0.9), np.log(16))))
    flat = not night and rng.random() < 0.3  # no bloom at all: a short exposure, by daylight
    near, far = rng.uniform(0.02, 0.08) * unit, rng.uniform(0.12, 0.45) * unit
    power = lit * (1 + rng.uniform(0, 0.2) * slope(lit.shape, rng))
    if rng.random() < 0.08:
        power = power * _grid(lit.shape, unit, rng)
    if not flat:
        power = power + blur(lit, near) * rng.uniform(0, 0.5)
        # Wide halos of the strongest lamps would fill the insides of digits.
        power = power + blur(lit, far) * rng.uniform(0, 0.35) * rng.random() * min(1.0, 4 / exposure)
    # The ground is lit, too, as through the filter of a dashboard, redder than the lamps. More than a fifth of their
    # own light would leave white digits on a white ground.
    seen = rng.uniform(0.5, 2.6) if night else rng.uniform(0.1, 1.6) if rng.random() < 0.25 else rng.uniform(0, 0.3)
    leak = min(0.18, seen / exposure) * (1 + 0.5 * smooth_noise(lit.shape, unit, rng))
    ground_light = light ** rng.uniform(1, 1.8) if rng.random() < 0.8 else pick(LIGHTS, LIGHT_ODDS, rng)[1]
    if ghost is not None:
        power = power + (ghost - lit).clip(0) * rng.uniform(0.01, 0.08) / (1 + 0.25 * exposure)
    pixels = 255 * (1 - np.exp(-exposure * (power[..., None] * light + leak[..., None] * ground_light)))
    return _by_daylight(pixels, ghost, light, rng)


def _grid(shape: tuple[int, int], unit: float, rng: np.random.Generator) -> np.ndarray:
    """The share of light (h, w) that passes a mesh of wires, or, in bands, is on while a shutter is open."""
    if rng.random() < 0.5:
        phase = np.arange(shape[0], dtype=np.float32) / (unit * rng.uniform(0.3, 3)) + rng.random()
        return np.broadcast_to(1 - rng.uniform(0.1, 0.45) * (phase % 1 < rng.uniform(0.2, 0.6))[:, None], shape)
    pitch = max(3, round(unit * rng.uniform(0.06, 0.12)))
    wires = np.ones(shape, np.float32)
    wires[:, ::pitch] = rng.uniform(0.5, 0.9)
    if rng.random() < 0.5:
        wires[::pitch] = rng.uniform(0.5, 0.9)
    return wires


def _by_daylight(
    pixels: np.ndarray, ghost: np.ndarray | None, light: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A glowing display (h, w, 3) in the light of the room: its face, what a filter lets through, a veil of haze."""
    filtered = light if rng.random() < 0.4 else np.ones_like(light)
    face = rng.uniform(0, 45) * (0.35 + 0.65 * filtered) + _apart(rng, 6)
    if rng.random() < 0.2:
        face = face + rng.uniform(40, 150) + _apart(rng, 20)
    face = face.clip(0, 255)[None, None]
    if ghost is not None and rng.random() < 0.5:  # lamps that are off look like milk glass
        face = face + ghost[..., None] * rng.uniform(6, 28) * (0.4 + 0.6 * filtered)
    face = face * (1 + rng.uniform(0, 0.25) * slope(pixels.shape[:2], rng))[..., None]
    return np.asarray(255 - (255 - pixels) * (255 - face.clip(0, 255)) / 255, np.float32)
