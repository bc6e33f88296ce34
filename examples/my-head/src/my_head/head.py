"""A decoding head: slot i reads the i-th stretch of the line.

That is enough for digits of the same width and too little for others: replace `logits`.
"""

import torch.nn.functional as F
from torch import Tensor

from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.one_pass import FrameClassifier, OnePassHead


class MySlots(OnePassHead):
    name = "my-slots"  # as in pyproject.toml
    output = "slots"  # or "ctc"; training, decoding, constraints, export and serving go by this

    def __init__(self, features: FeatureMap, charset: str, max_length: int) -> None:
        super().__init__(features, charset, max_length)
        self.classify = FrameClassifier(features, max_length, len(charset) + 1)  # the last class is "empty"

    def logits(self, features: Tensor) -> Tensor:
        """(B, T, D), the encoder's, to (B, slots, symbols + 1)."""
        frames = self.classify(features)
        return F.adaptive_avg_pool1d(frames.transpose(1, 2), self.max_length).transpose(1, 2)
