"""Loading a reader: weights, or exported graphs, from a directory or by the name of shipped ones.

torch is imported only where weights are loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from seqocr.errors import InputError, MissingExtraError, missing_extra
from seqocr.files import shown
from seqocr.inference.manifest import exported_outputs, is_exported
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import default_head
from seqocr.inference.sessions import DEFAULT_ENGINE, check_engine
from seqocr.inference.shipped import SHIPPED_NAMES, graphs_path, weights_path

if TYPE_CHECKING:
    from seqocr.models.recognizer import Recognizer


def load(
    weights: Path | str | None = None, head: str | None = "", device: str = "auto", engine: str = DEFAULT_ENGINE
) -> Recognizer | OnnxRecognizer:
    """What reads: exported graphs of the head, which need no PyTorch, or else weights, which do.

    Args:
        weights: a directory written by `seqocr train` or `seqocr export`; or the name of shipped weights: "tiny",
            "strings" or "numbers" (default), beside which there are graphs of the one-pass heads.
        head: that will read; empty: the default one (`seqocr.inference.predict.default_head`); None: several, which
            weights read where there are some, unless an engine for graphs alone is named.
        device: "cpu", "cuda", or "auto": cuda where there is one, for weights.
        engine: for exported graphs: "onnxruntime" or "openvino".

    Raises:
        InputError: a file is missing, cannot be used, or does not fit the others; the engine is unknown, not installed,
            or there are weights for PyTorch alone, or PyTorch is not installed; the device is unknown, not there, or
            not one for exported graphs.
    """
    check_engine(engine)
    if device in ("auto", "cpu") and (head is not None or engine != DEFAULT_ENGINE):
        outputs = exported_outputs(directory := graphs_path(weights))
        if outputs and (head is None or (head or default_head(outputs)) in outputs):
            return OnnxRecognizer(directory, engine)
    try:
        reader = load_directory(weights_path(weights), engine)
        if not isinstance(reader, OnnxRecognizer):
            return reader.to(choose_device(device))
    except ModuleNotFoundError as error:
        if (message := missing_extra(error)) is None:
            raise
        without = " and ".join(exported_outputs(graphs_path(weights)))
        raise MissingExtraError(message + (f"; {without} read without it" if without else "")) from error
    if device not in ("auto", "cpu"):
        raise InputError(f"--device {device}: exported graphs run on the CPU; read with the weights instead")
    return reader


def load_directory(directory: Path, engine: str = DEFAULT_ENGINE) -> Recognizer | OnnxRecognizer:
    """Weights, on the CPU, or exported graphs: what the directory itself holds. InputError as of `load`."""
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
