"""The server under load: the search for its rate, the soak test, and what the report says of both."""

from __future__ import annotations

import csv
import json
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from bench.core import experiment
from bench.core.experiment import Bench
from bench.core.store import Store
from bench.experiments import serving
from bench.workloads import loadgen
from seqocr import environment
from tests.measured import measured

EXPERIMENT = serving.EXPERIMENT
STORE = Store(Path(experiment.__file__).parents[2] / "results" / "raw" / "full-bda5b154")
LOCUST = [
    {"Name": "good", "Request Count": 600, "Failure Count": 3, "50%": 11, "99%": 88, "Requests/s": 30.0},
    {"Name": "Aggregated", "Request Count": 600, "Failure Count": 3, "50%": 11, "99%": 88, "Requests/s": 30.0},
]


def test_the_committed_section_says_what_was_measured() -> None:
    found = EXPERIMENT.results(STORE)
    assert found is not None
    (section,) = EXPERIMENT.sections(found, {})
    assert section.table is not None
    assert section.table["lines a second"].tolist() == ["113", "89", "none (slowest tested: 4.7)"]
    assert "within 100 ms" in section.text
    assert "80 lines a second; 0 requests were not answered as they should be" in section.text
    assert "126 MB after a minute, 128 MB at the end" in section.text
    assert len(EXPERIMENT.tables(found)["serving_requests"]) == 12


def test_rates_are_searched_and_the_server_soaked_at_nine_tenths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With servers, LoadGen and locust replaced: any rate below 200 lines a second is valid."""
    soaked: dict[str, str] = {}

    def run(command: list[str], **_: Any) -> Any:
        request = json.loads(command[3])
        row = {"valid": request["rate"] < 200, "requests_a_second": request["rate"], "wrong": 0, "failed": 0}
        return subprocess.CompletedProcess(command, 0, json.dumps({**row, "p50_ms": 1.0, "p99_ms": 2.0}), "")

    class Locust:
        def __init__(self, command: list[str], env: dict[str, str], **_: Any) -> None:
            soaked.update(env)
            self.left, folder = [None, 0], command[command.index("--csv") + 1]
            for name, rows in {"stats": LOCUST, "failures": []}.items():
                with Path(f"{folder}_{name}.csv").open("w", newline="") as file:
                    writer = csv.DictWriter(file, LOCUST[0] if rows else ["Name", "Error", "Occurrences"])
                    writer.writeheader()
                    writer.writerows(rows)

        def __enter__(self) -> Locust:
            return self

        def __exit__(self, *_: object) -> None: ...

        def poll(self) -> int | None:
            return self.left.pop(0)

    class Alive:
        status = 200

    monkeypatch.setattr(loadgen, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(loadgen, "quiet_within", lambda seconds: False)
    monkeypatch.setattr(serving, "find_spec", lambda name: name == "seqocr" or None)
    monkeypatch.setattr(serving, "serving", lambda command, ready: nullcontext((1, psutil.Process())))
    monkeypatch.setattr(serving, "make_samples", list)
    monkeypatch.setattr(serving, "urlopen", lambda url, timeout: Alive)
    monkeypatch.setattr(serving.time, "sleep", lambda seconds: None)
    bench = Bench(Store(tmp_path))
    machine = environment.describe()
    bench.store.write_facts("run", {"environment": machine})
    (part,) = EXPERIMENT.parts("smoke", bench)
    monkeypatch.setattr(serving, "subprocess", SimpleNamespace(Popen=Locust, DEVNULL=None))
    measured(EXPERIMENT, replace(part, settings=replace(part.settings, minutes=0.0)), bench)
    rows = bench.store.read(part.name)
    assert rows.groupby("what", sort=False)["chosen"].sum().to_dict() == {"library": 1, "seqocr serve": 1}
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    highest = found.rates.set_index("what")["lines_a_second"]["seqocr serve"]
    assert 190 < highest < 200
    assert float(soaked["RATE"]) == pytest.approx(0.9 * highest)
    assert found.requests["what"].tolist() == ["good"]
    assert found.soak["lines_a_second"] == 30.0
    (section,) = EXPERIMENT.sections(found, {})
    assert f"{machine['cpu']}, {machine['threads']} threads" in section.text
