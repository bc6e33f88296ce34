"""The symbols of a text: how sure each is, and where in the image it stands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seqocr.data.images import Origin
from seqocr.decoding.ctc_paths import align
from seqocr.errors import InputError


@dataclass(frozen=True)
class Symbol:
    """A symbol of a predicted text.

    Attributes:
        text: the symbol itself.
        confidence: in [0, 1], the probability that it is right.
        left, right: its position in pixels of the image; borders lie halfway between the centres of neighbours. None
            where positions were not asked for, or no head gives CTC frames.
    """

    text: str
    confidence: float
    left: float | None = None
    right: float | None = None

    def moved(self, origin: Origin) -> Symbol:
        """The same symbol, in pixels of the image that its line image was made from."""
        left, right = (None if x is None else origin.left + origin.scale * x for x in (self.left, self.right))
        return replace(self, left=left, right=right)

    def as_json(self) -> dict[str, Any]:
        """As the command line and the HTTP interface give it."""
        left, right = (None if x is None else round(x, 1) for x in (self.left, self.right))
        return {"text": self.text, "confidence": round(self.confidence, 4), "left": left, "right": right}


def locate_symbols(
    text: str,
    ids: Sequence[int],
    confidences: Sequence[float],
    frames: np.ndarray | None,
    span: float,
    width: int,
) -> tuple[Symbol, ...]:
    """The symbols of a text, aligned with CTC frames.

    Args:
        confidences: of each symbol; none: those of the alignment.
        frames: (frames, k + 1) log probabilities; None: positions are unknown.
        span: pixels of the image that all frames together stand for.
        width: of the image, in pixels.
    """
    try:
        spans = None if frames is None else align(frames.astype(np.float64), ids)
    except InputError:  # more symbols than there are frames for
        spans = None
    if frames is None or spans is None:
        return tuple(Symbol(symbol, float(p)) for symbol, p in zip(text, confidences, strict=True))
    per_frame = span / len(frames)
    centres = [(each.first + each.last + 1) / 2 * per_frame for each in spans]
    between = [(a + b) / 2 for a, b in itertools.pairwise(centres)]
    half = min((b - a) / 2 for a, b in itertools.pairwise(centres)) if between else width / 2
    borders = [centres[0] - half, *between, centres[-1] + half] if centres else []
    edges = itertools.pairwise(min(max(border, 0.0), float(width)) for border in borders)
    confidences = confidences or [each.confidence for each in spans]
    return tuple(Symbol(symbol, float(p), *edge) for symbol, p, edge in zip(text, confidences, edges, strict=True))
