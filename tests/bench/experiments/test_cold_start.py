"""Cold start: processes that are timed, and known results."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.core import timer
from bench.core.experiment import Bench
from bench.core.store import Store
from bench.experiments import cold_start
from seqocr.inference.export import export
from seqocr.models.checkpoint import save
from tests.conftest import small_recognizer
from tests.measured import measured

EXPERIMENT = cold_start.EXPERIMENT


def test_every_reader_is_a_process_that_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(cold_start, "unavailable", lambda names: dict.fromkeys(names, "not here"))
    monkeypatch.setattr(timer, "AGAIN", 0)  # other tests run meanwhile
    monkeypatch.setattr(cold_start, "_GRAPHS", {"graphs, `parallel`": "parallel"})  # a reader is three processes
    recognizer = small_recognizer(max_length=5)
    save(recognizer, tmp_path / "weights")
    export(recognizer, tmp_path / "weights" / "onnx", ["parallel"])
    bench = Bench(Store(tmp_path / "raw" / "run"), reader=tmp_path / "weights")
    (part,) = EXPERIMENT.parts("smoke", bench)
    measured(EXPERIMENT, replace(part, settings=replace(part.settings, rounds=1, many=20, warmup=0)), bench)
    found = EXPERIMENT.results(bench.store)
    assert set(found.readers) == {*cold_start._GRAPHS, cold_start.WEIGHTS}
    assert found.missing == {"RapidOCR": "not here"}
    for reader in cold_start._GRAPHS:
        assert (
            0 < found.value(reader, "first").estimate < found.value(cold_start.WEIGHTS, "first").estimate
        )  # which loads torch
        assert found.value(reader, "mb").estimate < found.value(cold_start.WEIGHTS, "mb").estimate
        assert found.value(reader, "ms").estimate > 0
    (section,) = EXPERIMENT.sections(found, {})
    assert section.table["reader"].tolist() == list(found.readers)
    assert "RapidOCR (not here)" in section.details["Readers that are not here"]
    assert len(EXPERIMENT.tables(found)["start"]) == 2


def test_it_depends_on_the_graphs_and_not_on_what_their_config_says(tmp_path: Path) -> None:
    bench, folder = Bench(Store(tmp_path / "run"), reader=tmp_path), tmp_path / "onnx"

    def graphs() -> str:
        return EXPERIMENT.parts("smoke", bench)[0].settings.graphs

    assert graphs() == ""
    folder.mkdir()
    for name in ("parallel", "ctc"):
        (folder / f"{name}.onnx").write_text(name)
    before = graphs()
    assert len(before) == 16
    (folder / "config.json").write_text("{}")
    assert graphs() == before
    (folder / "ctc.onnx").write_text("parallel")
    assert graphs() != before


def test_a_process_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        cold_start._run([sys.executable, "-c", "import sys; sys.exit(3)"])


def test_the_first_line_is_timed_apart_from_the_rest() -> None:
    found = cold_start._run([sys.executable, "-c", "import time; print(1); time.sleep(0.3); print(2)"])
    assert found["output"].split() == ["1", "2"]
    assert found["seconds"] > found["first"] + 0.25
    assert found["megabytes"] > 1


def test_what_was_measured_in_the_warm_up_alone_is_left_empty() -> None:
    facts = {"reader": "graphs", "counts": True, "others": 0.0, "stolen": 0.0, "core_seconds": 2.0, "first": 0.3}
    rows = [{**facts, "round": 0, "warmup": True, "rate": 900.0}, {**facts, "round": 1, "warmup": False, "rate": None}]
    found = cold_start.Results(pd.DataFrame(rows), {})
    assert found.value("graphs", "rate") is None
    assert found.value("graphs", "first").estimate == 0.3
