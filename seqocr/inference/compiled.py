"""Reading with graphs compiled by `torch.compile`: the ones that are exported, without leaving PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seqocr.inference.export import graphs
from seqocr.models.graph import Graph
from seqocr.models.heads.base import DecodeFunction
from seqocr.models.recognizer import Recognizer


class CompiledSession:
    """A graph as `seqocr.models.graph.Session`; compiled when it is first called, which takes a minute."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.inputs = graph.eval(), graph.inputs
        # Caches grow with every pass, so what uses them is compiled once for any size; pixels keep theirs.
        self._call = torch.compile(self.graph, dynamic=True if graph.any_sizes else None)

    @torch.inference_mode()
    def __call__(self, values: dict[str, Any]) -> list[Any]:
        return list(self._call(*self.graph.arguments(values)))

    @torch.inference_mode()  # of the same kind as what calls give: another would be compiled for anew
    def value(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array)

    def array(self, value: torch.Tensor) -> np.ndarray:
        return value.numpy()


def compiled_variants(recognizer: Recognizer) -> dict[str, DecodeFunction]:
    """Ways to decode pixel_values (B, 3, H, W), by head."""
    # All graphs are the same few functions to the compiler, which gives up after 8 variants of one: batch and cache of
    # none, one and more alone make as many.
    torch._dynamo.config.recompile_limit = 64
    built = graphs(recognizer.eval())
    both = {**recognizer.heads, **recognizer.pairs()}
    return {name: each.exported(lambda graph: CompiledSession(built[graph])) for name, each in both.items()}
