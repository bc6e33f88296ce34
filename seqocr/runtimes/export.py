"""A recognizer as ONNX graphs, for ONNX Runtime and OpenVINO.

A one-pass head is one graph with its encoder, from pixels to classes. The autoregressive head is two: encoder and
cross-attention keys and values, run once; and the decoder's step, run once a token, with the self-attention's keys and
values as inputs and outputs.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqocr.errors import InputError
from seqocr.files import replacing, write_json
from seqocr.models.base import OnePassHead
from seqocr.models.decoder_step import DecoderStep, KeysValues
from seqocr.models.recognizer import Recognizer

PRECISIONS = ("float32", "int8")
FORMAT = 2  # of the graphs: what goes in and out; since 2 one-pass heads give log probabilities
_BATCH = torch.export.Dim("batch", min=1, max=65536)


def export(
    recognizer: Recognizer, out: Path, heads: Sequence[str] | None = None, precision: str = "float32"
) -> list[Path]:
    """Write `config.json` and the graphs of the heads (default: all) to `out`; returns the graphs' paths.

    Args:
        precision: "float32", or "int8": weights of matrix products as 8-bit integers, a scale each output channel,
            activations quantised as they come (dynamic quantisation).

    Raises:
        InputError: a package is missing, or a head or precision is unknown.
    """
    _check_packages()
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    chosen = recognizer.with_heads(list(heads or recognizer.heads)).eval().to("cpu")
    built = graphs(chosen)
    paths = [out / f"{name}.onnx" for name in built]
    for path, graph in zip(paths, built.values(), strict=True):
        write_graph(graph, path)
        if precision == "int8":
            quantise(path, path)
    write_json(
        out / "config.json", {**chosen.config(), "runtime": {"name": "onnx", "format": FORMAT, "precision": precision}}
    )
    return paths


def quantise_exported(source: Path, out: Path) -> None:
    """All graphs of a directory that `export` wrote in float32, as int8 in another."""
    for path in source.glob("*.onnx"):
        quantise(path, out / path.name)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    write_json(out / "config.json", {**config, "runtime": {**config["runtime"], "precision": "int8"}})


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'seqocr[onnx]'") from error


class Graph(nn.Module):
    """What becomes one ONNX file: a function of tensors, with the names of what goes in and out."""

    inputs: list[str]
    outputs: list[str]

    def example(self) -> tuple[Any, ...]:
        """Inputs to trace with."""
        raise NotImplementedError

    def dynamic(self) -> tuple[Any, ...]:
        """Which of their axes may have another size, in the form torch.export takes."""
        raise NotImplementedError


class OfPixels(Graph):
    """pixel_values (B, 3, H, W) to whatever `then` makes of the encoder's features (B, T, D)."""

    def __init__(self, recognizer: Recognizer, outputs: list[str]) -> None:
        super().__init__()
        self.encoder, self.inputs, self.outputs = recognizer.encoder, ["pixel_values"], outputs

    def then(self, features: torch.Tensor) -> Any:
        return features

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return self.then(self.encoder(pixel_values))

    def example(self) -> tuple[Any, ...]:
        return (torch.zeros(2, 3, *self.encoder.image_size),)

    def dynamic(self) -> tuple[Any, ...]:
        return ({0: _BATCH},)


class OnePass(OfPixels):
    """To what `OnePassHead.texts_of` takes."""

    def __init__(self, recognizer: Recognizer, head: OnePassHead) -> None:
        super().__init__(recognizer, ["log_probs"])
        self.head = head

    def then(self, features: torch.Tensor) -> Any:
        return [self.head.log_probs(features)]


class Cross(OfPixels):
    """To the cross-attention's keys and values, a pair a layer."""

    def __init__(self, recognizer: Recognizer, step: DecoderStep) -> None:
        super().__init__(recognizer, names("cross", step))
        self.step = step

    def then(self, features: torch.Tensor) -> Any:
        return [tensor for pair in self.step.cross(features) for tensor in pair]


class Step(Graph):
    """One token: (token, position, cross..., past...) to (logits, present...)."""

    def __init__(self, recognizer: Recognizer, step: DecoderStep) -> None:
        super().__init__()
        self.step, self.tokens = step, recognizer.encoder.features.tokens
        self.inputs = ["token", "position", *names("cross", step), *names("past", step)]
        self.outputs = ["logits", *names("present", step)]

    def forward(
        self, token: torch.Tensor, position: torch.Tensor, cross: list[torch.Tensor], past: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        present: list[torch.Tensor] = []

        def append(layer: int, key: torch.Tensor, value: torch.Tensor) -> KeysValues:
            new = torch.cat([past[2 * layer], key], dim=2), torch.cat([past[2 * layer + 1], value], dim=2)
            present.extend(new)
            return new

        logits = self.step(token, position, list(zip(cross[::2], cross[1::2], strict=True)), append)
        return [logits, *present]

    def example(self) -> tuple[Any, ...]:
        step = self.step

        def cache(tokens: int) -> list[torch.Tensor]:
            shape = (2, step.heads, tokens, step.width // step.heads)
            return [torch.zeros(shape) for _ in range(2 * len(step.layers))]

        return torch.zeros(2, dtype=torch.int64), torch.tensor(3), cache(self.tokens), cache(3)

    def dynamic(self) -> tuple[Any, ...]:
        many = 2 * len(self.step.layers)
        past = torch.export.Dim("past", min=0, max=65536)
        return {0: _BATCH}, {}, [{0: _BATCH}] * many, [{0: _BATCH, 2: past}] * many


def names(kind: str, step: DecoderStep) -> list[str]:
    """Of the tensors of a cache, in their order."""
    return [f"{kind}_{what}_{layer}" for layer in range(len(step.layers)) for what in ("keys", "values")]


def graphs(recognizer: Recognizer) -> dict[str, Graph]:
    """By file name without ending; "encoder", for measuring what every head pays, is not among them."""
    found: dict[str, Graph] = {}
    for name, head in recognizer.heads.items():
        if isinstance(head, OnePassHead):
            found[name] = OnePass(recognizer, head)
        else:
            step = head.step()
            found |= {name: Cross(recognizer, step), f"{name}-step": Step(recognizer, step)}
    return found


def write_graph(graph: Graph, path: Path) -> None:
    """Trace a graph and write it to an ONNX file, weights included, in float32."""
    for talkative in ("onnxscript", "onnx_ir"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter's own making
        program: Any = torch.onnx.export(
            graph.eval(),
            graph.example(),
            dynamo=True,
            verbose=False,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=graph.dynamic(),
        )
    with replacing(path) as temporary:
        temporary.write_bytes(program.model_proto.SerializeToString())


def quantise(source: Path, out: Path) -> None:
    """Dynamic quantisation of a graph's matrix products; `out` may be the same file."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    del model.graph.value_info[:]  # shapes noted by the exporter, which contradict those after weights are transposed
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a pre-processing that the exporter has done
    try:
        with replacing(out) as temporary:
            quantize_dynamic(
                model,
                temporary,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
    finally:
        root.setLevel(level)
