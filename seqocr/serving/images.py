"""Images that come as bytes."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import NamedTemporaryFile

from PIL import Image

from seqocr.data.images import FORMATS, load_line
from seqocr.errors import InputError
from seqocr.files import shown


def line_of(data: bytes, name: str, most: int) -> Image.Image:
    """The grey line of an image file's bytes, as `load_line` has it.

    Args:
        name: what messages call it.
        most: pixels that it may have.

    Raises:
        InputError: it has more, or cannot be used.
    """
    width, height = _size(data)
    if width * height > most:
        raise InputError(f"{name} is {width}×{height} pixels: give at most {most:,} in all")
    # A file, so that what can be read, and what is said of the rest, is the same as everywhere.
    with NamedTemporaryFile(prefix="seqocr-") as file:
        file.write(data)
        file.flush()
        return named(Path(file.name), name)


def named(path: Path, name: str) -> Image.Image:
    """`load_line` of a file whose path is nobody's business.

    Raises:
        InputError: as `load_line`, with the name in place of the path.
    """
    try:
        return load_line(path)
    except InputError as error:
        raise InputError(str(error).replace(shown(path), name).replace(str(path), name)) from None


def _size(data: bytes) -> tuple[int, int]:
    """(0, 0) where it cannot be told: what is wrong is said later."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except Exception:  # every decoder of Pillow has its own kinds
        return 0, 0
