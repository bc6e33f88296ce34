"""Graphs with 8-bit weights and activations (static quantisation): a line reads the same whatever is read beside it.

Dynamic quantisation scales activations by all lines of a batch. Here scales are constants, and products of integers
are exact, so each line's numbers are its own. Weights have 7 bits: two products of 8 bits may exceed the 16 that
processors without VNNI add them in, which then give other numbers, and worse ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from seqocr.files import replacing
from seqocr.inference.ranges import Ranges

_LEVELS = 255  # steps of an activation's range, uint8
_MOST = 64  # of a weight: 2 · 255 · 64 < 2^15
_RUNTIME_DOMAIN = "com.microsoft"  # of operators that ONNX Runtime and OpenVINO add to the standard ones


def observed_tensors(path: Path) -> list[str]:
    """Names of the tensors of a graph's file whose ranges `quantise` takes."""
    return _Products(onnx.load(path).graph).tensors()


def quantise(source: Path, out: Path, ranges: Ranges) -> None:
    """Write a float32 graph with matrix products and convolutions of constant weights in integers.

    Args:
        ranges: of `observed_tensors`.
    """
    model = onnx.load(source)
    rewriting = _Rewriting(model.graph, ranges)
    rewriting.run()
    if not any(each.domain == _RUNTIME_DOMAIN for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_RUNTIME_DOMAIN, 1))
    with replacing(out) as temporary:
        temporary.write_bytes(model.SerializeToString())


class _Products:
    """Which nodes of a graph can be computed in integers.

    Attributes:
        constants: initializers by name.
        matrices: products with a constant matrix, by output; convolutions: those with constant weights, likewise.
            but those without ReLU, as of patches, whose rounding all layers would go on with.
        ends: by the output of a convolution, that of the ReLU behind it.
    """

    def __init__(self, graph: Any) -> None:
        self.constants = {each.name: each for each in graph.initializer}
        self.outputs = {each.name for each in graph.output}
        self.users: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.matrices = {node.output[0]: node for node in graph.node if self._is_matrix_product(node)}
        self.convolutions = {node.output[0]: node for node in graph.node if self._is_convolution(node)}
        self.ends = {name: str(self._only_user(name, "Relu").output[0]) for name in self.convolutions}

    def tensors(self) -> list[str]:
        inputs = [node.input[0] for node in (*self.matrices.values(), *self.convolutions.values())]
        return sorted({*inputs, *self.ends.values()})

    def bias_of(self, product: Any, size: int) -> tuple[str, str]:
        """The name of a bias that is added to a product, or "", and that of the sum."""
        output = product.output[0]
        if product.op_type == "Gemm":
            return (product.input[2] if len(product.input) > 2 else ""), output
        addition = self._only_user(output, "Add")
        if addition is not None:
            for name in addition.input:
                if name != output and name in self.constants and list(self.constants[name].dims) == [size]:
                    return name, addition.output[0]
        return "", output

    def _only_user(self, name: str, kind: str) -> Any:
        users = self.users.get(name, [])
        alone = len(users) == 1 and name not in self.outputs and users[0].op_type == kind
        return users[0] if alone else None

    def _has_weights(self, node: Any, dims: int) -> bool:
        weights = self.constants.get(node.input[1])
        return weights is not None and len(weights.dims) == dims and weights.data_type == onnx.TensorProto.FLOAT

    def _is_matrix_product(self, node: Any) -> bool:
        if node.op_type not in ("MatMul", "Gemm") or not self._has_weights(node, 2):
            return False
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
        if any(_attribute(node, name, value) != value for name, value in plain.items()):
            return False
        return _constant_bias(node, self.constants)

    def _is_convolution(self, node: Any) -> bool:
        if node.op_type != "Conv" or not self._has_weights(node, 4):
            return False
        relu = self._only_user(node.output[0], "Relu")
        return relu is not None and relu.output[0] not in self.outputs and _constant_bias(node, self.constants)


class _Rewriting:
    """Rewrites a graph's nodes one after another, in their order."""

    def __init__(self, graph: Any, ranges: Ranges) -> None:
        self._graph, self._ranges, self._products = graph, ranges, _Products(graph)
        self._nodes: list[Any] = []
        self._constants: dict[str, np.ndarray] = {}
        self._quantised: dict[str, tuple[str, str, str]] = {}  # by tensor: it in uint8, its scale and zero point
        self._dequantised: dict[str, str] = {}
        self._made: set[str] = set()  # outputs of nodes of its own

    def run(self) -> None:
        products, ends = self._products, set(self._products.ends.values())
        for node in self._graph.node:
            name = node.output[0]
            if name in self._made:
                continue
            if name in products.matrices:
                self._matrix_product(node)
            elif name in products.convolutions:
                self._convolution(node)
            else:
                self._nodes.append(node)
                node.input[:] = [self._dequantised.get(each, each) for each in node.input]
            if name in ends:
                self._dequantise(name)
        self._finish()

    def _matrix_product(self, node: Any) -> None:
        transposed = bool(_attribute(node, "transB", 0))
        weights = self._weights(node.input[1])
        rounded, scales = _round_weights(weights.T if transposed else weights, axis=1)
        quantised, scale, zero = self._quantise(node.input[0])
        bias, output = self._products.bias_of(node, rounded.shape[1])
        name = node.input[1] + "/transposed" * transposed
        inputs = [
            quantised,
            self._constant(f"{name}/int8", rounded),
            scale,
            self._constant(f"{name}/scale", scales),
            zero,
            self._constant("zero/int8", np.array(0, np.int8)),
            *([bias] if bias else []),
        ]
        self._append("MatMulIntegerToFloat", inputs, output, domain=_RUNTIME_DOMAIN)

    def _convolution(self, node: Any) -> None:
        """Between quantisation and its inverse, which engines fuse with the convolution and ReLU."""
        rounded, scales = _round_weights(self._weights(node.input[1]), axis=0)
        name, values = node.input[1], self._dequantise(node.input[0])
        constants = [self._constant(f"{name}/int8", rounded), self._constant(f"{name}/scale", scales)]
        self._append("DequantizeLinear", constants, f"{name}/weights", axis=0)
        inputs = [values, f"{name}/weights"]
        if len(node.input) > 2:
            steps = scales * self._step(node.input[0])[0]
            whole = np.round(self._weights(node.input[2]) / steps).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
            constants = [self._constant(f"{name}/bias/int32", whole), self._constant(f"{name}/bias/scale", steps)]
            self._append("DequantizeLinear", constants, f"{name}/bias", axis=0)
            inputs.append(f"{name}/bias")
        node.input[:] = inputs
        self._nodes.append(node)

    def _quantise(self, tensor: str) -> tuple[str, str, str]:
        if tensor not in self._quantised:
            step, zero = self._step(tensor)
            constants = self._constant(f"{tensor}/scale", step), self._constant(f"{tensor}/zero", zero)
            self._append("QuantizeLinear", [tensor, *constants], f"{tensor}/uint8")
            self._quantised[tensor] = f"{tensor}/uint8", *constants
        return self._quantised[tensor]

    def _dequantise(self, tensor: str) -> str:
        """The name of a tensor's rounded values, which nodes that follow take in its place."""
        if tensor not in self._dequantised:
            self._append("DequantizeLinear", [*self._quantise(tensor)], f"{tensor}/rounded")
            self._dequantised[tensor] = f"{tensor}/rounded"
        return self._dequantised[tensor]

    def _step(self, tensor: str) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point of a tensor."""
        low, high = self._ranges[tensor]
        step = np.float32(max(high - low, 1e-9) / _LEVELS)
        return np.array(step), np.array(np.clip(np.round(-low / step), 0, _LEVELS), np.uint8)

    def _weights(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self._products.constants[name]).astype(np.float32)

    def _constant(self, name: str, value: np.ndarray) -> str:
        self._constants[name] = value
        return name

    def _append(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        if output not in self._made:  # weights may be those of several nodes
            self._made.add(output)
            self._nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes))

    def _finish(self) -> None:
        graph = self._graph
        used = {name for node in self._nodes for name in node.input}
        kept = [each for each in graph.initializer if each.name in used]
        new = [numpy_helper.from_array(value, name) for name, value in self._constants.items() if name in used]
        for field, values in ((graph.node, self._nodes), (graph.initializer, [*kept, *new]), (graph.value_info, [])):
            del field[:]
            field.extend(values)


def _round_weights(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights in int8, and the scale of each output channel, which `axis` counts."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / _MOST, 1).astype(np.float32)
    return np.round(weights / scales).astype(np.int8), scales.reshape(-1)


def _constant_bias(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a node's third input is missing or one number for each output channel."""
    return len(node.input) < 3 or (node.input[2] in constants and len(constants[node.input[2]].dims) == 1)


def _attribute(node: Any, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
