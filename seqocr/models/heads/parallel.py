"""Parallel head: every slot of the string read at once, in one pass (non-autoregressive, Gu et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.models.heads.base import FeatureMap, FrameClassifier, OnePassHead, full_precision


class ParallelHead(OnePassHead):
    """One learned query a slot, cross-attention to the line's frames, then the charset or "empty" for each slot.

    Slot i holds symbol i, slots past the end of a string hold "empty" (the last class), so a five-slot head also
    reads shorter strings. Slots do not see each other: the symbols are taken as independent given the image.

    We omit projections that the encoder's last layer can learn. Queries are free parameters: projected keys would only
    multiply them by another matrix. The classifier is linear, so a frame may be classified before it is attended to,
    which costs the same however many slots there are. Both are one product then: of each frame with the slots' queries,
    and with the classes. There are at least as many frames as slots, so that each can have its own.
    """

    name = "parallel"
    output = "slots"

    def __init__(self, features: FeatureMap, charset: str, max_length: int) -> None:
        super().__init__(features, charset, max_length)
        self.empty = len(charset)
        self.queries_and_classes = FrameClassifier(features, max_length, max_length + self.empty + 1)
        queries = self.queries_and_classes.weight[:max_length]
        nn.init.normal_(queries, std=queries.shape[1] ** -0.5)

    @torch.no_grad()
    def write_first_symbol(self) -> None:
        for classes in (self.queries_and_classes.weight, self.queries_and_classes.bias):
            classes[self.max_length :].zero_()

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, slots, classes); classes are the charset, then empty."""
        products = self.queries_and_classes(features)
        relevance, classes = products[:, :, : self.max_length], products[:, :, self.max_length :]
        return torch.bmm(relevance.transpose(1, 2).softmax(dim=2), classes)

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        rows = [self.encode_text(text) for text in texts]
        slots = [row + [self.empty] * (self.max_length - len(row)) for row in rows]
        targets = torch.tensor(slots, device=features.device)
        return F.cross_entropy(full_precision(self.logits(features)).flatten(0, 1), targets.flatten())

    def distillation_loss(self, features: torch.Tensor, texts: list[str], temperature: float) -> torch.Tensor:
        endings = [[self.empty] * (self.max_length - len(text)) for text in texts]
        return self.soft_cross_entropy(self.logits(features), texts, endings, temperature)
