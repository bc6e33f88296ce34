"""Exported graphs read without torch: what is loaded, and that it reads what the weights read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seqocr.data.pixels import Fit
from seqocr.data.processor import Processor
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.decoding.automaton import build_universal
from seqocr.errors import InputError
from seqocr.inference.image_files import predict_files
from seqocr.inference.manifest import exported_outputs
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.inference.sessions import BatchThreads
from seqocr.inference.shipped import graphs_path, weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from tests.conftest import exported_once, lively, small_recognizer

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

HEADS = ("ar", "parallel", "ctc")
every_head = pytest.mark.parametrize("head", HEADS)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    recognizer = small_recognizer(max_length=3)
    lively(recognizer, scale=0.4)
    return recognizer


@pytest.fixture(scope="module")
def directory(recognizer, tmp_path_factory) -> Path:
    return exported_once(recognizer, tmp_path_factory)


def lines(count: int, seed: int = 0) -> list[Image.Image]:
    """Of the encoder's own size, so that nothing is resized."""
    generator = np.random.default_rng(seed)
    return [Image.fromarray(generator.integers(0, 256, (28, 84), dtype=np.uint8)) for _ in range(count)]


@every_head
@pytest.mark.parametrize("threads", [1, 2])
def test_it_reads_what_the_weights_read(recognizer, directory, head, threads):
    images = lines(40)
    theirs = recognizer.decode(images, head)
    assert len(set(theirs.texts)) > 5, "all read alike: the test would show nothing"
    for some in (images, images[:1], images[:7]):
        ours = OnnxRecognizer(directory, threads=threads).decode(some, head)
        assert ours.texts == theirs.texts[: len(some)]
        assert np.allclose(ours.confidences, theirs.confidences[: len(some)], atol=1e-5)
        assert ours.line_passes == theirs.line_passes[: len(some)]


@every_head
def test_no_image_is_no_text(directory, head):
    found = OnnxRecognizer(directory).decode([], head)
    assert (found.texts, len(found.confidences), found.passes) == ([], 0, 0)


def test_neither_torch_nor_anything_else_that_is_slow_is_imported(directory, tmp_path):
    lines(1)[0].save(tmp_path / "line.png")
    program = f"""
import sys
from pathlib import Path
import seqocr
from seqocr.inference.image_files import image_files
reader = seqocr.load(Path({str(directory)!r}))
for head in ("ar", "parallel", "ctc"):
    for options in (seqocr.ReadOptions(head), seqocr.ReadOptions(head, top=2, positions=True)):
        assert [r.problem for r in seqocr.predict_files(reader, image_files([{str(tmp_path)!r}]), options)] == [""]
slow = ("torch", "torchvision", "transformers", "pandas", "scipy", "matplotlib", "safetensors", "onnx")
print([name for name in slow if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


SIZES = [(28, 84), (40, 60), (13, 300), (90, 20), (200, 1), (4, 9000)]


@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_weights_and_graphs_are_given_the_same_bit_for_bit(keep_aspect, size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
    fields = (28, 84, keep_aspect, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))
    ours = Fit(*fields)([image])
    assert np.array_equal(ours, Processor(*fields)([image]).numpy())
    assert np.array_equal(ours, Processor(*fields)(torch.from_numpy(np.array(image))[None]).numpy())
    assert np.array_equal(ours, Fit(*fields)([np.asarray(image)]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json"),
        (lambda d: (d / "config.json").write_text("[]"), "describes no exported graphs"),
        (lambda d: _with(d, runtime={"name": "onnx", "format": 1, "graphs": {}}), "another version"),
        (lambda d: _with(d, charset="abcdefghij"), "is not what the graphs were written with"),
        (lambda d: (d / "ctc.onnx").unlink(), "ctc.onnx is missing"),
        (lambda d: (d / "parallel.onnx").write_bytes((d / "ctc.onnx").read_bytes()), "parallel.onnx is not the graph"),
        (lambda d: (d / "ctc.onnx").write_bytes(b"other"), "is not the graph that was written there"),
    ],
)
def test_what_is_not_an_export_says_so(directory, tmp_path, change, said):
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    change(tmp_path)
    with pytest.raises(InputError, match=said):
        OnnxRecognizer(tmp_path).decode(lines(1), "ctc")


def _with(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_head_that_is_not_there_says_so(directory, recognizer, tmp_path):
    with pytest.raises(InputError, match="no head 'best' among these graphs, which have ar, parallel, ctc"):
        OnnxRecognizer(directory).decode(lines(1), "best")
    assert exported_outputs(directory) == {"ar": "tokens", "parallel": "slots", "ctc": "ctc"}
    assert exported_outputs(tmp_path) == {}


@pytest.mark.parametrize("name", ["tiny", "strings", "numbers"])
@pytest.mark.parametrize("head", ["parallel", "ctc"])
def test_shipped_graphs_read_what_shipped_weights_read(name, head):
    """But for the rounding of 8 bits."""
    reader, recognizer = OnnxRecognizer(graphs_path(name)), load_recognizer(weights_path(name))
    images, texts = SequenceMNIST(embedded_digits(), 5, count=100).batch(range(100))
    read, expected = (each.decode(list(map(np.asarray, images)), head).texts for each in (reader, recognizer))
    assert sum(a == b for a, b in zip(read, expected, strict=True)) >= 97
    assert sum(a == b for a, b in zip(read, texts, strict=True)) >= 93
    assert reader.provenance == recognizer.provenance


def test_a_head_without_shipped_graphs_is_read_with_the_weights():
    assert exported_outputs(graphs_path(None)) == {"parallel": "slots", "ctc": "ctc"}


@pytest.mark.parametrize("name", ["parallel", "ctc"])
def test_shipped_graphs_read_the_same_however_many_threads_there_are(name: str, tmp_path: Path) -> None:
    images = lines(40)
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i:02}.png")
    paths, anything = sorted(tmp_path.iterdir()), build_universal(10)
    one, two = (OnnxRecognizer(graphs_path("tiny"), threads=threads) for threads in (1, 2))
    assert np.array_equal(one.decode(images, name).confidences, two.decode(images, name).confidences)
    for options in (ReadOptions(name), ReadOptions(name, anything)):
        alone, together = (list(predict_files(reader, paths, options)) for reader in (one, two))
        assert alone == together
    whole = one.log_probs(images, name)
    assert np.array_equal(whole[:16], one.log_probs(images[:16], name)) != one.rounds_by_batch
    assert together == predict(two, images, options)


def test_files_are_not_read_side_by_side_where_an_engine_cannot(directory, tmp_path, monkeypatch) -> None:
    for i, image in enumerate(lines(8)):
        image.save(tmp_path / f"{i}.png")
    paths, reader = sorted(tmp_path.iterdir()), OnnxRecognizer(directory, threads=2)
    expected = list(predict_files(reader, paths))
    reader.batch_threads = BatchThreads(2, "openvino")
    monkeypatch.setattr(OnnxRecognizer, "with_threads", None)
    assert [one.text for one in predict_files(reader, paths)] == [one.text for one in expected]
