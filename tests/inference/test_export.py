"""Exported graphs: written, loaded, and reading what the weights read."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import seqocr
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError
from seqocr.inference.export import export
from seqocr.inference.load import load
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.sessions import BatchThreads, load_session
from seqocr.inference.shipped import SHIPPED
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.heads import registry as heads
from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.one_pass import OnePassHead
from seqocr.models.recognizer import Recognizer
from tests.conftest import exported_once, lively, same_decoded, small_recognizer

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

HEADS = ("ar", "ar-speculative", "parallel", "ctc")
every_head = pytest.mark.parametrize("head", HEADS)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    recognizer = small_recognizer(max_length=3)
    lively(recognizer, scale=0.4)
    return recognizer


@pytest.fixture(scope="module")
def directory(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = exported_once(recognizer, tmp_path_factory)
    pair = ["ar-speculative-pass.onnx", "ar-speculative.onnx"]
    names = [*pair, "ar-step.onnx", "ar.onnx", "config.json", "ctc.onnx", "parallel.onnx"]
    assert sorted(path.name for path in directory.iterdir()) == names
    return directory


def engines() -> list[str]:
    return ["onnxruntime", pytest.param("openvino", marks=pytest.mark.skipif(not _has_openvino(), reason="optional"))]  # type: ignore[list-item]


def _has_openvino() -> bool:
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


def lines(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 28, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )  # fmt: skip


@pytest.mark.parametrize("engine", engines())
@every_head
def test_graphs_read_what_the_weights_read(recognizer: Recognizer, directory: Path, head: str, engine: str) -> None:
    reader, images = OnnxRecognizer(directory, engine), lines(40)
    theirs = recognizer.decode(images, head)
    assert len(set(theirs.texts)) > 5, "all read alike: the test would show nothing"
    for batch_size in (1, 7, 64):
        ours = reader.decode(images, head, batch_size)
        assert ours.texts == theirs.texts
        np.testing.assert_allclose(ours.confidences, theirs.confidences, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("engine", engines())
def test_a_forced_length_takes_that_many_passes(recognizer: Recognizer, directory: Path, engine: str) -> None:
    reader, images = OnnxRecognizer(directory, engine), lines(5)
    for length in (1, 3):
        ours = reader.decode_functions()["ar"](reader.encode(images), length=length)
        assert same_decoded(ours, recognizer.decode_functions()["ar"](recognizer.encode(images), length=length))
        assert ours.passes == length + 1
        verified = reader.decode_functions()["ar-speculative"](reader.encode(images), length=length)
        assert verified.texts == ours.texts
        assert 1 <= verified.passes <= length + 1


@pytest.mark.parametrize("engine", engines())
@every_head
def test_confidences_asked_for_late_are_those_of_the_moment(directory: Path, head: str, engine: str) -> None:
    """An engine may write the next call's numbers where this one's were."""
    decode, pixel_values = (
        OnnxRecognizer(directory, engine, threads=1).decode_functions()[head],
        torch.rand(6, 3, 28, 84),
    )
    early = decode(pixel_values).confidences.copy()
    late = decode(pixel_values)
    decode(pixel_values.flip(0))
    decode(1 - pixel_values)
    assert np.array_equal(late.confidences, early)


class Stripes(OnePassHead):
    """A head that reads a symbol from each third of a line's tokens: all that a file of one needs to hold."""

    name = "stripes"
    output = "slots"

    def __init__(self, features: FeatureMap, charset: str, max_length: int) -> None:
        super().__init__(features, charset, max_length)
        self.classify = nn.Linear(features.dim, len(charset) + 1)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.classify(torch.stack([part.mean(dim=1) for part in features[:, :6].split(2, dim=1)], dim=1))


def test_a_one_pass_head_needs_no_code_but_its_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(heads.HEADS, "stripes", Stripes)
    recognizer = lively(small_recognizer(("stripes",)), scale=0.4)
    features, texts = recognizer.encode(lines(8)).clone(), ["123", "456", "789", "012"] * 2
    head = recognizer.heads["stripes"]
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
    before = head.loss(features, texts)
    before.backward()
    optimizer.step()
    assert head.loss(features, texts) < before
    theirs = recognizer.decode(lines(40), "stripes")
    assert theirs.passes == 1
    assert len(set(theirs.texts)) > 5
    export(recognizer, tmp_path)
    assert same_decoded(OnnxRecognizer(tmp_path).decode(lines(40), "stripes"), theirs)


@pytest.mark.parametrize("count", [3, 4, 37])
def test_a_batch_shared_out_among_threads_is_read_in_order(recognizer: Recognizer, directory: Path, count: int) -> None:
    reader, images = OnnxRecognizer(directory, threads=2), lines(count)
    for head in HEADS:
        ours = reader.decode_functions()[head](reader.encode(images))
        assert same_decoded(ours, recognizer.decode_functions()[head](recognizer.encode(images)))
        assert len(set(ours.texts)) > 1


def test_lines_are_divided_among_threads_in_small_parts() -> None:
    def work(part: torch.Tensor, threads: int) -> list[int]:
        return [threads, *part.tolist()]

    assert BatchThreads(2).map(work, torch.arange(3)) == [[2, 0, 1, 2]]
    assert BatchThreads(2).map(work, torch.arange(5)) == [[1, 0, 1, 2], [1, 3, 4]]
    assert BatchThreads(2, "openvino").map(work, torch.arange(5)) == [[2, 0, 1, 2, 3, 4]]
    assert BatchThreads(1).map(work, torch.arange(40)) == BatchThreads(2).map(work, torch.arange(40))
    parts = BatchThreads(2).map(work, torch.arange(100))
    assert [symbol for part in parts for symbol in part[1:]] == list(range(100))
    assert max(map(len, parts)) <= 17


def test_only_the_heads_asked_for_are_written(recognizer: Recognizer, tmp_path: Path) -> None:
    assert [path.name for path in export(recognizer, tmp_path, ["ctc"])] == ["ctc.onnx"]
    assert list(OnnxRecognizer(tmp_path).decode_functions()) == ["ctc"]
    with pytest.raises(InputError, match="no head 'parallel' among these graphs, which have ctc"):
        OnnxRecognizer(tmp_path).decode(lines(1), "parallel")


def test_load_takes_either_kind_of_directory(recognizer: Recognizer, directory: Path, tmp_path: Path) -> None:
    save(recognizer, tmp_path)
    loaded = [seqocr.load(path) for path in (directory, tmp_path)]
    assert [type(reader) for reader in loaded] == [OnnxRecognizer, Recognizer]
    images = lines(10)
    assert loaded[0].decode(images, "ctc").texts == loaded[1].decode(images, "ctc").texts


def test_graphs_stay_on_the_cpu(directory: Path) -> None:
    assert isinstance(load(str(directory), device="cpu"), OnnxRecognizer)
    with pytest.raises(InputError, match="exported graphs run on the CPU"):
        load(str(directory), device="cuda")


@pytest.mark.parametrize("name", ["ar", "ar-step", "parallel", "ctc"])
def test_a_missing_or_corrupt_graph_is_named(directory: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    path = copy / f"{name}.onnx"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=rf"{name}\.onnx is not the graph that was written there.*`seqocr export`"):
        OnnxRecognizer(copy)
    with pytest.raises(InputError, match=rf"{name}\.onnx cannot be used .*`seqocr export`"):
        load_session(path, "onnxruntime")
    path.unlink()
    with pytest.raises(InputError, match=rf"{name}\.onnx is missing.*`seqocr export`"):
        OnnxRecognizer(copy)


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("runtime", "format", None, "holds graphs of another version"),  # as the first version wrote it
        ("runtime", "name", "tvm", "holds graphs for an unknown runtime"),
        ("", "runtime", "onnx", "holds graphs for an unknown runtime"),
        ("", "runtime", [], "holds graphs for an unknown runtime"),
        ("", "charset", "012345678x", r"config\.json is not what the graphs were written with"),
        ("", "charset", "01234567", r"config\.json is not what the graphs were written with"),
        ("", "max_length", 4, r"config\.json is not what the graphs were written with"),
        ("runtime", "graphs", [], r"ar\.onnx is not the graph that was written there"),
        ("", "heads", {}, r"config\.json is not what the graphs were written with"),
    ],
)
def test_an_edited_config_is_refused(
    directory: Path, tmp_path: Path, part: str, name: str, value: Any, words: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    config = json.loads((copy / "config.json").read_text())
    (config[part] if part else config)[name] = value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"{copy}.*{words}.*`seqocr export`"):
        seqocr.load(copy)


def test_graphs_under_the_names_of_others_are_refused(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    (copy / "ctc.onnx").rename(copy / "x")
    (copy / "parallel.onnx").rename(copy / "ctc.onnx")
    (copy / "x").rename(copy / "parallel.onnx")
    with pytest.raises(InputError, match=r"parallel\.onnx is not the graph that was written there"):
        seqocr.load(copy)


def test_what_the_weights_came_from_may_be_noted_afterwards(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "provenance": {"note": "ours"}}))
    assert seqocr.load(copy).decode(lines(1), "ctc").texts


def test_an_export_that_fails_leaves_nothing_or_what_was_there(
    recognizer: Recognizer, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seqocr.inference.export.write_json", full)
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    for out in (copy, tmp_path / "new"):
        with pytest.raises(InputError, match=rf"{out} cannot be written \(No space left on device\)"):
            export(recognizer, out, ["ctc"])
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert list(tmp_path.iterdir()) == [copy]


def test_what_is_not_installed_or_unknown_is_said(
    recognizer: Recognizer, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="unknown engine 'tvm': choose one of onnxruntime, openvino"):
        OnnxRecognizer(directory, "tvm")
    with pytest.raises(InputError, match="unknown precision 'int4'"):
        export(recognizer, tmp_path, precision="int4")
    for package, extra in (("openvino", "openvino"), ("onnxruntime", "onnx")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InputError, match=rf"{package} is not installed: pip install 'seqocr\[{extra}\]'"):
            OnnxRecognizer(directory, package)
    with pytest.raises(InputError, match=r"onnxruntime is not installed: pip install 'seqocr\[onnx\]'"):
        export(recognizer, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_line_exports_and_reads(
    recognizer: Recognizer, tmp_path: Path, run_cli: Callable[..., tuple[int, str, str]]
) -> None:
    save(recognizer, tmp_path / "weights")
    code, out, err = run_cli(
        "export", "--weights", tmp_path / "weights", "--out", tmp_path / "graphs", "--heads", "ctc"
    )
    assert (code, err) == (0, "")
    assert f"{tmp_path / 'graphs' / 'ctc.onnx'}: " in out
    Image.fromarray(lines(1)[0].numpy()).save(tmp_path / "line.png")
    rows = []
    for weights in ("weights", "graphs"):
        code, out, err = run_cli("read", tmp_path / "line.png", "--weights", tmp_path / weights, "--head", "ctc")
        assert (code, err) == (0, "")
        rows += csv.reader([out], delimiter="\t")
    assert rows[0][:2] == rows[1][:2]
    assert float(rows[0][2]) == pytest.approx(float(rows[1][2]), abs=1e-3)
    code, _, err = run_cli("export", "--out", tmp_path / "x", "--runtime", "tvm")
    assert (code, err) == (2, "error: --runtime tvm: choose onnx or transformers\n")


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no weights are shipped in this tree")
def test_eight_bit_weights_read_nearly_what_the_shipped_ones_read(tmp_path: Path) -> None:
    export(load_recognizer(SHIPPED), tmp_path, ["parallel"], precision="int8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "parallel.onnx"]
    full, graph = SHIPPED / "model.safetensors", tmp_path / "parallel.onnx"
    assert graph.stat().st_size < full.stat().st_size / 2
    strings = SequenceMNIST(embedded_digits(), 5, count=300)
    images, texts = strings.batch(range(300))
    ours, theirs = (
        OnnxRecognizer(tmp_path).decode(images, "parallel").texts,
        load_recognizer(SHIPPED).decode(images, "parallel").texts,
    )
    expected = OnnxRecognizer(tmp_path).decode(images[:64], "parallel")
    for batch_size in (1, 2, 7):
        found = OnnxRecognizer(tmp_path).decode(images[:64], "parallel", batch_size)
        assert (found.texts, found.confidences.tolist()) == (expected.texts, expected.confidences.tolist())
    disagreements = sum(a != b for a, b in zip(ours, theirs, strict=True))
    assert disagreements <= 6
    right = [sum(a == b for a, b in zip(read, texts, strict=True)) for read in (ours, theirs)]
    assert right[0] >= right[1] - 6
