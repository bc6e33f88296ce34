"""A package of heads: one of each kind of output, with the weights of the built-in head of that kind."""

import torch

from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.one_pass import FrameClassifier, OnePassHead


class MySlots(OnePassHead):
    """As `parallel`: each slot attends to the line's frames, which are classified."""

    name = "myslots"
    output = "slots"

    def __init__(self, features, charset, max_length):
        super().__init__(features, charset, max_length)
        self.queries_and_classes = FrameClassifier(features, max_length, max_length + len(charset) + 1)

    def logits(self, features):
        relevance, classes = self.queries_and_classes(features).split([self.max_length, len(self.charset) + 1], dim=2)
        return torch.bmm(relevance.transpose(1, 2).softmax(dim=2), classes)


class MyCTC(OnePassHead):
    """As `ctc`: each frame is classified."""

    name = "myctc"
    output = "ctc"

    def __init__(self, features, charset, max_length):
        super().__init__(features, charset, max_length)
        self.classify = FrameClassifier(features, 2 * max_length - 1, len(charset) + 1)

    def logits(self, features):
        return self.classify(features)


class MyTokens(AutoregressiveHead):
    """As `ar`: TrOCR's decoder."""

    name = "mytokens"
    output = "tokens"
