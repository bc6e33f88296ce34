"""PARSeq's decoder: one set of weights reads symbol by symbol, in one pass, or refines what it has read (Bautista and
Atienza 2022, "Scene Text Recognition with Permuted Autoregressive Sequence Models", arXiv:2207.06966)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partialmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seqocr.decoding.output import DecoderOutput
from seqocr.decoding.search import NextTokenFunction
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.errors import InputError
from seqocr.models.heads.base import FeatureMap, Strategy, full_precision
from seqocr.models.heads.token_head import TokenHead

KeysValues = tuple[torch.Tensor, torch.Tensor]


class PermutedHead(TokenHead):
    """One layer whose queries are places of symbols. They attend to symbols that are known, then to the image.

    Which symbols a place knows while it learns follows from an order in which they might have been written: from left
    to right, reversed, and other permutations in pairs of an order and its reverse.

    Args:
        permutations: orders that every line is learned in, an even number.
        attention_heads: default: one for each 32 features.
    """

    name = "parseq"
    imposes_length = True
    strategies: ClassVar[tuple[Strategy, ...]] = (
        Strategy("parseq", "PARSeq, symbol by symbol"),
        Strategy("parseq-once", "PARSeq, one pass", "decode_at_once", is_one_pass=True),
        Strategy("parseq-refined", "PARSeq, two refinements", "decode_refined"),
    )

    def __init__(
        self,
        features: FeatureMap,
        charset: str,
        max_length: int,
        permutations: int = 6,
        attention_heads: int | None = None,
    ) -> None:
        super().__init__(features, charset, max_length)
        if permutations < 2 or permutations % 2:
            raise InputError(f"permutations {permutations}: give an even number of orders, from 2 up")
        width, heads = features.dim, attention_heads or max(1, features.dim // 32)
        self.permutations = permutations
        self.vocabulary = TokenVocabulary(charset, max_length, max_length + 1)
        self.embedding = nn.Embedding(self.pad + 1, width)
        self.position_queries = nn.Parameter(torch.empty(max_length + 1, width))
        self.norm_symbols, self.norm_last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers = nn.ModuleList([_Layer(width, heads)])
        self.classify = nn.Linear(width, self.begin + 1)  # symbols and the end
        for weights in (self.embedding.weight, self.position_queries):
            nn.init.trunc_normal_(weights, std=0.02)

    @torch.no_grad()
    def make_constant(self) -> None:
        self.classify.weight.zero_()  # of equals, the first is the likeliest
        self.classify.bias.zero_()

    def logits(
        self, places: torch.Tensor, tokens: torch.Tensor, image: KeysValues, known: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What stands at some places.

        Args:
            places: (P,) int64, from 0 on.
            tokens: (B, t) int64, "begin" and then the symbols from the first place on, as far as there are any.
            image: keys and values of the features.
            known: (B or 1, P, t) bool: which tokens a place may attend to; default: all.

        Returns:
            (B, P, vocabulary): minus infinity for "begin" and "pad".
        """
        symbols = self.embedding(tokens) * self.features.dim**0.5
        positions = self.position_queries[: tokens.shape[1] - 1]
        symbols = self.norm_symbols(torch.cat([symbols[:, :1], symbols[:, 1:] + positions], dim=1))
        x = self._layer(self.position_queries[places].expand(len(tokens), -1, -1), symbols, image, known)
        found = self.classify(self.norm_last(x))
        never = torch.full_like(found[:, :, :1], -torch.inf)
        return torch.cat([found[:, :, : self.begin], never, found[:, :, self.begin :], never], dim=2)

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Cross-entropy of every symbol given those before it in each order. The end is learned in two orders alone:
        from left to right, where it comes last, and reversed, where it comes first."""
        rows = [self.encode_text(text) for text in texts]
        n, device = max(map(len, rows)), features.device
        tokens = torch.tensor([[self.begin, *row, *[self.pad] * (n - len(row))] for row in rows], device=device)
        targets = torch.tensor([[*row, self.end, *[-100] * (n - len(row))] for row in rows], device=device)
        orders = self._sampled_orders(n)
        known = torch.cat([_known(order) for order in orders]).to(device) & (tokens != self.pad)[:, None]
        places = torch.arange(n + 1, device=device).repeat(len(orders))
        logits = self.logits(places, tokens, self._layer.image.keys_values(features), known)
        without_end = targets.masked_fill(targets == self.end, -100)
        targets = torch.cat([targets, targets, *[without_end] * (len(orders) - 2)], dim=1)
        return F.cross_entropy(full_precision(logits).flatten(0, 1), targets.flatten())

    def loss_terms(self, texts: list[str]) -> int:
        return sum(self.permutations * len(text) + 2 for text in texts)

    def _sampled_orders(self, n: int) -> list[torch.Tensor]:
        """Of places 0 to n, the last of which is the end's: from left to right, reversed, and others in pairs."""
        forwards, end = torch.arange(n + 1), torch.tensor([n])
        orders = [forwards, forwards.flip(0)]
        for _ in range(self.permutations // 2 - 1):
            order = torch.randperm(n)
            orders += [torch.cat([order, end]), torch.cat([order.flip(0), end])]
        return orders

    @torch.inference_mode()
    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        """Greedy, from left to right; keys and values of the image are made once."""
        image = self._layer.image.keys_values(features)
        return self.greedy(lambda tokens: self._following(tokens, image), len(features), length)

    @torch.inference_mode()
    def decode_at_once(
        self, features: torch.Tensor, length: int | None = None, *, refinements: int = 0
    ) -> DecoderOutput:
        """Every place by the image alone. A refinement reads every place again, given the others as they were read."""
        image, batch = self._layer.image.keys_values(features), len(features)
        places = torch.arange(self.max_length + 1, device=self.device)
        begin = torch.full((batch, 1), self.begin, device=self.device)
        logits = self.logits(places, begin, image)
        others = places[:, None] + 1 != places  # of place i, the symbol is token i + 1
        for _ in range(refinements):
            read = logits.argmax(dim=2)[:, :-1]
            after_end = torch.cat([begin != self.begin, (read == self.end).cumsum(dim=1) > 0], dim=1)
            logits = self.logits(places, torch.cat([begin, read], dim=1), image, others & ~after_end[:, None])
        return self.decoded(logits.argmax(dim=2), lambda: logits, length, passes=1 + refinements)

    decode_refined = partialmethod(decode_at_once, refinements=2)

    def next_token(self, features: torch.Tensor) -> NextTokenFunction:
        with torch.inference_mode():
            image = self._layer.image.keys_values(features)
        tokens = torch.empty(1, 0, dtype=torch.long, device=features.device)

        @torch.inference_mode()
        def next_token(parents: Sequence[int], symbols: Sequence[int]) -> np.ndarray:
            nonlocal tokens
            before = tokens[list(parents)] if tokens.shape[1] else tokens.expand(len(parents), 0)
            tokens = torch.cat([before, torch.tensor(symbols, device=features.device)[:, None]], dim=1)
            keys, values = (each.expand(len(tokens), -1, -1, -1) for each in image)
            return self._following(tokens, (keys, values)).double().log_softmax(1).cpu().numpy()

        return next_token

    @property
    def _layer(self) -> _Layer:
        (layer,) = self.layers
        assert isinstance(layer, _Layer)
        return layer

    def _following(self, tokens: torch.Tensor, image: KeysValues) -> torch.Tensor:
        """Logits (B, vocabulary) of what follows tokens (B, t)."""
        return self.logits(torch.tensor([tokens.shape[1] - 1], device=tokens.device), tokens, image)[:, 0]


def _known(order: torch.Tensor) -> torch.Tensor:
    """(n + 1, n + 1) bool: which tokens, "begin" and n symbols, a place knows if places are written in this order."""
    rank = order.argsort()
    begin = torch.ones(len(order), 1, dtype=torch.bool)
    return torch.cat([begin, rank[None, :-1] < rank[:, None]], dim=1)


class _Layer(nn.Module):
    """Queries attend to symbols, then to the image. Its name in weights is of a layer, as the optimiser has it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.symbols, self.image = _Attention(width, heads), _Attention(width, heads)
        self.norm_queries, self.norm_image, self.norm_inner = (nn.LayerNorm(width) for _ in range(3))
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, queries: torch.Tensor, symbols: torch.Tensor, image: KeysValues, known: torch.Tensor | None
    ) -> torch.Tensor:
        x = queries + self.symbols(self.norm_queries(queries), self.symbols.keys_values(symbols), known)
        x = x + self.image(self.norm_image(x), image)
        return x + self.inner(self.norm_inner(x))


class _Attention(nn.Module):
    """Multi-head attention whose keys and values can be kept."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def keys_values(self, x: torch.Tensor) -> KeysValues:
        """(B, t, width) to two of (B, heads, t, width / heads)."""
        return self._split(self.key(x)), self._split(self.value(x))

    def forward(
        self, queries: torch.Tensor, keys_values: KeysValues, allowed: torch.Tensor | None = None
    ) -> torch.Tensor:
        mask = None if allowed is None else allowed[:, None]
        found = F.scaled_dot_product_attention(self._split(self.query(queries)), *keys_values, attn_mask=mask)
        return self.output(found.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
