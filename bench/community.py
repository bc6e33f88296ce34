"""The task as files, and results of others: predictions of the same strings, scored here again (docs/task-card.md)."""

import csv
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from PIL import Image

from bench.core.formatting import markdown_table, share
from bench.workloads.held_out import level_strings, task_strings
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits, load_digits
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.errors import InputError
from seqocr.files import read_json, write_csv, write_json
from seqocr.progress import progress
from seqocr.statistics import Value, proportion

TASK_VERSION = "1"  # results of another are not compared
SETS = ("five-digits", *LEVELS)
STRINGS = 2000  # of the first set
STRINGS_PER_LENGTH, LENGTHS = 200, range(1, 11)  # of the others
PREDICTIONS, ABOUT, TEXTS = "predictions.csv", "about.json", "metadata.csv"
_REQUIRED = ("name", "url", "commit", "license", "learned_from", "machine")
_COLUMNS = ("set", "file", "prediction")
_READ_AT_ONCE = 50
_DRAWN = 3  # images of each length whose sizes and greys are part of a set's digest
_GREYS = 16  # levels that mean greys are rounded to: the last bits of a grey are a machine's own


def strings_of(name: str, digits: Digits) -> Iterator[tuple[str, SequenceMNIST, int]]:
    """Every string of a set, as its file's name, the data set it is from and its place there."""
    if name == SETS[0]:
        strings = task_strings(STRINGS, digits)
        yield from ((f"{i:04}.png", strings, i) for i in range(len(strings)))
        return
    for n in LENGTHS:
        strings = level_strings(digits, name, n, STRINGS_PER_LENGTH)
        yield from ((f"{n:02}-{i:03}.png", strings, i) for i in range(len(strings)))


def _count_lines() -> int:
    """Of all sets."""
    return STRINGS + len(LEVELS) * len(LENGTHS) * STRINGS_PER_LENGTH


def list_texts(name: str, digits: Digits) -> dict[str, str]:
    """The truth of a set, by file."""
    return {
        file: "".join(digits.symbols[int(digits.labels[member])] for member in strings.members(i))
        for file, strings, i in strings_of(name, digits)
    }


def digest(name: str, digits: Digits) -> str:
    """SHA-256 of a set: files and texts; of the first images of each length also sizes and mean greys."""
    found = hashlib.sha256(name.encode())
    for file, text in list_texts(name, digits).items():
        found.update(f"{file} {text}\n".encode())
    for _, strings, i in strings_of(name, digits):
        if i < _DRAWN:
            image = strings[i][0]
            found.update(f"{tuple(image.shape)} {round(float(image.float().mean()) / 256 * _GREYS)}".encode())
    return found.hexdigest()[:16]


def write_task(out: Path) -> None:
    """Line images of all sets as PNG, SET/FILE, and their texts in SET/metadata.csv.

    Raises:
        InputError: MNIST's test half cannot be had.
    """
    digits = load_digits("test")
    with progress("task", _count_lines()) as reporter:
        for name in SETS:
            (out / name).mkdir(parents=True, exist_ok=True)
            rows = []
            for file, strings, i in strings_of(name, digits):
                image, text = strings[i]
                Image.fromarray(image.numpy()).save(out / name / file)
                rows.append({"file_name": file, "text": text})
                reporter.advance(name)
            write_csv(out / name / TEXTS, pd.DataFrame(rows))


def submit(read: Callable[[Sequence[torch.Tensor]], list[str]], about: Mapping[str, Any], folder: Path) -> None:
    """Write a result of all sets: predictions.csv, and about.json with the milliseconds that a line of the hardest set
    took, one after another.

    Args:
        read: B line images (h, w) uint8, of any sizes, to B texts.
        about: what the card asks for but `task`; folder: NAME/COMMIT.

    Raises:
        InputError: MNIST's test half cannot be had.
    """
    digits, rows, seconds = load_digits("test"), list[dict[str, str]](), list[float]()
    with progress("predictions", _count_lines()) as reporter:
        for name in SETS:
            at_once = 1 if name == SETS[-1] else _READ_AT_ONCE
            lines = iter(strings_of(name, digits))
            while some := [*islice(lines, at_once)]:
                images = [strings[i][0] for _, strings, i in some]
                begun = time.perf_counter()
                texts = read(images)
                if at_once == 1:
                    seconds.append(time.perf_counter() - begun)
                rows += [
                    {"set": name, "file": file, "prediction": text}
                    for (file, *_), text in zip(some, texts, strict=True)
                ]
                reporter.advance(name, steps=len(some))
    said = {"task": TASK_VERSION, **about, "milliseconds": round(1e3 * median(seconds), 2)}
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / PREDICTIONS, pd.DataFrame(rows))
    write_json(folder / ABOUT, said)


def score(folder: Path) -> dict[str, Value]:
    """Exact match by set, of a folder with predictions.csv (set, file, prediction) and about.json.

    Raises:
        InputError: something is missing, twice there or not of the task.
    """
    read_about(folder)
    path = folder / PREDICTIONS
    digits, read = load_digits("test"), _read_predictions(path)
    if unknown := set(read) - set(SETS):
        raise InputError(f"{path}: no set is called {min(unknown)!r}: there are {', '.join(SETS)}")
    found = {}
    for name in (name for name in SETS if name in read):
        truth = list_texts(name, digits)
        if missing := set(truth) - set(read[name]):
            raise InputError(
                f"{path}: {len(missing)} lines of {name} are missing, as {min(missing)}: read all of a set"
            )
        if more := set(read[name]) - set(truth):
            raise InputError(f"{path}: {name} has no line {min(more)}: name files as `bench task` does")
        found[name] = proportion(sum(read[name][file] == text for file, text in truth.items()), len(truth))
    return found


def read_about(folder: Path) -> dict[str, Any]:
    """What a result is of: about.json.

    Raises:
        InputError: it does not say all that it has to, is of another version of the task, or lies in the folder of
            another commit.
    """
    path = folder / ABOUT
    said = read_json(path, "what a result is of", "write it as docs/task-card.md says")
    if not isinstance(said, dict):
        raise InputError(f"{path} holds no fields by name: write it as docs/task-card.md says")
    if missing := [name for name in _REQUIRED if not str(said.get(name) or "").strip()]:
        raise InputError(f"{path} does not say {', '.join(missing)}: add it")
    if str(said.get("task")) != TASK_VERSION:
        raise InputError(f"{path} is of task {said.get('task')!r}: this is task {TASK_VERSION}")
    if not str(said["commit"]).startswith(folder.resolve().name):
        raise InputError(f"{path} is of commit {said['commit']}: call its folder so, or by the first letters of that")
    return said


def _read_predictions(path: Path) -> dict[str, dict[str, str]]:
    """Texts by set and file."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: write one row per line, with {', '.join(_COLUMNS)}")
    found: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        if not set(_COLUMNS) <= set(rows.fieldnames or ()):
            raise InputError(f"{path} has columns {rows.fieldnames}: give {', '.join(_COLUMNS)}")
        for row in rows:
            of, name, text = (row[column] for column in _COLUMNS)
            if None in (of, name, text):
                raise InputError(f"{path}, line {rows.line_num}, is too short: give {', '.join(_COLUMNS)}")
            if name in found.setdefault(of, {}):
                raise InputError(f"{path} has {of}/{name} twice: give each line once")
            found[of][name] = text
    if not found:
        raise InputError(f"{path} has no predictions: write one row per line")
    return found


def community_table(folder: Path) -> str:
    """Markdown: one row per result in NAME/COMMIT below a folder, the best at the hardest set first.

    Raises:
        InputError: a result is not as it should be.
    """
    found = [(each.parent, read_about(each.parent), score(each.parent)) for each in sorted(folder.glob(f"*/*/{ABOUT}"))]
    found.sort(key=lambda each: -(each[2][SETS[-1]].estimate if SETS[-1] in each[2] else 0))
    rows = [
        {
            "result": f"[{_cell(said['name'])}]({_cell(said['url'])})",
            **{name: share(of[name]) if name in of else "" for name in SETS},
            "ms a line": _cell(said.get("milliseconds", "")),
            "machine": _cell(said["machine"]),
            "learned from": _cell(said["learned_from"]),
            "files": f"[{each.name[:12]}]({each.relative_to(folder)})",
        }
        for each, said, of in found
    ]
    head = f"# Results of task {TASK_VERSION}\n\n"
    head += "Scored again from their predictions (`python -m bench community`). "
    head += "[How to add one](../../docs/task-card.md).\n"
    return f"{head}\n{markdown_table(pd.DataFrame(rows))}\n" if rows else head


def _cell(said: object) -> str:
    """Words of others, in one cell of a table."""
    return " ".join(str(said).split()).replace("|", "\\|")
