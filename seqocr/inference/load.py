"""Loading a reader: weights, or exported graphs, from a directory or by the name of shipped ones.

torch is imported only where weights are loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from seqocr.errors import InputError
from seqocr.files import shown
from seqocr.inference.manifest import exported_outputs, is_exported
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import default_head
from seqocr.inference.sessions import DEFAULT_ENGINE, check_engine
from seqocr.inference.shipped import SHIPPED_NAMES, graphs_path, weights_path

if TYPE_CHECKING:
    from seqocr.models.recognizer import Recognizer


def load(weights: Path | str | None = None, engine: str = DEFAULT_ENGINE) -> Recognizer | OnnxRecognizer:
    """A trained recognizer, or exported graphs.

    Args:
        weights: a directory written by `seqocr train` or `seqocr export`; or the name of shipped weights: "tiny",
            "strings" or "numbers" (default).
        engine: for exported graphs: "onnxruntime" or "openvino".

    Raises:
        InputError: a file is missing, cannot be used, or does not fit the others; the engine is unknown, not installed,
            or there are weights for PyTorch alone.
    """
    directory = weights if isinstance(weights, Path) else weights_path(weights)
    if not os.path.isdir(directory):  # noqa: PTH112 (Path's raises an error for a name that is too long)
        raise InputError(
            f"the folder {shown(directory)} is missing: give one written by `seqocr train` or `seqocr export`, or "
            f"shipped weights: {', '.join(SHIPPED_NAMES)}"
        )
    check_engine(engine)
    if is_exported(directory):
        return OnnxRecognizer(directory, engine)
    if engine != DEFAULT_ENGINE:
        raise InputError(
            f"--engine {engine} is for exported graphs, and {shown(directory)} holds none that it can take: write some "
            "with `seqocr export`"
        )
    from seqocr.models.checkpoint import load_recognizer

    return load_recognizer(directory)


def load_reader(
    weights: str | None = None, head: str | None = None, device: str = "auto", engine: str = DEFAULT_ENGINE
) -> Recognizer | OnnxRecognizer:
    """As `load`, on a device; where exported graphs of the head lie beside shipped weights, these, without torch.

    Args:
        head: that will read; empty: the default one (`seqocr.inference.predict.default_head`); None: several, which
            weights read where there are some, unless an engine for graphs alone is named.
        device: "cpu", "cuda", or "auto": cuda where there is one, for weights.

    Raises:
        InputError: as `load`; or the device is unknown, not there, or not one for exported graphs.
    """
    check_engine(engine)
    if device in ("auto", "cpu") and (head is not None or engine != DEFAULT_ENGINE):
        outputs = exported_outputs(directory := graphs_path(weights))
        if outputs and (head is None or (head or default_head(outputs)) in outputs):
            return OnnxRecognizer(directory, engine)
    reader = load(weights, engine)
    if isinstance(reader, OnnxRecognizer):
        if device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: exported graphs run on the CPU; read with the weights instead")
        return reader
    return reader.to(choose_device(device))


def choose_device(name: str) -> str:
    """The name of a torch device; InputError if it is unknown, or there is no GPU."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: choose cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; use --device cpu")
    return name
