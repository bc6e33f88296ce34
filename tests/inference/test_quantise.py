"""Graphs in 8 bits: a line reads the same whatever is read beside it, and nearly as in float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
import onnx

from seqocr.errors import InputError
from seqocr.inference.export import export, quantise_exported
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.quantise import observed_tensors, quantise
from seqocr.inference.ranges import observe_ranges, open_lines, synthetic_lines
from seqocr.inference.sessions import Session, load_session
from seqocr.models.checkpoint import save
from seqocr.models.config_sum import without_sum
from seqocr.models.recognizer import Recognizer
from tests.conftest import barred, exported_once, lively, small_recognizer
from tests.data.test_strokes import written

HEADS = ("ar", "ar-speculative", "parallel", "ctc")
every_head = pytest.mark.parametrize("head", HEADS)
BATCHES = (1, 2, 7, 64)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    recognizer = small_recognizer(max_length=3)
    lively(recognizer, scale=0.4)
    return recognizer


@pytest.fixture(scope="module")
def full(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_once(recognizer, tmp_path_factory)


@pytest.fixture(scope="module")
def directory(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8")
    quantise_exported(full, out, lines(64, seed=1))
    return out


def lines(count: int, seed: int = 0) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    return [Image.fromarray(generator.integers(0, 256, (28, 84), dtype=np.uint8)) for _ in range(count)]


def assert_alike_in_any_batch(reader: OnnxRecognizer, images: list[Any], head: str) -> None:
    expected = reader.decode(images, head)
    assert len(set(expected.texts)) > 5, "all read alike: the test would show nothing"
    for batch_size in BATCHES:
        found = reader.decode(images, head, batch_size)
        assert found.texts == expected.texts
        assert np.array_equal(found.confidences, expected.confidences)
        assert found.line_passes == expected.line_passes
    others = reader.decode([*lines(5, seed=2), *images[::-1]], head)
    assert others.texts[5:] == expected.texts[::-1]
    assert np.array_equal(others.confidences[5:], expected.confidences[::-1])


@pytest.mark.parametrize("threads", [1, 2])
@every_head
def test_a_line_reads_the_same_whatever_is_read_beside_it(directory: Path, head: str, threads: int) -> None:
    reader = OnnxRecognizer(directory, threads=threads)
    assert not reader.rounds_by_batch
    assert_alike_in_any_batch(reader, lines(70), head)


@every_head
def test_most_lines_read_as_in_float32(full: Path, directory: Path, head: str) -> None:
    images = lines(100)
    ours, theirs = (OnnxRecognizer(each).decode(images, head) for each in (directory, full))
    assert sum(a == b for a, b in zip(ours.texts, theirs.texts, strict=True)) >= 85  # random weights are undecided
    assert not np.array_equal(ours.confidences, theirs.confidences)


def test_graphs_and_lines_decide_each_byte(full: Path, directory: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 1), ("other", 3)):
        quantise_exported(full, tmp_path / name, lines(64, seed=seed))
    for path in directory.iterdir():
        assert path.read_bytes() == (tmp_path / "same" / path.name).read_bytes()
    assert (directory / "ctc.onnx").read_bytes() != (tmp_path / "other" / "ctc.onnx").read_bytes()


def test_sums_of_two_products_fit_into_16_bits(directory: Path) -> None:
    """Where processors add them so, larger weights give other numbers than elsewhere."""
    constants = onnx.load(directory / "parallel.onnx").graph.initializer
    weights = [each for each in constants if each.data_type == onnx.TensorProto.INT8]
    largest = [int(np.abs(onnx.numpy_helper.to_array(x).astype(int)).max()) for x in weights]
    assert max(largest) == 64
    assert 2 * 255 * max(largest) < 2**15


def test_the_default_lines_are_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqocr.data.sources.datasets.embedded_digits", lambda: barred(200))
    first, second = synthetic_lines(3), synthetic_lines(3)
    assert len(first) > 90
    assert all(map(np.array_equal, first, second))


def test_graphs_of_earlier_versions_round_by_batch(directory: Path, tmp_path: Path) -> None:
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = without_sum(json.loads((tmp_path / "config.json").read_text()))
    del config["runtime"]["activations"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert OnnxRecognizer(tmp_path).rounds_by_batch


def test_numbers_that_cannot_be_scaled_are_refused(recognizer: Recognizer, full: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no calibration lines"):
        quantise_exported(full, tmp_path, [])
    broken = small_recognizer(("ctc",))
    with torch.no_grad():
        next(broken.heads["ctc"].parameters()).fill_(float("nan"))
        next(broken.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="not finite: these weights cannot be quantised"):
        export(broken, tmp_path, precision="int8", calibration=lines(2))
    assert not list(tmp_path.iterdir())


def test_the_command_line_takes_calibration_lines(
    recognizer: Recognizer, tmp_path: Path, run_cli: Callable[..., tuple[int, str, str]]
) -> None:
    save(recognizer, tmp_path / "weights")
    (tmp_path / "lines").mkdir()
    for i, line in enumerate(lines(8)):
        line.save(tmp_path / "lines" / f"{i}.png")
    assert len(open_lines(str(tmp_path / "lines"))) == 8
    given = "export", "--weights", tmp_path / "weights", "--heads", "ctc", "--calibration", tmp_path / "lines"
    code, out, err = run_cli(*given, "--out", tmp_path / "out", "--precision", "int8")
    assert (code, err) == (0, "")
    assert f"{tmp_path / 'out' / 'ctc.onnx'}: " in out
    code, _, err = run_cli(*given, "--out", tmp_path / "out")
    assert (code, err) == (
        2,
        "error: --calibration and --glyphs are for --precision int8: add that, or leave them out\n",
    )
    code, _, err = run_cli(*given[:-1], tmp_path / "none", "--out", tmp_path / "out", "--precision", "int8")
    assert code == 2
    assert "none" in err
    written(strokes := tmp_path / "digits.jsonl")
    given = "export", "--weights", tmp_path / "weights", "--heads", "ctc", "--precision", "int8", "--glyphs", strokes
    code, _, err = run_cli(*given, "--out", tmp_path / "of-glyphs")
    assert (code, err) == (0, "")
    read = [(tmp_path / name / "ctc.onnx").read_bytes() for name in ("out", "of-glyphs")]
    assert read[0] != read[1]
    code, _, err = run_cli(*given, "--calibration", tmp_path / "lines", "--out", tmp_path / "both")
    assert (code, err) == (2, "error: --calibration beside --glyphs: give one of both\n")


def stem(path: Path) -> None:
    """Write a graph of two convolutions with ReLU and a product of each column: pixels (B, 3, 8, W) to (B, W/2, 5)."""
    generator = np.random.default_rng(0)
    sizes = {"a": (8, 3, 3, 3), "b": (16, 8, 3, 3), "c": (16 * 4, 5), "a.bias": (8,), "b.bias": (16,), "c.bias": (5,)}
    constants = {name: generator.normal(0, 0.3, size).astype(np.float32) for name, size in sizes.items()}
    node: Any = onnx.helper.make_node
    around = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        node("Conv", ["pixels", "a", "a.bias"], ["first"], strides=[2, 2], **around),
        node("Relu", ["first"], ["one"]),
        node("Conv", ["one", "b", "b.bias"], ["second"], **around),
        node("Relu", ["second"], ["two"]),
        node("Transpose", ["two"], ["columns"], perm=[0, 3, 1, 2]),
        node("Reshape", ["columns", "shape"], ["flat"]),
        node("MatMul", ["flat", "c"], ["product"]),
        node("Add", ["product", "c.bias"], ["found"]),
    ]
    kept = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    kept.append(onnx.numpy_helper.from_array(np.array([0, 0, 64]), "shape"))
    value, number = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    inputs, outputs = [value("pixels", number, ["B", 3, 8, "W"])], [value("found", number, ["B", "T", 5])]
    graph = onnx.helper.make_graph(nodes, "stem", inputs, outputs, kept)
    opsets = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def run(session: Session, pixels: np.ndarray) -> np.ndarray:
    (found,) = session({"pixels": session.value(pixels)})
    return session.array(found)


def test_convolutions_are_quantised_at_any_width(tmp_path: Path) -> None:
    source, out = tmp_path / "stem.onnx", tmp_path / "int8.onnx"
    stem(source)
    assert observed_tensors(source) == ["flat", "one", "pixels", "two"]
    ranges = {"flat": (0.0, 9.0), "one": (0.0, 6.0), "pixels": (-1.0, 1.0), "two": (0.0, 9.0)}
    quantise(source, out, ranges)
    kinds = [node.op_type for node in onnx.load(out).graph.node]
    assert kinds.count("MatMulIntegerToFloat") == 1
    assert not {"MatMul", "Add"} & set(kinds)
    assert not [x for x in onnx.load(out).graph.initializer if x.name in ("a", "b", "c")]
    full, quantised = load_session(source), load_session(out)
    for width in (16, 40):
        pixels = np.random.default_rng(width).uniform(-1, 1, (9, 3, 8, width)).astype(np.float32)
        expected, found = run(full, pixels), run(quantised, pixels)
        assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
        for count in (1, 2, 7):
            assert np.array_equal(run(quantised, pixels[:count]), found[:count])


def test_ranges_are_those_of_what_heads_read(full: Path) -> None:
    few, many = (observe_ranges(full, lines(count), observed_tensors) for count in (2, 40))
    assert set(few) == {path.stem for path in full.glob("*.onnx")}
    for name, ranges in few.items():
        assert ranges
        for tensor, (low, high) in ranges.items():
            assert many[name][tensor][0] <= low <= 0 <= high <= many[name][tensor][1]
