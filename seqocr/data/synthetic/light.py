"""Light on a scene: uneven, in shadow, mirrored."""

from __future__ import annotations

import math

import numpy as np

_DARKEST = np.float32(0.3)  # gain
_Axes = tuple[np.ndarray, np.ndarray]  # (h, 1) and (1, w): places in heights of the picture


def shine(image: np.ndarray, strength: float, readable: float, rng: np.random.Generator) -> np.ndarray:
    """A scene (h, w, 3) uint8 under uneven light, with shadows and glare.

    Args:
        strength: in [0, 1]: how uneven it is.
        readable: contrast of what is written, 0 to 255: glare is kept from washing it out.
    """
    h, w, _ = image.shape
    axes = (np.arange(h, dtype=np.float32)[:, None] / h, np.arange(w, dtype=np.float32)[None] / h)
    gain = None
    if rng.random() < 0.3 + 0.4 * strength:
        gain = _gradient(axes, w / h, rng.uniform(0, 0.15 + 0.6 * strength), rng)
    if rng.random() < 0.25 * strength:
        gain = _times(gain, _vignette(axes, w / h, rng.uniform(0.1, 0.6), rng))
    if rng.random() < 0.3 * strength:
        gain = _times(gain, _shadow(axes, w / h, rng.uniform(0.15, 0.65), rng))
    spots = int(rng.integers(1, 4)) if rng.random() < 0.25 * strength else 0
    if gain is None and not spots:
        return image
    # Eyes and cameras make up for less light, so that none is left nearly dark.
    pixels = image * (np.ones((1, 1), np.float32) if gain is None else np.maximum(gain, _DARKEST))[..., None]
    for _ in range(spots):
        pixels = _glare(pixels, axes, w / h, readable, rng)
    return pixels.clip(0, 255).astype(np.uint8)


def _times(gain: np.ndarray | None, other: np.ndarray) -> np.ndarray:
    return other if gain is None else gain * other


def _across(axes: _Axes, wide: float, rng: np.random.Generator) -> np.ndarray:
    """Distance (h, w) in heights from a line of a random direction through the picture's middle half."""
    angle = rng.uniform(0, 2 * math.pi)
    x, y = wide * rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
    return np.float32(math.cos(angle)) * (axes[1] - np.float32(x)) + np.float32(math.sin(angle)) * (
        axes[0] - np.float32(y)
    )


def _gradient(axes: _Axes, wide: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Gain (h, w) that changes by `depth` across the picture, the brighter half staying as it is."""
    along = _across(axes, wide, rng)
    low, high = float(along.min()), float(along.max())
    return 1 + np.float32(depth) * ((along - low) / max(high - low, 1e-6) - np.float32(rng.uniform(0.3, 1)))


def _vignette(axes: _Axes, wide: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Gain (h, w) that falls off from a point."""
    x, y = wide * rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8)
    squared = ((axes[1] - np.float32(x)) / max(wide, 1)) ** 2 + ((axes[0] - np.float32(y)) * 0.7) ** 2
    return 1 - np.float32(depth) * np.minimum(squared * np.float32(1.6), 1)


def _shadow(axes: _Axes, wide: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Gain (h, w) of a shadow with an edge, sharp or soft; of a bar's where it has two."""
    softness = np.float32(0.02 + rng.uniform(0, 0.6) ** 2)
    across = _across(axes, wide, rng)
    if rng.random() < 0.3:
        across = np.float32(rng.uniform(0.1, 0.6)) - np.abs(across)
    return 1 - np.float32(depth) * np.clip(across / softness + 0.5, 0, 1)


def _glare(pixels: np.ndarray, axes: _Axes, wide: float, readable: float, rng: np.random.Generator) -> np.ndarray:
    """A spot or a streak of light on top. It is clear at its core only where it is small."""
    x, y = wide * rng.uniform(0, 1), rng.uniform(-0.1, 1.1)
    long, thin = rng.uniform(0.1, 1.2), rng.uniform(0.06, 0.5)
    angle = rng.uniform(0, math.pi)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    right, down = axes[1] - np.float32(x), axes[0] - np.float32(y)
    squared = ((cos * right + sin * down) / np.float32(long)) ** 2 + (
        (cos * down - sin * right) / np.float32(thin)
    ) ** 2
    # Large spots veil: some contrast has to be left under them.
    most = 0.9 if long * thin < 0.08 else min(0.65, max(0.2, 1 - 40 / max(readable, 1)))
    veil = np.float32(rng.uniform(0.2, most)) * np.exp(-squared)
    light = 255 - rng.uniform(0, 40, 3).astype(np.float32) * (rng.random() < 0.4)
    return pixels + (light - pixels) * veil[..., None]
