"""Pixels of any kind to 8 bits of grey: depth, transparency, and colours whose grey is the same."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

ToGrey = Callable[[Image.Image], Image.Image]

_SAMPLE = 512  # pixels each way, at most, that grounds and colours are chosen by
_FAINT = 30.0  # grey levels, standard deviation: less may be light ink on a light ground
_GROUND = 3.0  # times the contrast that a black ground must give to be preferred
_COLOURS = 4.0  # times the contrast that other weights of colours must give to be preferred
_LUMA = np.array([0.299, 0.587, 0.114])  # Pillow's weights
_BITS = (8, 10, 12, 14, 16)  # that cameras and scanners use of a deeper pixel


def choose_grey(image: Image.Image) -> ToGrey:
    """How an image becomes mode "L"; for the whole image as for parts of it.

    Deep pixels are scaled by the bits that they use. What is transparent becomes white, or black behind white ink.
    Colours become Pillow's grey, unless that loses most of their contrast (red on green of the same grey).

    Raises:
        ValueError: a pixel is not a finite number.
    """
    if image.mode.startswith("I") or image.mode == "F":
        extrema: Any = (image if image.mode in ("I;16", "I", "F") else image.convert("I")).getextrema()
        return partial(_scaled, bounds=_bounds(extrema[0], extrema[1], image.mode == "F"))
    if image.mode in ("1", "L") and not image.has_transparency_data:
        return _luma
    sample = image.resize((min(image.width, _SAMPLE), min(image.height, _SAMPLE)), Image.Resampling.NEAREST)
    flatten = partial(_flattened, ground=_ground(sample)) if image.has_transparency_data else _rgb
    projection = _projection(np.asarray(flatten(sample).convert("RGB"), np.float64))
    return lambda part: _luma(flatten(part)) if projection is None else _projected(flatten(part), *projection)


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """An array of any real type to uint8 of the same shape, as `choose_grey` does with deep pixels.

    Raises:
        ValueError: an element is not a finite number.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels * np.uint8(255)
    return _to_uint8(pixels, _bounds(pixels.min(), pixels.max(), pixels.dtype.kind == "f"))


def _bounds(low: float, high: float, is_float: bool) -> tuple[float, float]:
    """Values that become 0 and 255."""
    low, high = float(low), float(high)
    tops = [1.0] if is_float else []
    tops = [top for top in (*tops, *(2.0**bits - 1 for bits in _BITS)) if high <= top]
    if low < 0 or not tops or high - low < tops[0] / 4:  # a small part of the depth, or of none that is known
        return low, max(high, low + 1)
    return 0.0, tops[0]


def _to_uint8(pixels: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    low, high = bounds
    scaled = (pixels.astype(np.float64) - low) * (255 / (high - low))
    if not np.isfinite(scaled).all():
        raise ValueError("pixels that are not finite numbers")
    return scaled.round().clip(0, 255).astype(np.uint8)


def _scaled(image: Image.Image, bounds: tuple[float, float]) -> Image.Image:
    return Image.fromarray(_to_uint8(np.asarray(image), bounds))


def _luma(image: Image.Image) -> Image.Image:
    return image.convert("L")


def _rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _flattened(image: Image.Image, ground: str) -> Image.Image:
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image)


def _ground(image: Image.Image) -> str:
    """White, unless that hides what can be seen on black."""
    on_white, on_black = (np.asarray(_luma(_flattened(image, ground))).std() for ground in ("white", "black"))
    return "black" if on_white < _FAINT and on_black > _GROUND * on_white else "white"


def _projection(colours: np.ndarray) -> tuple[np.ndarray, float, float] | None:
    """Weights of red, green and blue with the most contrast, and the values that become 0 and 255; None where grey
    has contrast enough. `colours` are (h, w, 3).

    Contrast is that between pixels near each other, so that uneven light does not pass for ink.
    """
    steps = np.concatenate(
        [(colours[2:] - colours[:-2]).reshape(-1, 3), (colours[:, 2:] - colours[:, :-2]).reshape(-1, 3)]
    )
    energy = steps.T @ steps
    values, vectors = np.linalg.eigh(energy)
    if values[-1] <= 0 or _LUMA @ energy @ _LUMA >= values[-1] / 3 / _COLOURS**2:
        return None
    weights = vectors[:, -1] * np.sign(vectors[:, -1] @ _LUMA or 1)
    seen = colours @ weights
    return weights, float(seen.min()), float(seen.max())


def _projected(image: Image.Image, weights: np.ndarray, low: float, high: float) -> Image.Image:
    return Image.fromarray(_to_uint8(np.asarray(image.convert("RGB"), np.float64) @ weights, (low, high)))
