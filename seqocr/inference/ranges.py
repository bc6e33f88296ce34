"""Ranges of activations, observed while exported graphs read calibration lines."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seqocr.data.images import open_line
from seqocr.errors import InputError
from seqocr.inference.graph_decoding import graph_decoder
from seqocr.inference.image_files import image_files
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.sessions import OnnxRuntimeSession

Ranges = dict[str, tuple[float, float]]  # by tensor: its smallest and largest value, 0 among them
LineImages = Sequence[Image.Image | np.ndarray]
_LINES = 32  # of each level: enough for extremes to settle, in seconds
_SEED = 20
_BATCH = 16
_MOST_FILES = 300


def synthetic_lines(max_length: int) -> list[np.ndarray]:
    """Lines (h_i, w_i) uint8 of every level, from the embedded digits: the same ones every time, without network."""
    from seqocr.data.sequences import SequenceMNIST
    from seqocr.data.sources.datasets import embedded_digits
    from seqocr.data.synthetic.layouts import LEVELS

    found, digits = list[np.ndarray](), embedded_digits()
    for i, layout in enumerate(LEVELS.values()):
        settings: dict[str, Any] = {"replacement": True, "count": _LINES, "seed": _SEED + i, "layout": layout}
        images, _ = SequenceMNIST(digits, (1, min(max_length, 10)), **settings).batch(range(_LINES))
        found += map(np.asarray, images)
    return found


def open_lines(argument: str) -> list[Image.Image]:
    """Line images of a file, folder or pattern, `_MOST_FILES` of them at most, from all over it.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    paths = image_files([argument])
    return [open_line(path) for path in paths[:: math.ceil(len(paths) / _MOST_FILES) or 1]]


def observe_ranges(directory: Path, lines: LineImages, tensors: Callable[[Path], list[str]]) -> dict[str, Ranges]:
    """Read lines with float32 graphs, each head as it decodes, and note the ranges of tensors.

    Args:
        tensors: names of those to observe in a graph's file.

    Returns:
        ranges by graph's name, for every graph of the directory.

    Raises:
        InputError: there are no lines, or a tensor is not finite.
    """
    if not len(lines):
        raise InputError("no calibration lines: give some, or leave them out")
    reader = OnnxRecognizer(directory, threads=1)
    graphs: dict[str, _ObservedGraph] = {}
    for path in sorted(directory.glob("*.onnx")):
        graphs[path.stem] = _ObservedGraph(path, tensors(path))
    decoders = [graph_decoder(head, graphs.__getitem__) for head in (*reader.heads.values(), *reader.pairs.values())]
    of_heads = {name for head in (*reader.heads.values(), *reader.pairs.values()) for name in head.graphs}
    for pixel_values in _batches(reader, lines):
        for decode in decoders:
            decode(pixel_values)
        for name in graphs.keys() - of_heads:  # an encoder alone, as is measured
            graphs[name]({"pixel_values": pixel_values})
    return {name: graph.ranges() for name, graph in graphs.items()}


def _batches(reader: OnnxRecognizer, lines: LineImages) -> Iterator[np.ndarray]:
    for start in range(0, len(lines), _BATCH):
        yield reader.processor(lines[start : start + _BATCH])


class _ObservedGraph:
    """A session (see `seqocr.inference.sessions.Session`) that notes the extremes of tensors."""

    def __init__(self, path: Path, tensors: list[str]) -> None:
        self._path, self._tensors = path, tensors
        self._low, self._high = np.zeros(len(tensors)), np.zeros(len(tensors))
        with tempfile.TemporaryDirectory() as folder:
            observed = Path(folder) / path.name
            self._outputs = _write_observed(path, observed, tensors)
            self._session = OnnxRuntimeSession(observed, threads=1)
        self.inputs, self.value, self.array = self._session.inputs, self._session.value, self._session.array

    def __call__(self, values: dict[str, Any]) -> list[Any]:
        found = self._session({name: self._as_value(value) for name, value in values.items()})
        extremes = np.array([float(self.array(value)) for value in found[self._outputs :]])
        self._low = np.fmin(self._low, extremes[::2])
        self._high = np.fmax(self._high, extremes[1::2])
        if not np.isfinite(extremes).all():
            raise InputError(f"{self._path.stem} gives numbers that are not finite: these weights cannot be quantised")
        return found[: self._outputs]

    def _as_value(self, value: Any) -> Any:
        return self.value(value) if isinstance(value, np.ndarray) else value

    def ranges(self) -> Ranges:
        return dict(zip(self._tensors, zip(self._low.tolist(), self._high.tolist(), strict=True), strict=True))


def _write_observed(source: Path, out: Path, tensors: Iterable[str]) -> int:
    """Write a graph that also gives the extremes of tensors; the number of its own outputs."""
    import onnx

    model = onnx.load(source)
    graph, own = model.graph, len(model.graph.output)
    for name in tensors:
        for kind in ("ReduceMin", "ReduceMax"):
            extreme = f"{name}/{kind}"
            graph.node.append(onnx.helper.make_node(kind, [name], [extreme], keepdims=0))
            graph.output.append(onnx.helper.make_tensor_value_info(extreme, onnx.TensorProto.FLOAT, []))
    onnx.save(model, out)
    return own
