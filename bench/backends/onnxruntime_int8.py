"""ONNX Runtime with weights as 8-bit integers."""

from __future__ import annotations

from functools import partial

from bench.backends import onnxruntime
from bench.backends.base import Backend

BACKEND = Backend(
    "onnxruntime-int8",
    partial(onnxruntime.prepare, int8=True),
    order=4,
    packages=onnxruntime.PACKAGES,
)
