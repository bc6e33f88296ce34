"""Sources of labelled glyphs, bitmaps or strokes, and of who wrote each. To add one: a function here, and its name in
`_NAMED`, or what its folder looks like in `_own`.

    mnist                      bitmaps; who wrote them is not known
    qmnist                     the same digits, and who wrote each
    DIR/digits.jsonl(.gz)      strokes, one digit a line (`seqocr.data.sources.strokes`)
    DIR/data/1a                a copy of UNIPEN
    DIR/0/*.png, DIR/1/*.png   bitmaps; a file is WRITER-anything.png, or nobody's in particular
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from seqocr.data.images import open_line, suffixes
from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import DIGITS, SPLITS, Digits, load_digits
from seqocr.data.sources.strokes import load_strokes, numbered, split_of
from seqocr.data.sources.torchvision_sets import qmnist_labels
from seqocr.data.sources.unipen import is_unipen
from seqocr.data.synthetic.lines import Glyphs
from seqocr.errors import InputError
from seqocr.files import shown

_STROKES = ("digits.jsonl", "digits.jsonl.gz")
_SIDE, _GLYPH = 28, 20  # pixels: of MNIST's cells, and of the glyph in them


def load_glyphs(name: str, split: str, root: Path | None = None) -> Glyphs:
    """One split of a source: a data set of `_NAMED` below `root`, or a folder or file.

    Raises:
        InputError: there is no such source or split, or it cannot be read.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return _NAMED[name](split, root) if name in _NAMED else _own(Path(name), split)


def _qmnist(split: str, root: Path | None) -> Glyphs:
    """MNIST with QMNIST's labels; its training half is split by writer, without embedded digits in train."""
    root = root or sources.data_root()
    digits = sources.load_mnist_half(split, root)
    labels, writers = (column[: len(digits)] for column in qmnist_labels(split != "test", root))
    if not torch.equal(labels, digits.labels):
        raise InputError("QMNIST's labels are not those of these images: get both again")
    if split != "test":
        keep = torch.tensor([split_of(f"qmnist/{writer}") == split for writer in writers.tolist()])
        if split == "train":
            keep &= ~sources.are_embedded(digits.images)
        digits, writers = digits[keep], writers[keep]
    return Glyphs(replace(digits, source=f"{digits.source}, writers by QMNIST"), numbered(writers.tolist()))


def _own(path: Path, split: str) -> Glyphs:
    for strokes in (path, *(path / name for name in _STROKES)):
        if strokes.is_file() or is_unipen(strokes):
            return Glyphs(load_strokes(strokes, split))
    if not path.is_dir():
        raise InputError(f"no digits {shown(path)}: give {', '.join(_NAMED)}, or a folder of your own")
    return _bitmaps(path, split)


def _bitmaps(directory: Path, split: str) -> Glyphs:
    known, found = suffixes(), []
    for label, symbol in enumerate(DIGITS):
        for path in sorted((directory / symbol).glob("*")):
            writer = path.name.split("-")[0] if "-" in path.stem else path.name
            if path.suffix.lower() in known and split_of(writer) == split:
                found.append((_glyph(open_line(path)), label, writer))
    if not found:
        raise InputError(
            f"{shown(directory)} has no digits of the split {split!r}: give {' or '.join(_STROKES)}, a copy of UNIPEN, "
            "or folders 0 to 9 of images"
        )
    images, labels, writers = zip(*found, strict=True)
    digits = Digits(torch.stack(images), torch.tensor(labels), f"images of {shown(directory.name)}", split)
    return Glyphs(digits, numbered(writers))


def _glyph(image: Image.Image) -> torch.Tensor:
    """An image as MNIST's are: light on dark, (28, 28) uint8, the ink 20 pixels at its larger side, in the middle."""
    pixels = np.asarray(image, float)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if np.median(border) > 127:
        pixels = 255 - pixels
    ink = pixels > pixels.min() + 0.3 * np.ptp(pixels)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    whole = np.zeros((_SIDE, _SIDE), np.uint8)
    if len(rows) and np.ptp(pixels):
        cut = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        cut = (cut - pixels.min()) / np.ptp(pixels) * 255
        scale = _GLYPH / max(cut.shape)
        size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
        small = np.asarray(Image.fromarray(cut.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR))
        top, left = (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2
        whole[top : top + size[1], left : left + size[0]] = small
    return torch.from_numpy(whole)


_NAMED: dict[str, Callable[[str, Path | None], Glyphs]] = {
    "mnist": lambda split, root: Glyphs(load_digits(split, root=root)),
    "qmnist": _qmnist,
}
