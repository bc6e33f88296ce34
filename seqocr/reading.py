"""Reading image files: which ones, a batch at a time, and what to do with those that cannot be read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from PIL import Image

from seqocr.data.images import load_line, suffixes
from seqocr.errors import InputError
from seqocr.files import shown
from seqocr.reader import Reader

MOST_HELD = 64_000_000  # pixels in memory, of a byte each


@dataclass(frozen=True)
class Reading:
    """What was read from a file.

    Attributes:
        file_name: as found.
        text: empty where nothing was read.
        confidence: in [0, 1], the model's probability of the text.
        problem: why the file could not be read; empty if it could.
    """

    file_name: str
    text: str = ""
    confidence: float = 0.0
    problem: str = ""


def image_files(arguments: Iterable[str]) -> list[Path]:
    """Files that arguments name: a file itself, the images in a folder and below, or what a pattern matches, by name.

    An argument that names nothing stands for itself: opening it says what is wrong.
    """
    found: list[Path] = []
    for argument in arguments:
        if os.path.isdir(argument):  # noqa: PTH112 (Path's raises an error for a name that is too long)
            files = _images_below(Path(argument))
        elif has_magic(argument) and not os.path.lexists(argument):
            files = sorted(map(Path, glob(argument, recursive=True)))  # noqa: PTH207 (Path's takes no absolute pattern)
        else:
            files = []
        found += files or [Path(argument)]
    return found


def _images_below(folder: Path) -> list[Path]:
    """All that is named as an image. Broken links and pipes are among them: opening one says what is wrong."""
    known = suffixes()
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in known and not path.is_dir())


def read_files(reader: Reader, paths: Iterable[Path], head: str, batch_size: int = 64) -> Iterator[Reading]:
    """Read files in order; those that cannot be read say why.

    In memory at once are `batch_size` images, or fewer large ones (`MOST_HELD` pixels).

    Raises:
        InputError: the reader has no such head.
    """
    for batch in _batches(paths, batch_size):
        decoded = reader.read([image for _, image in batch if isinstance(image, Image.Image)], head, batch_size)
        readings = iter(zip(decoded.texts, decoded.confidences.tolist(), strict=True))
        for path, image in batch:
            yield Reading(str(path), problem=image) if isinstance(image, str) else _checked(path, *next(readings))
        batch.clear()  # or its images would be held while those of the next one are opened


def _batches(paths: Iterable[Path], size: int) -> Iterator[list[tuple[Path, Image.Image | str]]]:
    """Files with their images, or why there are none."""
    batch: list[tuple[Path, Image.Image | str]] = []
    pixels = 0
    for path in paths:
        image = _opened(path)
        batch.append((path, image))
        pixels += 0 if isinstance(image, str) else image.width * image.height
        if len(batch) == size or pixels >= MOST_HELD:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _opened(path: Path) -> Image.Image | str:
    try:
        return load_line(path)
    except InputError as error:
        return str(error)


def _checked(path: Path, text: str, confidence: float) -> Reading:
    if math.isfinite(confidence):
        return Reading(str(path), text, confidence)
    return Reading(str(path), problem=f"{shown(path)} gives {confidence} with these weights: take others")
