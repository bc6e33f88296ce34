"""What counters with number wheels look like: of cars, of meters for water, gas and electricity, of old devices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqocr.data.synthetic.renderers.base import colour

Colour = np.ndarray  # (3,) float32, of 255


@dataclass(frozen=True)
class Look:
    """Colours of a counter and lengths of its parts, lengths in heights of a digit.

    Attributes:
        wheel, ink: of most wheels; last_wheel, last_ink: of the last ones.
        last: number of these if no decimal point in the text says it.
        panel: around the windows; rim: of each window.
        is_strip: all wheels behind one window, rather than one each.
        pitch: from one wheel's middle to the next; gap: between wheels or windows.
        step: from one digit's middle to the next one's on the wheel; window: height of the window.
    """

    wheel: Colour
    ink: Colour
    last_wheel: Colour
    last_ink: Colour
    panel: Colour
    rim: Colour
    last: int
    is_strip: bool
    pitch: float
    gap: float
    step: float
    window: float


def dark(rng: np.random.Generator) -> Colour:
    return colour(rng, 5, 70, _tint(rng))


def light(rng: np.random.Generator) -> Colour:
    """White, most often yellowed by age."""
    yellow = np.array((0, 1, 3), np.float32) * np.float32(rng.uniform(0, 10))
    white: Colour = colour(rng, 165, 250, _tint(rng)) - yellow
    return white


def _tint(rng: np.random.Generator) -> float:
    return 5.0 if rng.random() < 0.7 else 22.0


def red(rng: np.random.Generator) -> Colour:
    return np.array([rng.uniform(130, 235), rng.uniform(10, 75), rng.uniform(10, 70)], np.float32)


# What is on the last wheels, given the others' ground and ink.
def _last(style: str, wheel: Colour, ink: Colour, rng: np.random.Generator) -> tuple[Colour, Colour]:
    if style == "inverted":
        return ink + rng.normal(0, 8, 3).astype(np.float32), wheel + rng.normal(0, 8, 3).astype(np.float32)
    if style == "red ground":
        return red(rng), colour(rng, 200, 250, 8)
    if style == "red ink":
        ground = wheel if wheel.mean() > 120 else light(rng)
        return ground, red(rng)
    if style == "colour":
        ground = colour(rng, 60, 200, 80)
        return ground, dark(rng) if ground.mean() > 130 else light(rng)
    return wheel, ink


@dataclass(frozen=True)
class _Kind:
    weight: float
    is_dark: float  # chance of light digits on dark wheels
    panel_dark: float  # chance of a dark front
    strip: float
    last: tuple[int, ...]
    styles: dict[str, float]


_KINDS = {
    "car": _Kind(0.6, 0.93, 0.9, 0.8, (1,), {"inverted": 0.8, "same": 0.1, "red ground": 0.07, "red ink": 0.03}),
    "electricity": _Kind(0.12, 0.85, 0.5, 0.35, (0, 1, 1, 2), {"red ground": 0.5, "same": 0.3, "inverted": 0.2}),
    "water": _Kind(0.1, 0.4, 0.25, 0.55, (0, 2, 3, 4), {"red ink": 0.45, "red ground": 0.4, "same": 0.15}),
    "gas": _Kind(0.07, 0.85, 0.35, 0.5, (2, 3), {"red ground": 0.55, "red ink": 0.2, "same": 0.25}),
    "counter": _Kind(0.06, 0.5, 0.5, 0.4, (0, 1), {"same": 0.7, "colour": 0.3}),
    "any": _Kind(0.05, 0.5, 0.5, 0.5, (0, 1, 2, 3), {"colour": 0.6, "same": 0.2, "inverted": 0.2}),
}


def sample_look(rng: np.random.Generator) -> Look:
    weights = [kind.weight for kind in _KINDS.values()]
    name = list(_KINDS)[int(rng.choice(len(weights), p=weights))]
    kind = _KINDS[name]
    wheel, ink = (dark(rng), light(rng)) if rng.random() < kind.is_dark else (light(rng), dark(rng))
    if name == "any":
        wheel = colour(rng, 20, 220, 70)
        ink = dark(rng) if wheel.mean() > 120 else light(rng)
    style = str(rng.choice(list(kind.styles), p=list(kind.styles.values())))
    last_wheel, last_ink = _last(style, wheel, ink, rng)
    panel = colour(rng, 15, 90, _tint(rng)) if rng.random() < kind.panel_dark else colour(rng, 110, 240, _tint(rng))
    if rng.random() < 0.06:  # brass
        panel = np.array([rng.uniform(150, 200), rng.uniform(115, 160), rng.uniform(50, 90)], np.float32)
    rim = panel * rng.uniform(0.2, 0.8) if rng.random() < 0.7 else colour(rng, 0, 255, 20)
    is_strip = bool(rng.random() < kind.strip)
    gap = rng.choice([0.0, 0.03, 0.06, 0.12]) if is_strip else rng.uniform(0.08, 0.6)
    step = rng.uniform(1.1, 1.7)
    return Look(
        wheel=wheel,
        ink=ink,
        last_wheel=last_wheel,
        last_ink=last_ink,
        panel=panel,
        rim=rim.astype(np.float32),
        last=int(rng.choice(kind.last)),
        is_strip=is_strip,
        pitch=float(rng.uniform(0.62, 1.15)),
        gap=float(gap),
        step=float(step),
        window=float(rng.uniform(1.05, 1.25) if rng.random() < 0.4 else rng.uniform(1.1, min(1.9, 1.45 * step))),
    )
