"""A recognizer as ONNX graphs, for ONNX Runtime and OpenVINO.

A one-pass head is one graph with its encoder, from pixels to classes. The autoregressive head is two: encoder and
cross-attention keys and values, run once; and the decoder's step, run once a token, with the self-attention's keys and
values as inputs and outputs. So is the pair that drafts and verifies, whose decoder takes several tokens at once.
"""

import logging
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from seqocr.errors import InputError
from seqocr.files import file_sum, read_json, replacing, replacing_all, write_json
from seqocr.inference.manifest import FORMAT, RUNTIME, STATIC, config_sum
from seqocr.inference.ranges import LineImages, observe_ranges, synthetic_lines
from seqocr.models.config_sum import with_sum, without_sum
from seqocr.models.graph import Graph, OfPixels
from seqocr.models.recognizer import Recognizer

PRECISIONS = ("float32", "int8")


def export(
    recognizer: Recognizer,
    out: Path,
    heads: Sequence[str] | None = None,
    precision: str = "float32",
    calibration: LineImages | None = None,
) -> list[Path]:
    """Write `config.json` and the graphs of the heads (default: all) to `out`, or nothing; returns the graphs' paths.

    Args:
        precision: "float32", or "int8": weights and activations of matrix products and convolutions as 8-bit integers
            (static quantisation, see `seqocr.inference.quantise`).
        calibration: line images as the weights will read, whose activations give the scales of "int8"; default:
            `synthetic_lines`.

    Raises:
        InputError: a package is missing, a head or precision is unknown, or `out` cannot be written.
    """
    _check_packages()
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    chosen = recognizer.with_heads(list(heads or recognizer.heads)).eval().to("cpu")
    built = graphs(chosen)
    with replacing_all(out) as temporary:
        full = temporary if precision == "float32" else temporary / "float32"
        for name, graph in built.items():
            write_graph(graph, full / f"{name}.onnx")
        _write_config(full, {**chosen.config(), **declare(chosen)})
        if precision == "int8":
            quantise_exported(full, temporary, calibration)
            shutil.rmtree(full)
    return [out / f"{name}.onnx" for name in built]


def quantise_exported(source: Path, out: Path, calibration: LineImages | None = None) -> None:
    """All graphs of a directory that `export` wrote in float32, as int8 in another; `calibration` as of `export`."""
    from seqocr.inference.quantise import observed_tensors, quantise

    config = read_json(source / "config.json")
    lines = synthetic_lines(config["max_length"]) if calibration is None else calibration
    for name, ranges in observe_ranges(source, lines, observed_tensors).items():
        quantise(source / f"{name}.onnx", out / f"{name}.onnx", ranges)
    _write_config(out, config, precision="int8", activations=STATIC)


def _write_config(out: Path, config: dict[str, Any], precision: str = "float32", **about: str) -> None:
    """`config.json` of graphs that are there: what the recognizer's says, and a checksum of that and of each graph."""
    config = {key: value for key, value in without_sum(config).items() if key != "runtime"}
    sums = {path.name: file_sum(path) for path in sorted(out.glob("*.onnx"))}
    runtime = {"name": RUNTIME, "format": FORMAT, "precision": precision, **about}
    runtime |= {"config": config_sum(config), "graphs": sums}
    write_json(out / "config.json", with_sum({**config, "runtime": runtime}))


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'seqocr[onnx]'") from error


def declare(recognizer: Recognizer) -> dict[str, Any]:
    """What decoding the graphs needs to know of their heads: each one's output, and which make pairs, by name."""
    pairs = {name: [pair.head.name, pair.drafter.name] for name, pair in recognizer.pairs().items()}
    return {"outputs": {name: head.output for name, head in recognizer.heads.items()}, "pairs": pairs}


def graphs(recognizer: Recognizer) -> dict[str, Graph]:
    """By file name without ending; "encoder", for measuring what every head pays, is not among them."""
    both = (*recognizer.heads.values(), *recognizer.pairs().values())
    found = {name: graph for each in both for name, graph in each.graphs(recognizer.encoder).items()}
    if recognizer.marks_reader is not None:
        for graph in found.values():
            if isinstance(graph, OfPixels):
                graph.with_marks(recognizer.marks_reader)
    return found


def write_graph(graph: Graph, path: Path) -> None:
    """Trace a graph and write it to an ONNX file, weights included, in float32."""
    for talkative in ("onnxscript", "onnx_ir"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    names: Any = {"input_names": graph.inputs, "output_names": graph.outputs, "dynamic_shapes": graph.dynamic()}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter's own making
        program: Any = torch.onnx.export(graph.eval(), graph.example(), dynamo=True, verbose=False, **names)
    with replacing(path) as temporary:
        temporary.write_bytes(program.model_proto.SerializeToString())
