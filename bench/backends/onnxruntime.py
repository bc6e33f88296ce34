"""Exported graphs through ONNX Runtime, which shares out a batch: each core reads its own part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.backends.base import Backend, BackendModel, exportable
from seqocr.inference.export import export, quantise_exported, write_graph
from seqocr.inference.exported import ExportedRecognizer, SharedOut, load_session, shares_out
from seqocr.models.graph import OfPixels
from seqocr.models.recognizer import Recognizer

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # of whatever reads exported graphs


def prepare(recognizer: Recognizer, folder: Path, engine: str = "onnxruntime", int8: bool = False) -> BackendModel:
    """Args:
    engine: that runs the graphs, of `seqocr.inference.exported.ENGINES`.
    int8: weights of matrix products as 8-bit integers.
    """
    graphs = folder / "float32"
    if not (graphs / "config.json").exists():
        write_graph(OfPixels(recognizer.encoder, ["features"]), graphs / "encoder.onnx")
        export(exportable(recognizer), graphs)
    if int8:
        source, graphs = graphs, folder / "int8"
        if not (graphs / "config.json").exists():
            quantise_exported(source, graphs)
    threads = torch.get_num_threads()
    encode = _encoder(graphs, engine, threads)
    if shares_out(engine, threads):
        encode = SharedOut(encode, lambda: _encoder(graphs, engine, 1), threads)
    return BackendModel(encode, ExportedRecognizer(graphs, engine, threads).variants())


def _encoder(graphs: Path, engine: str, threads: int) -> Callable[[torch.Tensor], Any]:
    session = load_session(graphs / "encoder.onnx", engine, threads)
    return lambda pixel_values: session({"pixel_values": session.value(pixel_values.numpy())})


BACKEND = Backend("onnxruntime", prepare, order=3, packages=PACKAGES)
