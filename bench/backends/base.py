"""A backend runs a recognizer's weights, from pixels to text. Nothing outside `bench.backends` knows one by name, but
for eager mode, which the others are compared with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.core import strategies
from seqocr.decoding.output import DecodeFunction
from seqocr.models.recognizer import Recognizer


@dataclass(frozen=True)
class BackendModel:
    """A recognizer loaded into a backend.

    Attributes:
        encoder: pixel_values (B, 3, H, W) float32 to features, in the backend's own form.
        strategies: pixel_values to `DecoderOutput`, encoder included, by decoding strategy.
    """

    encoder: Callable[[torch.Tensor], Any]
    strategies: dict[str, DecodeFunction]


@dataclass(frozen=True)
class Backend:
    """Name it in the list BACKENDS of a module of `bench.backends`.

    Attributes:
        name: as in tables.
        prepare: see `bench.backends.prepare`.
        order: place in tables.
        missing: why it is not available here; empty if it is.
        slow_to_load: loading a decoder of many layers takes longer than all that is timed: it is then left out.
    """

    name: str
    prepare: Callable[[Recognizer, Path], BackendModel]
    order: float = 100
    missing: Callable[[], str] = lambda: ""
    slow_to_load: bool = False


def exportable(recognizer: Recognizer) -> Recognizer:
    """The recognizer with the heads that can be exported."""
    return recognizer.with_heads([name for name in recognizer.heads if name in strategies.exportable()]).eval()
