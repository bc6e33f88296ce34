"""The harness under load: LoadGen's summary, the search for Server's rate, resuming; LoadGen itself if installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import load, statistics
from bench.plan import TINY, Cell
from bench.store import Store

SUMMARY = """================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 57.78
Result is : INVALID
  Performance constraints satisfied : Yes
  Early stopping satisfied: NO
Recommendations:
50.00 percentile latency (ns)   : 17566589
"""
CELL = Cell("load", TINY, (), rounds=0, warmup=0, runtimes=("eager",), seconds=1, bound=0.05)


class Silent:
    def advance(self, note: str = "", steps: int = 1) -> None: ...


def test_a_summary_is_read_as_loadgen_wrote_it() -> None:
    found = load.summary(SUMMARY)
    assert found["valid"] is False
    assert found["Completed samples per second"] == 57.78
    assert found["50.00 percentile latency (ns)"] == 17566589
    assert found["Early stopping satisfied"] == "NO"
    assert load.summary(SUMMARY.replace("INVALID", "VALID"))["valid"] is True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """In LoadGen's place, one that reads 2,500 lines a second and keeps the bound up to 600; what it was asked."""
    asked: list[dict[str, Any]] = []

    def row(request: dict[str, Any], scenario: str, rate: float) -> dict[str, Any]:
        valid = {"SingleStream": True, "Offline": rate >= 2500, "Server": rate <= 600}[scenario]
        value = {"SingleStream": 3.0, "Offline": 2500.0, "Server": min(rate, 2500)}[scenario]
        asked.append({"runtime": request["runtime"], "head": request["head"], "scenario": scenario, "rate": rate})
        return {**asked[-1], "bound_ms": 50, "valid": valid, "chosen": True, "value": value, "p99_ms": 40.0}

    monkeypatch.setattr(load, "_row", row)
    return asked


def test_the_highest_rate_that_keeps_the_bound_is_found(tmp_path: Path, machine: list[dict[str, Any]]) -> None:
    store = Store(tmp_path)
    load.measure_load(CELL, store, None, Silent())  # type: ignore[arg-type]
    assert load.measured(store, CELL) == len(load.LOAD_HEADS)
    chosen = statistics.load(store)
    assert chosen["valid"].all()
    assert chosen.groupby("head")["scenario"].apply(sorted).tolist() == [sorted(load.SCENARIOS)] * len(load.LOAD_HEADS)
    rates = chosen[chosen["scenario"] == "Server"]["rate"]
    assert ((rates > 600 / 1.06) & (rates <= 600)).all()  # six halvings of five octaves
    everything = store.read(CELL.name)
    assert not everything[(everything["scenario"] == "Offline") & (everything["rate"] < 2500)]["chosen"].any()


def test_what_is_measured_is_not_measured_again(tmp_path: Path, machine: list[dict[str, Any]]) -> None:
    store = Store(tmp_path)
    load.measure_load(CELL, store, None, Silent())  # type: ignore[arg-type]
    table = store.read(CELL.name)
    store.write(CELL.name, table[table["head"] != "ctc"])  # killed before the last
    machine.clear()
    load.measure_load(CELL, store, None, Silent())  # type: ignore[arg-type]
    assert {row["head"] for row in machine} == {"ctc"}
    assert load.measured(store, CELL) == len(load.LOAD_HEADS)


def test_no_rate_that_keeps_the_bound_is_said(
    tmp_path: Path, machine: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = load._row
    monkeypatch.setattr(
        load, "_row", lambda request, scenario, rate: {**row(request, scenario, rate), "valid": scenario != "Server"}
    )
    store = Store(tmp_path)
    load.measure_load(CELL, store, None, Silent())  # type: ignore[arg-type]
    chosen = statistics.load(store).set_index(["head", "scenario"])["valid"]
    assert not chosen["ctc", "Server"]
    assert chosen["ctc", "Offline"]


DRIVE = """
import json, sys
from pathlib import Path
import torch
from bench.load import drive
from seqocr.models.base import Decoded

read = lambda images: Decoded(["1"] * len(images), torch.ones(len(images)), 1)
lines = torch.zeros(50, 28, 140, dtype=torch.uint8)
print(json.dumps(drive(read, lines, sys.argv[1], Path(sys.argv[2]), seconds=1, rate=float(sys.argv[3]))))
"""


@pytest.mark.parametrize(("scenario", "rate"), [("SingleStream", 1e6), ("Server", 900), ("Offline", 1e5)])
def test_loadgen_calls_a_fast_reader_valid(scenario: str, rate: float, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    command = [sys.executable, "-c", DRIVE, scenario, str(tmp_path), str(rate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["Scenario"] == scenario
    assert found["valid"], found
    assert found[load._VALUES[scenario]] > 0
