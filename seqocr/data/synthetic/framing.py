"""Framing: how much of a scene is in the picture, and from where it is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from seqocr.data.synthetic.grain import normal_noise

# Heights of the picture in heights of what was drawn: digits that fill 60 % of it stay 9 px high in a view of 32.
_TALLEST = 2.0
_HUG = 0.85  # share of a rotated line's added height that a frame around its ink needs
_COLUMNS, _ROWS = 6, 2  # cells of the grid that bent pictures are sampled by
_MIRRORED = 0.2  # heights: deeper, a mirror would show whole digits


@dataclass(frozen=True)
class Frame:
    """What of an image (h, w) is seen.

    Attributes:
        left, top, right, bottom: pixels added, or cut off where negative.
        angle: radians; tilt: change of scale across the picture, from left to right and from top to bottom.
        shear: pixels to the right per pixel up; curve: heights by which the ends lie lower; barrel: share of bulge.
    """

    left: float = 0
    top: float = 0
    right: float = 0
    bottom: float = 0
    angle: float = 0
    tilt: tuple[float, float] = (0, 0)
    shear: float = 0
    curve: float = 0
    barrel: float = 0

    @property
    def is_level(self) -> bool:
        return not (self.angle or any(self.tilt) or self.shear or self.curve or self.barrel)


def choose_frame(height: int, width: int, strength: float, rng: np.random.Generator) -> Frame:
    """A frame for an image of these sides; `strength` in [0, 1] says how far from straight ahead it is."""
    frame = Frame()
    if rng.random() < 0.15 + 0.6 * strength:
        angle = rng.normal(0, 0.4 + 1.6 * strength)
        if rng.random() < 0.15 * strength:
            angle = rng.uniform(-12, 12)
        most = math.asin(min(1, 0.5 * height / width))  # long lines would lift their ends out of the picture
        frame = replace(frame, angle=float(np.clip(math.radians(np.clip(angle, -12, 12)), -most, most)))
    if rng.random() < 0.1 + 0.5 * strength:
        along, across = rng.normal(0, 0.03 + 0.1 * strength, 2).clip(-0.3, 0.3)
        frame = replace(frame, tilt=(float(along), float(across)), shear=rng.normal(0, 0.02 + 0.08 * strength))
    if rng.random() < 0.04 + 0.25 * strength:
        curve, barrel = rng.normal(0, 0.06 * strength, 2).clip(-0.15, 0.15)
        frame = replace(frame, curve=float(curve), barrel=float(barrel))
    lift = _HUG * abs(math.sin(frame.angle)) * width + abs(frame.curve) * height
    return _with_margins(frame, height, lift, rng)


def _with_margins(frame: Frame, height: int, lift: float, rng: np.random.Generator) -> Frame:
    """Room around: none often, some as often, a lot at times, and less than nothing at times."""
    kind = rng.random()
    if kind < 0.42:
        sides = np.zeros(4)
    elif kind < 0.57:  # cut into what was drawn
        sides = -rng.uniform(0, 0.06, 4) * (rng.random(4) < 0.6)
        sides[[1, 3]] *= 0.06 / max(0.06, -sides[[1, 3]].sum())  # 6 % of the height in all
    elif kind < 0.8:
        sides = rng.uniform(0, 0.3, 4) * (rng.random(4) < 0.8)
    else:
        sides = rng.uniform(0, 1, 4) * (rng.random(4) < 0.8)
    room = (_TALLEST - 1) * height - lift
    added = height * sides
    if added[1] + added[3] > room:
        added[[1, 3]] *= max(room, 0) / (added[1] + added[3])
    left, top, right, bottom = (float(side) for side in added)
    return replace(frame, left=left, top=top + lift / 2, right=right, bottom=bottom + lift / 2)


def take_frame(image: np.ndarray, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """What the frame shows of an image (h, w, 3) uint8, and of the ground around it."""
    h, w, _ = image.shape
    if frame.is_level:
        left, top, right, bottom = (round(side) for side in (frame.left, frame.top, frame.right, frame.bottom))
        image = image[max(0, -top) : h - max(0, -bottom), max(0, -left) : w - max(0, -right)]
        return extend(image, max(0, left), max(0, top), max(0, right), max(0, bottom), rng)
    columns, rows = (_COLUMNS, _ROWS) if frame.curve or frame.barrel else (1, 1)
    size = (max(8, round(w + frame.left + frame.right)), max(8, round(h + frame.top + frame.bottom)))
    x, y = _source(frame, h, w, columns, rows)
    left, top = max(0, math.ceil(1 - x.min())), max(0, math.ceil(1 - y.min()))
    right, bottom = max(0, math.ceil(x.max() + 1 - w)), max(0, math.ceil(y.max() + 1 - h))
    scene = Image.fromarray(extend(image, left, top, right, bottom, rng))
    return np.asarray(
        scene.transform(size, Image.Transform.MESH, _mesh(size, x + left, y + top), Image.Resampling.BILINEAR)
    )


def _source(frame: Frame, h: int, w: int, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in the image the corners of the picture's grid lie: x, y (rows + 1, columns + 1)."""
    wide, tall = w + frame.left + frame.right, h + frame.top + frame.bottom
    v, u = np.meshgrid(np.linspace(-0.5, 0.5, rows + 1), np.linspace(-0.5, 0.5, columns + 1), indexing="ij")
    bulge = 1 + frame.barrel * (u * u + v * v)
    x, y = u * wide * bulge, v * tall * bulge - frame.curve * h * (4 * u * u - 0.5)
    x, y = x + frame.shear * y, y
    x, y = x * (1 + frame.tilt[1] * v * 0.5), y * (1 + frame.tilt[0] * u)
    sin, cos = math.sin(frame.angle), math.cos(frame.angle)
    x, y = cos * x + sin * y, cos * y - sin * x
    return x + (w + frame.right - frame.left) / 2, y + (h + frame.bottom - frame.top) / 2


def _mesh(size: tuple[int, int], x: np.ndarray, y: np.ndarray) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Pillow's mesh: boxes of the picture, and the corners that each is taken from."""
    rows, columns = x.shape[0] - 1, x.shape[1] - 1
    across = [round(size[0] * i / columns) for i in range(columns + 1)]
    down = [round(size[1] * i / rows) for i in range(rows + 1)]
    mesh: list[tuple[tuple[int, ...], tuple[float, ...]]] = []
    for i in range(rows):
        for j in range(columns):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
            quad = tuple(float(value[corner]) for corner in corners for value in (x, y))
            mesh.append(((across[j], down[i], across[j + 1], down[i + 1]), quad))
    return mesh


def extend(image: np.ndarray, left: int, top: int, right: int, bottom: int, rng: np.random.Generator) -> np.ndarray:
    """An image (h, w, 3) uint8 with its ground continued by these numbers of pixels."""
    if not (left or top or right or bottom):
        return image
    h, w, _ = image.shape
    kind, deepest = rng.random(), max(left, top, right, bottom)
    if kind < 0.25 and deepest < min(_MIRRORED * h, w):
        return np.pad(image, ((top, bottom), (left, right), (0, 0)), "reflect")
    extended = _smear(image, left, top, right, bottom)
    if deepest <= 2 or (kind < 0.4 and deepest < _MIRRORED * h):
        return extended
    if kind < 0.85:  # smoothed, so that strokes at the edge leave no stripes
        smear = Image.fromarray(extended)
        soft = smear.reduce(round(min(12, 3 + deepest / 4))).resize(smear.size, Image.Resampling.BILINEAR)
        ground, sigma = np.array(soft, np.float32), 3.0
    else:  # another ground, as around a label
        flat = np.median(image[:: max(1, h - 1)], axis=(0, 1)) if kind < 0.93 else rng.uniform(0, 255, 3)
        ground, sigma = flat.astype(np.float32), rng.uniform(0, 8)
    grain = normal_noise((extended.shape[0], extended.shape[1]), 1, rng) * np.float32(sigma)
    extended = np.clip(ground + grain, 0, 255).astype(np.uint8)
    extended[top : top + h, left : left + w] = image
    return extended


def _smear(image: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """An image (h, w, 3) uint8 with its edges repeated; faster than `np.pad`."""
    h, w, _ = image.shape
    wide = np.empty((top + h + bottom, left + w + right, 3), np.uint8)
    rows = wide[top : top + h]
    rows[:, left : left + w] = image
    rows[:, :left] = image[:, :1]
    rows[:, left + w :] = image[:, -1:]
    wide[:top] = rows[0]
    wide[top + h :] = rows[-1]
    return wide
