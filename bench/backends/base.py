"""What a runtime is: something that runs the same weights, from pixels to text.

One module of `bench.backends` is one runtime. Nothing else knows one by name, but for eager mode, which the others are
compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench.core import strategies
from seqocr.models.heads.base import DecodeFunction
from seqocr.models.recognizer import Recognizer


@dataclass(frozen=True)
class Prepared:
    """A recognizer in one runtime.

    Attributes:
        encoder: pixel_values (B, 3, H, W) float32 to features, in whatever form the runtime has them.
        heads: pixel_values to `DecoderOutput`, encoder included, by the name of the way to decode.
    """

    encoder: Callable[[torch.Tensor], Any]
    heads: dict[str, DecodeFunction]


@dataclass(frozen=True)
class Runtime:
    """Name an instance RUNTIME in a module of `bench.backends`.

    Attributes:
        name: as in tables.
        prepare: loads a recognizer; graphs are written to the folder if it needs any, and those found there are taken
            as this recognizer's.
        order: place in tables.
        packages: that it needs beyond torch.
        unable: why else it cannot be had on this machine; empty if it can.
        slow_to_load: loading takes longer than all that is timed, if the decoder has many layers: it is then left out.
    """

    name: str
    prepare: Callable[[Recognizer, Path], Prepared]
    order: int = 100
    packages: tuple[str, ...] = ()
    unable: Callable[[], str] = lambda: ""
    slow_to_load: bool = False

    def missing(self) -> str:
        """Why it cannot be had here; empty if it can."""
        absent = [name for name in self.packages if find_spec(name) is None]
        return f"{absent[0]} is not installed" if absent else self.unable()


def exportable(recognizer: Recognizer) -> Recognizer:
    """The recognizer with those of its heads that say which graphs they are."""
    return recognizer.with_heads([name for name in recognizer.heads if name in strategies.exportable()]).eval()
