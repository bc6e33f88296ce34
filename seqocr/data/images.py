"""Image files as people have them, to line images that can be read."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seqocr.errors import InputError

SMALLEST = 4  # pixels: no digit can be read from fewer rows
LARGEST = 10_000  # pixels: what is longer is a page or a mistake, and takes gigabytes to decode


def load_line(path: Path) -> Image.Image:
    """One line image: upright, opaque, grey (mode "L"), as recognizers are trained on grey lines.

    EXIF's rotation is applied, 16 bits a pixel become 8, and what is transparent becomes white paper.

    Raises:
        InputError: the file is missing, is no image or a broken one, is animated, or has an impossible size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a broken file is reported as such, once
            with Image.open(path) as image:
                _check(path, image)
                return _plain(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give a PNG or JPEG") from None
    except UnidentifiedImageError:
        reason = "is empty" if path.stat().st_size == 0 else "is not an image"
        raise InputError(f"{path} {reason}: give a PNG or JPEG") from None
    except Exception as error:  # every decoder of Pillow has its own kinds
        raise InputError(f"{path} cannot be read ({error}): give it whole, as a PNG or JPEG") from error


def _check(path: Path, image: Image.Image) -> None:
    width, height = image.size
    # A phone's JPEG can have a preview or a depth map behind the photograph (MPO): that is still a single image.
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise InputError(f"{path} has {frames} frames: give a single image")
    if min(width, height) < SMALLEST:
        raise InputError(f"{path} is {width}×{height} pixels: give at least {SMALLEST} each way")
    if max(width, height) > LARGEST:
        raise InputError(f"{path} is {width}×{height} pixels: give one line, at most {LARGEST:,} each way")


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow has them in 32, too
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L")
