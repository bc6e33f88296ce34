"""Line images to an encoder's input, with numpy and Pillow alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from seqocr.data.grey import choose_grey
from seqocr.errors import InputError

MOST_SIDE = 10_000  # pixels of an encoder's input
_FAINTEST = 0.03  # standard deviation of values in [0, 1]: less is the grain of what shows nothing
_LEAST_MULTIPLES = 2  # of the width: fewer columns leave CTC no frame between symbols that repeat
BOUNDS = {"mean": (-1000.0, 1000.0), "std": (1e-6, 1000.0)}


@dataclass(frozen=True)
class Fit:
    """Resize to the encoder's size and normalise.

    Attributes:
        height, width: the encoder's input, pixels.
        keep_aspect: make the image as large as fits, and fill up on the right (or below) with 0, mid-grey, as
            `DetrImageProcessor` of transformers does; False stretches to the size, as TrOCR's own processor does.
        mean, std: per channel, of values in [0, 1]; TrOCR's are 0.5.
        standardise: bring each image's values to mean 0 and standard deviation 1, in place of `mean` and `std`: faint
            lines then look as others do. Fainter ones than `_FAINTEST` stay fainter.
        width_multiple: pixels; with it, input is only as wide as its widest image, up to a multiple of it. What a line
            is filled up with is then the same whatever is read beside it only among lines of one `input_width`.

    Raises:
        InputError: a size is no whole number from 1 to `MOST_SIDE`, the width not a multiple of `width_multiple`, or
            mean or std not three numbers within `BOUNDS`.
    """

    height: int
    width: int
    keep_aspect: bool = True
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    width_multiple: int | None = None
    standardise: bool = False

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if type(side := getattr(self, name)) is not int or not 1 <= side <= MOST_SIDE:
                raise InputError(f"{name} {side!r}: give a whole number of pixels from 1 to {MOST_SIDE:,}")
        for name in ("keep_aspect", "standardise"):
            if type(flag := getattr(self, name)) is not bool:
                raise InputError(f"{name} {flag!r}: give true or false")
        multiple = self.width_multiple
        if multiple is not None and not (
            type(multiple) is int and multiple > 0 and self.width % multiple == 0 and self.keep_aspect
        ):
            raise InputError(f"width_multiple {multiple!r}: give a divisor of the width, {self.width}, and keep_aspect")
        for name, (low, high) in BOUNDS.items():
            values = getattr(self, name)
            three = isinstance(values, tuple) and len(values) == 3
            if not three or not all(type(x) in (int, float) and low <= x <= high for x in values):
                raise InputError(f"{name} {values!r}: give three numbers from {low:g} to {high:g}, one per channel")

    @property
    def settings(self) -> dict[str, Any]:
        """All but the encoder's size, as a config has it; what is at its default may be missing."""
        more = {"width_multiple": self.width_multiple, "standardise": self.standardise or None}
        given = {name: value for name, value in more.items() if value is not None}
        return {"keep_aspect": self.keep_aspect, "mean": self.mean, "std": self.std, **given}

    def __call__(self, images: Sequence[Image.Image | np.ndarray] | np.ndarray) -> np.ndarray:
        """To (B, 3, height, W) float32, W being the encoder's width, or with `width_multiple` the widest image's.

        Args:
            images: Pillow's of any mode, or (h, w), (h, w, 3) or, with alpha, (h, w, 4) uint8; of any sizes. Colours
                stay; what is transparent or deeper than 8 bits becomes grey, as of `open_line`.

        Raises:
            InputError: an image has another shape or type, or no pixels.
        """
        resized = [self._resized(image) for image in images]
        width = max((self._rounded(pixels.shape[1]) for pixels in resized), default=self.width)
        fitted = np.zeros((len(images), 3, self.height, width), np.float32)
        mean: Any
        std: Any
        mean, std = (np.array(each, np.float32)[:, None, None] for each in (self.mean, self.std))
        for row, pixels in zip(fitted, resized, strict=True):
            channels = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
            values = channels.astype(np.float32) / np.float32(255)
            if self.standardise:
                mean, std = values.mean(dtype=np.float64), max(values.std(dtype=np.float64), _FAINTEST)
                mean, std = np.float32(mean), np.float32(std)
            row[:, : pixels.shape[0], : pixels.shape[1]] = (values - mean) / std
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

    def input_width(self, width: int, height: int) -> int:
        """Width of the encoder's input for an image of this size alone."""
        return self._rounded(self.size_of(width, height)[0])

    def _rounded(self, width: int) -> int:
        if self.width_multiple is None:
            return self.width
        least = _LEAST_MULTIPLES * self.width_multiple
        return min(self.width, max(least, -(-width // self.width_multiple) * self.width_multiple))

    def batches(self, images: Any, size: int) -> list[list[int]]:
        """Indices of images in batches of at most `size`, each of images of one `input_width`, so that none depends on
        what is read beside it."""
        groups = _grouped(self._input_widths(images))
        return [indices[start : start + size] for indices in groups for start in range(0, len(indices), size)]

    def by_width(self, images: Any, function: Callable[[list[Any]], Iterable[Any]]) -> list[Any]:
        """What a function gives of each image, called with all images of one `input_width`."""
        found: dict[int, Any] = {}
        for batch in self.batches(images, len(images)):
            found.update(zip(batch, function([images[i] for i in batch]), strict=True))
        return [found[i] for i in range(len(images))]

    def parts(self, images: Any) -> list[list[int]]:
        """Indices of images in a few parts to learn from, in each of which the widest is less than twice any other."""
        return _grouped([(width - 1).bit_length() for width in self._input_widths(images)])

    def _input_widths(self, images: Any) -> list[int]:
        sizes = (x.size if isinstance(x, Image.Image) else (x.shape[1], x.shape[0]) for x in images)
        return [self.input_width(width, height) for width, height in sizes]

    def span(self, width: int, height: int) -> float:
        """Pixels of an image of this size that the whole width of its input stands for."""
        if not self.keep_aspect:
            return float(width)
        return self.input_width(width, height) / min(self.height / height, self.width / width)


def _grouped(keys: Sequence[int]) -> list[list[int]]:
    """Indices of equal keys, by key."""
    groups: dict[int, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return [groups[key] for key in sorted(groups)]


def _pillows(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8:
        raise InputError(f"images are {pixels.dtype}: give uint8, 0 to 255")
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise InputError(f"an image of shape {pixels.shape}: give (h, w), (h, w, 3) or (h, w, 4)")
    if 0 in pixels.shape:
        raise InputError(f"an image of shape {pixels.shape} has no pixels")
    return Image.fromarray(pixels)
