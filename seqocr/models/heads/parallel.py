"""Parallel head: every slot of the string read at once, in one pass (non-autoregressive, Gu et al. 2018)."""

import torch
from torch import nn

from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.one_pass import FrameClassifier, OnePassHead


class ParallelHead(OnePassHead):
    """One learned query per slot, cross-attention to the line's frames, then the charset or "empty" for each slot.

    Slot i holds symbol i, slots past the end hold "empty" (the last class). Slots do not see each other: the symbols
    are taken as independent given the image.

    Projections that the encoder's last layer can learn are left out: queries are free parameters, and the classifier is
    linear, so a frame is classified before it is attended to, at a cost that does not grow with the slots. Both are one
    product: of each frame with the slots' queries, and with the classes. There are at least as many frames as slots.
    """

    name = "parallel"
    output = "slots"

    def __init__(self, features: FeatureMap, charset: str, max_length: int) -> None:
        super().__init__(features, charset, max_length)
        self.queries_and_classes = FrameClassifier(features, max_length, max_length + self.blank + 1)
        queries = self.queries_and_classes.weight[:max_length]
        nn.init.normal_(queries, std=queries.shape[1] ** -0.5)

    @torch.no_grad()
    def make_constant(self) -> None:
        for classes in (self.queries_and_classes.weight, self.queries_and_classes.bias):
            classes[self.max_length :].zero_()

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        products = self.queries_and_classes(features)
        relevance, classes = products[:, :, : self.max_length], products[:, :, self.max_length :]
        return torch.bmm(relevance.transpose(1, 2).softmax(dim=2), classes)

    def attention(self, features: torch.Tensor, ids: list[int]) -> torch.Tensor:
        relevance = self.queries_and_classes(features)[0, :, : self.max_length]
        return relevance.T.softmax(dim=1)[: len(ids)].float()
