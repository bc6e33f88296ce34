"""Distributed training by 1, 2 and 4 processes: how far losses and weights differ, and recovery of a killed process."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from matplotlib.figure import Figure
from safetensors.torch import load_file

from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.store import Store
from bench.core.templating import prose
from bench.experiments.distributed import process
from bench.experiments.distributed.estimates import FIRST, Results, differences_table, exact_table, losses_plot, short
from bench.workloads import fingerprints
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter
from seqocr.train.state import is_finished


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        processes: that `torchrun` starts.
        killed_at: step after which one of them is killed (kill -9); `torchrun` restarts all.
    """

    name: str
    processes: int
    precision: str = "float32"
    killed_at: int | None = None


CASES = (
    Case("1", 1),
    Case("2", 2),
    Case("4", 4),
    Case("1-float64", 1, "float64"),
    Case("2-float64", 2, "float64"),
    Case("4-float64", 4, "float64"),
    Case("2-killed", 2, killed_at=110),
)
# What is compared with what.
PAIRS = (("1", "2"), ("1", "4"), ("1-float64", "2-float64"), ("1-float64", "4-float64"), ("2", "2-killed"))


@dataclass(frozen=True)
class Settings:
    config: dict[str, Any] = field(default_factory=lambda: asdict(process.CONFIG))
    shards: int = process.SHARDS


class Distributed(Experiment):
    name = "distributed"
    page, order = DEPLOYMENT, 90
    timed = False
    on_request = True

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(self.name, Settings(), len(CASES))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Train every case that is not trained yet, then compare."""
        work = bench.store.file(part.name, ".trained")  # kept until all are trained, so that a killed run goes on
        for case in CASES:
            if not is_finished(work / case.name):
                _train(case, work / case.name)
            reporter.advance(case.name)
        runs = {case.name: run_facts(case, work / case.name) for case in CASES}
        # As text: CSV keeps all digits of a text, and every digit of a float64 counts here.
        rows = [
            {"run": name, "step": step, "loss": repr(loss)}
            for name, run in runs.items()
            for step, loss in enumerate(run.pop("losses"))
        ]
        files = {name: work / name / "model.safetensors" for name in runs}
        weights = [{"pair": pair, **weight_difference(*map(files.__getitem__, pair))} for pair in PAIRS]
        bench.store.write(self.name, pd.DataFrame(rows))
        bench.store.add_facts(self.name, runs=runs, weights=weights)
        shutil.rmtree(work)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        return fingerprints.of_training(partial(process.trainer, Path("unused")), steps=3)

    def results(self, store: Store) -> Results | None:
        if not (tables := self.rows(store)):
            return None
        facts, by_run = store.facts(self.name), tables[self.name].groupby("run", sort=False)
        losses = {str(name): part["loss"].tolist() for name, part in by_run}
        settings = facts["depends"]["settings"]
        return Results(settings, losses, facts["runs"], facts["weights"], store.environment(self.name))

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"distributed": pd.DataFrame(results.losses).rename_axis("step").reset_index()}

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"distributed": partial(losses_plot, results)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        killed = next(run for run in results.runs.values() if run["killed_at"] is not None)
        text = prose("distributed", results=results, killed=killed, first=FIRST, short=short)
        details = {"Exact match after the training": exact_table(results)}
        return [Section("Distributed training", text, "distributed", differences_table(results), details)]


EXPERIMENT = Distributed()


def _train(case: Case, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)  # of a run that was cut short
    process.losses_of(out).unlink(missing_ok=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(case.processes)]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--max-restarts", "1"]
    with subprocess.Popen([*launcher, "-m", process.__name__, str(out), case.precision]) as training:
        if case.killed_at is not None:
            _kill_one(training, process.losses_of(out), case.killed_at)
    if training.returncode:
        raise RuntimeError(f"training by {case.processes} processes ended with {training.returncode}")


def _kill_one(training: subprocess.Popen[bytes], losses: Path, step: int) -> None:
    """Kill one of the processes once a step is done."""
    while training.poll() is None:
        if losses.exists() and any(done >= step for done, _ in _read_losses(losses)):
            children = psutil.Process(training.pid).children()
            [each for each in children if process.__name__ in each.cmdline()][-1].kill()
            return
        time.sleep(0.02)


def run_facts(case: Case, out: Path) -> dict[str, Any]:
    """The loss of every step, exact match at the end, and the step that a killed training resumed from."""
    written = _read_losses(process.losses_of(out))
    losses = dict(written)
    resumed = [step for (before, _), (step, _) in pairwise(written) if step <= before]
    return {
        **asdict(case),
        "losses": [losses[step] for step in range(process.CONFIG.steps)],
        "exact": load_recognizer(out).provenance["validation"][-1]["exact"],
        "resumed_from": resumed[0] if resumed else None,
    }


def _read_losses(path: Path) -> list[tuple[int, float]]:
    """Steps and losses. A line that is not whole yet is left out."""
    return [tuple(json.loads(line)) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def weight_difference(one: Path, other: Path) -> dict[str, float]:
    """The largest difference of any weight, and the largest weight."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    return {
        "difference": max(float((a[name] - b[name]).abs().max()) for name in a),
        "largest": max(float(weights.abs().max()) for weights in a.values()),
    }
