"""Levels of difficulty: how digits are laid out. To add one: a file here with its LAYOUT, and its name in this list."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from seqocr.data.levels import grid, jitter, wild
from seqocr.data.levels.layout import Layout
from seqocr.errors import InputError

LEVELS: dict[str, Layout | None] = {"grid": grid.LAYOUT, "jitter": jitter.LAYOUT, "wild": wild.LAYOUT}


def level(name: str) -> Layout | None:
    """The layout of a level of difficulty; None for the grid.

    Raises:
        InputError: there is no such level.
    """
    if name not in LEVELS:
        raise InputError(f"unknown level {name!r}: choose one of {', '.join(LEVELS)}")
    return LEVELS[name]


def contact_sheet(lines: Sequence[torch.Tensor], columns: int = 3) -> Image.Image:
    """Lines (h, w_i) uint8 on one grey page, `columns` beside each other, twice their size."""
    height, width = len(lines[0]) + 4, max(line.shape[1] for line in lines) + 4
    sheet = Image.new("L", (columns * width, -(-len(lines) // columns) * height), 128)
    for i, line in enumerate(lines):
        sheet.paste(Image.fromarray(line.numpy()), (i % columns * width + 2, i // columns * height + 2))
    return sheet.resize((2 * sheet.width, 2 * sheet.height))
