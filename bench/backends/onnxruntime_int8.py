"""ONNX Runtime with weights as 8-bit integers."""

from __future__ import annotations

from functools import partial

from bench.runtime import Runtime
from bench.runtimes import onnxruntime

RUNTIME = Runtime(
    "onnxruntime-int8",
    partial(onnxruntime.prepare, int8=True),
    order=4,
    packages=onnxruntime.PACKAGES,
    code=(__name__, *onnxruntime.CODE),
)
