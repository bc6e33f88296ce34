"""Held-out digit strings and real lines, and predictions of strings, made in several processes where nothing is
timed."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.core.experiment import Bench, Part
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.data.folder import LineFolder
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits, load_digits_or_validation
from seqocr.data.synthetic.layouts import level as level_of
from seqocr.inference.predictions import predict_lines
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter

MNIST = "ylecun/mnist"  # what held-out digits are called on the Hugging Face hub
HELD_OUT = 0.2  # share of a folder of real lines that is never trained on
REST = 0.01  # seconds before another reader is timed, so that the threads of the one before fall asleep
_READ_AT_ONCE = 100
Piece = tuple[SequenceMNIST, range, dict[str, Any]]


def held_out_digits() -> Digits:
    """The test split, or validation digits where it cannot be had."""
    return load_digits_or_validation("test")


def digest(folder: LineFolder) -> str:
    """Of what real lines are called, say and show."""
    found = hashlib.sha256()
    for line in folder.lines:
        found.update(f"{line.name}\0{line.text}\0".encode(errors="surrogateescape"))
        found.update(hashlib.sha256(line.path.read_bytes()).digest())
    return found.hexdigest()[:16]


def task_strings(count: int, digits: Digits | None = None) -> SequenceMNIST:
    """`count` held-out strings of the task; fewer where the source has fewer digits."""
    digits = digits or held_out_digits()
    return SequenceMNIST(digits, TASK_LENGTH, count=min(count, len(digits) // TASK_LENGTH))


def level_strings(digits: Digits, level: str, length: int, count: int) -> SequenceMNIST:
    """`count` strings of one length and level; fewer where the source has fewer digits."""
    return SequenceMNIST(digits, length, count=min(count, len(digits) // length), seed=length, layout=level_of(level))


def predict_images(
    read: Callable[[Any], list[str]], images: torch.Tensor, texts: Sequence[str], **facts: Any
) -> pd.DataFrame:
    """Predictions of images, a hundred at a time.

    Args:
        read: images to texts.
        images: (N, ...).
        facts: columns that are the same in every row.

    Returns:
        columns `index`, facts, `text` and `prediction`.
    """
    read_as = [text for part in images.split(_READ_AT_ONCE) for text in read(part)]
    return pd.DataFrame({"index": range(len(texts)), **facts, "text": texts, "prediction": read_as})


@cache
def _recognizer(folder: Path, device: str) -> Recognizer:
    return load_recognizer(folder).to(device)


def read_some(
    folder: Path, strings: SequenceMNIST, indices: range, heads: tuple[str, ...], device: str = "cpu", **facts: Any
) -> pd.DataFrame:
    """Predictions of some strings by the recognizer of a folder; `facts` are columns, the same in every row."""
    found = predict_lines(_recognizer(folder, device), _Slice(strings, indices), heads, quiet=True)
    return found.assign(index=found["index"] + indices.start, **facts)


class _Slice:
    """A range of strings, as a data set."""

    def __init__(self, strings: SequenceMNIST, indices: range) -> None:
        self.strings, self.indices = strings, indices

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: range) -> tuple[Any, list[str]]:
        first = self.indices.start
        return self.strings.batch(range(first + indices.start, first + indices.stop))


def pieces(strings: SequenceMNIST, size: int, **facts: Any) -> list[Piece]:
    """Strings, `size` at a time: see `read_strings`."""
    starts = range(0, len(strings), size)
    return [(strings, range(start, min(start + size, len(strings))), facts) for start in starts]


def read_strings(
    part: Part, bench: Bench, reporter: Reporter, pieces: Sequence[Piece], heads: tuple[str, ...]
) -> pd.DataFrame:
    """Predictions of strings, saved piece by piece, so that a run that was killed goes on with the next.

    Args:
        pieces: strings, the indices to read, and columns that are the same in every row and tell pieces apart.
        heads: or other strategies; those that the weights do not hold are left out.

    Returns:
        columns `index`, `head`, `text`, `prediction` and what else `predict_lines` gives, ordered by piece.
    """
    store, folder = bench.store, part.weights[0]
    done = store.read(part.name) if store.has(part.name) else pd.DataFrame()
    tables = [done] if len(done) else []
    heads = tuple(name for name in heads if name in load_recognizer(folder).decode_functions())
    known = set(zip(*(done[name] for name in ("index", *pieces[0][2])), strict=True)) if len(done) else set()
    todo = [
        partial(read_some, folder, strings, indices, heads, str(bench.device), **facts)
        for strings, indices, facts in pieces
        if (indices.start, *facts.values()) not in known
    ]
    for found in _results(bench, todo):
        tables.append(found)
        store.write(part.name, pd.concat(tables, ignore_index=True))
        reporter.advance(part.name)
    keys = [*pieces[0][2], "index"]
    ordered = pd.concat(tables, ignore_index=True).sort_values(keys, kind="stable", ignore_index=True)
    store.write(part.name, ordered)
    return ordered


def _results(bench: Bench, tasks: Sequence[Callable[[], pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """What tasks give, as it comes, from other processes if there are any."""
    if bench.workers is None or len(tasks) < 2:
        yield from (task() for task in tasks)
        return
    for future in as_completed([bench.workers.submit(task) for task in tasks]):
        yield future.result()


def warm_up(work: Callable[[], Any]) -> None:
    """Make an untimed call after a rest: another reader's threads may still spin on the cores, and this one's must
    wake."""
    time.sleep(REST)
    work()
