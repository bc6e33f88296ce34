"""Glyphs as one writer's pen leaves them: pen strokes and bitmaps, transformed (sized, slanted, bent), then placed and
drawn on a canvas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import torch
import torch.nn.functional as F

from seqocr.data.augment import thicken

BENDS = 3  # control points of a glyph's distortion, each way
_SIDE = 64  # pixels: of the box that a bitmap is transformed in
_INKED = 0.3  # from this darkness on a bitmap's pixel is part of the glyph
_THIN = 0.75  # pixels: half of a bitmap's stroke is not made thinner than that
_HALF_STROKE = 0.062  # of the height of MNIST's digits: half of their stroke


@dataclass(frozen=True)
class Transform:
    """How N glyphs are written; every field is (N,) float32.

    Attributes:
        height: of the larger side, pixels; stretch: its width relative to that.
        slant: tangent, to the right; turn: radians.
        radius: half the pen's width, pixels.
        flow: how much thinner a fast stroke is; nib: how much thicker, or thinner, one along or across `angle`.
        bend: (N, 2, BENDS, BENDS), displacement of the control points, of the height.
    """

    height: torch.Tensor
    stretch: torch.Tensor
    slant: torch.Tensor
    turn: torch.Tensor
    radius: torch.Tensor
    flow: torch.Tensor
    nib: torch.Tensor
    angle: torch.Tensor
    bend: torch.Tensor

    def matrix(self) -> torch.Tensor:
        """(N, 2, 2): from points, the larger side 1, to pixels."""
        cos, sin = self.turn.cos(), self.turn.sin()
        across = torch.stack([cos * self.stretch, -self.slant - sin], 1)
        down = torch.stack([sin * self.stretch, cos], 1)
        return torch.stack([across, down], 1) * self.height[:, None, None]


@dataclass(frozen=True)
class TransformedStrokes:
    """Pen strokes in pixels, relative to each one's origin.

    Attributes:
        points: (N, P, 2) float32, x and y.
        radius: (N, P) float32, half the pen's width there.
    """

    points: torch.Tensor
    radius: torch.Tensor

    @cached_property
    def bounds(self) -> torch.Tensor:
        """(N, 4): left, top, right and bottom of the ink."""
        low, high = (self.points - self.radius[:, :, None]).amin(1), (self.points + self.radius[:, :, None]).amax(1)
        return torch.cat([low, high], 1)

    @property
    def ends(self) -> torch.Tensor:
        """(N, 2, 2): where the pen comes in, and where it goes out."""
        return self.points[:, [0, -1]]

    @property
    def peak(self) -> torch.Tensor:
        """(N, 2): the highest point."""
        return self.points[torch.arange(len(self.points)), self.points[:, :, 1].argmin(1)]

    def draw(self, canvas: torch.Tensor, of: torch.Tensor, at: torch.Tensor) -> None:
        """Draw each on canvas (B, H, W) number `of` (N,), its origin at `at` (N, 2); what is outside is lost."""
        if len(self.points):
            draw_discs(canvas, of, self.points + at[:, None], self.radius)

    def __getitem__(self, keep: torch.Tensor) -> TransformedStrokes:
        return TransformedStrokes(self.points[keep], self.radius[keep])


def transform_strokes(trajectories: torch.Tensor, transform: Transform) -> TransformedStrokes:
    """Transform trajectories (N, P, 3) (see `seqocr.data.sources.strokes.Strokes`), each centred on its origin."""
    points, speed = trajectories[:, :, :2], trajectories[:, :, 2]
    moved = F.grid_sample(transform.bend, points[:, :, None] * 2, padding_mode="border", align_corners=True)
    points = (points + moved[..., 0].transpose(1, 2)) @ transform.matrix().transpose(1, 2)
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    points = points - (low + high) / 2
    ahead = torch.diff(points, dim=1)
    ahead = torch.cat([ahead, ahead[:, -1:]], 1)
    direction = torch.atan2(ahead[..., 1], ahead[..., 0])
    radius = transform.radius[:, None] * (1 + transform.flow[:, None] * (1 - speed).clamp(-1, 0.5))
    radius = radius * (1 + transform.nib[:, None] * torch.cos(2 * (direction - transform.angle[:, None])))
    return TransformedStrokes(points, radius.clamp(min=0.45))


@dataclass(frozen=True)
class TransformedBitmaps:
    """Bitmaps in boxes (N, 64, 64) float32 in [0, 1], as `TransformedStrokes`; the origin is the middle of the box."""

    boxes: torch.Tensor

    @cached_property
    def bounds(self) -> torch.Tensor:
        inked = self.boxes > _INKED
        columns, rows = inked.any(1).int(), inked.any(2).int()
        low = [side.argmax(1) for side in (columns, rows)]
        high = [_SIDE - side.flip(1).argmax(1) for side in (columns, rows)]
        return torch.stack(low + high, 1).float() - _SIDE / 2

    @property
    def ends(self) -> torch.Tensor:
        found = []
        for column in (self.bounds[:, 0], self.bounds[:, 2] - 1):
            ink = self.boxes[torch.arange(len(self.boxes)), :, (column + _SIDE / 2).long()]
            found.append(torch.stack([column + 0.5, _ink_centre(ink)], 1))
        return torch.stack(found, 1)

    @property
    def peak(self) -> torch.Tensor:
        top = self.bounds[:, 1]
        ink = self.boxes[torch.arange(len(self.boxes)), (top + _SIDE / 2).long()]
        return torch.stack([_ink_centre(ink), top + 1], 1)

    def draw(self, canvas: torch.Tensor, of: torch.Tensor, at: torch.Tensor) -> None:
        corner = at.round().long() - _SIDE // 2
        rows = corner[:, 1, None] + torch.arange(_SIDE)
        columns = corner[:, 0, None] + torch.arange(_SIDE)
        darken(canvas, of, rows, columns, self.boxes)

    def __getitem__(self, keep: torch.Tensor) -> TransformedBitmaps:
        return TransformedBitmaps(self.boxes[keep])


def _ink_centre(ink: torch.Tensor) -> torch.Tensor:
    """(N,): the mean place of the ink along a row or column (N, 64) of boxes, from their middle."""
    centres = torch.arange(_SIDE).float() + 0.5 - _SIDE / 2
    return (ink * centres).sum(1) / ink.sum(1).clamp(min=1e-6)


def transform_bitmaps(digits: torch.Tensor, transform: Transform) -> TransformedBitmaps:
    """Transform digits (N, 28, 28) float32 in [0, 1], which are 20 pixels high."""
    x, y = _box()
    to_source = torch.linalg.inv(transform.matrix().double()).float()[:, :, :, None, None]
    points = to_source[:, :, 0] * x + to_source[:, :, 1] * y  # (N, 2, side, side), of the larger side
    grid = points.permute(0, 2, 3, 1)
    bend = F.grid_sample(transform.bend, grid * 2, padding_mode="border", align_corners=True).permute(0, 2, 3, 1)
    grid = (grid - bend) * (20 / 14)  # of half of the cell, 14 pixels; the digit is 20
    ink = F.grid_sample(digits[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]
    natural = _HALF_STROKE * transform.height
    change = (transform.radius - natural).clamp(min=-0.9, max=1.0)
    ink = thicken(ink, torch.maximum(change, torch.minimum(_THIN - natural, torch.zeros(1))))
    return TransformedBitmaps(ink)


@cache
def _box() -> tuple[torch.Tensor, torch.Tensor]:
    """x and y of a box's pixels from its middle, (side, side) each."""
    centres = torch.arange(_SIDE) + 0.5 - _SIDE / 2
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return x, y


def draw_discs(canvas: torch.Tensor, of: torch.Tensor, points: torch.Tensor, radius: torch.Tensor) -> None:
    """Draw discs with soft edges on canvases (B, H, W) in [0, 1], the darkest on top.

    Args:
        of: (N,) int64, the canvas of each stroke.
        points: (N, P, 2) float32, x and y in pixels.
        radius: (N, P) float32, pixels.
    """
    # Points closer than their radius add nothing to see.
    spacing = torch.diff(points, dim=1).norm(dim=2).median(dim=1).values
    stride = (radius.amin(1) / spacing.clamp(min=1e-3)).long().clamp(1, 8)
    kept = torch.arange(points.shape[1]) % stride[:, None] == 0
    stroke, points, radius = of[:, None].expand_as(kept)[kept], points[kept], radius[kept]
    reach = int((radius.max() + 0.5).ceil())
    window = torch.arange(-reach, reach + 1)
    centre = points.floor()
    offset = points - centre - 0.5  # of the point from the middle of its pixel
    across, down = (window - offset[:, axis, None] for axis in (0, 1))
    distance = (across.square()[:, None, :] + down.square()[:, :, None]).sqrt_()
    ink = (radius[:, None, None] + 0.5 - distance).clamp_(0, 1)
    cells = centre.long()
    darken(canvas, stroke, cells[:, 1, None] + window, cells[:, 0, None] + window, ink)


def darken(
    canvas: torch.Tensor, of: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, ink: torch.Tensor
) -> None:
    """Put ink (N, h, w) on canvases `of` (N,) of (B, H, W), at rows (N, h) and columns (N, w), where it is darker."""
    _, H, W = canvas.shape
    # What is off the canvas is written as no ink at its border: to leave it out would take longer.
    ink = ink * ((rows >= 0) & (rows < H))[:, :, None] * ((columns >= 0) & (columns < W))[:, None, :]
    place = ((of[:, None] * H + rows.clamp(0, H - 1)) * W)[:, :, None] + columns.clamp(0, W - 1)[:, None, :]
    canvas.view(-1).scatter_reduce_(0, place.flatten(), ink.flatten(), "amax")
