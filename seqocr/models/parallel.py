"""Parallel head: every slot of the string read at once, in one pass (non-autoregressive, Gu et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.models.base import Decoded, FeatureMap, Head


class ParallelHead(Head):
    """One learned query a slot, cross-attention to the features, then the charset or "empty" for each slot.

    Slot i holds symbol i, slots past the end of a string hold "empty" (the last class), so a five-slot head also
    reads shorter strings. Slots do not see each other: the symbols are taken as independent given the image.
    """

    name = "parallel"

    def __init__(
        self, features: FeatureMap, charset: str, max_length: int, hidden: int = 128, attention_heads: int = 4
    ) -> None:
        super().__init__(features, charset, max_length)
        self.empty = len(charset)
        self.attention_heads, self.head_dim = attention_heads, hidden // attention_heads
        self.queries = nn.Parameter(torch.randn(max_length, hidden) * 0.5)
        self.norm = nn.LayerNorm(features.dim)
        self.key_value = nn.Linear(features.dim, 2 * hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.classify = nn.Linear(hidden, self.empty + 1)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, slots, classes); classes are the charset, then empty."""
        batch, slots, heads = len(features), self.max_length, self.attention_heads
        # Plain views: at batch 1 this head is little more than the overhead of its operations.
        split = self.key_value(self.norm(features)).view(batch, -1, 2, heads, self.head_dim)
        keys, values = split.permute(2, 0, 3, 1, 4).unbind()
        queries = self.queries.view(1, slots, heads, self.head_dim).transpose(1, 2).expand(batch, -1, -1, -1)
        attended = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).reshape(batch, slots, -1)
        return self.classify(F.relu(self.mix(attended)))

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        rows = [self.encode_text(text) for text in texts]
        slots = [row + [self.empty] * (self.max_length - len(row)) for row in rows]
        targets = torch.tensor(slots, device=features.device)
        return F.cross_entropy(self.logits(features).float().flatten(0, 1), targets.flatten())

    @torch.inference_mode()
    def decode(self, features: torch.Tensor, length: int | None = None) -> Decoded:
        best, ids = self.logits(features).float().softmax(dim=2).max(dim=2)
        return Decoded([self.text_of(row) for row in ids.tolist()], best.prod(dim=1), passes=1)
