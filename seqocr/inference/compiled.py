"""Graphs compiled by `torch.compile`: those that are exported, without leaving PyTorch."""

from typing import Any

import numpy as np
import torch

from seqocr.decoding.output import DecodeFunction
from seqocr.inference.export import declare, graphs
from seqocr.inference.graph_decoding import exported_heads, graph_decoder
from seqocr.models.graph import Graph
from seqocr.models.recognizer import Recognizer


class CompiledSession:
    """A graph as `seqocr.inference.sessions.Session`; compiled when it is first called, which takes a minute."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.inputs = graph.eval(), graph.inputs
        # Caches grow with every pass, so what uses them is compiled once for any size; pixels keep theirs.
        self._call = torch.compile(self.graph, dynamic=True if graph.any_sizes else None)

    @torch.inference_mode()
    def __call__(self, values: dict[str, Any]) -> list[Any]:
        return list(self._call(*self.graph.arguments(values)))

    @torch.inference_mode()  # of the same kind as outputs of calls: another would be compiled for anew
    def value(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    def array(self, value: torch.Tensor) -> np.ndarray:
        return value.numpy()


def compiled_functions(recognizer: Recognizer) -> dict[str, DecodeFunction]:
    """Functions that decode pixel_values (B, 3, H, W) with each head and pair of heads, by name."""
    # All graphs are the same few functions to the compiler, which gives up after 8 variants of one: batch and cache of
    # none, one and more alone make as many.
    torch._dynamo.config.recompile_limit = 64
    sessions = {name: CompiledSession(graph) for name, graph in graphs(recognizer.eval()).items()}
    heads, pairs = exported_heads({**recognizer.config(), **declare(recognizer)})
    return {name: graph_decoder(head, sessions.__getitem__) for name, head in {**heads, **pairs}.items()}
