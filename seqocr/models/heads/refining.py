"""Parallel decoding with refinement: mask-predict (Ghazvininejad et al. 2019, "Mask-Predict: Parallel Decoding of
Conditional Masked Language Models")."""

from functools import partialmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.decoding.output import DecoderOutput
from seqocr.errors import InputError
from seqocr.models.heads.base import FeatureMap, Head, Strategy


class RefiningHead(Head):
    """A transformer decoder over slots that sees all of them, before and after: each is a symbol, "empty" or masked.

    The first pass reads every slot with all of them masked. A refinement, one more pass, masks the slots that it is
    least sure of and reads these again. Without any it is what `parallel` would be with a decoder as deep as `ar`'s.

    Args:
        width, layers, attention_heads, inner: of the decoder.
    """

    name = "refine"
    output = "slots"
    strategies: ClassVar[tuple[Strategy, ...]] = (
        Strategy("refine-0", "decoder of slots, one pass", "decode_at_once", is_one_pass=True),
        Strategy("refine", "parallel, one refinement"),
        Strategy("refine-2", "parallel, two refinements", "decode_twice"),
    )

    def __init__(
        self,
        features: FeatureMap,
        charset: str,
        max_length: int,
        width: int = 128,
        layers: int = 2,
        attention_heads: int = 4,
        inner: int = 512,
    ) -> None:
        super().__init__(features, charset, max_length)
        self.empty, self.mask = len(charset), len(charset) + 1
        self.embedding = nn.Embedding(len(charset) + 2, width)
        self.positions = nn.Parameter(torch.randn(max_length, width) * 0.02)
        self.bring = nn.Linear(features.dim, width)  # features to the decoder's width
        layer = nn.TransformerDecoderLayer(width, attention_heads, inner, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, layers)
        self.classify = nn.Linear(width, self.empty + 1)
        nn.init.normal_(self.embedding.weight, std=0.02)

    @classmethod
    def default_settings(cls, decoder: dict[str, Any]) -> dict[str, Any]:
        inside = {"attention_heads": decoder["decoder_attention_heads"], "inner": decoder["decoder_ffn_dim"]}
        return {"width": decoder["d_model"], "layers": decoder["decoder_layers"], **inside}

    def logits(self, slots: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Slots (B, max_length) int64 and features of the decoder's width to (B, max_length, classes)."""
        return self.classify(self.decoder(self.embedding(slots) + self.positions, memory))

    def log_probs(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, max_length, classes) float32: of the first pass, which takes the slots as independent."""
        slots = torch.full((len(features), self.max_length), self.mask, device=features.device)
        return self.logits(slots, self.bring(features)).float().log_softmax(dim=2)

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Cross-entropy of masked slots; how many are masked is drawn uniformly for each line, from one to all."""
        rows = [self.encode_text(text) for text in texts]
        slots = [row + [self.empty] * (self.max_length - len(row)) for row in rows]
        targets = torch.tensor(slots, device=features.device)
        masked = self.drawn_masks(targets)
        logits = self.logits(targets.masked_fill(masked, self.mask), self.bring(features)).float()
        return F.cross_entropy(logits[masked], targets[masked])

    def drawn_masks(self, targets: torch.Tensor) -> torch.Tensor:
        """(B, max_length) bool: which of the slots are to be read."""
        masked_count = torch.randint(1, self.max_length + 1, (len(targets), 1), device=targets.device)
        rank = torch.rand(targets.shape, device=targets.device).argsort(dim=1).argsort(dim=1)
        return rank < masked_count

    def loss_terms(self, texts: list[str]) -> int:
        raise InputError(f"head {self.name!r} learns from whole batches: train it with one process and --shards 1")

    @torch.inference_mode()
    def decode(self, features: torch.Tensor, length: int | None = None, *, refinements: int = 1) -> DecoderOutput:
        """Mask-predict. Of n slots, refinement r of R masks the n · (R + 1 - r) / (R + 1) that are least sure."""
        memory, batch, n = self.bring(features), len(features), self.max_length
        slots = torch.full((batch, n), self.mask, device=features.device)
        sure = torch.zeros(batch, n, device=features.device)
        masked = torch.ones(batch, n, dtype=torch.bool, device=features.device)
        for r in range(refinements + 1):
            if r:
                again = n * (refinements + 1 - r) // (refinements + 1)
                masked = torch.zeros_like(masked).scatter(1, sure.topk(again, dim=1, largest=False).indices, True)
            read = self.logits(slots.masked_fill(masked, self.mask), memory).softmax(dim=2, dtype=torch.float32)
            probability, symbols = read.max(dim=2)
            slots, sure = torch.where(masked, symbols, slots), torch.where(masked, probability, sure)
        texts = [self.text_of(row) for row in slots.tolist()]
        return DecoderOutput(texts, sure.prod(dim=1).cpu().numpy(), passes=refinements + 1)

    decode_at_once, decode_twice = partialmethod(decode, refinements=0), partialmethod(decode, refinements=2)


class SlotsHead(RefiningHead):
    """`parallel` with a decoder as deep as that of `ar`, trained only as it is read: every slot masked."""

    name = "slots"
    is_one_pass = True
    strategies = (Strategy("slots", "decoder of slots", is_one_pass=True),)
    decode = partialmethod(RefiningHead.decode, refinements=0)

    def drawn_masks(self, targets: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(targets, dtype=torch.bool)

    def loss_terms(self, texts: list[str]) -> int:
        return len(texts)
