"""`make study`: train what is missing, read what is missing, write one table. Killed, it goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench import dependencies
from bench.experiments.dependence import reading, training
from bench.experiments.dependence.design import HEADS, SIZES, Size, Training
from bench.store import Store, changes, now
from seqocr import environment
from seqocr.errors import InputError
from seqocr.progress import Reporter, progress

READINGS = "readings"
# What training and reading run, besides heads.
CODE = (
    *("bench.experiments.dependence.design", "bench.experiments.dependence.training"),
    *("bench.experiments.dependence.reading", "seqocr.data.labels", "seqocr.data.lawful", "seqocr.data.damage"),
    *("seqocr.constraints", "seqocr.exact", "seqocr.ideal"),
)


def run(preset: str, out: Path, runs: Path) -> Path:
    """Make the study of a preset.

    Args:
        out: results folder; the study's table and facts lie in its folder `study`.
        runs: where recognizers are kept, and the readings of each, until the study is finished.

    Returns:
        the study's folder.

    Raises:
        InputError: there is no such preset, or `runs` holds recognizers of another one.
    """
    if preset not in SIZES:
        raise InputError(f"unknown study preset {preset!r}: choose one of {', '.join(SIZES)}")
    size, kept = SIZES[preset], Store(runs)
    began = time.monotonic()
    _claim(kept, size)
    trainings = size.trainings()
    with progress(f"study {preset}", 1 + 2 * len(trainings)) as reporter, _processes() as pool:
        training.base(size, runs)
        reporter.advance(training.BASE)
        for work, done in ((_train, _trained), (_read, _has_readings)):
            todo = [each for each in trainings if not done(each, kept)]
            reporter.advance(steps=len(trainings) - len(todo))
            _all_of(pool, work, todo, size, runs, reporter)
        kept.add_facts("study", seconds=kept.facts("study").get("seconds", 0) + time.monotonic() - began)
    return _write(preset, kept, trainings, Store(out / "study"))


def cell(law: str, damage: str, steps: int, batch: int, strings: int, folder: Path) -> pd.DataFrame:
    """One cell in small: `ar` and `parallel` learn a law straight from the shipped weights, and read one damage."""
    alone = Training(law, seed=0, heads=("ar", "parallel"))
    size = Size({law: 1}, (damage,), steps, steps, strings, None, (), batch, batch)
    with contextlib.redirect_stderr(io.StringIO()):
        training.base(size, folder, alone.heads)
        training.trained(alone, size, folder)
    return reading.read(alone, size, folder)


def depends(size: Size) -> dict[str, Any]:
    """What a study depends on, as JSON."""
    code = dependencies.of_heads(HEADS)
    for module in CODE:
        code |= dependencies.of_module(module)
    return {"size": dataclasses.asdict(size), "code": dict(sorted(code.items()))}


def _claim(kept: Store, size: Size) -> None:
    """Recognizers of one size only lie in a folder."""
    facts, asked = kept.facts("study"), dataclasses.asdict(size)
    if facts and changes(facts["size"], _as_json(asked)):
        raise InputError(f"{kept.folder} holds recognizers of another study: give another --runs, or delete it")
    kept.add_facts("study", size=_as_json(asked))


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    return [_as_json(each) for each in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def _processes() -> Any:
    """One a core, a thread each: more threads would wait for each other."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        torch.get_num_threads(), mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _all_of(
    pool: ProcessPoolExecutor,
    work: Callable[..., str],
    todo: Sequence[Training],
    size: Size,
    runs: Path,
    reporter: Reporter,
) -> None:
    for future in as_completed([pool.submit(work, each, size, runs) for each in todo]):
        reporter.advance(future.result())


def _train(each: Training, size: Size, runs: Path) -> str:
    with contextlib.redirect_stderr(io.StringIO()):  # the study's own progress is shown
        training.trained(each, size, runs)
    return f"trained {each.name}"


def _trained(each: Training, kept: Store) -> bool:
    return training.finished(each, kept.folder)


def _read(each: Training, size: Size, runs: Path) -> str:
    Store(runs).write(_table(each), reading.read(each, size, runs))
    return f"read {each.name}"


def _has_readings(each: Training, kept: Store) -> bool:
    return kept.has(_table(each))


def _table(each: Training) -> str:
    return f"{READINGS}-{each.name}"


def _write(preset: str, kept: Store, trainings: Sequence[Training], study: Store) -> Path:
    study.write(READINGS, pd.concat([kept.read(_table(each)) for each in trainings], ignore_index=True))
    facts = {
        "preset": preset,
        "depends": depends(SIZES[preset]),
        "commit": environment.commit(),
        "environment": environment.describe(),
        "seconds": kept.facts("study")["seconds"],
        "finished": now(),
    }
    study.write_facts("study", facts)
    return study.folder
