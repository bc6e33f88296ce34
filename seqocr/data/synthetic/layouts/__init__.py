"""Levels of difficulty: how digits are laid out. To add one: a class that is a `Layout`, and its name in this list."""

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image

from seqocr.data.synthetic.layouts.jitter import JitterLayout
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.errors import InputError


class Layout(Protocol):
    """Makes lines of digits.

    Attributes:
        line_noise_size: uniform random numbers that a line takes; digit_noise_size: and each of its digits.
    """

    @property
    def line_noise_size(self) -> int: ...

    @property
    def digit_noise_size(self) -> int: ...

    def __call__(
        self, digits: torch.Tensor, texts: list[str], lines: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """Draw lines, B images (h_i, w_i) uint8.

        Args:
            digits: (N, 28, 28) float32 in [0, 1], white on black, those of all lines in order.
            texts: what each of the B lines says, N symbols in all.
            lines: (B, line_noise_size) float32 uniform in [0, 1).
            noise: (N, digit_noise_size) likewise. The two are the only source of randomness.
        """


LEVELS: dict[str, Layout | None] = {
    "grid": None,  # digits side by side in their cells, untouched
    "jitter": JitterLayout(),
    "wild": WriterStyle(),  # as on cheques: one writer per line, slanted, touching, on printed paper
}


def level(name: str) -> Layout | None:
    """The layout of a level of difficulty; None for the grid.

    Raises:
        InputError: there is no such level.
    """
    if name not in LEVELS:
        raise InputError(f"unknown level {name!r}: choose one of {', '.join(LEVELS)}")
    return LEVELS[name]


def contact_sheet(lines: Sequence[torch.Tensor], columns: int = 3) -> Image.Image:
    """Lines (h_i, w_i) uint8 on one grey page, `columns` beside each other, twice their size."""
    height, width = max(map(len, lines)) + 4, max(line.shape[1] for line in lines) + 4
    sheet = Image.new("L", (columns * width, -(-len(lines) // columns) * height), 128)
    for i, line in enumerate(lines):
        sheet.paste(Image.fromarray(line.numpy()), (i % columns * width + 2, i // columns * height + 2))
    return sheet.resize((2 * sheet.width, 2 * sheet.height))
