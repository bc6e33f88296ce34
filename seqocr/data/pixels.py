"""Line images to an encoder's input without torch: as `seqocr.data.processor.Processor`, with Pillow's resizing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from seqocr.errors import InputError


@dataclass(frozen=True)
class Fit:
    """Resize to the encoder's size and normalise; fields are those of `Processor`."""

    height: int
    width: int
    keep_aspect: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Sequence[Image.Image | np.ndarray]) -> np.ndarray:
        """Grey images, (h, w) uint8 or of Pillow's, to (B, 3, height, width) float32.

        Raises:
            InputError: an image is of another kind, or has no pixels.
        """
        values = np.zeros((len(images), 3, self.height, self.width), np.float32)
        mean, std = (np.array(each, np.float32)[:, None, None] for each in (self.mean, self.std))
        for row, image in zip(values, images, strict=True):
            pixels = self._resized(image)
            row[:, : pixels.shape[0], : pixels.shape[1]] = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return values

    def _resized(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """(h', w') uint8, as large as fits."""
        if isinstance(image, np.ndarray):
            if image.ndim != 2 or image.dtype != np.uint8 or 0 in image.shape:
                raise InputError(f"an image of shape {image.shape}, {image.dtype}: give (h, w) uint8")
            image = Image.fromarray(image)
        grey = image if image.mode == "L" else image.convert("L")
        size = self.size_of(grey.width, grey.height)
        return np.asarray(grey if grey.size == size else grey.resize(size, Image.Resampling.BILINEAR))

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an image in the encoder's input."""
        if not self.keep_aspect:
            return self.width, self.height
        scale = min(self.height / height, self.width / width)
        return max(1, int(width * scale)), max(1, int(height * scale))
