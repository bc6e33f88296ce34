"""What every measurement has in common: the task's strings, and interleaved rounds that are saved as they come."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
import psutil
import torch

from bench.plan import TASK_LENGTH, Cell
from bench.store import Store
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import load_digits_or_validation
from seqocr.progress import Reporter

_READ_AT_ONCE = 100


def task_strings(count: int) -> SequenceMNIST:
    """So many held-out strings of the task; fewer where the source has fewer."""
    digits = load_digits_or_validation("test")
    return SequenceMNIST(digits, TASK_LENGTH, count=min(count, len(digits) // TASK_LENGTH))


def readings(
    read: Callable[[Any], list[str]], images: torch.Tensor, texts: Sequence[str], **facts: Any
) -> pd.DataFrame:
    """What `read` makes of images (N, ...), a hundred at a time, beside their texts; `facts` in every row."""
    read_as = [text for part in images.split(_READ_AT_ONCE) for text in read(part)]
    return pd.DataFrame({"index": range(len(texts)), **facts, "text": texts, "prediction": read_as})


def rounds_done(store: Store, cell: Cell) -> int:
    """How many rounds of a cell are saved, warm-up included."""
    return int(store.read(cell.name)["round"].max()) + 1 if store.has(cell.name) else 0


def rounds_left(store: Store, cell: Cell) -> bool:
    return rounds_done(store, cell) < cell.rounds + cell.warmup


def measure_rounds(
    cell: Cell, store: Store, reporter: Reporter, one_round: Callable[[random.Random], Iterable[dict[str, Any]]]
) -> None:
    """Measure the rounds that are left.

    Args:
        one_round: the rows of a round; the random numbers that it is given, to shuffle with, are the round's own.
    """
    done = rounds_done(store, cell)
    rows: list[dict[str, Any]] = store.read(cell.name).to_dict("records") if done else []
    for number in range(done, cell.rounds + cell.warmup):
        facts = {
            "subject": cell.subject.name,
            "kind": cell.kind,
            "round": number,
            "warmup": number < cell.warmup,
            "load": round(psutil.getloadavg()[0], 2),
        }
        rows += [{**facts, **row} for row in one_round(random.Random(number))]
        store.write(cell.name, pd.DataFrame(rows))
        reporter.advance(cell.name)
