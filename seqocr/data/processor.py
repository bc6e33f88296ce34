"""Line images to pixel_values, in TrOCR's convention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize

from seqocr.errors import InputError

LineImage = torch.Tensor | np.ndarray | Image.Image


@dataclass(frozen=True)
class Processor:
    """Resize to the encoder's size and normalise.

    Attributes:
        height, width: the encoder's input, pixels.
        keep_aspect: scale to the height and fill up the width on the right with the image's background (a line too
            wide is squeezed); False stretches to the size whatever the aspect, as TrOCR's own processor does.
        mean, std: a channel, of values in [0, 1]; TrOCR's are 0.5.
    """

    height: int
    width: int
    keep_aspect: bool = True
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __call__(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:
        """To pixel_values (B, 3, height, width) float32.

        Args:
            images: (B, h, w) uint8, or B images of any size: PIL, or (h, w), (h, w, 3) or (h, w, 4) uint8 arrays.

        Raises:
            InputError: an image has another shape or type, or no pixels.
        """
        if isinstance(images, torch.Tensor) and images.dim() == 3:
            fitted = self._fit(_as_uint8(images)[:, None])
        else:
            if len(images) == 0:
                return torch.empty(0, 3, self.height, self.width)
            channels = [_channels_first(image) for image in images]
            depth = max(len(image) for image in channels)
            fitted = torch.cat([self._fit(image.expand(depth, -1, -1)[None]) for image in channels])
        scaled = fitted.float().div_(255).expand(-1, 3, -1, -1)
        mean, std = (torch.tensor(x, device=scaled.device).view(1, 3, 1, 1) for x in (self.mean, self.std))
        return (scaled - mean) / std

    def _fit(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) uint8 -> (B, C, height, width) uint8."""
        h, w = images.shape[-2:]
        if not self.keep_aspect:
            return _resized(images, self.height, self.width)
        width = min(self.width, max(1, round(w * self.height / h)))
        images = _resized(images, self.height, width)
        if width == self.width:
            return images
        background = images.flatten(1).median(dim=1).values  # of each image: most of a line is paper
        margin = background.view(-1, 1, 1, 1).expand(-1, images.shape[1], self.height, self.width - width)
        return torch.cat([images, margin], dim=3)


def _resized(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if images.shape[-2:] == (height, width):
        return images
    return resize(images, [height, width], v2.InterpolationMode.BILINEAR, antialias=True)


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
