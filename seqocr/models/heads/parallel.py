"""Parallel head: every slot of the string read at once, in one pass (non-autoregressive, Gu et al. 2018)."""

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.models.heads.base import FeatureMap, full_precision
from seqocr.models.heads.one_pass import FrameClassifier, OnePassHead

_OF_COUNT = 0.1  # of the loss: wrong counts beside wrong symbols


class ParallelHead(OnePassHead):
    """One learned query per slot, cross-attention to the line's frames, then the charset or "empty" for each slot.

    Slot i holds symbol i, slots past the end hold "empty" (the last class). Slots do not see each other: the symbols
    are taken as independent given the image.

    Projections that the encoder's last layer can learn are left out: queries are free parameters, and the classifier is
    linear, so a frame is classified before it is attended to, at a cost that does not grow with the slots. Both are one
    product: of each frame with the slots' queries, and with the classes. There are at least as many frames as slots.

    Args:
        counts: a slot also prefers frames by how many symbols have begun until there. Each frame has a weight, the
            weights add up to the symbols so far (continuous integrate-and-fire, Dong & Xu 2020), and slot i looks for
            i + 1/2. Otherwise the encoder has to count, which it learns slowly where texts are long.
    """

    name = "parallel"
    output = "slots"

    def __init__(self, features: FeatureMap, charset: str, max_length: int, counts: bool = False) -> None:
        super().__init__(features, charset, max_length)
        self.queries_and_classes = FrameClassifier(features, max_length, max_length + self.blank + 1)
        queries = self.queries_and_classes.weight[:max_length]
        nn.init.normal_(queries, std=queries.shape[1] ** -0.5)
        self.weigh = FrameClassifier(features, max_length, 1) if counts else None
        if counts:
            self.sharpness = nn.Parameter(torch.tensor(1.0))

    @torch.no_grad()
    def make_constant(self) -> None:
        for classes in (self.queries_and_classes.weight, self.queries_and_classes.bias):
            classes[self.max_length :].zero_()

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        relevance, classes = self._relevance_and_classes(features)
        return torch.bmm(relevance.transpose(1, 2).softmax(dim=2), classes)

    def _relevance_and_classes(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, frames, slots) and (B, frames, classes)."""
        products = self.queries_and_classes(features)
        relevance, classes = products[:, :, : self.max_length], products[:, :, self.max_length :]
        if self.weigh is not None:
            weights = self.weigh(features).sigmoid()
            symbols = weights.cumsum(dim=1) - weights / 2  # that have begun until the middle of each frame
            slots = torch.arange(self.max_length, device=features.device) + 0.5
            relevance = relevance - F.softplus(self.sharpness) * (symbols - slots).square()
        return relevance, classes

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        return super().loss(features, texts) + self._miscount(features, texts)

    def distillation_loss(self, features: torch.Tensor, texts: list[str], temperature: float) -> torch.Tensor:
        return super().distillation_loss(features, texts, temperature) + self._miscount(features, texts)

    def _miscount(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor | float:
        """By how many symbols the frames' weights miss the texts, in the mean, times `_OF_COUNT`."""
        if self.weigh is None:
            return 0.0
        counted = full_precision(self.weigh(features)).sigmoid().sum(dim=(1, 2))
        lengths = torch.tensor([float(len(text)) for text in texts], device=features.device)
        return _OF_COUNT * (counted - lengths).abs().mean()

    def attention(self, features: torch.Tensor, ids: list[int]) -> torch.Tensor:
        relevance, _ = self._relevance_and_classes(features)
        return relevance[0].T.softmax(dim=1)[: len(ids)].float()
