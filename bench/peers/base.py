"""A peer reads the same line images as seqocr, from pixels in memory to text: what people would use instead.

A peer gets dark digits on a light background, scaled as its documentation advises, and the settings recommended there
for a single line of digits. Symbols that are no digits are dropped from its texts.
"""

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
    """A loaded peer.

    Attributes:
        read: lines to texts, its own image preprocessing included.
        about: version and settings, for the report.
    """

    read: Read
    about: str


@dataclass(frozen=True)
class PeerSpec:
    """What the bench knows of a peer before it is loaded.

    Attributes:
        name: as in the report.
        load: takes a recognizer, whose heads are among the peers; a folder for its graphs; and whether lines are light
            on dark, as MNIST has them, or dark on light, as they are scanned.
        missing: why it is not available here; empty if it is.
        order: place among the peers.
        trained: its weights were trained to read; otherwise they are random, and only its time means anything.
        strategy: the decoding strategy, if the peer is one of seqocr's heads.
    """

    name: str
    load: Callable[[Recognizer, Path, bool], Peer]
    missing: Callable[[], str] = lambda: ""
    order: int = 100
    trained: bool = True
    strategy: str = ""


def dark_on_light(lines: Sequence[torch.Tensor], inverted: bool) -> list[np.ndarray]:
    """B images (h, w) uint8; `inverted`: lines are light on dark."""
    return [255 - line.numpy() if inverted else line.numpy() for line in lines]


def to_rgb(lines: Sequence[torch.Tensor], inverted: bool) -> list[np.ndarray]:
    """B images (h, w, 3) uint8, dark on light."""
    return [np.repeat(line[..., None], 3, axis=2) for line in dark_on_light(lines, inverted)]


def keep_digits(text: str) -> str:
    return "".join(symbol for symbol in text if symbol in DIGITS)
