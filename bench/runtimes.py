"""The same heads through other runtimes: what is timed and what reads the accuracy strings, from pixels to text."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench.plan import HEADS
from seqocr.models.base import Decoded, Variant
from seqocr.models.recognizer import Recognizer

_TO_EXPORT = ("onnx", "onnxscript", "onnxruntime")
# What each needs beyond torch.
_PACKAGES: dict[str, tuple[str, ...]] = {
    "eager": (),
    "compile": (),
    "onnxruntime": _TO_EXPORT,
    "onnxruntime-int8": _TO_EXPORT,
    "openvino": (*_TO_EXPORT, "openvino"),
}


@dataclass(frozen=True)
class Prepared:
    """A recognizer in one runtime.

    Attributes:
        encoder: pixel_values (B, 3, H, W) to features, in whatever form the runtime has them.
        heads: pixel_values to `Decoded`, encoder included, by variant.
    """

    encoder: Callable[[torch.Tensor], Any]
    heads: dict[str, Variant]


def missing(runtime: str) -> str:
    """Why a runtime cannot be had here; empty if it can."""
    absent = [name for name in _PACKAGES[runtime] if find_spec(name) is None]
    if absent:
        return f"{absent[0]} is not installed"
    if runtime == "compile" and shutil.which("g++") is None and shutil.which("clang++") is None:
        return "no C++ compiler"
    return ""


def prepare(runtime: str, recognizer: Recognizer, folder: Path) -> Prepared:
    """Load a recognizer into a runtime.

    Args:
        folder: where graphs are written; those found there are taken as this recognizer's.
    """
    if runtime == "eager":
        return _eager(recognizer)
    if runtime == "compile":
        return _compiled(recognizer)
    return _exported(runtime, recognizer, folder)


def _eager(recognizer: Recognizer) -> Prepared:
    variants = recognizer.variants()

    def whole(decode: Variant, pixel_values: torch.Tensor, length: int | None = None) -> Decoded:
        with torch.inference_mode():
            return decode(recognizer.encoder(pixel_values), length=length)

    return Prepared(
        torch.inference_mode()(recognizer.encoder),
        {name: partial(whole, variants[name]) for name in ("ar-generate", *HEADS)},
    )


def _compiled(recognizer: Recognizer) -> Prepared:
    from seqocr.runtimes.compiled import compiled_variants

    return Prepared(torch.inference_mode()(torch.compile(recognizer.encoder)), compiled_variants(recognizer))


def _exported(runtime: str, recognizer: Recognizer, folder: Path) -> Prepared:
    from seqocr.runtimes.export import OfPixels, export, quantise_exported, write_graph
    from seqocr.runtimes.exported import ExportedRecognizer, load_session

    engine, _, precision = runtime.partition("-")
    graphs = folder / "float32"
    if not (graphs / "config.json").exists():
        write_graph(OfPixels(recognizer, ["features"]), graphs / "encoder.onnx")
        export(recognizer, graphs)
    if precision and not (folder / precision / "config.json").exists():
        quantise_exported(graphs, folder / precision)
    graphs = folder / (precision or "float32")
    session = load_session(graphs / "encoder.onnx", engine)

    def encode(pixel_values: torch.Tensor) -> Any:
        return session({"pixel_values": session.value(pixel_values.numpy())})

    return Prepared(encode, ExportedRecognizer(graphs, engine).variants())
