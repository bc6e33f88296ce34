"""`make study`: train what is missing, read what is missing, write one table. Killed, it goes on where it was."""

import contextlib
import dataclasses
import io
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, TypeVar

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
from seqocr.progress import progress
from seqocr.train.state import is_finished

READINGS = "readings"
T = TypeVar("T")
SHOWN = "full"  # the preset that reports show
CELL_HEADS = ("ar", "parallel")
COST = {"smoke": cost.Settings(rounds=2, warmup=2), "full": cost.Settings(rounds=30, warmup=2)}


def run(preset: str, out: Path, runs: Path, engine: Engine = LOCAL) -> Path:
    """Make the study of a preset, seed by seed. After each seed there is a study, of so many replications.

    Args:
        out: results folder; the study's table and facts lie in its folder `study`, of small ones in `study-PRESET`.
        runs: where recognizers are kept, and the predictions of each.
        engine: what trains and reads. Beside Ray, nothing is timed: that is left to a run without it.

    Returns:
        the study's folder.

    Raises:
        InputError: there is no such preset, `runs` holds recognizers of another size or other code, the cluster cannot
            be used, or something else runs on this machine when it comes to timing.
    """
    runs = runs.absolute()  # workers may stand elsewhere
    size, kept, study = opened(preset, SIZES, runs, out)
    replications = range(max(size.seeds.values()))
    # One after another, so that there soon is a study; or, where there may be cores for all, at once.
    waves = [replications] if engine.name == "ray" else [replications[seed : seed + 1] for seed in replications]
    with progress(f"study {preset}", 1 + 2 * len(size.trainings())) as reporter, engine.workers(runs) as pool:
        claim(kept, "study", depends(size), "another study")
        with _timed(kept):
            training.train_base(size, runs)
        reporter.advance(training.BASE)
        for seeds in waves:
            here = [each for each in size.trainings() if each.seed in seeds]
            for work, done in ((_train, _is_trained), (_read, _is_read)):
                todo = [each for each in here if not done(each, kept)]
                reporter.advance(steps=len(here) - len(todo))
                with _timed(kept):
                    for future in as_completed([pool.submit(work, each, size, runs) for each in todo]):
                        reporter.advance(future.result())
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


def cell_size(labels: str, damage: str, steps: int, batch: int, strings: int) -> Size:
    return Size({labels: 1}, (damage,), steps, steps, strings, None, (), batch, batch)


def cell(labels: str, damage: str, steps: int, batch: int, strings: int, folder: Path) -> pd.DataFrame:
    """One cell in small: an encoder, `ar` and `parallel` learn independent digits, from the shipped weights, and then
    other labels, with new heads; they read one damage.

    Args:
        labels: name of a label distribution.
        steps, batch: of both trainings.
        strings: that are read.
    """
    each = Training(labels, seed=0, heads=CELL_HEADS)
    size = cell_size(labels, damage, steps, batch, strings)
    with contextlib.redirect_stderr(io.StringIO()):
        training.train_base(size, folder, each.heads)
        training.train(each, size, folder)
    return predictions.read(each, size, folder)


def depends(size: Any) -> dict[str, Any]:
    """What a study depends on, as JSON: its size, a dataclass, and the weights it starts from."""
    return {"size": _as_json(size), "weights": fingerprint.of_weights(SHIPPED)}


def _as_json(size: Any) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(size)))


def opened(preset: str, sizes: Mapping[str, T], runs: Path, out: Path) -> tuple[T, Store, Store]:
    """The size that a preset names; what is kept while it runs; and results, in the folder `study` of `out`, of small
    ones in `study-PRESET`.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in sizes:
        raise InputError(f"unknown preset {preset!r}: choose one of {', '.join(sizes)}")
    return sizes[preset], Store(runs), Store(out / ("study" if preset == SHOWN else f"study-{preset}"))


def claim(kept: Store, table: str, asked: dict[str, Any], others: str) -> None:
    """Recognizers of one size and one start only lie in a folder; `others` is what a message calls those of another."""
    before = kept.facts(table).get("depends", asked)
    if changed := changed_dependencies(before, asked):
        raise InputError(
            f"{kept.folder} holds recognizers of {others} (other {listed(changed)}): give another --runs, or delete it"
        )
    kept.add_facts(table, depends=asked)


@contextlib.contextmanager
def _timed(kept: Store) -> Iterator[None]:
    """Adds to the study's wall time, also where the work is cut short."""
    began = time.monotonic()
    try:
        yield
    finally:
        kept.add_facts("study", seconds=kept.facts("study").get("seconds", 0.0) + time.monotonic() - began)


def _train(each: Training, size: Size, runs: Path) -> str:
    with contextlib.redirect_stderr(io.StringIO()):  # the study's own progress is shown
        training.train(each, size, runs)
    return f"trained {each.name}"


def _is_trained(each: Training, kept: Store) -> bool:
    return is_finished(kept.folder / each.name)


def _read(each: Training, size: Size, runs: Path) -> str:
    Store(runs).write(_table(each), predictions.read(each, size, runs))
    return f"read {each.name}"


def _is_read(each: Training, kept: Store) -> bool:
    return kept.has(_table(each))


def _table(each: Training) -> str:
    return f"{READINGS}-{each.name}"


def _write(preset: str, kept: Store, size: Size, study: Store) -> None:
    tables = [kept.read(_table(each)) for each in size.trainings()]
    study.write(READINGS, pd.concat(tables, ignore_index=True))
    facts = {
        "preset": preset,
        "size": _as_json(size),
        "depends": depends(SIZES[preset]),
        "commit": environment.commit(),
        "environment": environment.describe(),
        "seconds": kept.facts("study")["seconds"],
        "finished": now(),
        "sums": study.sums("study", READINGS),
    }
    study.write_facts("study", facts)
