"""Lines made of digits that teachers have looked at: what they believe of each symbol goes with the text.

Teachers and how they come about are in `seqocr.train.distill`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits


@dataclass(frozen=True)
class SoftLabels:
    """Distorted copies of digits, and what teachers believe of each.

    Attributes:
        copies: a pool several times as large as the digits' own, labelled as the teachers read them.
        logits: (N, classes) float16, the logarithms of the teachers' mean probabilities.
    """

    copies: Digits
    logits: torch.Tensor


class Believed(str):
    """A text as teachers read it, with what they believe of each of its symbols: `logits` (n, classes) float32."""

    logits: torch.Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        # From one process to another as numbers: torch would send each tensor through a file of its own.
        return _believed, (str(self), self.logits.numpy())


class SoftLabelLines:
    """Lines to learn from; their texts are `Believed`.

    Args:
        lines: made of the copies.
    """

    def __init__(self, beliefs: SoftLabels, lines: SequenceMNIST) -> None:
        self.beliefs, self.lines = beliefs, lines

    def __len__(self) -> int:
        return len(self.lines)

    def at_epoch(self, epoch: int) -> SoftLabelLines:
        return SoftLabelLines(self.beliefs, self.lines.at_epoch(epoch))

    @property
    def about(self) -> dict[str, Any]:
        return {**self.lines.about, "taught": True}

    def batch(self, indices: list[int] | range) -> tuple[Any, list[str]]:
        images, texts = self.lines.batch(indices)
        believed: list[str] = []
        for index, text in zip(indices, texts, strict=True):
            each = Believed(text)
            each.logits = self.beliefs.logits[self.lines.members(index)].float()
            believed.append(each)
        return images, believed


def _believed(text: str, logits: np.ndarray) -> Believed:
    each = Believed(text)
    each.logits = torch.from_numpy(logits)
    return each
