"""Reading with exported graphs (see `seqocr.inference.export`) through ONNX Runtime or OpenVINO."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from seqocr.data.processor import LineImage
from seqocr.errors import InputError
from seqocr.files import read_json
from seqocr.inference.export import graphs
from seqocr.inference.manifest import check_exported
from seqocr.inference.reader import Reader
from seqocr.models.graph import Session
from seqocr.models.heads.base import DecodeFunction, DecoderOutput
from seqocr.models.recognizer import Recognizer

ENGINES = ("onnxruntime", "openvino")


class OnnxRuntimeSession:
    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # A reader has several sessions, each with threads of its own: spinning while idle, they would take the cores
        # from the one at work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.inputs = [x.name for x in self._session.get_inputs()]
        self._outputs = [x.name for x in self._session.get_outputs()]

    def __call__(self, values: dict[str, Any]) -> list[Any]:
        return list(self._session.run_with_ort_values(self._outputs, values))

    def value(self, array: np.ndarray) -> Any:
        return self._value(array)

    def array(self, value: Any) -> np.ndarray:
        return np.asarray(value.numpy())


class OpenVinoSession:
    # Every request made is kept for good. OpenVINO (2025.4, 2026.4) beside PyTorch corrupts memory when the last
    # reference to one goes: a Python thread that is started later, as DataLoader's, dies of a segmentation fault.
    _kept: ClassVar[list[Any]] = []

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.compile_model(path, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})
        self._request = compiled.create_infer_request()
        self._kept.append(self._request)
        self.inputs = [x.get_any_name() for x in compiled.inputs]

    def __call__(self, values: dict[str, Any]) -> list[Any]:
        # Copied out: the request's own memory is written again by its next run, which may read these.
        return [x.copy() for x in self._request.infer(values, share_inputs=True, share_outputs=True).values()]

    def value(self, array: np.ndarray) -> Any:
        return array

    def array(self, value: Any) -> np.ndarray:
        return np.asarray(value)


class ExportedRecognizer(Reader):
    """Graphs loaded into an engine; reads as `Recognizer` does.

    Args:
        directory: written by `seqocr export`.
        engine: "onnxruntime" or "openvino".
        threads: for each graph but the decoder's step, which runs on one, and for the parts of a batch; default: as
            many as torch uses.

    Raises:
        InputError: the engine is not installed, or a file is missing, cannot be used, is of another version, or not
            what `seqocr export` wrote there.
    """

    def __init__(self, directory: Path, engine: str = "onnxruntime", threads: int | None = None) -> None:
        with torch.device("meta"):  # heads know how to make texts of numbers; their weights are in the graphs
            skeleton = Recognizer.from_config(directory / "config.json")
        check_exported(directory, read_json(directory / "config.json"), graphs(skeleton))
        self.processor, self.heads = skeleton.processor, skeleton.heads
        self.charset, self.max_length, self.provenance = skeleton.charset, skeleton.max_length, skeleton.provenance
        steps = {name for name, graph in graphs(skeleton).items() if graph.is_step}

        @cache
        def session(name: str, threads: int) -> Session:
            return load_session(directory / f"{name}.onnx", engine, threads)

        def variant(head: Any, threads: int) -> DecodeFunction:
            # A decoder's step is too little work to be shared: waking a second thread takes longer.
            return head.exported(lambda name: session(name, 1 if name in steps else threads))

        threads = threads or torch.get_num_threads()
        both = {**self.heads, **skeleton.pairs()}
        self._variants = {name: variant(head, threads) for name, head in both.items()}
        if shares_out(engine, threads):
            self._variants = {
                name: partial(_joined, SharedOut(whole, partial(variant, both[name], 1), threads))
                for name, whole in self._variants.items()
            }

    def variants(self) -> dict[str, DecodeFunction]:
        return self._variants

    def encode(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:
        """pixel_values (B, 3, H, W): every head's graph has the encoder in it."""
        return self.processor(images)

    def to(self, device: Any) -> ExportedRecognizer:
        """Itself.

        Raises:
            InputError: the device is not the CPU.
        """
        if torch.device(device).type != "cpu":
            raise InputError(f"device {device}: exported graphs run on the CPU; read with the weights instead")
        return self


def shares_out(engine: str, threads: int) -> bool:
    """Whether batches are shared out: OpenVINO's requests cannot run side by side."""
    return engine == "onnxruntime" and threads > 1


_LINES = 16  # of a part, at most: what is computed for them stays in a core's cache


class SharedOut:
    """Work on a batch, shared out among threads by lines.

    An engine shares out each operation by itself, after which its threads wait for each other.

    Args:
        whole: works on few lines, of (B, 3, H, W) pixel_values.
        alone: loads what does the same on one thread; called once, when the first batch comes that is worth it.
    """

    def __init__(self, whole: Callable[..., Any], alone: Callable[[], Callable[..., Any]], threads: int) -> None:
        self._whole, self._threads = whole, threads
        self._alone = cache(alone)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lines")

    def __call__(self, pixel_values: torch.Tensor, **arguments: Any) -> list[Any]:
        """What became of each part, in order."""
        lines = len(pixel_values)
        if lines < 2 * self._threads:
            return [self._whole(pixel_values, **arguments)]
        parts = pixel_values.split(min(_LINES, math.ceil(lines / self._threads)))
        return list(self._pool.map(partial(self._alone(), **arguments), parts))


def _joined(
    parts: Callable[..., list[DecoderOutput]], pixel_values: torch.Tensor, length: int | None = None
) -> DecoderOutput:
    read = parts(pixel_values, length=length)
    return DecoderOutput(
        [text for part in read for text in part.texts],
        lambda: torch.cat([part.confidences for part in read]),
        max(part.passes for part in read),
        [passes for part in read for passes in part.line_passes],
    )


def load_session(path: Path, engine: str, threads: int | None = None) -> Session:
    """A graph in an engine.

    Raises:
        InputError: the engine is not installed, or the file is missing or cannot be used.
    """
    make = _session_class(engine)
    if not path.is_file():
        raise InputError(f"{path} is missing: write it again with `seqocr export`")
    try:
        session: Session = make(path, threads or torch.get_num_threads())
    except Exception as error:  # each engine has its own kinds
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be used ({reason}): write it again with `seqocr export`") from error
    return session


def _session_class(engine: str) -> Any:
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
    try:
        __import__(engine)
    except ImportError as error:
        extra = "onnx" if engine == "onnxruntime" else engine
        raise InputError(f"{engine} is not installed: pip install 'seqocr[{extra}]'") from error
    return OnnxRuntimeSession if engine == "onnxruntime" else OpenVinoSession
