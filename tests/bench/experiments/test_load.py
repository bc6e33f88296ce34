"""The harness under load: LoadGen's summary, the search for Server's rate, parts; LoadGen itself if installed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core import strategies
from bench.core.experiment import Bench, Part
from bench.core.store import Store
from bench.experiments import load
from bench.experiments.load import loadgen as driver
from bench.report.build import write_report
from tests.measured import measured
from tests.synthetic import finished_run

EXPERIMENT = load.EXPERIMENT
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
QUIET = {"others": 0.0, "stolen": 0.0, "disturbed": False}


def test_a_summary_is_read_as_loadgen_wrote_it() -> None:
    found = driver.summary(SUMMARY)
    assert found["valid"] is False
    assert found["Completed samples per second"] == 57.78
    assert found["50.00 percentile latency (ns)"] == 17566589
    assert found["Early stopping satisfied"] == "NO"
    assert driver.summary(SUMMARY.replace("INVALID", "VALID"))["valid"] is True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """In LoadGen's place, one that reads 2,500 lines a second (1,250 with `ar`) and keeps the bound up to a quarter of
    that; what it was asked. Nothing else runs on it."""
    asked: list[dict[str, Any]] = []

    def test(request: dict[str, Any], scenario: str, rate: float) -> dict[str, Any]:
        fast = 2500.0 if request["strategy"] != "ar" else 1250.0
        valid = {"SingleStream": True, "Offline": rate >= fast, "Server": rate <= fast / 4}[scenario]
        value = {"SingleStream": 3.0, "Offline": fast, "Server": min(rate, fast)}[scenario]
        asked.append({"runtime": request["runtime"], "head": request["strategy"], "scenario": scenario, "rate": rate})
        return {**asked[-1], "bound_ms": 50, "valid": valid, "chosen": True, "value": value, "p99_ms": 40.0}

    monkeypatch.setattr(load, "_test", test)
    monkeypatch.setattr(load, "disturbance", lambda *_: QUIET)
    monkeypatch.setattr(load, "find_spec", lambda name: True)
    return asked


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store(tmp_path / "raw" / "run"))


def parts(bench: Bench, *names: str) -> list[Part]:
    return [part for part in EXPERIMENT.parts("full", bench) if part.name in names]


def test_a_part_is_a_head_in_a_runtime(bench: Bench, machine: list[dict[str, Any]]) -> None:
    assert EXPERIMENT.parts("default", bench) == []
    found = {part.name: part for part in EXPERIMENT.parts("full", bench)}
    assert [name for name in found if name.startswith("load-eager")] == [
        f"load-eager-{strategy}" for strategy in strategies.deployed()
    ]
    assert {f"load-onnxruntime-{head}" for head in strategies.heads()} <= found.keys()


def test_without_loadgen_there_is_no_part(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    assert EXPERIMENT.parts("full", bench) == []


def test_the_highest_rate_that_keeps_the_bound_is_found(bench: Bench, machine: list[dict[str, Any]]) -> None:
    assert EXPERIMENT.results(bench.store) is None
    for part in parts(bench, "load-eager-ar", "load-eager-ctc", "load-onnxruntime-ctc"):
        measured(EXPERIMENT, part, bench)
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    assert found.readers == [("eager", "ar"), ("eager", "ctc"), ("onnxruntime", "ctc")]
    assert found.tests["valid"].all()
    for (runtime, strategy), bound in zip(found.readers, (1250 / 4, 625, 625), strict=True):
        by = found.of(runtime, strategy)
        assert set(by) == set(load.SCENARIOS)
        assert bound / 1.06 < by["Server"]["rate"] <= bound  # six halvings of five octaves
    everything = bench.store.read("load-eager-ctc")
    too_slow = everything[(everything["scenario"] == "Offline") & (everything["rate"] < 2500)]
    assert len(too_slow)
    assert not too_slow["chosen"].any()


def test_a_disturbed_test_is_made_again_once_it_is_quiet(
    bench: Bench, machine: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([True, False, True, True])
    monkeypatch.setattr(load, "disturbance", lambda *_: {**QUIET, "disturbed": next(states, False)})
    monkeypatch.setattr(load, "quiet_within", lambda seconds: True)
    measured(EXPERIMENT, parts(bench, "load-eager-ctc")[0], bench)
    rows = bench.store.read("load-eager-ctc")
    assert rows["attempts"].tolist() == [2, 2] + [1] * (len(rows) - 2)
    assert rows["disturbed"].tolist() == [False, True] + [False] * (len(rows) - 2)
    # A machine that stays busy is not waited for again and again.
    monkeypatch.setattr(load, "disturbance", lambda *_: {**QUIET, "disturbed": True})
    monkeypatch.setattr(load, "quiet_within", lambda seconds: False)
    measured(EXPERIMENT, parts(bench, "load-eager-ar")[0], bench)
    assert set(bench.store.read("load-eager-ar")["attempts"]) == {1}


def test_no_rate_that_keeps_the_bound_is_said(
    bench: Bench, machine: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    test = load._test
    monkeypatch.setattr(
        load, "_test", lambda request, scenario, rate: {**test(request, scenario, rate), "valid": scenario != "Server"}
    )
    measured(EXPERIMENT, parts(bench, "load-eager-ctc")[0], bench)
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    by = found.of("eager", "ctc")
    assert not by["Server"]["valid"]
    assert by["Offline"]["valid"]
    (section,) = EXPERIMENT.sections(found, {})
    assert section.table is not None
    assert section.table["eager: Server, lines/s"].iloc[0].endswith(" (not valid)")


def test_the_report_shows_it_and_marks_what_was_disturbed(
    tmp_path: Path, machine: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = finished_run(tmp_path)
    assert "Under load" not in write_report(store, tmp_path).with_name("deployment.md").read_text()
    bench = Bench(store)
    for part in parts(bench, "load-eager-ar", "load-eager-ctc"):
        measured(EXPERIMENT, part, bench)
    table = store.read("load-eager-ctc")
    store.write("load-eager-ctc", table.assign(disturbed=table["scenario"] == "Offline"))
    section = (
        write_report(store, tmp_path).with_name("deployment.md").read_text().split("## Under load")[1].split("\n## ")[0]
    )
    assert "| `ctc` | 3 | 2,500 ≈ | " in section
    assert "| `ar` | 3 | 1,250 | " in section
    assert "In eager mode, a service reads 2.0 times as many lines with `ctc` as with `ar`." in section
    assert (tmp_path / "tables" / "load.csv").exists()


def test_a_process_that_fails_is_told_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "no such thing")
    monkeypatch.setattr(load.subprocess, "run", lambda *_, **__: failed)
    request = {"seconds": 1, "bound": 0.1, "runtime": "eager", "strategy": "ctc"}
    with pytest.raises(RuntimeError, match="no such thing"):
        load._test(request, "Offline", 100.0)


DRIVE = """
import json, sys, time
from pathlib import Path
import torch
from bench.experiments.load.loadgen import drive
from seqocr.models.heads.base import Decoded

def read(images):
    time.sleep(0.001)  # 64 lines at most: Offline's 100,000 then last longer than the second it asks for
    return Decoded(["1"] * len(images), torch.ones(len(images)), 1)

lines = torch.zeros(50, 28, 140, dtype=torch.uint8)
print(json.dumps(drive(read, lines, sys.argv[1], Path(sys.argv[2]), seconds=1, rate=float(sys.argv[3]))))
"""


@pytest.mark.parametrize(("scenario", "rate"), [("SingleStream", 1e6), ("Server", 900), ("Offline", 1e5)])
def test_loadgen_calls_a_fast_reader_valid(scenario: str, rate: float, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    command = [sys.executable, "-c", DRIVE, scenario, str(tmp_path), str(rate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = driver.json.loads(done.stdout.splitlines()[-1])
    assert found["Scenario"] == scenario
    assert found["valid"], found
    assert found[load._VALUES[scenario]] > 0


SERVE = """
import json, sys
from bench.workloads import held_out
from bench.experiments.load.loadgen import served
from seqocr.data.sources.datasets import embedded_digits

held_out.held_out_digits = embedded_digits
print(json.dumps(served(json.loads(sys.argv[1]))))
"""


@pytest.mark.parametrize("name", ["load-eager-ctc", "load-onnxruntime-ctc"])
def test_loadgens_process_reads_the_tasks_strings(
    name: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the bench runs it, but on digits that come with a package, and as short as LoadGen allows."""
    pytest.importorskip("mlperf_loadgen")
    (part,) = parts(bench, name)
    settings = replace(part.settings, seconds=0.2)
    request = {
        "weights": str(part.weights[0]),
        "heads": list(strategies.heads_of(part.settings.strategy)),
        "folder": str(tmp_path),
        **vars(settings),
    }
    run = subprocess.run

    def on_embedded_digits(command: list[str], **more: Any) -> Any:
        assert command[1:3] == ["-m", driver.__name__]
        return run([sys.executable, "-c", SERVE, command[3]], **more)

    monkeypatch.setattr(load.subprocess, "run", on_embedded_digits)
    row = load._test(request, "SingleStream", 1e4)
    assert (row["runtime"], row["head"], row["scenario"]) == (settings.runtime, "ctc", "SingleStream")
    assert 0 < row["p50_ms"] <= row["value"] <= row["p99_ms"]
