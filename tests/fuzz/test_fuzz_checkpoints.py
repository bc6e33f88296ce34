"""Configs, weights, Hugging Face directories and exported graphs that were edited, damaged or exchanged."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from seqocr.models.hugging_face import export_hugging_face
from tests.conftest import exported_once, lively, small_recognizer
from tests.fuzz.conftest import Command, examples, strict_json

NASTY = [None, True, 0, -1, 1, 2, 10**9, 2**63, 10**400, 0.5, -1.5, 1e300, float("nan"), float("inf")]
NASTY += ["", "x", "5", "a\nb\x1b", "\ud800", "../x", "weights.bin", [], {}, [0, 0], [28], [[]], {"a": {}}, ["x"] * 9]
VALUE = st.one_of(
    st.sampled_from(NASTY),
    st.integers(-5, 200),
    st.recursive(st.booleans() | st.floats() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3)),
)
DEEP = ['{"a":' * 2000, "[" * 100_000, '{"format": 1, "heads": ' + '{"ar":' * 5000]
TEXTS = ["", "{", "[]", "null", "5", '"x"', "{}", "\ufeff{}", "{'a': 1}", '{"format": 1}', '{"format": 1}' * 2, *DEEP]

copies = count()
MANY = st.lists(st.tuples(st.integers(0, 10_000), VALUE, st.booleans()), min_size=1, max_size=2)


def another(folder: Path, tmp_path: Path) -> Path:
    """A copy without checksums, which would be all that is looked at."""
    copied = shutil.copytree(folder, tmp_path / f"copy-{next(copies)}")
    config = json.loads((copied / "config.json").read_text())
    kept = {name: value for name, value in config.items() if name not in ("sha256", "files")}
    (copied / "config.json").write_text(json.dumps(kept))
    return copied


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in JSON, as keys from the outside in."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from places(value[key], (*path, key))


def edited(config: Any, edits: list[tuple[int, Any, bool]]) -> Any:
    """Some values replaced, or left out."""
    config = copy.deepcopy(config)
    for number, value, left_out in edits:
        if not (there := list(places(config))):
            break
        *outer, key = there[number % len(there)]
        inner = config
        for step in outer:
            inner = inner[step]
        if left_out:
            del inner[key]
        else:
            inner[key] = value
    return config


def read(command: Command, line: Path, weights: Path, *more: object) -> None:
    """One file: read, or one error for all; and never a confidence that is no number."""
    ended = command("read", line, "--weights", weights, "--format", "json", *more)
    if ended.out:
        rows = strict_json(ended.out)
        assert [bool(row["problem"]) for row in rows] == [bool(ended.errors)]
        assert all(0 <= row["confidence"] <= 1 for row in rows)


@pytest.fixture(autouse=True)
def _no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("a pickle was opened")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, never)


@pytest.mark.kind("config.json edited anywhere")
@examples(120)
@given(edits=MANY)
def test_edited_configs(command: Command, weights: Path, line: Path, tmp_path: Path, edits: list) -> None:
    folder = another(weights, tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(edited(json.loads(path.read_text()), edits)))
    read(command, line, folder, "--head", "ctc")


SIZES = [0, -1, 10**9, 2**70, 1.5, "16", None, [], float("nan"), True]
FIELDS = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size", "patch_size"]
FIELDS += ["num_channels", "pooler_output_size", "layer_norm_eps", "initializer_range", "hidden_act", "model_type"]


@pytest.mark.kind("config.json, sizes out of bounds")
@pytest.mark.parametrize("name", FIELDS)
def test_sizes_of_the_encoder(command: Command, weights: Path, line: Path, tmp_path: Path, name: str) -> None:
    folder = another(weights, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for value in SIZES:
        (folder / "config.json").write_text(json.dumps({**config, "encoder": {**config["encoder"], name: value}}))
        read(command, line, folder)


@pytest.mark.kind("config.json, sizes out of bounds")
@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("", "max_length"),
        ("", "charset"),
        ("", "format"),
        ("", "provenance"),
        ("", "heads"),
        ("processor", "mean"),
        ("processor", "std"),
        ("processor", "keep_aspect"),
        ("heads", "ctc"),
        ("heads", "ar"),
    ],
)
def test_sizes_of_the_rest(command: Command, weights: Path, line: Path, tmp_path: Path, part: str, name: str) -> None:
    folder = another(weights, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    values = [*SIZES, "x" * 200_000, [0.5, 0.5], [0.5, 0.5, "x"], [0, 0, 0], [1e-9] * 3, {"frames_a_column": 10**9}]
    for value in values:
        changed = copy.deepcopy(config)
        (changed[part] if part else changed)[name] = value
        (folder / "config.json").write_text(json.dumps(changed))
        read(command, line, folder)


@pytest.mark.kind("config.json, other text")
def test_texts_that_are_no_config(command: Command, weights: Path, line: Path, tmp_path: Path) -> None:
    folder = another(weights, tmp_path)
    path = folder / "config.json"
    whole = path.read_bytes()
    for content in [*[text.encode() for text in TEXTS], b"\xff\xfe{}", b"\0" * 99, *[whole[:n] for n in (1, 50, 500)]]:
        path.write_bytes(content)
        command.refused("read", line, "--weights", folder)
        command.refused("export", "--weights", folder, "--out", tmp_path / "out", "--runtime", "transformers")
        command.refused("average", weights, folder, "--out", tmp_path / "out")


def odd_tensors(weights: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """Weights with one of them as it should not be."""
    for name in list(weights)[:: len(weights) // 6]:
        tensor = weights[name]
        for value in (float("nan"), float("inf"), -float("inf"), 3e38, -3e38):
            spoiled = tensor.clone()
            spoiled.view(-1)[-1] = value
            yield {**weights, name: spoiled}
        yield {key: value for key, value in weights.items() if key != name}
        yield {**weights, name: tensor[:1].clone()}
        yield {**weights, name: tensor.new_zeros(())}
        yield {**weights, name: tensor.to(torch.int8)}
        yield {**weights, name: tensor.to(torch.float16)}
        yield {**weights, name: tensor.to(torch.float64)}
    yield {**weights, "another": torch.zeros(3)}
    yield {}


@pytest.mark.kind("weights that are no numbers or do not fit")
def test_odd_weights(command: Command, weights: Path, line: Path, tmp_path: Path) -> None:
    folder = another(weights, tmp_path)
    for tensors in odd_tensors(load_file(weights / "model.safetensors")):
        save_file(tensors, folder / "model.safetensors")
        read(command, line, folder, "--head", "ar")


@pytest.mark.kind("weights damaged")
@examples(40)
@given(place=st.floats(0, 1), early=st.booleans(), other=st.binary(min_size=1, max_size=12), cut=st.booleans())
def test_damaged_weights(
    command: Command, weights: Path, line: Path, tmp_path: Path, place: float, early: bool, other: bytes, cut: bool
) -> None:
    folder = another(weights, tmp_path)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    at = int(place * (300 if early else len(whole)))
    path.write_bytes(whole[:at] + other + (b"" if cut else whole[at + len(other) :]))
    read(command, line, folder)


@pytest.mark.kind("weights damaged")
def test_what_is_no_directory_of_weights(command: Command, line: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "itself").symlink_to("itself")
    for odd in ("empty", "file", "file/x", "itself", "none", "x" * 300, "a\nb", "\udcff", "[red]"):
        command.refused("read", line, "--weights", tmp_path / odd)
        command.refused("average", tmp_path / odd, "--out", tmp_path / "out")
    for odd in ("", ".", "/dev/null", "/proc/self/mem"):
        command.refused("read", line, "--weights", odd)


# Hugging Face directories.


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "hugging-face"
    export_hugging_face(small_recognizer(("ar",)), folder)
    return folder


FILES = ["config.json", "generation_config.json", "processor_config.json", "tokenizer.json"]


@pytest.mark.kind("Hugging Face directories edited anywhere")
@examples(60)
@given(name=st.sampled_from(FILES), edits=MANY)
def test_edited_hugging_face(
    command: Command, hugging_face: Path, line: Path, tmp_path: Path, name: str, edits: list
) -> None:
    folder = another(hugging_face, tmp_path)
    (folder / name).write_text(json.dumps(edited(json.loads((folder / name).read_text()), edits)))
    read(command, line, folder, "--head", "ar")


@pytest.mark.kind("Hugging Face directories edited anywhere")
@pytest.mark.parametrize("name", FILES)
def test_other_texts_in_hugging_face(
    command: Command, hugging_face: Path, line: Path, tmp_path: Path, name: str
) -> None:
    folder = another(hugging_face, tmp_path)
    for text in TEXTS:
        (folder / name).write_text(text)
        read(command, line, folder, "--head", "ar")


@pytest.mark.kind("a pickle named by a config or an index")
@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".BIN", ""])
def test_pickles(command: Command, hugging_face: Path, line: Path, tmp_path: Path, suffix: str) -> None:
    folder = another(hugging_face, tmp_path)
    shards = [f"model-{i}-of-2{suffix or '.safetensors.bin'}" for i in (1, 2)]
    for shard in shards:
        (folder / shard).write_bytes(b"\x80\x04K\x01.")
    config = json.loads((folder / "config.json").read_text())
    for changed in (
        {**config, "transformers_weights": shards[0]},
        {**config, "encoder": {**config["encoder"], "weights": [shards[0]]}},
    ):
        (folder / "config.json").write_text(json.dumps(changed))
        assert "pickle" in command.refused("read", line, "--weights", folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    names = dict.fromkeys(load_file(hugging_face / "model.safetensors"), shards[0])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {**names, "x": shards[1]}}))
    for arguments in (
        ("read", line, "--weights", folder),
        ("train", "--encoder", folder, "--data", line.parent, "--out", tmp_path / "out"),
        ("export", "--weights", folder, "--out", tmp_path / "out"),
        ("average", folder, "--out", tmp_path / "out"),
    ):
        command.refused(*arguments)


# Exported graphs.


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    return exported_once(lively(small_recognizer(max_length=3), scale=0.4), tmp_path_factory)


@pytest.mark.kind("exported graphs edited or exchanged")
@examples(30)
@given(edits=MANY)
def test_edited_exports(command: Command, graphs: Path, line: Path, tmp_path: Path, edits: list) -> None:
    folder = another(graphs, tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(edited(json.loads(path.read_text()), edits)))
    read(command, line, folder)


@pytest.mark.kind("exported graphs edited or exchanged")
@examples(20)
@given(place=st.floats(0, 1), other=st.binary(min_size=1, max_size=9), cut=st.booleans())
def test_damaged_graphs(
    command: Command, graphs: Path, line: Path, tmp_path: Path, place: float, other: bytes, cut: bool
) -> None:
    folder = another(graphs, tmp_path)
    path = folder / "ctc.onnx"
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] + other + (b"" if cut else whole[at + len(other) :]))
    if path.read_bytes() != whole:
        command.refused("read", line, "--weights", folder, "--head", "ctc")


@pytest.mark.kind("exported graphs edited or exchanged")
def test_exchanged_graphs(command: Command, graphs: Path, weights: Path, line: Path, tmp_path: Path) -> None:
    for source, target in (("parallel", "ctc"), ("ctc", "parallel")):
        folder = another(graphs, tmp_path)
        shutil.copy(folder / f"{source}.onnx", folder / f"{target}.onnx")
        assert f"{target}.onnx is not the graph" in command.refused("read", line, "--weights", folder)
    folder = another(graphs, tmp_path)
    (folder / "ctc.onnx").unlink()
    command.refused("read", line, "--weights", folder)
    (folder / "ctc.onnx").mkdir()
    command.refused("read", line, "--weights", folder)
    folder = another(graphs, tmp_path)
    shutil.copy(weights / "config.json", folder / "config.json")
    command.refused("read", line, "--weights", folder)
    command.refused("average", graphs, "--out", tmp_path / "out")
    command.refused("export", "--weights", graphs, "--out", tmp_path / "out")
    command.refused("read", line, "--weights", graphs, "--engine", "tvm")
