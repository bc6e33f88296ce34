"""Reading image files: which ones, a batch at a time, and what to do with those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from pathlib import Path

from PIL import Image

from seqocr.data.images import load_line
from seqocr.errors import InputError
from seqocr.reader import Reader


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

    Raises:
        InputError: an argument names nothing.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            known = Image.registered_extensions()
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in known and p.is_file())
        elif has_magic(argument) and not path.exists():
            files = sorted(map(Path, glob(argument, recursive=True)))  # noqa: PTH207 (Path's takes no absolute pattern)
        else:
            files = [path]
        if not files:
            raise InputError(f"{argument}: no image there: give image files, folders or patterns")
        found += files
    return found


def read_files(reader: Reader, paths: Sequence[Path], head: str, batch_size: int = 64) -> Iterator[Reading]:
    """Read files in order, `batch_size` of them in memory at once; those that cannot be read say why.

    Raises:
        InputError: the reader has no such head.
    """
    for start in range(0, len(paths), batch_size):
        opened = [(path, _opened(path)) for path in paths[start : start + batch_size]]
        decoded = reader.read([image for _, image in opened if isinstance(image, Image.Image)], head, batch_size)
        readings = iter(zip(decoded.texts, decoded.confidences.tolist(), strict=True))
        for path, image in opened:
            named = partial(Reading, str(path))
            yield named(problem=image) if isinstance(image, str) else named(*next(readings))


def _opened(path: Path) -> Image.Image | str:
    """The image, or why there is none."""
    try:
        return load_line(path)
    except InputError as error:
        return str(error)
