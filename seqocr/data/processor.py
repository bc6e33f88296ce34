"""Line images to pixel_values, in TrOCR's convention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize
from transformers.image_utils import get_image_size_for_max_height_width as largest_within

from seqocr.errors import InputError

LineImage = torch.Tensor | np.ndarray | Image.Image
MOST_SIDE = 10_000  # pixels of an encoder's input
BOUNDS = {"mean": (-1000.0, 1000.0), "std": (1e-6, 1000.0)}


@dataclass(frozen=True)
class Processor:
    """Resize to the encoder's size and normalise.

    Attributes:
        height, width: the encoder's input, pixels.
        keep_aspect: make the image as large as fits, and fill up on the right (or below) with 0, which is no paper's
            colour but mid-grey's, as `DetrImageProcessor` of transformers does; False stretches to the size whatever
            the aspect, as TrOCR's own processor does.
        mean, std: a channel, of values in [0, 1]; TrOCR's are 0.5.

    Raises:
        InputError: a size is not a whole number from 1 to `MOST_SIDE`, or mean or std is not three numbers within
            `BOUNDS`.
    """

    height: int
    width: int
    keep_aspect: bool = True
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if type(side := getattr(self, name)) is not int or not 1 <= side <= MOST_SIDE:
                raise InputError(f"{name} {side!r}: give a whole number of pixels from 1 to {MOST_SIDE:,}")
        if type(self.keep_aspect) is not bool:
            raise InputError(f"keep_aspect {self.keep_aspect!r}: give true or false")
        for name, (low, high) in BOUNDS.items():
            values = getattr(self, name)
            three = isinstance(values, tuple) and len(values) == 3
            if not three or not all(type(x) in (int, float) and low <= x <= high for x in values):
                raise InputError(f"{name} {values!r}: give three numbers from {low:g} to {high:g}, one a channel")

    def __call__(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:
        """To pixel_values (B, 3, height, width) float32.

        Args:
            images: (B, h, w) uint8, or B images of any size: PIL, or (h, w), (h, w, 3) or (h, w, 4) uint8 arrays.

        Raises:
            InputError: an image has another shape or type, or no pixels.
        """
        if isinstance(images, torch.Tensor) and images.dim() == 3:
            return self._fit(_as_uint8(images)[:, None])
        fitted = torch.zeros(len(images), 3, self.height, self.width)
        for row, image in zip(fitted, images, strict=True):
            found = self._fit(_channels_first(image)[None], pad=False)
            row[:, : found.shape[2], : found.shape[3]] = found[0]
        return fitted

    def _fit(self, images: torch.Tensor, pad: bool = True) -> torch.Tensor:
        """(B, C, h, w) uint8 -> (B, 3, height, width) float32, or what that has without its padding."""
        size = (self.height, self.width)
        if self.keep_aspect:
            # Never nothing, however long the line.
            within = [max(1, side) for side in largest_within((images.shape[-2], images.shape[-1]), *size)]
        else:
            within = list(size)
        if list(images.shape[-2:]) != within:
            images = resize(images, within, v2.InterpolationMode.BILINEAR, antialias=True)
        mean, std = (torch.tensor(x, device=images.device).view(1, 3, 1, 1) for x in (self.mean, self.std))
        scaled = (images.float().div_(255) - mean) / std
        return F.pad(scaled, (0, self.width - within[1], 0, self.height - within[0])) if pad else scaled


def _as_uint8(images: torch.Tensor) -> torch.Tensor:
    if images.dtype != torch.uint8:
        raise InputError(f"images are {images.dtype}: give uint8, 0 to 255")
    if 0 in images.shape[-2:]:
        raise InputError(f"an image of shape {tuple(images.shape)} has no pixels")
    return images


def _channels_first(image: LineImage) -> torch.Tensor:
    """One image to (1 or 3, h, w) uint8."""
    if isinstance(image, Image.Image):
        image = np.array(image if image.mode == "L" else image.convert("RGB"))
    pixels = torch.as_tensor(image)
    if pixels.dim() == 2:
        return _as_uint8(pixels[None])
    if pixels.dim() == 3 and pixels.shape[2] in (3, 4):
        return _as_uint8(pixels[:, :, :3].permute(2, 0, 1))
    raise InputError(f"an image of shape {tuple(pixels.shape)}: give (h, w), (h, w, 3) or (h, w, 4)")
