"""Lines made of digits that have soft labels: each symbol's class probabilities go with the text.

The soft labels come from the teachers in `seqocr.train.distill`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seqocr.data.digests import Contents, digest
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits


@dataclass(frozen=True)
class SoftLabels:
    """Distorted copies of digits, and the class probabilities that teachers give each.

    Attributes:
        copies: several times as many as the digits, labelled with the teachers' likeliest class.
        logits: (N, classes) float16, the logarithms of the teachers' mean probabilities.
    """

    copies: Digits
    logits: torch.Tensor


class SoftLabelText(str):
    """A text with the soft labels of its symbols: `logits` (n, classes) float32."""

    logits: torch.Tensor

    @classmethod
    def of(cls, text: str, logits: torch.Tensor | np.ndarray) -> SoftLabelText:
        labelled = cls(text)
        labelled.logits = torch.as_tensor(logits)
        return labelled

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes as numpy: torch would send each tensor through a file of its own.
        return SoftLabelText.of, (str(self), self.logits.numpy())


class SoftLabelLines:
    """Lines to learn from, made of the copies of `labels`, whose texts are `SoftLabelText`."""

    def __init__(self, labels: SoftLabels, lines: SequenceMNIST) -> None:
        self.labels, self.lines = labels, lines

    def __len__(self) -> int:
        return len(self.lines)

    def at_epoch(self, epoch: int) -> SoftLabelLines:
        return SoftLabelLines(self.labels, self.lines.at_epoch(epoch))

    @property
    def about(self) -> dict[str, Any]:
        return {**self.lines.about, "soft_labels": True}

    @property
    def contents(self) -> Contents:
        return {**self.lines.contents, "labels": digest([self.labels.logits])}

    def batch(self, indices: list[int] | range) -> tuple[Any, list[str]]:
        images, texts = self.lines.batch(indices)
        rows = [self.labels.logits[self.lines.members(index)].float() for index in indices]
        return images, [SoftLabelText.of(text, logits) for text, logits in zip(texts, rows, strict=True)]
