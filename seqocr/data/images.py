"""Image files, their bytes, images in memory and arrays to line images: the one way in for all commands, the server
and the library.

Memory is bounded: images that are too large are refused before they are decoded, large ones are shrunk right after.
"""

import io
import math
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from seqocr.data.content import trim
from seqocr.data.grey import ToGrey, choose_grey, eight_bits
from seqocr.data.jpeg_end import NO_END, without_end
from seqocr.errors import InputError
from seqocr.files import shown

# By name: Pillow knows others, and for some of them (EPS) it starts a program that is on PATH. JPEG includes MPO.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
SMALLEST = 4  # pixels: no digit can be read from fewer rows
LARGEST = 10_000  # pixels: what is longer is a page or a mistake
KEPT = 2_000_000  # pixels: an image of more is shrunk by a whole number until it has no more
# Pixels where a decoder holds more than the image: WebP several copies, TIFF a strip that may be as large as the image,
# a progressive JPEG its coefficients.
MOST_AT_ONCE = 25_000_000
_STRIP = 16  # rows of a shrunk image that are made at once
_KEY, _NOTES = "seqocr.origin", "seqocr.notes"  # of a line image's info


def suffixes() -> set[str]:
    """Endings of the names of image files, in lower case."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in (*FORMATS, "MPO")}


@dataclass(frozen=True)
class Origin:
    """Where a line image lies in the image that was given: x there is `left` + `scale` times x here.

    Attributes:
        left: pixels of the image that was given, upright.
        scale: pixels of the image that was given per pixel of the line image.
    """

    left: float = 0.0
    scale: float = 1.0


Source = Any  # a `Path`, bytes, a Pillow image of any mode, or an array or tensor (h, w), (h, w, 3) or (h, w, 4)


def open_line(source: Source, name: str = "", most_pixels: int | None = None) -> Image.Image:
    """One line image: upright (by EXIF), grey (mode "L") in 8 bits (see `choose_grey`), shrunk to at most `KEPT`
    pixels, each the mean of a square, and cut to its content where that is a small part of it (see `trim`).

    A JPEG without its end marker is read if hardly anything else is missing (see `opening_notes`). A line image that
    this has returned is returned as it is.

    Args:
        source: an image file, its bytes, a Pillow image of any mode, or an array or tensor (h, w), (h, w, 3) or, with
            alpha, (h, w, 4) of any real type: 8 or 16 bits, or floats from 0 to 1 or to 255.
        name: for error messages; default: the file's path, or "the image".
        most_pixels: width times height, at most; default: only the limits above.

    Raises:
        InputError: the file is missing or no file, is not an image of `FORMATS` or a broken one, is animated, or has a
            size that is not accepted; or an array has another shape or type.
    """
    if isinstance(source, Image.Image) and _KEY in source.info:
        return source
    name = shown(name or (source if isinstance(source, Path) else "the image"))
    try:
        with warnings.catch_warnings(action="ignore"), _opened(source, name) as found:  # a broken file is reported once
            _check(name, found, most_pixels)
            image = found if found is source else _verified(found)
            given = max(image.size)
            if image is not source:  # a draft changes the image itself
                _draft(image)
            loaded, notes = _loaded(image)
            line = _line(loaded)
            scale = given / max(line.size)
            line, left = trim(line)
            line.info[_KEY], line.info[_NOTES] = Origin(left * scale, scale), notes
            return line
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist: give a PNG or JPEG") from None
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise InputError(f"{name} is not an image in a supported format ({kinds}): give a PNG or JPEG") from None
    except Exception as error:  # every decoder of Pillow has its own kinds
        reason = shown(getattr(error, "strerror", None) or error)
        raise InputError(f"{name} cannot be read ({reason}): give it whole, as a PNG or JPEG") from error


def origin_of(line: Image.Image) -> Origin:
    """Of a line image that `open_line` gave."""
    return line.info.get(_KEY, Origin())


def opening_notes(line: Image.Image) -> tuple[str, ...]:
    """What may be wrong with the file of a line image that `open_line` gave."""
    return line.info.get(_NOTES, ())


def line_or_problem(source: Source, name: str = "", most_pixels: int | None = None) -> Image.Image | str:
    """As `open_line`, but for an image that cannot be used the error message is returned, not raised."""
    try:
        return open_line(source, name, most_pixels)
    except InputError as error:
        return str(error)


@contextmanager
def _opened(source: Source, name: str) -> Iterator[Image.Image]:
    if isinstance(source, Image.Image):
        with _unmapped(source):
            yield source
        return
    if not isinstance(source, (Path, bytes)):
        yield _from_array(source, name)
        return
    if isinstance(source, Path):
        mode = source.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{name} is a folder, not an image: give a PNG or JPEG, or a folder of some")
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            raise InputError(f"{name} is a pipe or device, not a file: give a PNG or JPEG")
    # Never by its path (see `_unmapped`).
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
        if not file.read(1):
            raise InputError(f"{name} is empty: give a PNG or JPEG")
        yield Image.open(file, formats=FORMATS)


@contextmanager
def _unmapped(image: Image.Image) -> Iterator[None]:
    """Pillow maps files that it knows by path into memory, and gets TIFF that is to be rotated wrong."""
    path = getattr(image, "filename", "")
    try:
        if path:
            image.filename = ""  # type: ignore[attr-defined]
        yield
    finally:
        if path:
            image.filename = path  # type: ignore[attr-defined]


def _check(name: str, image: Image.Image, most_pixels: int | None) -> None:
    width, height = image.size
    if most_pixels is not None and width * height > most_pixels:
        raise InputError(f"{name} is {width}×{height} pixels: give at most {most_pixels:,} in all")
    # A phone's JPEG can have a preview or a depth map behind the photograph (MPO): that is still a single image.
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise InputError(f"{name} has {frames} frames: give a single image")
    if min(width, height) < SMALLEST:
        raise InputError(f"{name} is {width}×{height} pixels: give at least {SMALLEST} each way")
    if max(width, height) > LARGEST:
        raise InputError(f"{name} is {width}×{height} pixels: give one line, at most {LARGEST:,} each way")
    at_once = image.format in ("WEBP", "TIFF") or "progressive" in image.info
    if at_once and width * height > MOST_AT_ONCE:
        raise InputError(
            f"{name} is {width}×{height} pixels: give one line, of at most {MOST_AT_ONCE:,} pixels, or a PNG"
        )


def _from_array(source: Any, name: str) -> Image.Image:
    if hasattr(source, "detach"):  # a tensor, perhaps on a GPU or with a gradient
        source = source.detach().cpu()
    if not hasattr(source, "__array__"):
        raise InputError(f"{name} is of type {type(source).__name__}: give a path, bytes, a Pillow image or an array")
    pixels = np.asarray(source)
    if pixels.dtype.kind not in "buif":
        raise InputError(f"{name} is an array of {pixels.dtype}: give uint8, or floats from 0 to 1")
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))):
        raise InputError(f"{name} is an array of shape {pixels.shape}: give (h, w), (h, w, 3) or (h, w, 4)")
    if 0 in pixels.shape:
        raise InputError(f"{name} is an array of shape {pixels.shape} without pixels: give (h, w)")
    return Image.fromarray(eight_bits(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels))


def _verified(image: Any) -> Image.Image:
    """An image that is not decoded yet; of PNG with the checksums of its pixels, which the decoder passes over."""
    if image.format != "PNG":
        return cast(Image.Image, image)
    file = image.fp
    image.verify()
    file.seek(0)
    return Image.open(file, formats=("PNG",))


def _draft(image: Image.Image) -> None:
    """Have a JPEG's decoder halve and quarter what is shrunk anyway."""
    if (factor := _factor(image)) > 1:
        image.draft(None, (image.width // factor, image.height // factor))


def _loaded(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """An image with its pixels, and what may be wrong with them."""
    try:
        image.load()
    except OSError:
        found = without_end(image, _draft) if image.format in ("JPEG", "MPO") else None
        if found is None:
            raise
        return found, (NO_END,)
    return image, ()


def _line(image: Image.Image) -> Image.Image:
    factor, to_grey = _factor(image), choose_grey(image)
    line = to_grey(image) if factor == 1 else _shrunk(image, factor, to_grey)
    if np.asarray(line).max() < 16:  # of 16 bits a colour the decoder kept 8, of which a camera with 12 uses 4
        line = line.point(lambda value: 17 * value)
    line.info.clear()  # the rest of its EXIF may be broken, and would be written again
    line.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return ImageOps.exif_transpose(line)


def _factor(image: Image.Image) -> int:
    return math.ceil(math.sqrt(image.width * image.height / KEPT))


def _shrunk(image: Image.Image, factor: int, to_grey: ToGrey) -> Image.Image:
    """Grey, with each pixel the mean of factor × factor. Strip by strip: copies of the whole would be too much."""
    line = Image.new("L", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    for top in range(0, line.height, _STRIP):
        below = min(image.height, (top + _STRIP) * factor)
        line.paste(to_grey(image.crop((0, top * factor, image.width, below))).reduce(factor), (0, top))
    return line
