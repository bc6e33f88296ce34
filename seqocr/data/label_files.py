"""Files that list line images and their texts, in the conventions that people already have, and what is odd in them.

metadata.csv    columns file_name and text                  (Hugging Face's imagefolder)
metadata.jsonl  {"file_name": ..., "text": ...} per line    (Hugging Face's imagefolder)
labels.json     {"file name": "text"}, files in images/     (docTR)
gt.txt          file name, tab, text                        (PaddleOCR, deep-text-recognition-benchmark)

Empty rows are left out, and so are comments: lines that begin with # where no file has that name.
"""

import csv
import json
import logging
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqocr.errors import InputError
from seqocr.files import shown

log = logging.getLogger(__name__)

FOLDERS = (".", "images")  # of the images, from that of the list
_COLUMNS = ("file_name", "text")
_DIGITS = "0123456789"
_LISTED = 5  # files, folders or texts that a message names
_TEXT_FILES = {".csv", ".tsv", ".json", ".jsonl", ".txt"}


@dataclass(frozen=True)
class Entry:
    """What a list says of one line image.

    Attributes:
        where: file and line, for messages.
        problem: why it cannot be used; empty if it can.
    """

    where: str
    name: str
    text: str
    problem: str = ""


def read_labels(directory: Path) -> Iterator[Entry]:
    """All that the one file of texts in a folder lists.

    Raises:
        InputError: there is no such file or more than one, or it cannot be read as what it is.
    """
    if not os.path.isdir(directory):  # noqa: PTH112 (Path's raises an error for a name that is too long)
        raise InputError(f"{shown(directory)} is not a folder: give one with images and their texts")
    there = _label_files(directory)
    if len(there) != 1:
        found = f"{' and '.join(there)}: give" if there else f"no file of texts{_near(directory)}: give"
        raise InputError(f"{shown(directory)} has {found} one of {', '.join(LABEL_FILES)}")
    path = directory / there[0]
    try:
        for entry in LABEL_FILES[path.name](path):
            if entry.name.startswith("#") and not any((directory / each / entry.name).exists() for each in FOLDERS):
                log.info("%s: left out as a comment", entry.where)
            else:
                yield entry
    except InputError:
        raise
    except (OSError, ValueError, RecursionError, csv.Error) as error:  # UnicodeDecodeError and JSON's are ValueErrors
        raise InputError(f"{shown(path)} cannot be read ({error}): write it again, in UTF-8") from error


def _label_files(directory: Path) -> list[str]:
    return [name for name in LABEL_FILES if (directory / name).is_file()]


def _near(directory: Path) -> str:
    """What there is in place of a file of texts: folders below that have one, or files of other names."""
    inside = sorted(path for path in directory.iterdir() if not path.name.startswith((".", "__MACOSX")))
    if folders := [f"{path.name}/" for path in inside if path.is_dir() and _label_files(path)]:
        return f", but {_some(folders)} below it"
    files = [path.name for path in inside if path.is_file() and path.suffix.lower() in _TEXT_FILES]
    return f" (it has {_some(files)})" if files else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(map(shown, names[:_LISTED])) + more


def _metadata_csv(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)  # which refuses a quote that is never closed
        whole = map(_without_hidden_lines, rows)
        header = next((row for row in whole if any(row) and not row[0].startswith("#")), [])
        _check_header(path, header)
        places = [header.index(name) for name in _COLUMNS]
        for row in whole:
            where, surplus = f"{path.name}, line {rows.line_num}", len(row) - len(header)
            name, text = (row[place] if place < len(row) else "" for place in places)
            problem = f"{shown(name)} has {len(row)} fields for {len(header)} columns: quote a text with commas"
            if any(map(str.strip, row)):
                yield Entry(where, name, text, problem if surplus > 0 else "")


def _without_hidden_lines(row: list[str]) -> list[str]:
    """A row; a csv.Error of a comment with a quote, in which the lines that follow would be left out."""
    if row and row[0].startswith("#") and "\n" in "".join(row):
        raise csv.Error(f"a quote behind {shown(row[0])} hides the lines that follow")
    return row


def _check_header(path: Path, header: list[str]) -> None:
    remedy = "its first line must name file_name and text, each once, separated by a comma"
    if missing := [name for name in _COLUMNS if name not in header]:
        split = {separator: ",".join(header).split(separator) for separator in ";\t|"}
        other = [separator for separator, names in split.items() if set(_COLUMNS) <= set(names)]
        found = f"; they are separated by {other[0]!r}" if other else f"; it has {_some(list(map(repr, header)))}"
        raise InputError(f"{shown(path)} has no column {missing[0]}{found if header else ''}: {remedy}")
    if repeated := [name for name in _COLUMNS if header.count(name) > 1]:
        raise InputError(f"{shown(path)} has several columns {repeated[0]}: {remedy}")


def _metadata_jsonl(path: Path) -> Iterator[Entry]:
    for number, row in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not row.strip() or row.startswith("#"):
            continue
        where = f"{path.name}, line {number}"
        try:
            pairs = json.loads(row, object_pairs_hook=_Pairs)
        except ValueError as error:
            raise InputError(
                f"{shown(path)}, line {number} cannot be read ({error}): write one object a line"
            ) from error
        values = (
            [[value for key, value in pairs if key == name] for name in _COLUMNS] if isinstance(pairs, _Pairs) else []
        )
        if [len(each) for each in values] != [1, 1] or not all(isinstance(each[0], str) for each in values):
            raise InputError(f'{shown(path)}, line {number} is not of the form {{"file_name": "...", "text": "..."}}')
        yield Entry(where, values[0][0], values[1][0])


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as pairs: a dict would hide what is there twice."""


def _labels_json(path: Path) -> Iterator[Entry]:
    listed = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    if not isinstance(listed, _Pairs) or not all(isinstance(text, str) for _, text in listed):
        raise InputError(f'{shown(path)} is not of the form {{"file name": "text"}}: write it so')
    for number, (name, text) in enumerate(listed, 1):
        yield Entry(f"{path.name}, entry {number}", name, text)


def _gt_txt(path: Path) -> Iterator[Entry]:
    for number, row in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):  # newlines as any system's
        name, tab, text = row.partition("\t")
        if not tab and row.strip() and not row.startswith("#"):
            raise InputError(f"{shown(path)}, line {number} has no tab: write file name, tab, text")
        if row.strip():
            yield Entry(f"{path.name}, line {number}", name, text)


LABEL_FILES = {
    "metadata.csv": _metadata_csv,
    "metadata.jsonl": _metadata_jsonl,
    "labels.json": _labels_json,
    "gt.txt": _gt_txt,
}


def charset_notes(texts: Sequence[str]) -> list[str]:
    """What is odd about the symbols of texts: those that cannot be seen or pass for digits, spaces at an end, digits
    that are missing."""
    counts = {symbol: sum(symbol in text for text in texts) for symbol in sorted(set("".join(texts)))}
    notes = []
    for symbol, count in counts.items():
        name = unicodedata.name(symbol, "a character without a name")
        if symbol != " " and unicodedata.category(symbol)[0] in "ZC":
            notes.append(f"{count:,} labels have {symbol!a} ({name}), which cannot be seen: remove it")
        elif symbol not in _DIGITS and symbol.isdigit():
            notes.append(
                f"{count:,} labels have {symbol!r} ({name}), which is not {unicodedata.digit(symbol)}: replace it"
            )
    if padded := [text for text in texts if text != text.strip(" ")]:
        notes.append(f"{len(padded):,} labels begin or end with a space, the first is {padded[0]!r}: remove it")
    missing = [digit for digit in _DIGITS if digit not in counts]
    every = "".join(sorted({*_DIGITS, *counts}))
    if 0 < len(missing) < len(_DIGITS):
        notes.append(f"no label has {', '.join(missing)}: weights will not read it; --charset {every} adds it")
    return notes


def twin_notes(lines: Iterable[tuple[str, str, str]]) -> list[str]:
    """Which lines (file name, digest of the pixels, text) show the same pixels under different texts."""
    first: dict[str, tuple[str, str]] = {}
    twins = []
    for name, digest, text in lines:
        other, other_text = first.setdefault(digest, (name, text))
        if text != other_text:
            twins.append(f"{shown(name)} shows what {shown(other)} does, but its text is {text!r}, not {other_text!r}")
    more = [f"{len(twins) - _LISTED:,} more lines show what another does under another text"]
    return twins[:_LISTED] + more * (len(twins) > _LISTED)
