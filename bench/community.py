"""The task as files, and results of others: predictions of the same strings, scored here again (docs/task-card.md)."""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from bench.core.formatting import markdown_table, share
from bench.workloads.held_out import level_strings, task_strings
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits, load_digits
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.errors import InputError
from seqocr.files import read_json, write_csv
from seqocr.progress import progress
from seqocr.statistics import Value, proportion

VERSION = "1"  # of the task; results of another are not compared
SETS = ("five-digits", *LEVELS)
STRINGS, EACH, LENGTHS = 2000, 200, range(1, 11)  # of the first set; of each length of the others
PREDICTIONS, ABOUT, TEXTS = "predictions.csv", "about.json", "metadata.csv"
_SAID = ("name", "url", "commit", "license", "learned_from", "machine")  # what about.json has to say


def strings_of(name: str, digits: Digits) -> Iterator[tuple[str, SequenceMNIST, int]]:
    """Every string of a set, as its file's name, the data set it is from and its place there."""
    if name == SETS[0]:
        yield from ((f"{i:04}.png", strings, i) for strings in [task_strings(STRINGS, digits)] for i in range(STRINGS))
        return
    for n in LENGTHS:
        strings = level_strings(digits, name, n, EACH)
        yield from ((f"{n:02}-{i:03}.png", strings, i) for i in range(len(strings)))


def texts_of(name: str, digits: Digits) -> dict[str, str]:
    """The truth, by file."""
    symbols = digits.symbols
    return {
        file: "".join(symbols[int(digits.labels[member])] for member in strings.members(i))
        for file, strings, i in strings_of(name, digits)
    }


def digest(name: str, digits: Digits) -> str:
    """SHA-256 of a set's texts, a line each. Grey levels of images may differ in the last bit between machines."""
    return hashlib.sha256("\n".join(texts_of(name, digits).values()).encode()).hexdigest()[:16]


def write_task(out: Path) -> None:
    """Line images of all sets as PNG, SET/FILE, and their texts in SET/metadata.csv.

    Raises:
        InputError: MNIST's test half cannot be had.
    """
    digits = load_digits("test")
    count = STRINGS + len(LEVELS) * len(LENGTHS) * EACH
    with progress("task", count) as reporter:
        for name in SETS:
            (out / name).mkdir(parents=True, exist_ok=True)
            rows = []
            for file, strings, i in strings_of(name, digits):
                image, text = strings[i]
                Image.fromarray(image.numpy()).save(out / name / file)
                rows.append({"file_name": file, "text": text})
                reporter.advance(name)
            write_csv(out / name / TEXTS, pd.DataFrame(rows))


def scores(folder: Path) -> dict[str, Value]:
    """Exact match by set, of a folder with predictions.csv (set, file, prediction) and about.json.

    Raises:
        InputError: something is missing, twice there or not of the task.
    """
    about(folder)
    digits, read = load_digits("test"), _predictions(folder / PREDICTIONS)
    if unknown := set(read) - set(SETS):
        raise InputError(f"{folder / PREDICTIONS}: no set is called {min(unknown)!r}: there are {', '.join(SETS)}")
    found = {}
    for name in (name for name in SETS if name in read):
        truth = texts_of(name, digits)
        if missing := set(truth) - set(read[name]):
            raise InputError(f"{folder / PREDICTIONS}: {len(missing)} lines of {name} are missing, as {min(missing)}")
        if more := set(read[name]) - set(truth):
            raise InputError(f"{folder / PREDICTIONS}: {name} has no line {min(more)}")
        found[name] = proportion(sum(read[name][file] == text for file, text in truth.items()), len(truth))
    return found


def about(folder: Path) -> dict[str, Any]:
    """
    Raises:
        InputError: about.json does not say all that it has to, or is of another version of the task.
    """
    said: dict[str, Any] = read_json(folder / ABOUT, "what a result is of", "write it as docs/task-card.md says")
    if missing := [name for name in _SAID if not said.get(name)]:
        raise InputError(f"{folder / ABOUT} does not say {', '.join(missing)}: add it")
    if str(said.get("task")) != VERSION:
        raise InputError(f"{folder / ABOUT} is of task {said.get('task')!r}: this is task {VERSION}")
    return said


def _predictions(path: Path) -> dict[str, dict[str, str]]:
    """Texts by set and file."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: write one row per line, with set, file and prediction")
    found: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"set", "file", "prediction"} <= set(rows.fieldnames or ()):
            raise InputError(f"{path} has columns {rows.fieldnames}: give set, file and prediction")
        for row in rows:
            of_set = found.setdefault(row["set"], {})
            if row["file"] in of_set:
                raise InputError(f"{path} has {row['set']}/{row['file']} twice: give each line once")
            of_set[row["file"]] = row["prediction"] or ""
    return found


def community_table(folder: Path) -> str:
    """Markdown: one row per result in NAME/COMMIT below a folder, the best at the hardest set first."""
    found = [(each.parent, about(each.parent), scores(each.parent)) for each in sorted(folder.glob(f"*/*/{ABOUT}"))]
    found.sort(key=lambda each: -(each[2][SETS[-1]].estimate if SETS[-1] in each[2] else 0))
    rows = [
        {
            "result": f"[{said['name']}]({said['url']})",
            **{name: share(of[name]) if name in of else "" for name in SETS},
            "ms a line": str(said.get("milliseconds", "")),
            "machine": said["machine"],
            "learned from": said["learned_from"],
            "files": f"[{each.name[:12]}]({each.relative_to(folder)})",
        }
        for each, said, of in found
    ]
    head = (
        f"# Results of others, task {VERSION}\n\nScored again from their predictions by `python -m bench community`. "
    )
    head += "[How to add one](../../docs/task-card.md).\n"
    return f"{head}\n{markdown_table(pd.DataFrame(rows))}\n" if rows else head
