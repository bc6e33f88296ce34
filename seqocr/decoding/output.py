"""The output of decoding a batch of lines, whatever the head and whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class DecoderOutput:
    """The texts of a batch of B lines.

    Attributes:
        texts: B strings.
        passes: sequential decoder passes over the batch: n + 1 for autoregressive heads, 1 for parallel and CTC heads.
            Exact on any machine.
        line_passes: B counts: the passes that each line needed, which may be fewer than its batch took.
        shown: B strings: all that each line shows, marks included; None where there is no reader of marks.

    Args:
        confidences: see the property; or a function that computes them when they are first needed.
        line_passes: default: `passes` for each line.
        symbol_confidences: computes, for each line, the confidences in [0, 1] of its text's symbols.
    """

    def __init__(
        self,
        texts: list[str],
        confidences: np.ndarray | Callable[[], np.ndarray],
        passes: int,
        line_passes: list[int] | None = None,
        symbol_confidences: Callable[[], list[list[float]]] | None = None,
    ) -> None:
        self.texts, self.passes, self._confidences = texts, passes, confidences
        self._symbol_confidences = symbol_confidences
        self.line_passes = [passes] * len(texts) if line_passes is None else line_passes
        self.shown: list[str] | None = None

    @property
    def confidences(self) -> np.ndarray:
        """(B,) float32 or float64 in [0, 1]: the head's probability of each text. Computed once, on first access."""
        if callable(self._confidences):
            self._confidences = self._confidences()
        return self._confidences

    def symbol_confidences(self) -> list[list[float]]:
        """For each line, confidences in [0, 1] of its text's symbols; of heads of one pass, and of exported graphs."""
        if self._symbol_confidences is None:
            raise NotImplementedError
        return self._symbol_confidences()

    @classmethod
    def concatenate(cls, parts: Sequence[DecoderOutput]) -> DecoderOutput:
        """The output of several batches as one; its passes are the most that a part took."""
        output = cls(
            [text for part in parts for text in part.texts],
            lambda: np.concatenate([part.confidences for part in parts]) if parts else np.empty(0, np.float32),
            max((part.passes for part in parts), default=0),
            [passes for part in parts for passes in part.line_passes],
            lambda: [line for part in parts for line in part.symbol_confidences()],
        )
        if parts and all(part.shown is not None for part in parts):
            output.shown = [shown for part in parts for shown in part.shown or ()]
        return output

    @classmethod
    def of_batches(
        cls, batches: Sequence[Sequence[int]], decode: Callable[[Sequence[int]], DecoderOutput]
    ) -> DecoderOutput:
        """The output of lines 0 to N, decoded in batches of their indices."""
        return cls.concatenate([decode(batch) for batch in batches]).ordered([i for batch in batches for i in batch])

    def ordered(self, places: Sequence[int]) -> DecoderOutput:
        """The same lines in another order: line i of this goes to place `places[i]`."""
        order = np.argsort(places)
        if (order == np.arange(len(order))).all():
            return self

        def confidences_of_symbols() -> list[list[float]]:
            found = self.symbol_confidences()
            return [found[i] for i in order]

        output = DecoderOutput(
            [self.texts[i] for i in order],
            lambda: self.confidences[order],
            self.passes,
            [self.line_passes[i] for i in order],
            confidences_of_symbols,
        )
        output.shown = None if self.shown is None else [self.shown[i] for i in order]
        return output

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_confidences": self.confidences, "_symbol_confidences": None}


DecodeFunction = Callable[..., DecoderOutput]  # (features or pixel_values, length=None) -> DecoderOutput
# Called with symbols of one line as they become known, in order: their kind, and the symbols. "draft" is a guess at the
# whole text; "accepted" is what turned out right of it, and "decoded" is all else.
TraceFunction = Callable[[str, str], None]
