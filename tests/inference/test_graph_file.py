"""Graphs that are not what their head declares, or claim more than they hold, under a manifest that is theirs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from onnx import TensorProto, helper, numpy_helper

from seqocr.errors import InputError
from seqocr.files import file_sum
from seqocr.inference.graph_file import check_tensors
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.shipped import graphs_path
from seqocr.models.config_sum import with_sum

FLOAT, PIXELS = TensorProto.FLOAT, ["b", 3, 28, 140]
FIVE = [1, 5, 11]


def graph(
    shape: list[Any] = FIVE, *, name: str = "pixel_values", pixels: list[Any] = PIXELS, kind: int = FLOAT, more: int = 0
) -> Any:
    """Of pixel_values, to a constant of this shape."""
    inputs = [helper.make_tensor_value_info(name, kind, pixels)]
    inputs += [helper.make_tensor_value_info(f"more{i}", FLOAT, [1]) for i in range(more)]
    value = numpy_helper.from_array(np.zeros(shape, np.float32), "value")
    nodes = [
        helper.make_node("Constant", [], ["log_probs"], value=value),
        helper.make_node("Identity", [name], ["unused"]),
    ]
    outputs = [helper.make_tensor_value_info("log_probs", FLOAT, shape)]
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )


def signed(folder: Path, model: Any) -> OnnxRecognizer:
    """Shipped graphs, one of them replaced, and the manifest written anew."""
    shutil.copytree(graphs_path("tiny"), folder)
    (folder / "parallel.onnx").write_bytes(model.SerializeToString())
    config = json.loads((folder / "config.json").read_text())
    config["runtime"]["graphs"]["parallel.onnx"] = file_sum(folder / "parallel.onnx")
    (folder / "config.json").write_text(json.dumps(with_sum(config)))
    return OnnxRecognizer(folder)


LINE = Image.new("L", (140, 28), 255)


def test_a_graph_of_the_declared_shapes_is_run(tmp_path: Path) -> None:
    assert signed(tmp_path / "copy", graph()).decode([LINE], "parallel").texts


@pytest.mark.parametrize(
    "model",
    [
        graph(name="pixels"),
        graph(pixels=["b", 1, 28, 140]),
        graph(pixels=["b", 3, 40, 320]),
        graph(pixels=["b", 3, 28]),
        graph(kind=TensorProto.DOUBLE),
        graph(more=1),
        graph([1, 5, 12]),
        graph([1, 5]),
        graph([1, 5, 11, 1]),
    ],
)
def test_a_graph_of_other_inputs_or_outputs_is_refused(tmp_path: Path, model: Any) -> None:
    with pytest.raises(InputError, match=r"parallel\.onnx is no graph of parallel \(.*\): write it again"):
        signed(tmp_path / "copy", model).decode([LINE], "parallel")


def test_a_graph_that_fails_when_it_is_run_is_named(tmp_path: Path) -> None:
    model = graph()
    model.graph.node.insert(0, helper.make_node("Reshape", ["pixel_values", "shape"], ["log_probs"]))
    del model.graph.node[1]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 5, 11]), "shape"))
    with pytest.raises(InputError, match=r"parallel\.onnx cannot be run \("):
        signed(tmp_path / "copy", model).decode([LINE], "parallel")


def of_shape(*sizes: int) -> Any:
    """A constant of this shape, and no data."""
    model = graph()
    del model.graph.node[0]
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["log_probs"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes), "shape"))
    return model


def claims(*sizes: int, external: bool = False) -> Any:
    """A tensor of this shape, and no data."""
    model = graph()
    tensor = TensorProto(dims=sizes, data_type=FLOAT, name="claim")
    if external:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/hostname")
    model.graph.initializer.append(tensor)
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (of_shape(2**31), "makes a tensor of more than"),
        (of_shape(2**16, 2**15), "makes a tensor of more than"),
        (claims(2**31), "too few for a tensor of 2147483648"),
        (claims(2**40, 0), "too few for a tensor of"),
        (claims(1, external=True), "keeps tensors in other files"),
    ],
)
def test_what_a_file_claims_is_not_allocated(tmp_path: Path, model: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        signed(tmp_path / "copy", model).decode([LINE], "parallel")


@pytest.mark.parametrize("content", [b"\x08\xff", b"\x08" + b"\xff" * 20, b"\x3a\x7f", b"\x0b\x00"])
def test_what_is_no_onnx_file_is_said(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no ONNX file|cut"):
        check_tensors(content)
