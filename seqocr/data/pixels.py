"""Line images to an encoder's input, with numpy and Pillow alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from seqocr.data.grey import choose_grey
from seqocr.errors import InputError

MOST_SIDE = 10_000  # pixels of an encoder's input
BOUNDS = {"mean": (-1000.0, 1000.0), "std": (1e-6, 1000.0)}


@dataclass(frozen=True)
class Fit:
    """Resize to the encoder's size and normalise.

    Attributes:
        height, width: the encoder's input, pixels.
        keep_aspect: make the image as large as fits, and fill up on the right (or below) with 0, mid-grey, as
            `DetrImageProcessor` of transformers does; False stretches to the size, as TrOCR's own processor does.
        mean, std: per channel, of values in [0, 1]; TrOCR's are 0.5.

    Raises:
        InputError: a size is no whole number from 1 to `MOST_SIDE`, or mean or std not three numbers within `BOUNDS`.
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
                raise InputError(f"{name} {values!r}: give three numbers from {low:g} to {high:g}, one per channel")

    def __call__(self, images: Sequence[Image.Image | np.ndarray] | np.ndarray) -> np.ndarray:
        """To (B, 3, height, width) float32.

        Args:
            images: Pillow's of any mode, or (h, w), (h, w, 3) or, with alpha, (h, w, 4) uint8; of any sizes. Colours
                stay; what is transparent or deeper than 8 bits becomes grey, as of `open_line`.

        Raises:
            InputError: an image has another shape or type, or no pixels.
        """
        fitted = np.zeros((len(images), 3, self.height, self.width), np.float32)
        mean, std = (np.array(each, np.float32)[:, None, None] for each in (self.mean, self.std))
        for row, image in zip(fitted, images, strict=True):
            pixels = self._resized(image)
            channels = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
            row[:, : pixels.shape[0], : pixels.shape[1]] = (channels.astype(np.float32) / np.float32(255) - mean) / std
        return fitted

    def _resized(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """(h', w') or (h', w', 3) uint8, as large as fits."""
        if not isinstance(image, Image.Image) and hasattr(image, "__array__"):  # also of torch, on the CPU
            image = _pillows(np.asarray(image))
        elif not isinstance(image, Image.Image):
            raise InputError(f"{type(image).__name__} is not an image: give one of Pillow's, or an array")
        elif 0 in image.size:
            raise InputError(f"an image of {image.width}x{image.height} has no pixels")
        if image.mode not in ("L", "RGB"):
            image = choose_grey(image)(image)
        image = ImageOps.exif_transpose(image)
        size = self.size_of(image.width, image.height)
        return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an image in the encoder's input."""
        if not self.keep_aspect:
            return self.width, self.height
        scale = min(self.height / height, self.width / width)
        return max(1, int(width * scale)), max(1, int(height * scale))  # never nothing, however long the line

    def span(self, width: int, height: int) -> float:
        """Pixels of an image of this size that the whole width of the encoder's input stands for."""
        return self.width / min(self.height / height, self.width / width) if self.keep_aspect else float(width)


def _pillows(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8:
        raise InputError(f"images are {pixels.dtype}: give uint8, 0 to 255")
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise InputError(f"an image of shape {pixels.shape}: give (h, w), (h, w, 3) or (h, w, 4)")
    if 0 in pixels.shape:
        raise InputError(f"an image of shape {pixels.shape} has no pixels")
    return Image.fromarray(pixels)
