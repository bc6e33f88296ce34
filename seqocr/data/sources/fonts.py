"""Fonts as a source of glyphs: outlines that FreeType (Pillow) draws at training time."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageFont

from seqocr.errors import InputError
from seqocr.files import shown

LIST = "fonts.csv"  # file,family,kind,license: of a folder; without it all of its fonts are of kind "print"
KINDS = ("print", "mono", "narrow", "display", "hand")
SUFFIXES = (".ttf", ".otf", ".woff", ".woff2")
_KEPT = 2048  # faces in memory


@dataclass(frozen=True)
class Font:
    """A file that holds outlines of at least the digits.

    Attributes:
        family: of typefaces; kind: one of `KINDS`; license: its name (SPDX), or "" where it is not known.
    """

    path: Path
    family: str
    kind: str = "print"
    license: str = ""


class Fonts:
    """Fonts of a folder, by kind.

    Raises:
        InputError: there are none.
    """

    def __init__(self, fonts: Iterable[Font], source: str = "fonts") -> None:
        self.fonts, self.source = list(fonts), source
        if not self.fonts:
            raise InputError(f"{source} has no fonts: give a folder of {', '.join(SUFFIXES)}")
        # By family, so that one with many weights is not chosen more often.
        self._families: dict[str, list[list[Font]]] = {}
        for kind in {font.kind for font in self.fonts}:
            families: dict[str, list[Font]] = {}
            for font in self.fonts:
                if font.kind == kind:
                    families.setdefault(font.family, []).append(font)
            self._families[kind] = list(families.values())

    @property
    def families(self) -> set[str]:
        return {font.family for font in self.fonts}

    def face(self, rng: np.random.Generator, size: int, *kinds: str) -> ImageFont.FreeTypeFont:
        """A face of `size` pixels of a random font of one of these kinds; of any kind where there is none of them."""
        families = [family for kind in kinds for family in self._families.get(kind, [])]
        families = families or [family for of_kind in self._families.values() for family in of_kind]
        family = families[int(rng.integers(len(families)))]
        return load_face(family[int(rng.integers(len(family)))].path, size)


@lru_cache(_KEPT)
def load_face(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """A face of `size` pixels (of the em square). InputError if the file is no font."""
    try:
        return ImageFont.truetype(str(path), size)
    except OSError as error:
        raise InputError(f"{shown(path)} is no font that FreeType reads ({error}): delete or replace it") from None


def load_fonts(folder: Path) -> Fonts:
    """All fonts below a folder.

    Raises:
        InputError: it is none, holds no fonts, or its list names a file that is not there.
    """
    if not folder.is_dir():
        raise InputError(f"no folder of fonts {shown(folder)}: give one of {', '.join(SUFFIXES)}")
    listed = folder / LIST
    if not listed.is_file():
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        return Fonts((Font(path, path.stem.split("-")[0]) for path in paths), shown(folder.name))
    with listed.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    fonts = [Font(folder / row["file"], row["family"], row["kind"], row["license"]) for row in rows]
    for font in fonts:
        if not font.path.is_file():
            raise InputError(f"{shown(listed)} names {shown(font.path)}, which is not there: get it again")
    return Fonts(fonts, shown(folder.name))
