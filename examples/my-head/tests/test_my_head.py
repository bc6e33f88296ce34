"""The head gives a distribution per slot, and learns."""

import torch
from my_head.head import MySlots

from seqocr.models.heads.base import FeatureMap


def test_a_distribution_per_slot() -> None:
    features = FeatureMap(dim=16, rows=2, columns=5, prefix=1)
    head = MySlots(features, charset="0123456789", max_length=5)
    logits = head.logits(torch.randn(3, features.tokens, features.dim))
    assert logits.shape == (3, 5, 11)
    logits.sum().backward()
    assert all(p.grad is not None for p in head.parameters())
