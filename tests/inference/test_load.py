"""Which directory holds what, and files that cannot be used."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import seqocr
from seqocr.errors import InputError, MissingExtraError
from seqocr.inference import sessions
from seqocr.inference.load import load
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.config_sum import with_sum
from seqocr.models.recognizer import Recognizer
from tests.conftest import SMALL_ENCODER, lively, small_recognizer


def lines(count: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 28, 84), dtype=torch.uint8, generator=generator)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    recognizer = small_recognizer()
    lively(recognizer)
    save(recognizer, tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.parametrize(
    "encoder",
    [
        {"model_type": "deit"},
        {"model_type": "vit", "patch_size": [14, 7]},
        {"model_type": "beit", "image_size": [28, 84], "patch_size": 14, "use_relative_position_bias": True},
    ],
)
def test_what_was_saved_reads_exactly_as_before(tmp_path: Path, encoder: dict[str, Any]) -> None:
    recognizer = small_recognizer(charset="0123456789-", max_length=4, **encoder)
    lively(recognizer)
    recognizer.provenance = {"encoder": "small", "step": 7}
    save(recognizer, tmp_path)
    loaded = load_recognizer(tmp_path)
    assert (loaded.charset, loaded.max_length, loaded.provenance) == ("0123456789-", 4, {"encoder": "small", "step": 7})
    assert loaded.processor == recognizer.processor
    assert not loaded.training
    assert loaded.decode_functions().keys() == recognizer.decode_functions().keys()
    assert torch.equal(loaded.encode(lines()), recognizer.encode(lines()))
    for variant in recognizer.decode_functions():
        before, after = recognizer.decode(lines(), variant), loaded.decode(lines(), variant)
        assert (before.texts, before.passes) == (after.texts, after.passes)
        assert np.array_equal(before.confidences, after.confidences)


def test_saving_again_replaces_and_leaves_two_plain_files(saved: Path) -> None:
    recognizer = small_recognizer(seed=1)
    save(recognizer, saved)
    assert torch.equal(load_recognizer(saved).encode(lines()), recognizer.encode(lines()))
    assert {path.name for path in saved.iterdir()} == {"model.safetensors", "config.json"}


def test_files_are_as_readable_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save(small_recognizer(), tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_seqocr_load_is_the_way_in(saved: Path) -> None:
    assert seqocr.load is load
    assert isinstance(load(saved), Recognizer)
    assert isinstance(load(), OnnxRecognizer)
    assert isinstance(load(head="ar"), Recognizer)
    with pytest.raises(AttributeError, match="nothing"):
        seqocr.nothing  # noqa: B018


# Engines.


@pytest.fixture
def openvino_installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As if it were: which graphs it was given."""
    loaded: list[str] = []
    monkeypatch.setitem(sys.modules, "openvino", ModuleType("openvino"))

    def init(self: Any, path: Path, threads: int) -> None:
        loaded.append(path.stem)
        self.signature = sessions.OnnxRuntimeSession(path, threads).signature

    monkeypatch.setattr(sessions.OpenVinoSession, "__init__", init)
    return loaded


def test_an_engine_is_never_ignored(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown engine 'banana': choose one of onnxruntime, openvino"):
        load(str(saved), engine="banana")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"openvino is not installed: pip install 'seqocr\[openvino\]'"):
        load(str(saved), engine="openvino")


def test_an_engine_takes_graphs_alone(saved: Path, openvino_installed: list[str]) -> None:
    with pytest.raises(InputError, match=r"--engine openvino is for exported graphs, and .* holds none"):
        load(str(saved), engine="openvino")
    for head in ("", "ctc", None):
        reader = load(None, head, engine="openvino")
        assert (reader.engine, set(reader.heads)) == ("openvino", {"parallel", "ctc"})
    with pytest.raises(InputError, match="openvino is for exported graphs"):
        load(None, "ar", engine="openvino")
    reader.session("ctc", 1)
    assert openvino_installed == ["ctc"]


def test_weights_that_are_not_there_name_those_that_are() -> None:
    with pytest.raises(InputError, match=r"the folder nosuch is missing.*shipped weights: tiny, strings, numbers"):
        load("nosuch")


# Files that cannot be used.


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        load_recognizer(saved)


def test_weights_other_than_those_that_were_written_are_refused(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    save(small_recognizer(seed=1), other)
    shutil.copyfile(other / "model.safetensors", saved / "model.safetensors")
    with pytest.raises(
        InputError, match=r"model.safetensors cannot be used \(it is not the file that was written beside"
    ):
        load_recognizer(saved)
    config = json.loads((saved / "config.json").read_text())
    del config["files"]  # as of earlier versions
    (saved / "config.json").write_text(json.dumps(with_sum(config)))
    assert load_recognizer(saved).charset


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, -1])
def test_truncated_weights_are_named(saved: Path, keep: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors cannot be used"):
        load_recognizer(saved)


@pytest.mark.parametrize("keep", [0, 1, 100, -3])
def test_a_truncated_config_is_named(saved: Path, keep: int) -> None:
    path = saved / "config.json"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"config\.json is not a recognizer's config"):
        load_recognizer(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", None),
        ("format", 99),
        ("encoder", None),
        ("encoder", "deit"),
        ("encoder", {"model_type": "swin"}),
        ("encoder", {**SMALL_ENCODER, "hidden_size": "many"}),
        ("encoder", {**SMALL_ENCODER, "image_size": [30, 84]}),
        ("heads", None),
        ("heads", ["ar"]),
        ("heads", {"lstm": {}}),
        ("heads", {"parallel": {"layers": 3}}),
        ("processor", {"colour": True}),
        ("charset", "00"),
        ("charset", 7),
        ("max_length", 0),
        ("max_length", "five"),
        (None, []),
        (None, "text"),
    ],
)
def test_a_config_that_makes_no_recognizer_is_named(saved: Path, key: str | None, value: Any) -> None:
    path = saved / "config.json"
    config = json.loads(path.read_text())
    if key is None:
        config = value
    elif value is None:
        del config[key]
    else:
        config[key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json"):
        load_recognizer(saved)


def test_bytes_that_are_no_text_are_named(saved: Path) -> None:
    (saved / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"config\.json is not"):
        load_recognizer(saved)


@pytest.mark.parametrize("change", [{"max_length": 2}, {"heads": {"parallel": {}}}, {"charset": "01"}])
def test_weights_that_do_not_fit_the_config_are_named(saved: Path, change: dict[str, Any]) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"model\.safetensors cannot be used"):
        load_recognizer(saved)


class Bomb:
    """Unpickled, it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_weights_are_never_unpickled(saved: Path, tmp_path: Path, write: Any) -> None:
    trace = tmp_path / "trace"
    with (saved / "model.safetensors").open("wb") as file:
        write({"weights": Bomb(trace)}, file)
    with pytest.raises(InputError, match=r"model\.safetensors cannot be used"):
        load_recognizer(saved)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["tiny", "strings", "numbers"])
def test_shipped_weights_load_by_name(name: str) -> None:
    assert load_recognizer(weights_path(name)).charset == "0123456789"
    assert weights_path(None) == weights_path("numbers")


def test_weights_of_16_bits_are_half_the_size_and_read_the_same(tmp_path: Path) -> None:
    recognizer = lively(small_recognizer(), scale=0.4)
    for half in (False, True):
        save(recognizer, tmp_path / str(half), half)
    whole, small = ((tmp_path / str(half) / "model.safetensors").stat().st_size for half in (False, True))
    assert small < 0.7 * whole
    images = torch.randint(0, 256, (8, 28, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    again = load_recognizer(tmp_path / "True")
    assert all(p.dtype == torch.float32 for p in again.parameters())
    for head in recognizer.heads:
        assert again.decode(images, head).texts == recognizer.decode(images, head).texts


def test_without_pytorch_it_says_what_to_install_and_what_reads_without(without_torch: None) -> None:
    with pytest.raises(MissingExtraError) as caught:
        load(head="ar")
    assert str(caught.value) == (
        "torch is not installed, which this needs: pip install 'seqocr[train]'; parallel and ctc read without it"
    )
