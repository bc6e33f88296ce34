"""Exported graphs through OpenVINO."""

from __future__ import annotations

from functools import partial

from bench.backends import onnxruntime
from bench.backends.base import Backend

BACKEND = Backend(
    "openvino",
    partial(onnxruntime.prepare, engine="openvino"),
    order=5,
    packages=(*onnxruntime.PACKAGES, "openvino"),
)
