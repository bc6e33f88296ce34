"""The harness under load: LoadGen's summary, the search for Server's rate, parts; LoadGen itself if installed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.core import plugins, strategies
from bench.core.experiment import Bench, Part
from bench.core.store import Store
from bench.core.timer import is_disturbed
from bench.experiments import load
from bench.experiments.load import reader
from bench.report.build import write_report
from bench.workloads import loadgen
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
QUIET = {"others": 0.0, "stolen": 0.0, "core_seconds": 2.0}
BUSY = {**QUIET, "others": 1.0}


def test_a_summary_is_read_as_loadgen_wrote_it() -> None:
    found = loadgen.parse_summary(SUMMARY)
    assert found["valid"] is False
    assert found["Completed samples per second"] == 57.78
    assert found["50.00 percentile latency (ns)"] == 17566589
    assert found["Early stopping satisfied"] == "NO"
    assert loadgen.parse_summary(SUMMARY.replace("INVALID", "VALID"))["valid"] is True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of LoadGen's process, one that reads 2,500 lines a second (1,250 with `ar`) and keeps the bound up to a
    quarter of that. Nothing else runs on it."""

    def run(command: list[str], **_: Any) -> Any:
        assert command[1:3] == ["-m", reader.__name__]
        request = json.loads(command[3])
        scenario, rate, fast = request["scenario"], request["rate"], 1250.0 if request["strategy"] == "ar" else 2500.0
        valid = {"SingleStream": True, "Offline": rate >= fast, "Server": rate <= fast / 4}[scenario]
        value = {"SingleStream": 3e6, "Offline": fast, "Server": min(rate, fast)}[scenario]
        times = {f"{p}.00 percentile latency (ns)": 40e6 for p in (50, 90, 99)}
        said = json.dumps({"valid": valid, **times, load.FIGURES[scenario]: value})
        return subprocess.CompletedProcess(command, 0, f"warning\n{said}\n", "")

    monkeypatch.setattr(loadgen, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(loadgen, "disturbance", lambda *_: QUIET)
    monkeypatch.setattr(plugins, "find_spec", lambda name: True)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store(tmp_path / "raw" / "run"))


def parts(bench: Bench, *names: str) -> list[Part]:
    return [part for part in EXPERIMENT.parts("full", bench) if part.name in names]


def test_a_part_is_a_head_in_a_runtime(bench: Bench, machine: None) -> None:
    assert EXPERIMENT.parts("default", bench) == []
    found = {part.name: part for part in EXPERIMENT.parts("full", bench)}
    assert [name for name in found if name.startswith("load-eager")] == [
        f"load-eager-{strategy}" for strategy in strategies.deployed()
    ]
    assert {f"load-onnxruntime-{head}" for head in strategies.heads()} <= found.keys()


def test_without_loadgen_parts_are_left_out(bench: Bench, machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (part,) = parts(bench, "load-eager-ar")
    assert EXPERIMENT.missing(part) == ""
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    assert EXPERIMENT.missing(part) == "mlcommons-loadgen is not installed"


def test_the_highest_rate_that_keeps_the_bound_is_found(bench: Bench, machine: None) -> None:
    assert EXPERIMENT.results(bench.store) is None
    for part in parts(bench, "load-eager-ar", "load-eager-ctc", "load-onnxruntime-ctc"):
        measured(EXPERIMENT, part, bench)
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    by = dict(iter(found.set_index("scenario").groupby(["runtime", "head"], sort=False)))
    assert list(by) == [("eager", "ar"), ("eager", "ctc"), ("onnxruntime", "ctc")]
    assert found["valid"].all()
    for tests, bound in zip(by.values(), (1250 / 4, 625, 625), strict=True):
        assert set(tests.index) == set(load.FIGURES)
        assert bound / 1.06 < tests.loc["Server", "rate"] <= bound  # six halvings of five octaves
    everything = bench.store.read("load-eager-ctc")
    too_slow = everything[(everything["scenario"] == "Offline") & (everything["rate"] < 2500)]
    assert len(too_slow)
    assert not too_slow["chosen"].any()


def test_a_disturbed_test_is_made_again_once_it_is_quiet(
    bench: Bench, machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([BUSY, QUIET, BUSY, BUSY])
    monkeypatch.setattr(loadgen, "disturbance", lambda *_: next(states, QUIET))
    monkeypatch.setattr(loadgen, "quiet_within", lambda seconds: True)
    measured(EXPERIMENT, parts(bench, "load-eager-ctc")[0], bench)
    rows = bench.store.read("load-eager-ctc")
    assert rows["attempts"].tolist() == [2, 2] + [1] * (len(rows) - 2)
    assert is_disturbed(rows).tolist() == [False, True] + [False] * (len(rows) - 2)
    # A machine that stays busy is not waited for again and again.
    monkeypatch.setattr(loadgen, "disturbance", lambda *_: BUSY)
    monkeypatch.setattr(loadgen, "quiet_within", lambda seconds: False)
    measured(EXPERIMENT, parts(bench, "load-eager-ar")[0], bench)
    assert set(bench.store.read("load-eager-ar")["attempts"]) == {1}


def test_no_rate_that_keeps_the_bound_is_said(bench: Bench, machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    test = load.run_test
    monkeypatch.setattr(
        load, "run_test", lambda module, asked: {**test(module, asked), "valid": asked["scenario"] != "Server"}
    )
    measured(EXPERIMENT, parts(bench, "load-eager-ctc")[0], bench)
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    valid = found.set_index("scenario")["valid"]
    assert not valid["Server"]
    assert valid["Offline"]
    (section,) = EXPERIMENT.sections(found, {})
    assert section.table is not None
    assert section.table["eager: Server, lines/s"].iloc[0].endswith(" (not valid)")


def test_the_report_shows_it_and_marks_what_was_disturbed(
    tmp_path: Path, machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = finished_run(tmp_path)
    assert "Under load" not in write_report(store, tmp_path).with_name("deployment.md").read_text()
    bench = Bench(store)
    for part in parts(bench, "load-eager-ar", "load-eager-ctc"):
        measured(EXPERIMENT, part, bench)
    table = store.read("load-eager-ctc")
    store.write("load-eager-ctc", table.assign(others=1.0 * (table["scenario"] == "Offline")))
    store.add_facts("load-eager-ctc", sums=store.sums("load-eager-ctc"))
    section = (
        write_report(store, tmp_path).with_name("deployment.md").read_text().split("## Under load")[1].split("\n## ")[0]
    )
    assert "| `ctc` | 3 | 2,500 ≈ | " in section
    assert "| `ar` | 3 | 1,250 | " in section
    assert "In eager mode, a service reads 2.0 times as many lines with `ctc` as with `ar`." in section
    assert (tmp_path / "tables" / "load.csv").exists()


def test_a_process_that_fails_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "no such thing")
    monkeypatch.setattr(loadgen, "subprocess", SimpleNamespace(run=lambda *_, **__: failed))
    with pytest.raises(RuntimeError, match="no such thing"):
        loadgen.run_test("some.module", {})


def test_the_highest_rate_is_found_and_without_one_the_slowest_counts() -> None:
    rows = loadgen.highest_rate(lambda rate: {"valid": rate < 100}, 10, 1000, 8)
    (best,) = (row for row in rows if row["chosen"])
    assert 98 < best["rate"] < 100
    rows = loadgen.highest_rate(lambda rate: {"valid": False}, 10, 1000, 3)
    assert [row["chosen"] for row in rows] == [False, False, True]


DRIVE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from bench.workloads.loadgen import complete, drive
from seqocr.serving.queue import BatchingQueue

queue = BatchingQueue(lambda items: items, 64, sys.maxsize)

def issue(query, index):
    queue.submit([index]).add_done_callback(lambda _: complete(query))

print(json.dumps(drive(issue, 50, sys.argv[1], Path(sys.argv[2]), seconds=1, rate=float(sys.argv[3]))))
"""


@pytest.mark.parametrize(("scenario", "rate"), [("SingleStream", 1e6), ("Server", 900), ("Offline", 1e6)])
def test_loadgen_calls_a_fast_reader_valid(scenario: str, rate: float, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    command = [sys.executable, "-c", DRIVE, scenario, str(tmp_path), str(rate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["Scenario"] == scenario
    assert found["valid"], found
    assert found[load.FIGURES[scenario]] > 0


READ = """
import json, sys
from bench.experiments.load.reader import main
from bench.workloads import held_out
from seqocr.data.sources.datasets import embedded_digits

held_out.held_out_digits = embedded_digits
print(json.dumps(main(json.loads(sys.argv[1]))))
"""


@pytest.mark.parametrize("name", ["load-eager-ctc", "load-onnxruntime-ctc"])
def test_loadgens_process_reads_the_tasks_strings(
    name: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the bench runs it, but on digits that come with a package, and as short as LoadGen allows."""
    pytest.importorskip("mlperf_loadgen")
    (part,) = parts(bench, name)
    settings = replace(part.settings, seconds=0.2)
    heads = list(strategies.heads_of(settings.strategy))
    request = {"weights": str(part.weights[0]), "heads": heads, "folder": str(tmp_path), **vars(settings)}

    def on_embedded_digits(command: list[str], **more: Any) -> Any:
        assert command[1:3] == ["-m", reader.__name__]
        return subprocess.run([sys.executable, "-c", READ, command[3]], **more)

    monkeypatch.setattr(loadgen, "subprocess", SimpleNamespace(run=on_embedded_digits))
    row = load.test_row(request, "SingleStream", 1e4)
    assert (row["runtime"], row["head"], row["scenario"]) == (settings.runtime, "ctc", "SingleStream")
    assert 0 < row["p50_ms"] <= row["value"] <= row["p99_ms"]
