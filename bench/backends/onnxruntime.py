"""Exported graphs through ONNX Runtime or OpenVINO, which share out a batch: each core reads its own part."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from bench.backends.base import Backend, BackendModel, exportable
from bench.core.plugins import not_installed
from seqocr.inference.export import export, quantise_exported, write_graph
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.sessions import BatchThreads, Session, load_session
from seqocr.models.graph import OfPixels
from seqocr.models.recognizer import Recognizer


def prepare(recognizer: Recognizer, folder: Path, engine: str = "onnxruntime", int8: bool = False) -> BackendModel:
    """Args:
    engine: that runs the graphs, of `seqocr.inference.sessions.ENGINES`.
    int8: weights and activations of matrix products as 8-bit integers.
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
    batch_threads = BatchThreads(threads, engine)

    @cache
    def session(threads: int) -> Session:
        return load_session(graphs / "encoder.onnx", engine, threads)

    def encode(part: Any, threads: int) -> Any:
        encoder = session(threads)
        return encoder({"pixel_values": encoder.value(part.numpy())})

    return BackendModel(partial(batch_threads.map, encode), OnnxRecognizer(graphs, engine, threads).decode_functions())


_missing = partial(not_installed, onnx="onnx", onnxscript="onnxscript", onnxruntime="onnxruntime")
BACKENDS = [
    Backend("onnxruntime", prepare, 3, _missing),
    Backend("onnxruntime-int8", partial(prepare, int8=True), 4, _missing),
    Backend("openvino", partial(prepare, engine="openvino"), 5, partial(_missing, openvino="openvino")),
]
