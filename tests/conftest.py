"""What several test files share: synthetic digits, very small recognizers, and no way out of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from seqocr.data.processor import Processor
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.shown import MARKS, OTHER
from seqocr.data.sources.datasets import DIGITS, Digits
from seqocr.models.encoder import Encoder
from seqocr.models.recognizer import Recognizer

HERE = {each.address for addresses in psutil.net_if_addrs().values() for each in addresses}
HERE |= {"127.0.0.1", "::1", "localhost"}
SMALL_ENCODER = {
    "model_type": "deit",
    "image_size": [28, 84],
    "patch_size": [14, 14],
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SMALL_DECODER = {
    "d_model": 16,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "activation_function": "relu",
    "dropout": 0.0,
}


# Files that take longest, half a minute and more. Several processes begin with them, or one would end alone.
LONG = (
    *("test_plugin_heads", "test_distributed", "test_committed", "test_engines", "test_runner", "test_export"),
    *(
        *("test_notebook", "test_template"),
        "test_other_readers",
        "test_cold_start",
        "test_stem",
        "test_toys",
        "test_backends",
        "test_self_training",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: names.get(item.path.stem, len(LONG)))


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No connection leaves this machine, and nothing is taken from the data folder of whoever runs this."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX or str(address[0]) in HERE:
            return connect(self, address)
        raise ConnectionRefusedError(f"tests may not connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", only_here)
    monkeypatch.setenv("SEQOCR_DATA", str(tmp_path_factory.getbasetemp() / "no-data"))


@pytest.fixture(autouse=True)
def _no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that other tests run meanwhile keeps no clock from starting."""
    if "bench.core.exclusive" in sys.modules and not request.module.__name__.endswith("test_exclusive"):
        monkeypatch.setattr("bench.core.exclusive.ray_nodes", list)


@pytest.fixture(autouse=True)
def _no_committed_study(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The study that is committed is in the report of a made-up run no more than in its measurements."""
    if "bench.report.build" in sys.modules and not request.module.__name__.endswith("test_committed"):
        nowhere = tmp_path_factory.getbasetemp() / "no-study"
        monkeypatch.setattr("bench.study._COMMITTED", nowhere)


def coded(count: int, split: str = "train") -> Digits:
    """Digits whose first pixels spell their index and whose other pixels are 20 times their label."""
    labels = torch.arange(count) * 7 % 10
    images = (labels * 20).to(torch.uint8).view(-1, 1, 1).repeat(1, 28, 28)
    images[:, 0, 0], images[:, 0, 1] = torch.arange(count) // 256, torch.arange(count) % 256
    return Digits(images, labels, "made for the test", split)


def barred(count: int, split: str = "train") -> Digits:
    """Digits anyone can tell apart: a bright bar whose height is the label."""
    labels = torch.arange(count) * 7 % 10
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[2 * label + 2 : 2 * label + 6, 4:24] = 255
    return Digits(images, labels, "made for the test", split)


def small_recognizer(
    heads: tuple[str, ...] = ("ar", "parallel", "ctc"),
    charset: str = DIGITS,
    max_length: int = 3,
    seed: int = 0,
    **encoder: Any,
) -> Recognizer:
    """A recognizer of a few thousand random weights."""
    torch.manual_seed(seed)
    settings = {name: dict(SMALL_DECODER) if name == "ar" else {} for name in heads}
    built = Encoder.from_config({**SMALL_ENCODER, **encoder})
    return Recognizer(built, Processor(*built.image_size), settings, charset, max_length).eval()


def stem_recognizer(marks: str = MARKS + OTHER) -> Recognizer:
    """A recognizer of a few thousand random weights that takes lines of up to 128 pixels, as wide as they are."""
    torch.manual_seed(1)
    more: Any = {"image_size": [32, 128], "patch_size": [32, 8], "stem_channels": [4, 4, 8]}
    built = Encoder.from_config({**SMALL_ENCODER, **more})
    processor = Processor(32, 128, width_multiple=32, standardise=True)
    settings = {"ar": dict(SMALL_DECODER), "parallel": {"counts": True}, "ctc": {"frames_a_column": 2}}
    recognizer = Recognizer(built, processor, settings, DIGITS, 6, marks=marks)
    lively(recognizer)
    return recognizer


def lively(module: torch.nn.Module, scale: float = 0.6, seed: int = 0) -> torch.nn.Module:
    """Weights so large that outputs depend strongly on inputs; freshly initialised heads say much the same of all."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if p.dim() >= 2:
                p.copy_(torch.randn(p.shape, generator=generator) * scale)
    return module.eval()


def exported_once(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its graphs, in float32. They take half a minute: all processes that run tests share them."""
    from seqocr.inference.export import export

    weights = b"".join(x.numpy().tobytes() for x in recognizer.state_dict().values())
    digest = hashlib.sha256(weights + json.dumps(recognizer.config(), sort_keys=True).encode()).hexdigest()[:16]
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"graphs-{digest}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            export(recognizer, folder)
    return folder


def same_decoded(a: Any, b: Any, tolerance: float = 1e-5) -> bool:
    return a.texts == b.texts and a.passes == b.passes and np.allclose(a.confidences, b.confidences, atol=tolerance)


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if PyTorch were not installed."""
    for name in [each for each in sys.modules if each.startswith("seqocr.models.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # type: ignore[arg-type]


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: its exit code, stdout and stderr."""
    from seqocr import cli

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["seqocr", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def assert_same_alone_and_in_any_batch(make: Callable[[], SequenceMNIST]) -> None:
    """Of a data set made twice: one asked for everything at once, the other for one string at a time, then for some."""
    strings, again = make(), make()
    images, texts = strings.batch(range(len(strings)))
    for i in reversed(range(len(strings))):
        image, text = again[i]
        assert text == texts[i]
        assert torch.equal(image, images[i])
    some = [5, 0, 3]
    for i, (image, text) in zip(some, again.__getitems__(some), strict=True):
        assert text == texts[i]
        assert torch.equal(image, images[i])


def own_lines(folder: Path, count: int, charset: str = DIGITS, longest: int = 3) -> Path:
    """A folder of one's own: lines of bars, dark on light, each as high as its symbol's place in the charset."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["file_name,text"]
    for i in range(count):
        places = [(7 * i + 3 * k + i // 10) % len(charset) for k in range(1 + i % longest)]
        pixels = np.full((20, 14 * len(places)), 230, dtype=np.uint8)
        for k, place in enumerate(places):
            pixels[: 2 + 16 * (place + 1) // len(charset), 14 * k + 3 : 14 * k + 11] = 30
        Image.fromarray(pixels).save(folder / f"line-{i:03}.png")
        rows.append(f"line-{i:03}.png,{''.join(charset[place] for place in places)}")
    (folder / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder
