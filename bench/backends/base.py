"""A backend runs a recognizer's weights, from pixels to text. One module of `bench.backends` is one backend.

Nothing else knows a backend by name, but for eager mode, which the others are compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
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
    """Name an instance BACKEND in a module of `bench.backends`.

    Attributes:
        name: as in tables.
        prepare: loads a recognizer; graphs are written to the folder if needed, and those found there are taken as this
            recognizer's.
        order: place in tables.
        packages: that it needs beyond torch.
        unable: why else it is not available on this machine; empty if it is.
        slow_to_load: loading a decoder of many layers takes longer than all that is timed: it is then left out.
    """

    name: str
    prepare: Callable[[Recognizer, Path], BackendModel]
    order: int = 100
    packages: tuple[str, ...] = ()
    unable: Callable[[], str] = lambda: ""
    slow_to_load: bool = False

    def missing(self) -> str:
        """Why it is not available here; empty if it is."""
        absent = [name for name in self.packages if find_spec(name) is None]
        return f"{absent[0]} is not installed" if absent else self.unable()


def exportable(recognizer: Recognizer) -> Recognizer:
    """The recognizer with the heads that can be exported."""
    return recognizer.with_heads([name for name in recognizer.heads if name in strategies.exportable()]).eval()
