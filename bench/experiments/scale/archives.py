"""Tar files of synthetic lines for batch inference, a few images of them truncated."""

import io
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import load_digits_or_validation
from seqocr.data.synthetic.layouts import level
from seqocr.files import replacing
from seqocr.progress import progress

TAR_LINES = 1000  # in a tar file
DISTINCT = 40  # tar files of custom data; more hold the same lines under other names
TRUNCATED_EVERY = 497  # one image of so many in a tar file ends early


def make_archives(folder: Path, lines: int) -> Path:
    """Tar files of lines of 1 to 10 test digits, `TAR_LINES` each; those that exist stay."""
    digits, count = load_digits_or_validation("test"), -(-lines // TAR_LINES)
    folder.mkdir(parents=True, exist_ok=True)
    with progress("archives", count) as reporter:
        for number in range(count):
            path = folder / f"lines-{number:05d}.tar"
            if not path.exists() and number < DISTINCT:
                more: Any = {"replacement": True, "count": TAR_LINES, "seed": number, "layout": level("jitter")}
                _write(path, number * TAR_LINES, _lines(SequenceMNIST(digits, (1, 10), **more)))
            elif not path.exists():
                images = (content for _, content in read_archive(folder / f"lines-{number % DISTINCT:05d}.tar"))
                _write(path, number * TAR_LINES, images)
            reporter.advance()
    return folder


def read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a tar file."""
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            yield member.name, content.read()


def link_files(files: Sequence[Path], folder: Path) -> Path:
    """A folder of links to these files, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in files:
        (folder / path.name).symlink_to(path.resolve())
    return folder


def _write(path: Path, first: int, images: Iterable[bytes]) -> None:
    with replacing(path) as temporary, tarfile.open(temporary, "w") as tar:
        for i, image in enumerate(images, first):
            member = tarfile.TarInfo(f"{i:09d}.png")
            member.size = len(image)
            tar.addfile(member, io.BytesIO(image))


def _lines(strings: SequenceMNIST) -> Iterator[bytes]:
    """PNGs."""
    for i in range(len(strings)):
        file = io.BytesIO()
        Image.fromarray(np.asarray(strings[i][0])).save(file, "PNG", compress_level=1)
        png = file.getvalue()
        yield png[: len(png) // 2] if (i + 1) % TRUNCATED_EVERY == 0 else png
