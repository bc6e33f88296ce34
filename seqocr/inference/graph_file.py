"""What an ONNX file says before an engine loads it: whether its tensors are in it, and none is made huge of little.

An engine allocates what a file claims. The package onnx takes long to import, and little of protobuf is needed.
"""

import math
from collections.abc import Iterator
from typing import Any

_MOST = 2**28  # elements of a tensor that a node makes of a shape
_MAKERS = (b"ConstantOfShape", b"Expand", b"Tile", b"Range", b"Resize", b"Pad", b"OneHot")
_EXTERNAL = 1  # where a tensor's data is: in another file
_INT64 = 7
# Numbers of fields, see onnx.proto.
_GRAPH, _NODE, _INITIALIZER = 7, 1, 5
_INPUT, _OUTPUT, _KIND, _ATTRIBUTE, _TENSOR, _SUBGRAPH = 1, 2, 4, 5, 5, 6
_DIMS, _TYPE, _INT64_DATA, _NAME, _RAW, _LOCATION = 1, 2, 7, 8, 9, 14


def check_tensors(content: bytes) -> None:
    """Raise a ValueError if an ONNX file is none, or its tensors are not in it or larger than it."""
    try:
        for field, graph in _fields(memoryview(content)):
            if field == _GRAPH:
                _check_graph(graph, 2 * len(content), {})  # of 4 bits an element
    except (IndexError, TypeError, RecursionError) as error:
        raise ValueError("it is no ONNX file") from error


def _check_graph(graph: memoryview, most: int, sizes: dict[bytes, int]) -> None:
    """`sizes` gets, by name, how many elements the shapes among the constants stand for."""
    fields = list(_fields(graph))
    for tensor in (value for field, value in fields if field == _INITIALIZER):
        name, size = _check_tensor(tensor, most)
        sizes[name] = size
    for node in (value for field, value in fields if field == _NODE):
        _check_node(node, most, sizes)


def _check_node(node: memoryview, most: int, sizes: dict[bytes, int]) -> None:
    inputs, outputs, kind = [], [], b""
    for field, value in _fields(node):
        if field == _INPUT:
            inputs.append(bytes(value))
        elif field == _OUTPUT:
            outputs.append(bytes(value))
        elif field == _KIND:
            kind = bytes(value)
        elif field == _ATTRIBUTE:
            for inner, content in _fields(value):
                if inner == _TENSOR:
                    _, size = _check_tensor(content, most)
                    sizes |= dict.fromkeys(outputs, size)
                elif inner == _SUBGRAPH:
                    _check_graph(content, most, sizes)
    if kind in _MAKERS and any(sizes.get(name, 0) > _MOST for name in inputs):
        raise ValueError(f"a node {kind.decode()} makes a tensor of more than {_MOST:,} elements")


def _check_tensor(tensor: memoryview, most: int) -> tuple[bytes, int]:
    """Its name, and the product of its values where they may be a shape."""
    dims: list[int] = []
    values: list[int] = []
    name, raw, kind = b"", memoryview(b""), 0
    for field, value in _fields(tensor):
        if field == _DIMS:
            dims += _integers(value)
        elif field == _INT64_DATA:
            values += _integers(value)
        elif field == _TYPE:
            kind = value
        elif field == _NAME:
            name = bytes(value)
        elif field == _RAW:
            raw = value
        elif field == _LOCATION and value == _EXTERNAL:
            raise ValueError("it keeps tensors in other files")
    if math.prod(dims) > most or max(dims, default=0) > most:
        raise ValueError(f"it has {most // 2:,} bytes, too few for a tensor of {' x '.join(map(str, dims))}")
    if kind == _INT64 and len(raw) <= 64:
        values += raw[: len(raw) // 8 * 8].cast("q").tolist()
    return name, math.prod(value for value in values if value > 0) if kind == _INT64 else 0


def _integers(value: Any) -> list[int]:
    """Of a repeated field: packed, or one of them."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(number)
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Numbers of fields, and their values: integers, or bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("it is no ONNX file")
        if at + size > len(message):
            raise ValueError("it is cut")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = message[at]
        found |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return found - (1 << 64) if found >> 63 else found, at
        if shift > 63:
            raise ValueError("it is no ONNX file")
