"""Augmentation of digit images, and of whole custom data, for training only.

The geometric changes (rotation, scale, shear, shift, elastic distortion) are composed into one sampling grid, so each
pixel is interpolated once. Digits are changed a batch at a time.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, TypeVar

import torch
import torch.nn.functional as F

from seqocr.errors import InputError

CELL = 28  # pixels: the side of a digit image
_CHUNK = 160  # digits distorted at once
_POINTS = 5  # control points of a digit's elastic distortion along each side; fewer is smoother
_Some = TypeVar("_Some", bound="_Changes")


class _Changes:
    """A dataclass whose fields say how far images may change."""

    def with_strength(self: _Some, strength: float) -> _Some:
        """Every change `strength` times as far, 0 for none at all.

        Raises:
            InputError: strength is negative.
        """
        if strength < 0:
            raise InputError(
                f"augmentation strength {strength}: give 0 for none, 1 for the usual, or what lies between"
            )
        changes: Any = {field.name: strength * getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True)
class Augmentation(_Changes):
    """How far a training digit may depart from the original. A field at 0 switches that change off.

    Elastic distortion is Simard et al. 2003, "Best Practices for Convolutional Neural Networks Applied to Visual
    Document Analysis".

    Attributes:
        rotation: largest rotation, degrees, uniform in [-rotation, rotation].
        scale: largest relative change of size, drawn independently for height and width.
        shear: largest horizontal shear (slant), as a tangent.
        shift: largest shift of the digit, pixels.
        elastic: standard deviation of the displacement at the control points, pixels.
        stroke: largest share of a 3x3 dilation (thicker) or erosion (thinner) mixed into the digit.
        blur: largest share of a 3x3 binomial filter mixed into the digit.
    """

    rotation: float = 12.0
    scale: float = 0.12
    shear: float = 0.2
    shift: float = 1.5
    elastic: float = 1.1
    stroke: float = 0.5
    blur: float = 0.3

    noise_size = 8 + 2 * _POINTS**2  # random numbers that a digit takes

    def __call__(self, digits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Distort every digit (N, 28, 28) float32 in [0, 1] on its own.

        Args:
            noise: (N, noise_size) float32 uniform in [0, 1), the only source of randomness.
        """
        # In chunks that stay in the processor's cache; what a digit becomes does not depend on its chunk.
        parts = zip(digits.split(_CHUNK), noise.split(_CHUNK), strict=True)
        return torch.cat([self._distort(*part) for part in parts])

    def _distort(self, digits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        signed = noise * 2 - 1
        x = F.grid_sample(
            digits.unsqueeze(1), self._grid(signed), mode="bilinear", padding_mode="zeros", align_corners=False
        ).squeeze(1)
        x = thicken(x, signed[:, 6] * self.stroke)
        return torch.lerp(x, blur(x), noise[:, 7].view(-1, 1, 1) * self.blur)

    def _grid(self, signed: torch.Tensor) -> torch.Tensor:
        """Where each output pixel is sampled from, (N, 28, 28, 2) in grid_sample's coordinates of [-1, 1].

        Interpolated between control points, which keeps its affine part exact. In double precision: how a matrix
        product rounds depends on the number of rows, and in single precision could change a pixel by one.
        """
        signed = signed.double()
        pixel = 2 / CELL
        angle = torch.deg2rad(signed[:, 0] * self.rotation)
        scale_x, scale_y = 1 + signed[:, 1] * self.scale, 1 + signed[:, 2] * self.scale
        shear = signed[:, 3] * self.shear
        shift_x, shift_y = signed[:, 4] * self.shift * pixel, signed[:, 5] * self.shift * pixel
        cos, sin = angle.cos(), angle.sin()
        by_x = torch.stack([cos * scale_x, sin * scale_y], dim=1)[:, :, None]
        by_y = torch.stack([(shear * cos - sin) * scale_x, (shear * sin + cos) * scale_y], dim=1)[:, :, None]
        shift = torch.stack([shift_x, shift_y], dim=1)[:, :, None]
        x, y, spread = _control_points()
        affine = by_x * x + by_y * y + shift  # (N, 2, points)
        # A uniform number in [-1, 1) has standard deviation 1/sqrt(3).
        elastic = signed[:, 8:].view(affine.shape) * (self.elastic * 3**0.5 * pixel)
        return ((affine + elastic) @ spread).float().view(-1, 2, CELL, CELL).permute(0, 2, 3, 1)


@cache
def _control_points() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x and y of the k control points, (k,) float64 in [-1, 1], and (k, 28·28) float64: from values at them to values
    at the pixels, bilinear."""
    # The outermost points lie on the centres of the outermost pixels.
    line = torch.linspace(-1, 1, _POINTS, dtype=torch.float64) * (1 - 1 / CELL)
    y, x = torch.meshgrid(line, line, indexing="ij")
    basis = torch.eye(_POINTS**2, dtype=torch.float64).view(-1, 1, _POINTS, _POINTS)
    spread = F.interpolate(basis, size=(CELL, CELL), mode="bilinear", align_corners=True)
    return x.flatten(), y.flatten(), spread.flatten(1)


@dataclass(frozen=True)
class LineAugmentation(_Changes):
    """How far a line of custom data may depart from the original when it is learned from. A field at 0 is switched off.

    Attributes:
        rotation: largest rotation, degrees.
        slant: largest horizontal shear, as a tangent.
        stretch: largest factor by which the line becomes wider or narrower, less 1; scale: the same for both sides.
        shift: largest shift, as a share of the height.
        elastic: standard deviation of the displacement at the control points, a share of the height.
        stroke: largest share of a 3x3 dilation or erosion mixed in; blur: of a 3x3 binomial filter.
        contrast: largest relative change of contrast; brightness: largest change, of 1.
        noise: largest standard deviation of noise, of a brightness of 1.
        invert: chance that dark and light are exchanged.
    """

    rotation: float = 3.0
    slant: float = 0.25
    stretch: float = 0.2
    scale: float = 0.12
    shift: float = 0.06
    elastic: float = 0.03
    stroke: float = 0.4
    blur: float = 0.6
    contrast: float = 0.3
    brightness: float = 0.15
    noise: float = 0.03
    invert: float = 0.0

    points = (3, 8)  # control points of the elastic distortion, down and along
    noise_size = 16 + 2 * points[0] * points[1]  # uniform random numbers that a line takes
    _TALLEST = 64  # pixels: what is taller is made smaller first

    def __call__(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Change one line (h, w) uint8 to (h', w') uint8, h' at most 64, or w' at most 2.

        Args:
            noise: (noise_size,) float32 uniform in [0, 1), the only source of randomness.
        """
        signed = (noise * 2 - 1).tolist()
        x = image[None, None].float() / 255
        share = max(self._TALLEST / x.shape[2], 1.01 / x.shape[3])  # of a pillar, one column stays
        if share < 1:
            x = F.interpolate(x, scale_factor=share, mode="bilinear", antialias=True)
        height, width = x.shape[2], max(1, round(x.shape[3] * (1 + self.stretch) ** signed[0]))
        grid = self._grid(signed, noise[16:], height, width)
        x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)[0]
        x = thicken(x, torch.tensor([signed[6] * self.stroke]))
        blurred = blur(F.pad(x, (1, 1, 1, 1), mode="replicate"))[:, 1:-1, 1:-1]  # outside is as at the border
        x = torch.lerp(x, blurred, noise[7].item() * self.blur)[0]
        x = (x - x.mean()) * (1 + self.contrast * signed[8]) + x.mean() + self.brightness * signed[9]
        grain = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(noise[10] * 2**24)))
        x = x + self.noise * noise[11].item() * grain
        if noise[12] < self.invert:
            x = 1 - x
        return x.clamp(0, 1).mul(255).round().to(torch.uint8)

    def _grid(self, signed: list[float], displacement: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Where each pixel of the new line is sampled from, (1, height, width, 2) in grid_sample's coordinates."""
        angle, scale = math.radians(self.rotation * signed[1]), (1 + self.scale) ** signed[2]
        slant, aspect = self.slant * signed[3], width / height
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        # x runs over the width and y over the height, both from -1 to 1: a turn has to count in pixels.
        affine = [
            [cos, (slant * cos - sin) / aspect, self.shift * signed[4] / aspect],
            [sin * aspect, slant * sin + cos, self.shift * signed[5]],
        ]
        grid = F.affine_grid(torch.tensor([affine]), [1, 1, height, width], align_corners=False)
        moved = (displacement * 2 - 1).view(1, 2, *self.points) * (self.elastic * 2 * 3**0.5)
        moved = F.interpolate(moved, size=(height, width), mode="bicubic", align_corners=True)[0].permute(1, 2, 0)
        return grid + moved * torch.tensor([1 / aspect, 1.0])


def thicken(x: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """Strokes (N, H, W) with a share |amount| (N,) of a 3x3 dilation mixed in; below 0, of an erosion."""
    amount = amount.view(-1, 1, 1)
    # With its sign turned, the maximum filter is a minimum filter: one call thickens some and thins the others.
    sign = amount.sign()
    return torch.lerp(x, _max3(x * sign).mul_(sign), amount.abs())


def _max3(x: torch.Tensor) -> torch.Tensor:
    """3x3 maximum filter of (N, H, W), one axis after the other."""
    for axis in (1, 2):
        y, count = x.clone(), x.shape[axis] - 1
        for to, of in ((1, 0), (0, 1)):
            shifted = y.narrow(axis, to, count)
            torch.maximum(shifted, x.narrow(axis, of, count), out=shifted)
        x = y
    return x


def blur(x: torch.Tensor) -> torch.Tensor:
    """3x3 binomial (1 2 1) filter of (N, H, W), one axis after the other; outside is black."""
    for axis in (1, 2):
        y, count = x * 0.5, x.shape[axis] - 1
        y.narrow(axis, 1, count).add_(x.narrow(axis, 0, count), alpha=0.25)
        y.narrow(axis, 0, count).add_(x.narrow(axis, 1, count), alpha=0.25)
        x = y
    return x
