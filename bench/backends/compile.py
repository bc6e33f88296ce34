"""`torch.compile` of the graphs that are exported."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from bench.runtime import Prepared, Runtime, exportable
from seqocr.models.recognizer import Recognizer
from seqocr.runtimes.compiled import compiled_variants


def prepare(recognizer: Recognizer, folder: Path) -> Prepared:
    encode = torch.inference_mode()(torch.compile(recognizer.encoder))
    return Prepared(encode, compiled_variants(exportable(recognizer)))


def unable() -> str:
    return "" if shutil.which("g++") or shutil.which("clang++") else "no C++ compiler"


RUNTIME = Runtime(
    "compile",
    prepare,
    order=2,
    unable=unable,
    slow_to_load=True,  # a layer is compiled for every kind of batch and cache
    code=(__name__, "seqocr.runtimes.compiled", "seqocr.runtimes.export", "seqocr.runtimes.graph"),
)
