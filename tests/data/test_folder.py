"""Folders of labelled lines: three conventions, and everything that can be wrong with them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from seqocr.data.folder import LineFolder
from seqocr.errors import InputError
from seqocr.files import shown

TEXTS = {"a.png": "123", "b.png": "07", "c, d.png": "5"}


def _metadata(folder: Path, texts: dict[str, str]) -> None:
    rows = "".join(f'"{name}",x,{text}\n' for name, text in texts.items())
    (folder / "metadata.csv").write_text("file_name,other,text\n" + rows, encoding="utf-8-sig")


def _labels(folder: Path, texts: dict[str, str]) -> None:
    (folder / "labels.json").write_text(json.dumps(texts))


def _gt(folder: Path, texts: dict[str, str]) -> None:
    (folder / "gt.txt").write_text("".join(f"{name}\t{text}\r\n" for name, text in texts.items()), newline="")


CONVENTIONS = (_metadata, _labels, _gt)
every_convention = pytest.mark.parametrize("write", CONVENTIONS)


def images(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.new("L", (20 + i, 10), 50 * i).save(folder / name)


@every_convention
@pytest.mark.parametrize("below", [".", "images"])
def test_lines_are_those_listed(tmp_path: Path, write: Callable[..., None], below: str) -> None:
    images(tmp_path / below, list(TEXTS))
    write(tmp_path, TEXTS)
    lines = LineFolder(tmp_path)
    assert [(line.name, line.text) for line in lines.lines] == list(TEXTS.items())
    assert lines.charset == "012357"
    read, texts = lines.batch(range(len(lines)))
    assert texts == list(TEXTS.values())
    assert [image.size for image in read] == [(20, 10), (21, 10), (22, 10)]
    assert lines[1] == (read[1], "07")


BAD = {"gone.png": "1", "broken.png": "2", "letters.png": "1a", "long.png": "1234", "blank.png": ""}


@every_convention
def test_lines_that_cannot_be_used_are_listed_or_left_out(
    tmp_path: Path, write: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    images(tmp_path, ["letters.png", "good.png", "long.png", "blank.png"])
    (tmp_path / "broken.png").write_bytes(b"no image")
    write(tmp_path, {**BAD, "good.png": "12"})
    with pytest.raises(InputError, match="5 lines cannot be used") as raised:
        LineFolder(tmp_path, charset="0123456789", max_length=3)
    said = str(raised.value).splitlines()[1:]
    reasons = ("does not exist", "is not an image", "'a', which is not in the charset", "at most 3", "no text")
    first = 2 if write is _metadata else 1
    for number, (line, name, reason) in enumerate(zip(said, BAD, reasons, strict=True), first):
        assert f" {number}: " in line
        assert name in line
        assert reason in line
    with caplog.at_level(logging.WARNING):
        lines = LineFolder(tmp_path, charset="0123456789", max_length=3, skip=True)
    assert [line.name for line in lines.lines] == ["good.png"]
    assert lines.charset == "0123456789"
    assert len(caplog.records) == 5


def test_what_is_listed_twice_counts_once(tmp_path: Path) -> None:
    images(tmp_path, ["a.png"])
    for name, text in {
        "metadata.csv": "file_name,text\na.png,1\na.png,2\n",
        "labels.json": '{"a.png": "1", "a.png": "2"}',
        "gt.txt": "a.png\t1\na.png\t2\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=r"[23]: a\.png is listed twice"):
            LineFolder(tmp_path)
        assert [line.text for line in LineFolder(tmp_path, skip=True).lines] == ["1"]
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("metadata.csv", "name,text\na.png,1\n", "no column file_name"),
        ("metadata.csv", "", "no column file_name"),
        ("metadata.csv", "file_name,text\n", "no line that can be used"),
        ("labels.json", "[1]", "not of the form"),
        ("labels.json", '{"a.png": 1}', "not of the form"),
        ("labels.json", "{", "cannot be read"),
        ("gt.txt", "a.png 1\n", "line 1 has no tab"),
    ],
)
def test_a_file_of_texts_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    images(tmp_path, ["a.png"])
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        LineFolder(tmp_path)


def test_other_encodings_none_or_several_files_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file of texts: give one of metadata\.csv, metadata\.jsonl, labels\."):
        LineFolder(tmp_path)
    (tmp_path / "gt.txt").write_bytes("a.png\té\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"gt\.txt cannot be read .* UTF-8"):
        LineFolder(tmp_path)
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(InputError, match=r"has labels\.json and gt\.txt"):
        LineFolder(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        LineFolder(tmp_path / "gt.txt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.json", b'{"a":' * 100_000, r"labels\.json cannot be read"),
        ("labels.json", b'{"a.png": "1\\ud800"}', "has a character that cannot be printed"),
        ("labels.json", b'{"a\\ud800.png": "1"}', r"a\\ud800\.png cannot be read"),
        ("labels.json", b'{"b\\udcff.png": "1"}', r"b\\xff\.png does not exist"),
        ("labels.json", b'{"": "1"}', "is a folder"),
        ("labels.json", b'{"labels.json": "1"}', r"labels\.json is not an image"),
        ("metadata.csv", b"file_name,text\na.png,1\x1b[31m\n", "has a character that cannot be printed"),
        ("metadata.csv", b'file_name,text\n"a\nb.png",1\n', r"a\\nb\.png does not exist"),
        ("metadata.csv", b"file_name,text\n" + b"x" * 300 + b".png,1\n", "File name too long"),
        ("metadata.csv", b"file_name,text\n" + b"x" * 200_000, r"metadata\.csv cannot be read"),
        ("gt.txt", b"a.png\t1\t2\n", "has a character that cannot be printed"),
        ("gt.txt", b"a\0.png\t1\n", "cannot be read"),
    ],
)
def test_odd_names_and_texts_are_named_on_a_line_each(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    images(tmp_path, ["a.png"])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as raised:
        LineFolder(tmp_path)
    message = str(raised.value)
    assert len(message.splitlines()) <= 2
    assert all(shown(line) == line for line in message.splitlines())


def test_a_name_that_is_no_utf_8_can_be_listed_read_and_split(tmp_path: Path) -> None:
    names = [os.fsdecode(b"\xff%d.png" % i) for i in range(20)]
    images(tmp_path, names)
    (tmp_path / "labels.json").write_text(json.dumps(dict.fromkeys(names, "1")))
    lines = LineFolder(tmp_path)
    assert [line.name for line in lines.lines] == names
    assert sum(map(len, lines.split(0.5, "test"))) == 20


@pytest.mark.parametrize("share", [float("nan"), float("inf"), -1.0, 0.0, 1.0, 2.0])
def test_a_share_that_leaves_a_side_empty_is_refused(tmp_path: Path, share: float) -> None:
    images(tmp_path, list(TEXTS))
    _labels(tmp_path, TEXTS)
    with pytest.raises(InputError, match=f"a test share of {share} of 3 lines"):
        LineFolder(tmp_path).split(share, "test")


def test_lines_of_one_name_in_folders_of_their_own_are_split(tmp_path: Path) -> None:
    names = [f"{i:03}/crop.png" for i in range(40)]
    for name in names:
        images(tmp_path / name[:3], ["crop.png"])
    _labels(tmp_path, dict.fromkeys(names, "1"))
    lines = LineFolder(tmp_path)
    learned, held_out = lines.split(0.25, "test")
    assert 4 <= len(held_out) <= 16
    assert {line.name for line in learned.lines}.isdisjoint(line.name for line in held_out.lines)


@pytest.mark.parametrize("prefix", ["", "./", "images/", "scans/of/may/"])
def test_the_split_of_one_folder_goes_by_name_alone_as_it_always_did(tmp_path: Path, prefix: str) -> None:
    names = [f"line-{i}.png" for i in range(12)]
    images_in = tmp_path / prefix
    images_in.mkdir(parents=True, exist_ok=True)
    images(images_in, names)
    _labels(tmp_path, {prefix + name: "1" for name in names})
    held_out = LineFolder(tmp_path).split(0.3, "validation")[1]
    assert [line.path.stem for line in held_out.lines] == [f"line-{i}" for i in (0, 1, 2, 3, 5, 6, 10)]
