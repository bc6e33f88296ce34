"""A TrOCR decoder's exported graphs, whose caches of keys and values are inputs and outputs."""

from typing import Any

import torch
from torch import nn

from seqocr.models.graph import Graph, OfPixels, any_size
from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.decoder_step import DecoderStep, growing_cache


def cache_names(kind: str, step: DecoderStep) -> list[str]:
    return [f"{kind}_{what}_{layer}" for layer in range(len(step.layers)) for what in ("keys", "values")]


class CrossGraph(OfPixels):
    """To the cross-attention's keys and values, a pair a layer."""

    def __init__(self, encoder: nn.Module, step: DecoderStep) -> None:
        super().__init__(encoder, cache_names("cross", step))
        self.step = step

    def then(self, features: torch.Tensor) -> Any:
        return [tensor for pair in self.step.cross(features) for tensor in pair]


class _CachedGraph(Graph):
    """(tokens..., cross..., past...) to (logits, present...).

    Args:
        token_inputs: names of the inputs before the caches.
        features: of the encoder.
    """

    any_sizes = True

    def __init__(self, step: DecoderStep, token_inputs: list[str], features: FeatureMap) -> None:
        super().__init__()
        self.step, self.token_inputs, self.features = step, token_inputs, features
        self.cross, self.past = cache_names("cross", step), cache_names("past", step)
        self.inputs = [*token_inputs, *self.cross, *self.past]
        self.outputs = ["logits", *cache_names("present", step)]

    def arguments(self, values: dict[str, Any]) -> tuple[Any, ...]:
        caches = ([values[name] for name in names] for names in (self.cross, self.past))
        return *(values[name] for name in self.token_inputs), *caches

    def example_caches(self) -> tuple[list[torch.Tensor], ...]:
        heads, width = self.step.heads, self.step.width // self.step.heads
        return tuple([torch.zeros(2, heads, n, width) for _ in self.cross] for n in (self.features.tokens, 3))

    def dynamic_caches(self, batch: Any, past: Any) -> tuple[list[Any], list[Any]]:
        cross = {0: batch, 2: any_size("features")} if self.features.narrows else {0: batch}
        return [cross] * len(self.cross), [{0: batch, 2: past}] * len(self.past)


class StepGraph(_CachedGraph):
    """One token: (token, position, cross..., past...) to (logits, present...)."""

    is_step = True

    def __init__(self, step: DecoderStep, features: FeatureMap) -> None:
        super().__init__(step, ["token", "position"], features)

    def forward(
        self, token: torch.Tensor, position: torch.Tensor, cross: list[torch.Tensor], past: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        present, append = growing_cache(_pairs(past))
        # As (1,): an index without axes would break the graph that is compiled.
        logits = self.step(token, position.reshape(1), _pairs(cross), append)
        return [logits, *(tensor for pair in present for tensor in pair)]

    def example(self) -> tuple[Any, ...]:
        return torch.zeros(2, dtype=torch.int64), torch.tensor(3), *self.example_caches()

    def dynamic(self) -> tuple[Any, ...]:
        batch, past = any_size("batch"), any_size("past", least=0)
        return {0: batch}, {}, *self.dynamic_caches(batch, past)


class PassGraph(_CachedGraph):
    """Several tokens: (tokens, positions, known, cross..., past...) to (logits, present...)."""

    def __init__(self, step: DecoderStep, features: FeatureMap) -> None:
        super().__init__(step, ["tokens", "positions", "known"], features)

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        known: torch.Tensor,
        cross: list[torch.Tensor],
        past: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        present, append = growing_cache(_pairs(past))
        logits = self.step.several(tokens, positions, known, _pairs(cross), append)
        return [logits, *(tensor for pair in present for tensor in pair)]

    def example(self) -> tuple[Any, ...]:
        # Of the same tensor twice, the exporter would make one input.
        tokens, positions = (torch.zeros(2, 4, dtype=torch.int64) for _ in range(2))
        return tokens, positions, torch.ones(2, 3, dtype=torch.bool), *self.example_caches()

    def dynamic(self) -> tuple[Any, ...]:
        batch, tokens, past = any_size("batch"), any_size("tokens"), any_size("past", least=0)
        both = {0: batch, 1: tokens}
        return both, both, {0: batch, 1: past}, *self.dynamic_caches(batch, past)


def _pairs(cache: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(cache[::2], cache[1::2], strict=True))
