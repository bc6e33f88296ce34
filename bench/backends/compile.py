"""`torch.compile` of the graphs that are exported."""

import shutil
from pathlib import Path

import torch

from bench.backends.base import Backend, BackendModel, exportable
from seqocr.inference.compiled import compiled_functions
from seqocr.models.recognizer import Recognizer


def prepare(recognizer: Recognizer, folder: Path) -> BackendModel:
    encode = torch.inference_mode()(torch.compile(recognizer.encoder))
    return BackendModel(encode, compiled_functions(exportable(recognizer)))


def missing() -> str:
    return "" if shutil.which("g++") or shutil.which("clang++") else "no C++ compiler"


# Slow to load, since a layer is compiled for every kind of batch and cache.
BACKENDS = [Backend("compile", prepare, 2, missing, slow_to_load=True)]
