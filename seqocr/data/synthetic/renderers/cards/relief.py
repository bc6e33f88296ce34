"""Light on digits that stand out of a surface or are sunk into it: shadows, highlights, foil on their tips."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from seqocr.data.synthetic.renderers.base import smooth_noise


def soften(mask: np.ndarray, radius: float) -> np.ndarray:
    """A mask (h, w) blurred by `radius` pixels."""
    image = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, np.float32) / 255


@dataclass(frozen=True)
class Light:
    """One lamp, or a window: where it is, and how shiny what it falls on.

    Attributes:
        azimuth: radians; elevation: above the surface, radians.
        specular: brightness of highlights, in [0, 1]; shine: their exponent.
        cast: darkness of cast shadows, in [0, 1].
    """

    azimuth: float
    elevation: float
    specular: float
    shine: float
    cast: float

    @classmethod
    def sample(cls, rng: np.random.Generator, shiny: bool = False) -> Light:
        """A random one; `shiny`: low, with highlights, so that relief alone is seen."""
        return cls(
            azimuth=float(rng.uniform(0, 2 * math.pi)),
            elevation=float(rng.uniform(0.3, 0.8 if shiny else 1.2)),
            specular=float(rng.uniform(0.3, 1) if shiny else rng.uniform(0, 1) ** 1.5),
            shine=float(rng.uniform(4, 40)),
            cast=float(rng.uniform(0, 0.7) ** 1.5),
        )


@dataclass(frozen=True)
class Relief:
    """A surface: slopes to the right and down (h, w), and the height (h, w) in [0, 1]."""

    height: np.ndarray
    right: np.ndarray
    down: np.ndarray


def make_relief(mask: np.ndarray, edge: float, slope: float) -> Relief:
    """The relief of a mask.

    Args:
        edge: pixels over which edges are rounded.
        slope: the steepest slope; below 0, the digits are sunk in.
    """
    height = soften(mask, edge)
    down, right = np.gradient(height)
    steepest = max(1e-3, float(np.abs(right).max()), float(np.abs(down).max()))
    return Relief(height, right * (slope / steepest), down * (slope / steepest))


def shade(ground: np.ndarray, relief: Relief, light: Light) -> np.ndarray:
    """The ground (h, w, 3) with the relief's light and shadow on it."""
    x, y, z = _direction(light)
    length = np.sqrt(1 + relief.right**2 + relief.down**2)
    facing = (z - relief.right * x - relief.down * y) / length
    lit = 0.35 + 0.65 * (facing / z).clip(0, 2.2)  # some of the light comes from everywhere
    # Halfway between the lamp and the camera, which is above.
    norm = math.sqrt(2 + 2 * z)
    half = ((1 + z - relief.right * x - relief.down * y) / (length * norm)).clip(0, 1)
    flat = ((1 + z) / norm) ** light.shine  # what a flat surface shows is part of the ground
    shine = (half**light.shine - flat) * (light.specular * 255)
    if light.cast > 0.02:
        reach = 2.4 / math.tan(light.elevation)  # pixels
        shift = (round(-y * reach), round(-x * reach))
        shadow = np.roll(relief.height, shift, (0, 1)) - relief.height
        lit = lit * (1 - light.cast * shadow.clip(0, 1))
    return np.asarray(ground * lit[..., None] + shine.clip(0, None)[..., None], np.float32)


def _direction(light: Light) -> tuple[float, float, float]:
    flat = math.cos(light.elevation)
    return flat * math.cos(light.azimuth), flat * math.sin(light.azimuth), math.sin(light.elevation)


def foil(relief: Relief, tone: np.ndarray, rng: np.random.Generator, mirror: float) -> np.ndarray:
    """Metal foil (h, w, 3) of a tone (3,) that lies on a relief and mirrors bright and dark things around.

    Args:
        mirror: 0 for matt ink, 1 for foil that turns from dark to bright within a digit.
    """
    angle, bands = rng.uniform(0, 2 * math.pi), rng.uniform(1, 5)
    seen = (relief.right * math.cos(angle) + relief.down * math.sin(angle)) * bands
    # Bent plastic: what the foil mirrors changes along the line.
    wide = smooth_noise(relief.height.shape, relief.height.shape[0] * rng.uniform(0.4, 3), rng) * rng.uniform(0, 2.5)
    bright = 1 + mirror * 0.65 * np.sin(seen + wide + rng.uniform(0, 6))
    glint = mirror * 90 * (np.sin(seen * 2 + wide * 3) - 0.7).clip(0, 1)
    return np.asarray(tone * bright[..., None] + glint[..., None], np.float32)


def worn(mask: np.ndarray, rng: np.random.Generator, amount: float, cell: float, least: float = 0) -> np.ndarray:
    """A mask (h, w) with parts rubbed off: `amount` in [0, 1], in patches of about `cell` pixels, down to `least`."""
    if amount <= 0:
        return mask
    patches = smooth_noise(mask.shape, cell, rng) + 0.5 * smooth_noise(mask.shape, max(1.5, cell / 5), rng)
    kept = (patches * 2.5 + (1 - amount) * 3 - 0.5).clip(least, 1)
    return np.asarray(mask * kept, np.float32)


def luma(image: np.ndarray) -> np.ndarray:
    """Brightness (h, w) float32 in [0, 255] of an image (h, w, 3) that may be beyond it."""
    return np.asarray((image @ np.array((0.299, 0.587, 0.114), np.float32)).clip(0, 255), np.float32)


def contrast(image: np.ndarray, ground: np.ndarray, mask: np.ndarray) -> float:
    """How much digits differ from what is behind them: mean difference of luminance, of 255, where the mask is."""
    difference = np.abs(luma(image) - luma(ground))
    return float((difference * mask).sum() / max(1.0, float(mask.sum())))
