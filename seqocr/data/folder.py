"""Your own data: a folder of line images and a file of their texts.

The conventions are those of `seqocr.data.label_files`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from seqocr.data.augment import LineAugmentation
from seqocr.data.digests import Contents, digest, image_digest, learned_digests
from seqocr.data.images import open_line
from seqocr.data.label_files import FOLDERS, charset_notes, read_labels, twin_notes
from seqocr.data.sampling import hash_seed
from seqocr.errors import InputError
from seqocr.files import shown

log = logging.getLogger(__name__)

_SHOWN = 20  # problems that a message lists
_KEPT, _KEPT_PIXELS = 5_000, 50_000  # lines that stay opened while they are learned from, and the largest: 250 MB


@dataclass(frozen=True)
class Line:
    """A line image, its file's name as listed and its path as found, its text, and the digest of its pixels
    (`image_digest`), empty where it was not opened."""

    name: str
    path: Path
    text: str
    digest: str = ""


class LineFolder(Dataset[tuple[Image.Image, str]]):
    """The labelled lines of a folder. Every image is opened once when this is made; after that, when it is asked for.

    Args:
        directory: holds one of the files of `LABEL_FILES`.
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
        for entry in read_labels(directory):
            line = Line(entry.name, _found(directory, entry.name), entry.text)
            try:
                if line.path in seen:
                    raise InputError(f"{shown(entry.name)} is listed twice")
                seen.add(line.path)
                if entry.problem:
                    raise InputError(entry.problem)
                self.lines.append(_checked(line, charset, max_length))
            except InputError as error:
                problems.append(f"{entry.where}: {error}")
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
        texts = [line.text for line in self.lines]
        if not charset:
            log.info("%s: labels have %d symbols: %r", shown(directory), len(self.charset), self.charset)
        for note in (
            *([] if charset else charset_notes(texts)),
            *twin_notes([(line.name, line.digest, line.text) for line in self.lines]),
        ):
            log.warning("%s: %s", shown(directory), note)

    @property
    def longest(self) -> int:
        return max(len(line.text) for line in self.lines)

    def split(self, share: float, purpose: str) -> tuple[LineFolder, LineFolder]:
        """Two folders: about 1 - `share` of the lines, and about `share`.

        Which a line belongs to is a hash of its path below the folder of all and the purpose: the same on any machine,
        and when others join it there. Splits for different purposes are independent.

        Raises:
            InputError: one of the two would be empty.
        """
        parts: tuple[list[Line], list[Line]] = [], []
        for line, place in zip(self.lines, _places(self.lines, purpose), strict=True):
            parts[place < share * 2**64].append(line)
        if not all(parts):
            raise InputError(
                f"{shown(self.directory)}: a {purpose} share of {share} of {len(self):,} lines leaves one side with "
                "none: give another, or more lines"
            )
        learned, held_out = (self.from_lines(self.directory, part, self.charset) for part in parts)
        return learned, held_out

    def first(self, count: int, purpose: str) -> LineFolder:
        """So many of the lines, chosen by hashes as in `split`: those of fewer are among those of more."""
        places = _places(self.lines, purpose)
        chosen = sorted(range(len(self)), key=places.__getitem__)[:count]
        return self.from_lines(self.directory, [self.lines[index] for index in chosen], self.charset)

    @classmethod
    def from_lines(cls, directory: Path, lines: list[Line], charset: str) -> LineFolder:
        """A folder of these lines, whatever its file of texts lists. Images are not opened."""
        folder = cls.__new__(cls)
        folder.directory, folder.lines, folder.charset = directory, lines, charset
        return folder

    @property
    def contents(self) -> Contents:
        return {
            "images": digest(line.digest for line in self.lines),
            "labels": digest(line.text for line in self.lines),
        }

    def count_learned(self, provenance: Mapping[str, Any]) -> int:
        """How many of the lines weights of this provenance learned from, by their pixels."""
        learned = learned_digests(provenance)
        return sum(line.digest in learned for line in self.lines)

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
    """Lines of a folder to learn from, each a function of (seed, epoch, index) alone.

    Args:
        opened: images by their place in the folder, so that no epoch opens them again; filled on the way.
    """

    def __init__(
        self,
        folder: LineFolder,
        augmentation: LineAugmentation,
        seed: int = 0,
        epoch: int = 0,
        opened: dict[int, Image.Image] | None = None,
    ) -> None:
        self.folder, self.augmentation, self.seed = folder, augmentation, seed
        self._opened = {} if opened is None else opened
        self._key = hash_seed(hash_seed(seed) ^ epoch)
        self._order = torch.randperm(len(folder), generator=torch.Generator().manual_seed(self._key)).tolist()

    @property
    def about(self) -> dict[str, Any]:
        digests = " ".join(sorted({line.digest for line in self.folder.lines}))
        source = f"lines of {self.folder.directory.name}"
        return {"source": source, "split": "train", "lines": len(self), "digests": digests}

    @property
    def contents(self) -> Contents:
        return self.folder.contents

    def at_epoch(self, epoch: int) -> ShuffledLines:
        return ShuffledLines(self.folder, self.augmentation, self.seed, epoch, self._opened)

    def __len__(self) -> int:
        return len(self.folder)

    def batch(self, indices: list[int] | range) -> tuple[list[torch.Tensor], list[str]]:
        """Many lines at once: images (h_i, w_i) uint8, and their texts."""
        places = [self._order[index] for index in indices]
        images, texts = [self._open(place) for place in places], [self.folder.lines[place].text for place in places]
        generator, changed = torch.Generator(), []
        for image, index in zip(images, indices, strict=True):
            noise_of_line = generator.manual_seed(hash_seed(self._key ^ (index + 1)))
            noise = torch.rand(self.augmentation.noise_size, generator=noise_of_line)
            changed.append(self.augmentation(torch.from_numpy(np.array(image)), noise))
        return changed, texts

    def _open(self, place: int) -> Image.Image:
        if (found := self._opened.get(place)) is None:
            found = self.folder[place][0]
            if len(self._opened) < _KEPT and found.width * found.height <= _KEPT_PIXELS:
                self._opened[place] = found
        return found


def _places(lines: list[Line], purpose: str) -> list[int]:
    """Whole numbers below 2^64, of each line's path and a purpose. What all paths begin with does not count: lines of
    one folder are placed by name alone, wherever the folder is."""
    paths = [PurePosixPath(line.name.replace("\\", "/")) for line in lines]
    same = len(os.path.commonprefix([path.parts[:-1] for path in paths]))  # noqa: RUF071 (of folders)
    texts = (f"{purpose}/{'/'.join(path.parts[same:])}".encode(errors="surrogateescape") for path in paths)
    return [int.from_bytes(hashlib.sha256(text).digest()[:8]) for text in texts]


def _checked(line: Line, charset: str | None, max_length: int | None) -> Line:
    """The line with the digest of its pixels; InputError if it cannot be used."""
    name, text = shown(line.name), line.text
    if not text:
        raise InputError(f"{name} has no text")
    if outside := sorted(set(text) - set(charset or text)):
        raise InputError(f"{name}: {text!r} has {outside[0]!r}, which is not in the charset {charset!r}")
    if max_length is not None and len(text) > max_length:
        raise InputError(f"{name}: {text!r} has {len(text)} symbols, at most {max_length} can be read")
    if shown(text) != text:
        raise InputError(f"{name}: {text!r} has a character that cannot be printed")
    return replace(line, digest=image_digest(open_line(line.path)))


def _found(directory: Path, name: str) -> Path:
    """Beside the list or in images/, also where the name has the separators of Windows; `os.path.exists` takes any name
    for an answer, however long."""
    names = dict.fromkeys((name, name.replace("\\", "/")))
    paths = [directory / below / each for each in names for below in FOLDERS]
    return next((path for path in paths if os.path.exists(path)), paths[0])  # noqa: PTH110
