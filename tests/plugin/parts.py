"""The smallest parts of the bench's experiments, and the report that is made from them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import bench.runner as loop
import bench.study
import bench.workloads.held_out as strings
from bench.core import strategies, timer
from bench.core.experiment import Bench, Experiment, Part
from bench.core.store import Store
from bench.experiments import accuracy, constrained, costs, difficulty, latency, speculative, throughput
from bench.report.build import write_report
from bench.workloads.timed_models import TINY
from seqocr.data.sources.datasets import embedded_digits
from seqocr.data.synthetic.layouts import LEVELS
from tests.synthetic import finished_run

LEVEL = "wild"
EXPERIMENTS = (accuracy, constrained, costs, difficulty, latency, speculative, throughput)


def parts(weights: Path) -> dict[Experiment, list[Part]]:
    own = (weights,)
    return {
        accuracy.EXPERIMENT: [Part("accuracy", accuracy.Settings(20), weights=own)],
        difficulty.EXPERIMENT: [Part(f"levels-{LEVEL}", difficulty.Settings(LEVEL, LEVELS[LEVEL], 4), weights=own)],
        constrained.EXPERIMENT: [
            Part("forms", constrained.Settings(rounds=2, each=2, length=5, warmup=0), weights=own)
        ],
        speculative.EXPERIMENT: [Part("drafts", speculative.Settings(rounds=2, each=2, warmup=0), weights=own)],
        latency.EXPERIMENT: [Part(f"latency-{TINY.name}", latency.Settings(TINY, (1, 5), rounds=2, warmup=0))],
        throughput.EXPERIMENT: [Part(f"throughput-{TINY.name}", throughput.Settings(TINY, (1, 2), rounds=2, warmup=0))],
        costs.EXPERIMENT: [
            Part(f"costs-{TINY.name}", costs.Settings(TINY, (1, 5), memory=True)),
            Part("costs-rates", costs.Rates(tries=1)),
        ],
    }


def measure(weights: Path, folder: Path, timed: bool) -> str:
    """Measure; the predictions of five digits, as CSV.

    Args:
        timed: also what random weights take.
    """
    every = parts(weights)
    made = every if timed else {accuracy.EXPERIMENT: every[accuracy.EXPERIMENT]}
    return measure_parts(made, weights, folder).read("accuracy").to_csv(index=False)


def measure_parts(made: dict[Experiment, list[Part]], weights: Path, folder: Path) -> Store:
    """Measure these, beside whatever else runs, without MNIST."""
    for module in (*EXPERIMENTS, strings):
        if hasattr(module, "held_out_digits"):
            module.held_out_digits = embedded_digits  # type: ignore[attr-defined]
    timer.AGAIN, loop.alone = 0, contextlib.nullcontext  # other tests run meanwhile
    loop._workers = lambda bench, engine: contextlib.nullcontext()  # more processes would take longer to start
    for experiment, of in made.items():
        experiment.parts = lambda preset, bench, of=of: of  # type: ignore[method-assign, misc]
    loop.experiments = lambda: list(made)
    store = Store(folder / "raw" / "smoke-1")
    facts = finished_run(folder / "other").facts("run")
    store.write_facts("run", {**facts, "finished": None})
    loop.run("smoke", Bench(store, task=weights, reader=weights))
    return store


def write(folder: Path) -> dict[str, list[str]]:
    """Write the report: for each page, table and plot, the strategies that it names."""
    bench.study._COMMITTED = folder / "no-study"
    write_report(Store(folder / "raw" / "smoke-1"), folder)
    found = {}
    for path in [*folder.glob("*.md"), *folder.glob("tables/*.csv"), *folder.glob("plots/*.svg")]:
        text = path.read_text()
        found[path.name] = [name for name in strategies.by_name() if name in text]
    return found
