"""Lines to be read at scale: tar files of drawn strings, a few of them broken."""

from __future__ import annotations

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

A_TAR = 1000  # lines in a tar file
DRAWN = 40  # tar files that are drawn; more are the same lines under other names
BROKEN_EVERY = 497  # one image of so many in a tar file ends early
_AT_ONCE = 250


def made(folder: Path, count: int) -> Path:
    """Tar files of lines of 1 to 10 test digits, `A_TAR` each; those that are there stay."""
    digits, tars = load_digits_or_validation("test"), -(-count // A_TAR)
    folder.mkdir(parents=True, exist_ok=True)
    with progress("draw", tars) as reporter:
        for number in range(tars):
            path = folder / f"lines-{number:05d}.tar"
            if not path.exists() and number < DRAWN:
                more: Any = {"replacement": True, "count": A_TAR, "seed": number, "layout": level("jitter")}
                _write(path, number * A_TAR, _drawn(SequenceMNIST(digits, (1, 10), **more)))
            elif not path.exists():
                _write(path, number * A_TAR, _again(folder / f"lines-{number % DRAWN:05d}.tar"))
            reporter.advance()
    return folder


def linked(files: Sequence[Path], folder: Path) -> Path:
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


def _drawn(strings: SequenceMNIST) -> Iterator[bytes]:
    for start in range(0, len(strings), _AT_ONCE):
        images, _ = strings.batch(range(start, min(start + _AT_ONCE, len(strings))))
        for i, image in enumerate(images, start + 1):
            png = _png(np.asarray(image))
            yield png[: len(png) // 2] if i % BROKEN_EVERY == 0 else png


def _again(path: Path) -> Iterator[bytes]:
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            yield content.read()


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
