"""What `python -m bench ranks` does: the same training by 1, 2 and 4 processes, compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

from bench.experiments.distributed import process
from bench.experiments.distributed import sections as page
from bench.report.plotting import save
from seqocr.environment import describe
from seqocr.files import read_json, write_json, write_text
from seqocr.models.checkpoint import load_recognizer
from seqocr.train.state import is_finished


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        processes: that `torchrun` starts.
        killed_at: the step after which one of them is killed (kill -9); `torchrun` starts all again.
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


def run(out: Path, work: Path) -> Path:
    """Train what is not trained yet, write ranks.json, ranks.md and ranks.png, and return the page's path.

    Args:
        work: where recognizers lie, and stay.
    """
    for case in CASES:
        if not is_finished(work / case.name):
            _train(case, work / case.name)
            print(f"trained: {work / case.name}", file=sys.stderr, flush=True)
    found = {
        "environment": describe(),
        "config": asdict(process.CONFIG),
        "shards": process.SHARDS,
        "runs": {case.name: _found(case, work / case.name) for case in CASES},
        "weights": [
            {"pair": pair, **_weights(*(work / name / "model.safetensors" for name in pair))} for pair in PAIRS
        ],
    }
    write_json(out / "ranks.json", found)
    return write(out)


def write(out: Path) -> Path:
    """Write ranks.md and ranks.png from ranks.json."""
    found = read_json(out / "ranks.json")
    save("ranks", lambda: page.picture(found), out)  # in `plots`, `bench run` keeps none but its own
    write_text(out / "ranks.md", page.page(found))
    return out / "ranks.md"


def _train(case: Case, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)  # of a run of this command that was cut short
    process.losses_of(out).unlink(missing_ok=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(case.processes)]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--max-restarts", "1"]
    with subprocess.Popen(
        [*launcher, "-m", "bench.experiments.distributed.process", str(out), case.precision]
    ) as training:
        if case.killed_at is not None:
            _kill_one(training, process.losses_of(out), case.killed_at)
    if training.returncode:
        raise RuntimeError(f"training by {case.processes} processes ended with {training.returncode}")


def _kill_one(training: subprocess.Popen[bytes], noted: Path, step: int) -> None:
    while training.poll() is None:
        if noted.exists() and any(done >= step for done, _ in _lines(noted)):
            theirs = [
                each
                for each in psutil.Process(training.pid).children()
                if "bench.experiments.distributed.process" in each.cmdline()
            ]
            theirs[-1].kill()
            return
        time.sleep(0.02)


def _found(case: Case, out: Path) -> dict[str, Any]:
    """Of a run: the loss of every step, what it reads, and the step that it went on from, if it was killed."""
    noted = _lines(process.losses_of(out))
    losses = dict(noted)
    again = [step for (before, _), (step, _) in pairwise(noted) if step <= before]
    return {
        **asdict(case),
        "losses": [losses[step] for step in range(process.CONFIG.steps)],
        "exact": load_recognizer(out).provenance["validation"][-1]["exact"],
        "went_on_from": again[0] if again else None,
    }


def _lines(noted: Path) -> list[tuple[int, float]]:
    """Steps and losses. A line that is not whole yet is left out."""
    return [tuple(json.loads(line)) for line in noted.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _weights(one: Path, other: Path) -> dict[str, float]:
    """The largest difference of any weight, and the largest weight."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    return {
        "difference": max(float((a[name] - b[name]).abs().max()) for name in a),
        "largest": max(float(weights.abs().max()) for weights in a.values()),
    }
