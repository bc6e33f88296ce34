"""`ar` that writes from right to left: whether its lead depends on the direction of writing."""

from typing import Any

import torch

from seqocr.decoding.output import DecoderOutput, TraceFunction
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.models.graph import Graph
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import Head, Strategy


class ReversedHead(AutoregressiveHead):
    """The same decoder as `ar`, which learns texts reversed, and whose output is turned round again."""

    name = "ar-rtl"
    verifies_drafts = False
    strategies = (Strategy("ar-rtl", "ar, right to left"),)

    def encode_text(self, text: str) -> list[int]:
        return super().encode_text(text)[::-1]

    def distillation_loss(self, features: torch.Tensor, texts: list[str], temperature: float) -> torch.Tensor:
        return self.loss(features, texts)  # soft labels are in the order of reading

    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        output = super().decode(features, length)
        output.texts = [text[::-1] for text in output.texts]
        return output

    def decode_traced(self, features: torch.Tensor, trace: TraceFunction) -> DecoderOutput:
        return Head.decode_traced(self, features, trace)

    def next_token(self, features: torch.Tensor) -> NextTokenFunction:
        raise InputError(f"the {self.name} head writes from right to left, constraints are read from left to right")

    def attention(self, features: torch.Tensor, ids: list[int]) -> torch.Tensor:
        return super().attention(features, ids[::-1]).flip(0)

    def graphs(self, encoder: torch.nn.Module) -> dict[str, Graph]:
        return Head.graphs(self, encoder)

    @property
    def trocr_decoder(self) -> Any:
        return None  # anybody else's would write reversed texts
