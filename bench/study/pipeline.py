"""`make study`: train what is missing, read what is missing, write one table. Killed, it goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core import fingerprint
from bench.core.engines import LOCAL, Engine
from bench.core.exclusive import alone, refuse_beside_ray
from bench.core.formatting import listed
from bench.core.store import Store, changed_dependencies, now
from bench.study import cost, predictions, training
from bench.study.design import SIZES, Size, Training
from seqocr import environment
from seqocr.errors import InputError
from seqocr.inference.shipped import SHIPPED
from seqocr.progress import Reporter, progress

READINGS = "readings"
SHOWN = "full"  # the preset that reports show
CELL_HEADS = ("ar", "parallel")
COST = {"smoke": cost.Settings(rounds=2), "full": cost.Settings(rounds=30)}


def run(preset: str, out: Path, runs: Path, engine: Engine = LOCAL) -> Path:
    """Make the study of a preset, seed by seed. After each seed there is a study, of so many replications.

    Args:
        out: results folder; the study's table and facts lie in its folder `study`, of small ones in `study-PRESET`.
        runs: where recognizers are kept, and the readings of each.
        engine: what trains and reads. Beside Ray, nothing is timed: that is left to a run without it.

    Returns:
        the study's folder.

    Raises:
        InputError: there is no such preset, `runs` holds recognizers of another size or other code, the cluster cannot
            be used, or something else runs on this machine when it comes to timing.
    """
    if preset not in SIZES:
        raise InputError(f"unknown study preset {preset!r}: choose one of {', '.join(SIZES)}")
    size, runs = SIZES[preset], runs.absolute()  # workers may stand elsewhere
    kept = Store(runs)
    study = Store(out / ("study" if preset == SHOWN else f"study-{preset}"))
    replications = range(max(size.seeds.values()))
    # One after another, so that there soon is a study; or, where there may be cores for all, at once.
    waves = [replications] if engine.name == "ray" else [replications[seed : seed + 1] for seed in replications]
    with progress(f"study {preset}", 1 + 2 * len(size.trainings())) as reporter, engine.workers(runs) as pool:
        _claim(kept, depends(size))
        _timed(kept, lambda: training.base(size, runs))
        reporter.advance(training.BASE)
        for seeds in waves:
            here = [each for each in size.trainings() if each.seed in seeds]
            for work, done in ((_train, _trained), (_read, _has_readings)):
                todo = [each for each in here if not done(each, kept)]
                reporter.advance(steps=len(here) - len(todo))
                _timed(kept, partial(_all_of, pool, work, todo, size, runs, reporter))
            _write(preset, kept, size.first(seeds.stop), study)
    _measure_cost(preset, study, engine)
    return study.folder


def _measure_cost(preset: str, study: Store, engine: Engine) -> None:
    timing = COST[preset]
    if study.finished(cost.TABLE, cost.depends(timing)):
        return
    if not engine.times:
        print(
            "left to time: what strategies cost\nA clock wants a machine with nothing else on it: when no Ray runs "
            "here any more, the same command without --engine ray adds them"
        )
        return
    with alone(), progress(f"study {preset}, times", timing.rounds + timing.warmup) as reporter:
        refuse_beside_ray()
        cost.measure(timing, study, reporter)


def cell_size(law: str, damage: str, steps: int, batch: int, strings: int) -> Size:
    return Size({law: 1}, (damage,), steps, steps, strings, None, (), batch, batch)


def cell(law: str, damage: str, steps: int, batch: int, strings: int, folder: Path) -> pd.DataFrame:
    """One cell in small: an encoder, `ar` and `parallel` learn independent digits, from the shipped weights, and then a
    law, with new heads; they read one damage."""
    alone = Training(law, seed=0, heads=CELL_HEADS)
    size = cell_size(law, damage, steps, batch, strings)
    with contextlib.redirect_stderr(io.StringIO()):
        training.base(size, folder, alone.heads)
        training.trained(alone, size, folder)
    return predictions.read(alone, size, folder)


def depends(size: Size) -> dict[str, Any]:
    """What a study depends on, as JSON: its size and the weights it starts from."""
    return dict(_as_json({"size": dataclasses.asdict(size), "weights": fingerprint.of_weights(SHIPPED)}))


def _claim(kept: Store, asked: dict[str, Any]) -> None:
    """Recognizers of one size and one start only lie in a folder."""
    facts = kept.facts("study")
    before = facts.get("depends", asked)
    if changed := changed_dependencies(before, asked):
        raise InputError(
            f"{kept.folder} holds recognizers of another study (other {listed(changed)}): give another --runs, or "
            "delete it"
        )
    kept.add_facts("study", depends=asked)


def _timed(kept: Store, work: Callable[[], object]) -> None:
    """Adds to the study's wall time, also where the work is cut short."""
    began = time.monotonic()
    try:
        work()
    finally:
        kept.add_facts("study", seconds=kept.facts("study").get("seconds", 0.0) + time.monotonic() - began)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    return [_as_json(each) for each in value] if isinstance(value, list | tuple) else value


def _all_of(
    pool: Executor,
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
    Store(runs).write(_table(each), predictions.read(each, size, runs))
    return f"read {each.name}"


def _has_readings(each: Training, kept: Store) -> bool:
    return kept.has(_table(each))


def _table(each: Training) -> str:
    return f"{READINGS}-{each.name}"


def _write(preset: str, kept: Store, size: Size, study: Store) -> None:
    tables = [kept.read(_table(each)) for each in size.trainings()]
    study.write(READINGS, pd.concat(tables, ignore_index=True))
    facts = {
        "preset": preset,
        "size": _as_json(dataclasses.asdict(size)),
        "depends": depends(SIZES[preset]),
        "commit": environment.commit(),
        "environment": environment.describe(),
        "seconds": kept.facts("study")["seconds"],
        "finished": now(),
    }
    study.write_facts("study", facts)
