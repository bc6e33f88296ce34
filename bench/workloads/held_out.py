"""Held-out digit strings, and reading them in several processes where nothing is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.core.experiment import Bench, Part
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits, load_digits_or_validation
from seqocr.data.synthetic.layouts import level as level_of
from seqocr.inference.predictions import predict_lines
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter

REST = 0.01  # seconds before another reader is timed, so that the threads of the one before fall asleep
_READ_AT_ONCE = 100
# What drawing and reading strings runs, besides heads.
# What draws lines in a hand runs.


def held_out_digits() -> Digits:
    """The test half, or validation digits where it cannot be had."""
    return load_digits_or_validation("test")


def task_strings(count: int, digits: Digits | None = None) -> SequenceMNIST:
    """So many held-out strings of the task; fewer where the source has fewer."""
    digits = digits or held_out_digits()
    return SequenceMNIST(digits, TASK_LENGTH, count=min(count, len(digits) // TASK_LENGTH))


def level_strings(digits: Digits, level: str, length: int, count: int) -> SequenceMNIST:
    """The strings of one length and level; fewer than `count` where the source has fewer digits."""
    return SequenceMNIST(digits, length, count=min(count, len(digits) // length), seed=length, layout=level_of(level))


def readings(
    read: Callable[[Any], list[str]], images: torch.Tensor, texts: Sequence[str], **facts: Any
) -> pd.DataFrame:
    """What `read` makes of images (N, ...), a hundred at a time, beside their texts; `facts` in every row."""
    read_as = [text for part in images.split(_READ_AT_ONCE) for text in read(part)]
    return pd.DataFrame({"index": range(len(texts)), **facts, "text": texts, "prediction": read_as})


@cache
def _recognizer(folder: Path, device: str) -> Recognizer:
    return load_recognizer(folder).to(device)


def _read(
    strings: SequenceMNIST, indices: range, folder: Path, heads: tuple[str, ...], device: str, facts: dict[str, Any]
) -> pd.DataFrame:
    """The task of a process: some strings, read with every head."""
    found = predict_lines(_recognizer(folder, device), _Some(strings, indices), heads, quiet=True)
    return found.assign(index=found["index"] + indices.start, **facts)


def predict_again(
    folder: Path, strings: SequenceMNIST, indices: range, heads: tuple[str, ...], **facts: Any
) -> pd.DataFrame:
    """Rows as `read_strings` has them, of some strings, on the CPU."""
    return _read(strings, indices, folder, heads, "cpu", facts)


class _Some:
    """A stretch of strings."""

    def __init__(self, strings: SequenceMNIST, indices: range) -> None:
        self.strings, self.indices = strings, indices

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: range) -> tuple[Any, list[str]]:
        first = self.indices.start
        return self.strings.batch(range(first + indices.start, first + indices.stop))


def read_strings(
    part: Part,
    bench: Bench,
    reporter: Reporter,
    pieces: Sequence[tuple[SequenceMNIST, range, dict[str, Any]]],
    heads: tuple[str, ...],
) -> pd.DataFrame:
    """Read pieces of data sets, saving each as it comes, so that a run that was killed goes on with the next.

    Args:
        pieces: strings, those of them to read, and facts for every row, which tell pieces apart.
        heads: or other strategies; those that the weights do not hold are left out.
    """
    store, folder, device = bench.store, part.weights[0], str(bench.device)
    done = store.read(part.name) if store.has(part.name) else pd.DataFrame()
    tables = [done] if len(done) else []
    heads = tuple(name for name in heads if name in load_recognizer(folder).decode_functions())
    known = set(zip(*(done[name] for name in ("index", *pieces[0][2])), strict=True)) if len(done) else set()
    todo = [(s, i, facts) for s, i, facts in pieces if (i.start, *facts.values()) not in known]
    for found in _results(bench, [(s, i, folder, heads, device, facts) for s, i, facts in todo]):
        tables.append(found)
        store.write(part.name, pd.concat(tables, ignore_index=True))
        reporter.advance(part.name)
    keys = [*pieces[0][2], "index"]
    ordered = pd.concat(tables, ignore_index=True).sort_values(keys, kind="stable", ignore_index=True)
    store.write(part.name, ordered)
    return ordered


def _results(bench: Bench, tasks: list[tuple[Any, ...]]) -> Iterator[pd.DataFrame]:
    if bench.workers is None or len(tasks) < 2:
        yield from (_read(*task) for task in tasks)
        return
    pool = bench.workers()
    for future in as_completed([pool.submit(_read, *task) for task in tasks]):
        yield future.result()


def rested(work: Callable[[], Any]) -> None:
    """An untimed call after a rest: another reader's threads may still spin on the cores, and this one's must wake."""
    time.sleep(REST)
    work()
