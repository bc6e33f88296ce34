"""Pens: how wide and how dark a stroke is along its path, drawn on a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqocr.data.synthetic.renderers.handwriting.pen_shapes import Path

_SOFT = (0.15, 0.2, 0.3, 0.2, 0.15)
SCALE = 3  # canvases are that much larger than the image, for soft edges
_LEAST = 0.3  # pixels: half the width of the finest stroke


@dataclass(frozen=True)
class Stroke:
    """What a pen leaves along a path.

    Attributes:
        points: (n, 2) pixels; aside: (n, 2), from there to the stroke's edge on one side; ink: (n,), 0 to 255.
        last: (n,) bool: the next point is not drawn to.
    """

    points: np.ndarray
    aside: np.ndarray
    ink: np.ndarray
    last: np.ndarray

    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, pixels."""
        reach = np.hypot(self.aside[:, 0], self.aside[:, 1])[:, None]  # round ends reach ahead, too
        left, top = (self.points - reach).min(0).tolist()
        right, bottom = (self.points + reach).max(0).tolist()
        return left, top, right, bottom


class Canvas:
    """Ink on an image of (height, width) pixels; what is outside is lost."""

    def __init__(self, height: int, width: int) -> None:
        self.image = Image.new("L", (width * SCALE, height * SCALE))
        self._draw = ImageDraw.Draw(self.image)

    def stroke(self, stroke: Stroke, x: float = 0.0, y: float = 0.0) -> None:
        """Draw a stroke, its origin at (x, y) pixels."""
        points, aside = (stroke.points + np.array((x, y))) * SCALE, stroke.aside * SCALE
        # Two steps at a time: from each point by the next one to the one behind it.
        left, right = points + aside, points - aside
        around = np.concatenate([left[:-2], left[1:-1], left[2:], right[2:], right[1:-1], right[:-2]], 1)
        short = np.concatenate([left[:-1], left[1:], right[1:], right[:-1]], 1)
        ink, i, end = stroke.ink.astype(int).tolist(), 0, stroke.last.tolist()
        hexagons, quads, draw = around.tolist(), short.tolist(), self._draw.polygon
        while i < len(ink):
            if end[i]:
                i += 1
            elif end[i + 1]:
                draw(quads[i], ink[i])
                i += 1
            else:
                draw(hexagons[i], ink[i + 1])
                i += 2
        radius = np.hypot(aside[:, 0], aside[:, 1])
        last = np.flatnonzero(stroke.last)
        ends = np.concatenate([last, [0], last[:-1] + 1])  # and the first points
        for (cx, cy), r, dark in zip(
            points[ends].tolist(), radius[ends].tolist(), stroke.ink[ends].tolist(), strict=True
        ):
            self._draw.ellipse((cx - r, cy - r, cx + r, cy + r), int(dark))

    def disc(self, at: np.ndarray, radius: float, ink: int) -> None:
        """Draw a disc around a point (2,), all in pixels."""
        x, y, r = float(at[0]) * SCALE, float(at[1]) * SCALE, radius * SCALE
        self._draw.ellipse((x - r, y - r, x + r, y + r), ink)

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float, ink: int = 255) -> None:
        """Draw a ruled line, all in pixels."""
        corners = [(x * SCALE, y * SCALE) for x, y in (start, end)]
        self._draw.line(corners, ink, max(1, round(width * SCALE)))

    def put(self, mask: Image.Image, x: float, y: float) -> None:
        """Put ink of a mask of `SCALE` times the size, its upper left corner at (x, y) pixels."""
        self.image.paste(255, (round(x * SCALE), round(y * SCALE)), mask)

    def ink(self) -> np.ndarray:
        """(h, w) float32 in [0, 1]."""
        return np.asarray(self.image.reduce(SCALE), np.float32) / 255


@dataclass(frozen=True)
class Pen:
    """What makes strokes thick and thin; widths are halves, of the digits' height.

    Attributes:
        hair, full: width of a stroke without and with all pressure.
        pressure: how much strokes down the page are pressed; its power.
        nib: share of the width that a broad nib's angle decides; angle: of the nib, radians.
        shake: of the width, from point to point.
        ink: (thin, thick) strokes' darkness, 0 to 255.
        opaque: it covers what is below, as chalk and markers do.
        grain: share of the ink that a rough ground does not take: chalk, pencil, a dry pen.
    """

    hair: float
    full: float
    pressure: float = 1.0
    nib: float = 0.0
    angle: float = 0.7
    shake: float = 0.08
    ink: tuple[float, float] = (170, 255)
    opaque: bool = False
    grain: float = 0.0

    def along(self, path: Path, height: float, rng: np.random.Generator) -> Stroke:
        """The stroke along a path of pixels, for digits of that height."""
        length = np.maximum(np.sqrt(np.einsum("ni,ni->n", path.ahead, path.ahead)), 1e-6)
        ahead = path.ahead / length[:, None]
        across, down = ahead[:, 0], ahead[:, 1]
        pressed = np.clip(0.15 + down, 0, 1) ** self.pressure
        if self.nib:
            edge = np.abs(across * np.sin(self.angle) + down * np.cos(self.angle))
            pressed = (1 - self.nib) * pressed + self.nib * edge
        if len(pressed) > 6:  # a hand presses and lets go little by little
            pressed = np.convolve(pressed, _SOFT, "same")
        radius = (self.hair + (self.full - self.hair) * pressed) * height
        radius = np.maximum(radius * (1 + self.shake * rng.uniform(-1, 1, len(radius))), _LEAST)
        thin, thick = self.ink
        aside = np.stack([-down * radius, across * radius], 1)
        return Stroke(path.points, aside, thin + (thick - thin) * pressed, path.last)


def old_pen(rng: np.random.Generator) -> Pen:
    """A quill, a pointed steel pen, or a broad nib; sometimes worn and dry."""
    hair, thin = float(rng.uniform(0.008, 0.024)), float(rng.uniform(120, 235))
    full = hair + float(rng.uniform(0.012, 0.07))
    nib = float(rng.uniform(0.3, 1)) if rng.random() < 0.35 else 0.0
    grain = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.3 else 0.0
    return Pen(
        hair,
        full,
        pressure=float(rng.uniform(0.7, 2.5)),
        nib=nib,
        angle=float(rng.uniform(0.3, 1.2)),
        shake=float(rng.uniform(0, 0.2)),
        ink=(thin, float(rng.uniform(max(thin, 190), 255))),
        grain=grain,
    )


def modern_pen(rng: np.random.Generator, kind: str) -> Pen:
    """A "ballpoint", "pencil", "fountain" pen, "marker" or "chalk"."""
    low, high = {
        "ballpoint": (0.016, 0.034),
        "pencil": (0.014, 0.036),
        "fountain": (0.016, 0.045),
        "marker": (0.035, 0.085),
        "chalk": (0.03, 0.07),
    }[kind]
    full = float(rng.uniform(low, high))
    hair = full * float(rng.uniform(0.35, 0.8) if kind == "fountain" else rng.uniform(0.75, 1))
    grain = {"pencil": (0.2, 0.7), "chalk": (0.4, 0.9), "ballpoint": (0, 0.4), "marker": (0, 0.2)}.get(kind, (0, 0.1))
    thin = float(rng.uniform(150, 240))
    return Pen(
        hair,
        full,
        shake=0.05,
        ink=(thin, float(rng.uniform(thin, 255))),
        opaque=kind in ("marker", "chalk"),
        grain=float(rng.uniform(*grain)),
    )


def draw_glyph(face: ImageFont.FreeTypeFont, char: str, weight: int) -> tuple[Image.Image, float]:
    """A font's symbol, made thicker by `weight` pixels, cut to its ink; and how far it goes below the baseline."""
    left, top, right, bottom = face.getbbox(char, stroke_width=weight, anchor="ls")
    glyph = Image.new("L", (max(2, int(right - left) + 1), max(2, int(bottom - top) + 1)))
    ImageDraw.Draw(glyph).text((-left, -top), char, 255, font=face, stroke_width=weight, anchor="ls")
    return glyph, float(bottom)


def warp(glyph: Image.Image, wide: int, tall: int, lean: float, moved: np.ndarray) -> Image.Image:
    """A mask in `wide` x `tall` pixels, its top then moved `lean` pixels to the right of its bottom.

    Args:
        moved: (2, 3, 3), by how many of its own pixels nine points of the mask are moved, x and y.
    """
    w, h = glyph.size
    slack = abs(lean) + 2
    canvas = (int(wide + slack) + 1, tall)
    # Where nine points of the new mask are in the old one.
    new_x, new_y = np.array([0, canvas[0] // 2, canvas[0]]), np.array([0, tall // 2, tall])
    share = (new_y / tall)[:, None]
    left = lean * (1 - share) if lean >= 0 else -lean * share
    old_x = (new_x[None, :] - left) * w / wide + moved[0]
    old_y = share * h + moved[1]
    mesh = []
    for i in (0, 1):
        for j in (0, 1):
            corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            quad = [float(v) for at in corners for v in (old_x[at], old_y[at])]
            mesh.append(((int(new_x[j]), int(new_y[i]), int(new_x[j + 1]), int(new_y[i + 1])), tuple(quad)))
    return glyph.transform(canvas, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
