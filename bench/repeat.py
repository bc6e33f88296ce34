"""Would the first screen say the same again? The preset, run again and again, with or without a load beside it."""

import contextlib
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.experiment import PRESETS, Bench, Claim, Experiment
from bench.core.formatting import listed
from bench.core.sealed import write_sealed
from bench.core.store import Store
from bench.experiments import experiments
from bench.report.build import everything
from bench.report.repeats import ABOUT, FIRST_SCREEN, TABLE
from bench.runner import prepared, run
from bench.study import family
from bench.study.family_estimates import FamilyResults
from bench.study.family_pipeline import time_encoders
from seqocr.errors import InputError
from seqocr.files import file_sum, replacing
from seqocr.progress import progress

_SECONDS = (1.0, 6.0)  # the load is on, and off, for so long, drawn uniformly


def repeat(preset: str, times: int, disturb: bool, out: Path, only: str | None = None) -> Path:
    """Run a preset `times` times into OUT/repeat/quiet/NN, or OUT/repeat/disturbed/NN, and write OUT/repeat.csv: one
    row a run and claim that rests on times.

    A run that is finished is not made again, so what was killed goes on. What is not timed gives the same every time:
    later runs take it from the first.

    Args:
        only: an experiment that is timed alone, with OUT/repeat-ONLY in place of OUT.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown bench preset {preset!r}: choose one of {', '.join(PRESETS)}")
    timed = {each.name for each in experiments() if each.timed and each.parts(preset, Bench(Store(out)))}
    if only and only not in timed:
        raise InputError(f"preset {preset!r} times nothing of {only!r}: name another experiment or --preset full")
    out = out / f"repeat-{only}" if only else out
    rows = []
    commits: dict[str, None] = {}  # that the clock ran at, in order
    first: Store | None = None
    with progress("repeat", times) as reporter, _load() if disturb else contextlib.nullcontext():
        for number in range(times):
            bench = prepared(preset, out / "repeat" / ("disturbed" if disturb else "quiet") / f"{number:02}", "cpu")
            timed = _timed_parts(preset, bench)
            if first is not None:
                _untimed(first, bench.store, timed)
            run(preset, bench, only=(only,) if only else ())
            first = first or bench.store
            commits |= dict.fromkeys(str(bench.store.facts(part).get("commit")) for part in sorted(timed))
            for each, results in _timed_results(bench.store, only):
                rows += [_row(number, claim) for claim in each.claims(results)]
            reporter.advance(f"run {number + 1}")
    return _write(rows, {"preset": preset, "times": times, "disturb": disturb, "commit": listed(list(commits))}, out)


def repeat_family(times: int, out: Path, runs: Path) -> Path:
    """Time the family of encoders again and again, of the weights in `runs`, as `repeat` does a preset.

    Raises:
        InputError: it has not been trained.
    """
    study, folder, kept = Store(out / "study"), out / FIRST_SCREEN, Store(runs.absolute())
    if not study.has(family.TABLE):
        raise InputError(f"{study.folder} has no family of encoders: make one with `python -m bench family`")
    rows, commits = [], dict[str, None]()
    for number in range(times):
        again = Store(folder / "repeat" / "quiet" / f"{number:02}")
        time_encoders(family.SIZES["full"], kept, again)
        timed = again.facts(family.TIMES)
        results = FamilyResults(study.read(family.TABLE), study.facts(family.TABLE), again.read(family.TIMES), timed)
        rows += [_row(number, claim) for claim in results.time_claims]
        commits |= {str(about["commit"]): None for about in timed.values() if "commit" in about}
    return _write(rows, {"preset": "family", "times": times, "disturb": False, "commit": listed([*commits])}, folder)


def _row(run: int, claim: Claim) -> dict[str, Any]:
    said = {"run": run, "claim": claim.name, "verdict": claim.verdict, "ratio": claim.ratio}
    return {**said, "estimate": claim.value.estimate, "low": claim.value.low, "high": claim.value.high}


def _write(rows: list[dict[str, Any]], about: dict[str, Any], out: Path) -> Path:
    with replacing(out / TABLE) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")
    write_sealed(out / ABOUT, {**about, "sums": {TABLE: file_sum(out / TABLE)}})
    return out / TABLE


def _timed_results(store: Store, only: str | None) -> list[tuple[Experiment, Any]]:
    found = (
        {each.name: each.results(store) for each in experiments() if each.name == only} if only else everything(store)
    )
    return [(each, found[each.name]) for each in experiments() if each.timed and found.get(each.name) is not None]


def _timed_parts(preset: str, bench: Bench) -> set[str]:
    return {part.name for each in experiments() for part in each.parts(preset, bench) if each.is_timed(part)}


def _untimed(first: Store, store: Store, timed: set[str]) -> None:
    """Copy what is not timed and not there, the facts that say what it depends on last."""
    for part in (part for part in first.parts() if part not in timed and store.facts(part) != first.facts(part)):
        store.delete(part)
        for path in sorted(first.folder.glob(f"{part}.*"), key=lambda path: path.suffix == ".json"):
            with replacing(store.folder / path.name) as temporary:
                shutil.copyfile(path, temporary)


@contextlib.contextmanager
def _load() -> Iterator[None]:
    """One or two cores kept busy by other processes, on and off for random seconds."""
    process = multiprocessing.get_context("spawn").Process(target=disturb, args=(os.getpid(),), daemon=False)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def disturb(parent: int, seed: int = 0) -> None:
    """Load the machine on and off until this process is ended, or the one that started it is no more."""
    draw, context = random.Random(seed), multiprocessing.get_context("fork")
    while os.getppid() == parent:
        time.sleep(draw.uniform(*_SECONDS))
        until = time.monotonic() + draw.uniform(*_SECONDS)
        own = os.getpid()
        busy = [context.Process(target=_spin, args=(until, own), daemon=True) for _ in range(draw.choice((1, 2)))]
        for each in busy:
            each.start()
        for each in busy:
            each.join()


def _spin(until: float, parent: int) -> None:
    while time.monotonic() < until and os.getppid() == parent:
        sum(range(10_000))
