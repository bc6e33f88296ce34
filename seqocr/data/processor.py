"""Line images to pixel_values, in TrOCR's convention."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from seqocr.data.pixels import Fit

LineImage = torch.Tensor | np.ndarray | Image.Image


class Processor(Fit):
    """`Fit` for torch, so that weights and exported graphs are given the same, bit for bit."""

    def __call__(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:  # type: ignore[override]
        """To pixel_values (B, 3, height, W) float32 (see `Fit`).

        Args:
            images: (B, h, w) uint8, or B images of any size: PIL, or (h, w), (h, w, 3) or (h, w, 4) uint8 arrays.

        Raises:
            InputError: an image has another shape or type, or no pixels.
        """
        arrays = [np.asarray(image.cpu()) if isinstance(image, torch.Tensor) else image for image in images]
        return torch.from_numpy(super().__call__(arrays))
