"""Trains the head of the installed template, and measures it with the template's runtime and reader.

    python template.py FOLDER

writes FOLDER/template.json: by page or table, which of the template's names it has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bench.study
from bench.backends import backends
from bench.core.experiment import Part
from bench.experiments import accuracy, costs, latency, other_readers
from bench.experiments import backends as runtimes
from bench.experiments.backends import timing
from bench.peers import peers
from bench.report.build import write_report
from bench.workloads.timed_models import TINY
from tests.plugin.parts import measure_parts, parts
from tests.plugin.stations import TRAINING
from tests.plugin.workplace import Workplace, seqocr

NAMES = ("my-slots", "my-runtime", "my-reader")


def main(folder: Path) -> None:
    at, weights = Workplace(folder / "lines"), folder / "weights"
    heads = ["--heads", "my-slots,parallel,ar"]
    seqocr("train", "--init", at.start["built-in"], *heads, "--data", at.lines, "--out", weights, *TRAINING)
    assert "my-runtime" in backends()
    ours = next(name for name, peer in peers().items() if peer.strategy == "parallel" and not peer.missing())
    readers = (ours, "my-reader")
    every = parts(weights)
    made = {
        **{each: every[each] for each in (latency.EXPERIMENT, costs.EXPERIMENT)},  # no report is without these
        accuracy.EXPERIMENT: [Part("accuracy", accuracy.Settings(20), weights=(weights,))],
        runtimes.EXPERIMENT: [
            Part("runtimes-tiny-28x140", timing.Settings(TINY, ("eager", "my-runtime"), 2, (1, 2), rounds=2, warmup=0))
        ],
        other_readers.EXPERIMENT: [
            Part("peers-readings", other_readers.Readings(readers), weights=(weights,), timed=False),
            Part("peers-timing", other_readers.Timing(readers, rounds=2, warmup=0), weights=(weights,)),
        ],
    }
    store = measure_parts(made, weights, folder / "results")
    bench.study._COMMITTED = folder / "no-study"
    write_report(store, folder / "results")
    pages = [*(folder / "results").glob("*.md"), *(folder / "results").glob("tables/*.csv")]
    found = {path.name: [name for name in NAMES if name in path.read_text()] for path in pages}
    (folder / "template.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
