"""Your own data: a folder of line images and a file of their texts, in the conventions that people already have.

metadata.csv    columns file_name and text                  (Hugging Face's imagefolder)
labels.json     {"file name": "text"}, files in images/     (docTR)
gt.txt          file name, tab, text                        (PaddleOCR, deep-text-recognition-benchmark)
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from seqocr.data.augment import LineAugmentation
from seqocr.data.images import open_line
from seqocr.data.sampling import hash_seed
from seqocr.errors import InputError
from seqocr.files import shown

log = logging.getLogger(__name__)

_SHOWN = 20  # problems that a message lists


@dataclass(frozen=True)
class Line:
    """A line image, its file's name as listed and its path as found, and its text."""

    name: str
    path: Path
    text: str


class LineFolder(Dataset[tuple[Image.Image, str]]):
    """The labelled lines of a folder. Every image is opened once when this is made; after that, when it is asked for.

    Args:
        directory: holds one of the files above.
        charset: symbols that a text may have; default: those the texts have.
        max_length: symbols that a text may have at most.
        skip: leave out lines that cannot be used, with a warning each, in place of refusing the folder.

    Attributes:
        lines: those that can be used, as listed.
        charset: as given or found.

    Raises:
        InputError: there is no file of texts or more than one, it cannot be read, no line can be used, or, without
            `skip`, any cannot: its file is missing, listed twice or no image, or its text is empty, too long or has a
            symbol outside the charset. The message lists them, with line numbers.
    """

    def __init__(
        self, directory: Path, *, charset: str | None = None, max_length: int | None = None, skip: bool = False
    ) -> None:
        self.directory = directory
        self.lines: list[Line] = []
        problems: list[str] = []
        seen: set[Path] = set()
        for where, name, text in _listed(directory):
            line = Line(name, _found(directory, name), text)
            if line.path in seen:
                problems.append(f"{where}: {shown(name)} is listed twice")
            elif problem := _problem(line, charset, max_length):
                problems.append(f"{where}: {problem}")
            else:
                self.lines.append(line)
            seen.add(line.path)
        if problems and not skip:
            listed = "\n".join(f"  {problem}" for problem in problems[:_SHOWN])
            more = f"\n  and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
            raise InputError(
                f"{shown(directory)}: {len(problems):,} lines cannot be used: mend or skip them\n{listed}{more}"
            )
        for problem in problems:
            log.warning("left out: %s", problem)
        if not self.lines:
            raise InputError(f"{shown(directory)} has no line that can be used: list its images and their texts")
        self.charset = charset or "".join(sorted({symbol for line in self.lines for symbol in line.text}))

    @property
    def longest(self) -> int:
        return max(len(line.text) for line in self.lines)

    def split(self, share: float, purpose: str) -> tuple[LineFolder, LineFolder]:
        """Two folders: about 1 - `share` of the lines, and about `share`.

        Which a line belongs to is a hash of its file's name and the purpose: the same on any machine, and when others
        join it. Splits for different purposes are independent.

        Raises:
            InputError: one of the two would be empty.
        """
        parts: tuple[list[Line], list[Line]] = [], []
        for line in self.lines:
            parts[_place(line, purpose) < share * 2**64].append(line)
        if not all(parts):
            raise InputError(
                f"{shown(self.directory)}: a {purpose} share of {share} of {len(self):,} lines leaves one side with none: "
                "give another, or more lines"
            )
        learned, held_out = (self.from_lines(self.directory, part, self.charset) for part in parts)
        return learned, held_out

    def first(self, count: int, purpose: str) -> LineFolder:
        """So many of the lines, chosen by hashes as in `split`: those of fewer are among those of more."""
        chosen = sorted(self.lines, key=lambda line: _place(line, purpose))[:count]
        return self.from_lines(self.directory, chosen, self.charset)

    @classmethod
    def from_lines(cls, directory: Path, lines: list[Line], charset: str) -> LineFolder:
        """A folder of these lines, whatever its file of texts lists. Images are not opened."""
        folder = cls.__new__(cls)
        folder.directory, folder.lines, folder.charset = directory, lines, charset
        return folder

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int) -> tuple[Image.Image, str]:
        """One line: image (mode "L") and its text."""
        line = self.lines[index]
        return open_line(line.path), line.text

    def batch(self, indices: list[int] | range) -> tuple[list[Image.Image], list[str]]:
        """Many lines at once, as `SequenceMNIST.batch` gives them."""
        pairs = [self[index] for index in indices]
        return [image for image, _ in pairs], [text for _, text in pairs]


class ShuffledLines:
    """Lines of a folder to learn from, each a function of (seed, epoch, index) alone."""

    def __init__(self, folder: LineFolder, augmentation: LineAugmentation, seed: int = 0, epoch: int = 0) -> None:
        self.folder, self.augmentation, self.seed = folder, augmentation, seed
        self._key = hash_seed(hash_seed(seed) ^ epoch)
        self._order = torch.randperm(len(folder), generator=torch.Generator().manual_seed(self._key)).tolist()

    @property
    def about(self) -> dict[str, Any]:
        return {"source": f"lines of {self.folder.directory.name}", "split": "train", "lines": len(self)}

    def at_epoch(self, epoch: int) -> ShuffledLines:
        return ShuffledLines(self.folder, self.augmentation, self.seed, epoch)

    def __len__(self) -> int:
        return len(self.folder)

    def batch(self, indices: list[int] | range) -> tuple[list[torch.Tensor], list[str]]:
        """Many lines at once: images (h_i, w_i) uint8, and their texts."""
        images, texts = self.folder.batch([self._order[index] for index in indices])
        generator, changed = torch.Generator(), []
        for image, index in zip(images, indices, strict=True):
            noise_of_line = generator.manual_seed(hash_seed(self._key ^ (index + 1)))
            noise = torch.rand(self.augmentation.noise_size, generator=noise_of_line)
            changed.append(self.augmentation(torch.from_numpy(np.array(image)), noise))
        return changed, texts


def _place(line: Line, purpose: str) -> int:
    """A whole number below 2^64, of a line's file name and a purpose."""
    digest = hashlib.sha256(f"{purpose}/{Path(line.name).name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8])


def _problem(line: Line, charset: str | None, max_length: int | None) -> str:
    """Why a line cannot be used; empty if it can."""
    name, text = shown(line.name), line.text
    if not text:
        return f"{name} has no text"
    if outside := sorted(set(text) - set(charset or text)):
        return f"{name}: {text!r} has {outside[0]!r}, which is not in the charset {charset!r}"
    if max_length is not None and len(text) > max_length:
        return f"{name}: {text!r} has {len(text)} symbols, at most {max_length} can be read"
    if shown(text) != text:
        return f"{name}: {text!r} has a character that cannot be printed"
    try:
        open_line(line.path)
    except InputError as error:
        return str(error)
    return ""


def _found(directory: Path, name: str) -> Path:
    """Beside the list or in images/; `os.path.exists` takes any name for an answer, however long."""
    path, below = directory / name, directory / "images" / name
    return below if os.path.exists(below) and not os.path.exists(path) else path  # noqa: PTH110


def _listed(directory: Path) -> Iterator[tuple[str, str, str]]:
    """(where it says so, file name, text) of every line listed."""
    readers = {"metadata.csv": _metadata_csv, "labels.json": _labels_json, "gt.txt": _gt_txt}
    if not os.path.isdir(directory):  # noqa: PTH112 (as in `_found`)
        raise InputError(f"{shown(directory)} is not a folder: give one with images and their texts")
    there = [name for name in readers if (directory / name).is_file()]
    if len(there) != 1:
        raise InputError(
            f"{shown(directory)} has {' and '.join(there) or 'no file of texts'}: give one of {', '.join(readers)}"
        )
    path = directory / there[0]
    try:
        yield from readers[there[0]](path)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError, csv.Error) as error:  # UnicodeDecodeError and JSON's are ValueErrors
        raise InputError(f"{shown(path)} cannot be read ({error}): write it again, in UTF-8") from error


def _metadata_csv(path: Path) -> Iterator[tuple[str, str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in ("file_name", "text") if name not in (rows.fieldnames or ())]:
            raise InputError(f"{shown(path)} has no column {missing[0]}: its first line must name file_name and text")
        for row in rows:
            yield f"{path.name}, line {rows.line_num}", row["file_name"] or "", row["text"] or ""


def _labels_json(path: Path) -> Iterator[tuple[str, str, str]]:
    # As pairs: a dict would hide what is listed twice.
    listed = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=lambda pairs: pairs)
    if not isinstance(listed, list) or not all(isinstance(x, tuple) and isinstance(x[1], str) for x in listed):
        raise InputError(f'{shown(path)} is not of the form {{"file name": "text"}}: write it so')
    for number, (name, text) in enumerate(listed, 1):
        yield f"{path.name}, entry {number}", name, str(text)


def _gt_txt(path: Path) -> Iterator[tuple[str, str, str]]:
    for number, row in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):  # newlines as any system's
        name, tab, text = row.partition("\t")
        if not tab and row.strip():
            raise InputError(f"{shown(path)}, line {number} has no tab: write file name, tab, text")
        if row.strip():
            yield f"{path.name}, line {number}", name, text
