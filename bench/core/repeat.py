"""Would the first screen say the same again? The preset, run again and again, with or without a load beside it."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.core.experiment import PRESETS, Bench
from bench.core.runner import prepared, run
from bench.core.store import Store
from bench.experiments import experiments
from bench.report.formatting import listed
from seqocr.errors import InputError
from seqocr.files import replacing, write_json
from seqocr.progress import progress

_TABLE, _ABOUT = "repeat.csv", "repeat.json"
_SECONDS = (1.0, 6.0)  # the load is on, and off, for so long, drawn uniformly


def repeat(preset: str, times: int, disturb: bool, out: Path) -> Path:
    """Run a preset `times` times into OUT/repeat/quiet/NN, or OUT/repeat/disturbed/NN, and write OUT/repeat.csv: one
    row a run and claim that rests on times.

    A run that is finished is not made again, so what was killed goes on. What is not timed gives the same every time:
    later runs take it from the first.
    """
    from bench.report.build import everything  # which shows what is written here

    if preset not in PRESETS:
        raise InputError(f"unknown bench preset {preset!r}: choose one of {', '.join(PRESETS)}")
    rows = []
    commits: dict[str, None] = {}  # that the clock ran at, in order
    first: Store | None = None
    with progress("repeat", times) as reporter, _load() if disturb else contextlib.nullcontext():
        for number in range(times):
            bench = prepared(preset, out / "repeat" / ("disturbed" if disturb else "quiet") / f"{number:02}", "cpu")
            timed = _timed_parts(preset, bench)
            if first is not None:
                _untimed(first, bench.store, timed)
            run(preset, bench)
            first = first or bench.store
            commits |= dict.fromkeys(str(bench.store.facts(part).get("commit")) for part in sorted(timed))
            found = everything(bench.store)
            for each in (each for each in experiments() if each.timed and each.name in found):
                for claim in each.claims(found[each.name]):
                    value = {"estimate": claim.value.estimate, "low": claim.value.low, "high": claim.value.high}
                    rows.append(
                        {"run": number, "claim": claim.name, "verdict": claim.verdict, "ratio": claim.ratio, **value}
                    )
            reporter.advance(f"run {number + 1}")
    with replacing(out / _TABLE) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")
    write_json(out / _ABOUT, {"preset": preset, "times": times, "disturb": disturb, "commit": listed(list(commits))})
    return out / _TABLE


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


@dataclass(frozen=True)
class Summary:
    """Of a repeated preset.

    Attributes:
        rows: one a run and claim.
        about: preset, times, disturb, commit.
    """

    rows: pd.DataFrame
    about: dict

    def claims(self) -> pd.DataFrame:
        """One row per claim: usual verdict, how often it was another, median of its number, how far it moved."""
        found = []
        for claim, part in self.rows.groupby("claim", sort=False):
            usual, middle = part["verdict"].mode()[0], part["estimate"].median()
            found.append(
                {
                    "claim": claim,
                    "verdict": usual,
                    "flipped": int((part["verdict"] != usual).sum()),
                    "median": middle,
                    "moved": float((part["estimate"] / middle - 1).abs().max()) if part["ratio"].all() else None,
                }
            )
        return pd.DataFrame(found)

    @property
    def flipped(self) -> int:
        return int(self.claims()["flipped"].sum())

    @property
    def moved(self) -> float:
        return float(self.claims()["moved"].max())

    def table(self) -> pd.DataFrame:
        """The claims whose numbers moved most."""
        most = self.claims().dropna(subset="moved").sort_values(["flipped", "moved"], ascending=False, kind="stable")
        return pd.DataFrame(
            {
                "claim": row["claim"],
                "verdict": row["verdict"],
                "flipped": row["flipped"],
                "median": f"{row['median']:.2f}",
                "moved at most": f"{row['moved']:.1%}",
            }
            for row in most.head(8).to_dict("records")
        )


def summary(results: Path) -> Summary | None:
    """Of what `repeat` wrote there; None if it never ran."""
    if not (results / _TABLE).exists() or not (results / _ABOUT).exists():
        return None
    about = json.loads((results / _ABOUT).read_text(encoding="utf-8"))
    return Summary(pd.read_csv(results / _TABLE), about)
