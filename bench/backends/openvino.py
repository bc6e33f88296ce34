"""Exported graphs through OpenVINO."""

from __future__ import annotations

from functools import partial

from bench.runtime import Runtime
from bench.runtimes import onnxruntime

RUNTIME = Runtime(
    "openvino",
    partial(onnxruntime.prepare, engine="openvino"),
    order=5,
    packages=(*onnxruntime.PACKAGES, "openvino"),
    code=(__name__, *onnxruntime.CODE),
)
