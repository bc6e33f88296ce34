"""Reads all that a line shows, marks and other symbols included, from the features that the heads read digits from.

By CTC: marks are often faint, and where one may be or not be, a head of slots would not know where later digits go.
"""

from __future__ import annotations

import torch

from seqocr.data.shown import ShownText
from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.ctc import CTCHead

_FRAMES = 2  # per column, at least: a mark is narrow


class MarksReader(CTCHead):
    """A CTC head over `charset` and `marks`.

    Args:
        max_length: symbols of the longest text without marks.
    """

    def __init__(self, features: FeatureMap, charset: str, marks: str, max_length: int) -> None:
        super().__init__(features, charset + marks, 2 * max_length, _FRAMES)

    def loss_of_shown(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """CTC's loss, a scalar, of the texts of which it is known what their lines show; 0 where none is.

        Args:
            features: (B, T, D).
        """
        known = [i for i, text in enumerate(texts) if isinstance(text, ShownText)]
        if not known:  # with weights in it all the same, which DistributedDataParallel waits for
            return self.logits(features[:1]).sum() * 0
        return self.loss(features[known], [texts[i].shown for i in known])  # type: ignore[attr-defined]
