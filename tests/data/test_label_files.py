"""Files of labels: what is read, what is refused by line, and what is odd in them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image

from seqocr.data.folder import LineFolder
from seqocr.data.label_files import charset_notes
from seqocr.errors import InputError

ZERO_WIDTH, NO_BREAK = "\N{ZERO WIDTH SPACE}", "\N{NO-BREAK SPACE}"


def folder(path: Path, name: str, content: str, images: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    for i, image in enumerate(images):
        (path / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20 + i, 10)).save(path / image)
    (path / name).write_text(content, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "metadata.csv",
            "# from the scanner, June\nfile_name,text\na.png,12\n,\n,,,\n# checked, twice, by A\nb.png,34\n",
        ),
        ("metadata.csv", 'text,page,file_name\n"12",1,a.png\r\n34,"2, 3",./b.png\r\n'),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "12"}\n\n{"page": 2, "text": "34", "file_name": "b.png"}\n'),
        ("gt.txt", "# by A\na.png\t12\n\nb.png\t34"),
    ],
)
def test_comments_empty_rows_and_other_columns_are_left_out(tmp_path: Path, name: str, content: str) -> None:
    assert [line.text for line in LineFolder(folder(tmp_path, name, content)).lines] == ["12", "34"]


def test_what_is_left_out_as_a_comment_is_said_and_a_file_of_that_name_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = folder(tmp_path, "metadata.csv", "file_name,text\n#1.png,1\n#2.png,2\n", ("#1.png",))
    with caplog.at_level(logging.INFO):
        assert [line.name for line in LineFolder(lines).lines] == ["#1.png"]
    assert "metadata.csv, line 3: left out as a comment" in caplog.text


def test_windows_separators_are_read_and_do_not_move_a_line_to_the_other_side(tmp_path: Path) -> None:
    names = [f"{i // 4:02}/{i}.png" for i in range(40)]
    sides = []
    for separator, place in (("/", "unix"), ("\\", "windows")):
        rows = "".join(f"{name.replace('/', separator)},1\n" for name in names)
        lines = LineFolder(folder(tmp_path / place, "metadata.csv", f"file_name,text\n{rows}", tuple(names)))
        sides.append([line.path.name for line in lines.split(0.3, "test")[1].lines])
    assert sides[0] == sides[1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metadata.csv", "file_name,text\na.png,1,234\nb.png,5\n", r"line 2: a\.png has 3 fields for 2 columns: quote"),
        ("metadata.csv", "file_name,text\na.png,5\nb.png,12,\n", r"line 3: b\.png has 3 fields for 2 columns"),
        ("metadata.csv", 'file_name,text\na.png,"1\nb.png,2\n', r"cannot be read \(unexpected end of data\)"),
        (
            "metadata.csv",
            'file_name,text\n#,"by A\na.png,12"\nb.png,3\n',
            "a quote behind # hides the lines that follow",
        ),
        ("metadata.csv", "file_name,text,text\na.png,1,2\n", "several columns text"),
        ("metadata.csv", "file_name,file_name,text\na.png,b.png,2\n", "several columns file_name"),
        ("metadata.csv", "file_name;text\na.png;1\n", "no column file_name; they are separated by ';'"),
        ("metadata.csv", "file_name\ttext\na.png\t1\n", r"no column file_name; they are separated by '\\t'"),
        ("metadata.csv", "file_name,label\na.png,1\n", "no column text; it has 'file_name', 'label'"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": 12}', r'line 1 is not of the form \{"file_name"'),
        ("metadata.jsonl", '\n{"file_name": "a.png", "text": "1", "text": "2"}', "line 2 is not of the form"),
        ("metadata.jsonl", '["a.png", "1"]', "line 1 is not of the form"),
        ("metadata.jsonl", '{"file_name": "a.png"', "line 1 cannot be read"),
    ],
)
def test_what_could_be_read_as_something_else_is_refused(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LineFolder(folder(tmp_path, name, content))


def test_surplus_fields_are_a_problem_of_their_line(tmp_path: Path) -> None:
    lines = folder(tmp_path, "metadata.csv", "file_name,text\na.png,1,234\nb.png,5\n")
    assert [line.text for line in LineFolder(lines, skip=True).lines] == ["5"]


def test_folders_below_and_files_of_other_names_are_named(tmp_path: Path) -> None:
    for below in ("train", "test", "__MACOSX", ".hidden", "empty"):
        (tmp_path / below).mkdir()
        if below != "empty":
            (tmp_path / below / "metadata.csv").write_text("")
    with pytest.raises(InputError, match=r"no file of texts, but test/, train/ below it: give one of metadata\.csv"):
        LineFolder(tmp_path)
    with pytest.raises(InputError, match=r"no file of texts \(it has labels\.csv\): give one of"):
        LineFolder(folder(tmp_path / "empty", "labels.csv", ""))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["0123456789", f"12{ZERO_WIDTH}"], "1 labels have '\\u200b' (ZERO WIDTH SPACE), which cannot be seen"),
        (["0123456789", f"1{NO_BREAK}2"], "1 labels have '\\xa0' (NO-BREAK SPACE), which cannot be seen"),
        (["0123456789", "12 ", " 1"], "2 labels begin or end with a space, the first is '12 '"),
        (["0123456789", "\N{FULLWIDTH DIGIT SEVEN}"], "(FULLWIDTH DIGIT SEVEN), which is not 7"),
        (["01245", "789-"], "no label has 3, 6: weights will not read it; --charset -0123456789 adds it"),
    ],
)
def test_odd_symbols_and_missing_digits_are_noted(texts: list[str], words: str) -> None:
    (note,) = charset_notes(texts)
    assert words in note


def test_nothing_is_noted_of_plain_labels() -> None:
    assert charset_notes(["0123456789", "1 2"]) == charset_notes(["ab", "c d"]) == []


def test_the_symbols_found_are_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LineFolder(folder(tmp_path, "gt.txt", "a.png\t31\nb.png\t12"))
    assert "labels have 3 symbols: '123'" in caplog.text


def test_the_same_pixels_under_two_texts_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = folder(tmp_path, "gt.txt", "a.png\t12\nb.png\t12\nc.bmp\t13\nd.png\t12", ("a.png", "b.png"))
    for name in ("c.bmp", "d.png"):
        Image.open(tmp_path / "a.png").save(tmp_path / name)
    LineFolder(lines, charset="123")
    (record,) = caplog.records
    assert "c.bmp shows what a.png does, but its text is '13', not '12'" in record.getMessage()
