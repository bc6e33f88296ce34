"""What a peer is: something people would use instead, on the same line images, from pixels in memory to text.

A peer is given a fair image, dark on light and scaled as its documentation advises, and the settings recommended there
for a single line of digits. What it reads that is no digit is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seqocr.data.sources.datasets import DIGITS
from seqocr.models.recognizer import Recognizer

Read = Callable[[Sequence[torch.Tensor]], list[str]]  # B lines (h, w) uint8 to B texts


@dataclass(frozen=True)
class Peer:
    """A peer, ready to read.

    Attributes:
        read: lines to texts, all of its own preparation of the image included.
        about: version and settings, for the report.
    """

    read: Read
    about: str


@dataclass(frozen=True)
class Declared:
    """What the bench must know of a peer before it is loaded.

    Attributes:
        name: as in the report.
        load: of a recognizer, whose heads are among the peers; a folder where its graphs are written; and whether
            lines are light on dark, as MNIST has them, or dark on light, as they are scanned.
        missing: why it cannot be had here; empty if it can.
        order: place among the peers.
        trained: its weights were trained to read; otherwise they are random, and only its time means anything.
        way: to decode, if it is one of the recognizer's own.
    """

    name: str
    load: Callable[[Recognizer, Path, bool], Peer]
    missing: Callable[[], str] = lambda: ""
    order: int = 100
    trained: bool = True
    way: str = ""


def dark_on_light(lines: Sequence[torch.Tensor], inverted: bool) -> list[np.ndarray]:
    """B images (h, w) uint8.

    Args:
        inverted: lines are light on dark.
    """
    return [255 - line.numpy() if inverted else line.numpy() for line in lines]


def coloured(lines: Sequence[torch.Tensor], inverted: bool) -> list[np.ndarray]:
    """Dark on light, B images (h, w, 3) uint8."""
    return [np.repeat(line[..., None], 3, axis=2) for line in dark_on_light(lines, inverted)]


def digits_only(text: str) -> str:
    return "".join(symbol for symbol in text if symbol in DIGITS)
