"""Line images that are files of their own, or bytes of an archive.

Functions that read files yield one image after another: its name, and the line or why there is none. Where an archive
is broken, that is said in place of what is lost. What the file system does not give is an exception: it says nothing of
an image, and may be otherwise later.
"""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from seqocr.batch.storage import fetch_ahead, is_local
from seqocr.data.images import open_line
from seqocr.errors import InputError

MAX_BYTES = 100_000_000  # of an image file: what has more is a mistake

NamedLine = tuple[str, "Image.Image | str"]


def read_images(fs: Any, files: Sequence[tuple[str, str]]) -> Iterator[NamedLine]:
    """Images that are files of their own, each given by its path and name."""
    if is_local(fs):
        for path, name in files:
            yield name, _open_settled(Path(path))
        return
    contents = fetch_ahead(fs, [path for path, _ in files])
    for (_, name), content in zip(files, contents, strict=True):
        missing = f"{name} does not exist: give a PNG or JPEG"
        yield name, missing if isinstance(content, Exception) else decode(content, name)


def _open_settled(path: Path) -> Image.Image | str:
    """As `_open`, unless the file is written to meanwhile: then half of it may be of another image."""
    before = _version(path)
    line = _open(path, str(path))
    if before != _version(path) and not isinstance(line, str):
        return f"{path} changed while it was read: give the same command again when it is written"
    return line


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def decode(data: bytes, name: str) -> Image.Image | str:
    return too_large(name, len(data)) if len(data) > MAX_BYTES else _open(data, name)


def _open(source: Path | bytes, name: str) -> Image.Image | str:
    """As `line_or_problem`, but what the file system does not give is raised."""
    try:
        return open_line(source, name)
    except InputError as error:
        cause = error.__cause__  # of a decoder's own errors, those that are OSError have no number
        if isinstance(cause, OSError) and cause.errno not in (None, errno.ELOOP):
            raise cause from None
        return str(error)


def too_large(name: str, size: int) -> str:
    return f"{name} has {size:,} bytes: give at most {MAX_BYTES:,}"
