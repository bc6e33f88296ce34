"""Image files that arguments of the command line name."""

import os
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path

from seqocr.data.images import suffixes


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
    """All that is named as an image, but hidden files and what macOS adds to archives. Broken links and pipes are among
    them: opening one says what is wrong."""
    known = suffixes()
    named = (path for path in folder.rglob("*") if path.suffix.lower() in known and not path.is_dir())
    return sorted(path for path in named if not any(map(_is_hidden, path.relative_to(folder).parts)))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
