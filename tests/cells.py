"""Cells for tests of what runs them: in a module, so that other processes find them. And a study so small that each of
its cells takes a second or two."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Executor, as_completed
from pathlib import Path

import pandas as pd
import pytest

from bench.core.store import Store
from bench.study.design import Size, Training
from seqocr.errors import InputError
from seqocr.files import write_json
from seqocr.train.state import is_finished

SMALL = Size(
    seeds={"uniform": 1, "lexicon-20": 1},
    damages=("clean",),
    base_steps=1,
    steps=1,
    strings=20,
    ablated=None,
    shifted=(),
    base_batch=8,
    batch=8,
)


def squared(number: int, plus: int = 0) -> int:
    return number**2 + plus


def wrong() -> None:
    raise InputError("no such thing: give another")


def mistaken() -> None:
    raise ZeroDivisionError("a mistake in the code")


def dies_once(tries: Path) -> int:
    """How often it was tried. The first process that does is gone in the middle of it."""
    with tries.open("a") as notes:
        notes.write(f"{os.getpid()}\n")
    if len(tries.read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(tries.read_text().split())


def assert_runs_cells(pool: Executor) -> None:
    """What everything does that an engine gives."""
    futures = [pool.submit(squared, number, plus=1) for number in range(6)]
    assert sorted(future.result() for future in as_completed(futures)) == [1, 2, 5, 10, 17, 26]
    with pytest.raises(InputError) as found:
        pool.submit(wrong).result()
    assert str(found.value) == "no such thing: give another"
    with pytest.raises(ZeroDivisionError, match="a mistake in the code"):
        pool.submit(mistaken).result()


def train(each: Training, size: Size, runs: Path) -> str:
    """In place of a training: what one leaves behind."""
    write_json(runs / each.name / "config.json", {"steps": size.steps})
    return f"trained {each.name}"


def read(each: Training, size: Size, runs: Path) -> str:
    """In place of reading with what was trained."""
    assert is_finished(runs / each.name)
    Store(runs).write(f"readings-{each.name}", pd.DataFrame({"training": [each.name], "strings": [size.strings]}))
    return f"read {each.name}"
