"""How trainings by several processes are compared: what differs is seen, and the page is of the measurements."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.core import experiment
from bench.experiments.distributed import measure as run
from bench.experiments.distributed import process
from bench.experiments.distributed import sections as page
from seqocr.files import read_json

RESULTS = Path(experiment.__file__).parents[2] / "results"


def test_weights_that_differ_are_seen(tmp_path: Path) -> None:
    weights = {"a": torch.tensor([1.0, -2.0]), "b": torch.tensor([[0.5]])}
    save_file(weights, tmp_path / "one")
    save_file({**weights, "b": torch.tensor([[0.25]])}, tmp_path / "other")
    assert run._weights(tmp_path / "one", tmp_path / "one") == {"difference": 0.0, "largest": 2.0}
    assert run._weights(tmp_path / "one", tmp_path / "other")["difference"] == 0.25


def test_of_steps_done_twice_the_last_loss_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    noted = [[0, 3.0], [1, 2.0], [2, 9.0], [1, 2.0], [2, 1.0]]
    process.losses_of(out).write_text("".join(json.dumps(each) + "\n" for each in noted) + "[3, 0.")
    monkeypatch.setattr(process, "CONFIG", process.TrainConfig(steps=3))
    trained = type("Trained", (), {"provenance": {"validation": [{"exact": {"ctc": 0.5}}]}})
    monkeypatch.setattr(run, "load_recognizer", lambda _: trained)
    found = run._found(run.Case("x", 2, killed_at=2), out)
    assert (found["losses"], found["went_on_from"], found["exact"]) == ([3.0, 2.0, 1.0], 1, {"ctc": 0.5})


def test_the_committed_page_is_what_the_committed_runs_say(tmp_path: Path) -> None:
    found = read_json(RESULTS / "ranks.json")
    shutil.copy(RESULTS / "ranks.json", tmp_path)
    run.write(tmp_path)
    assert (tmp_path / "ranks.md").read_text() == (RESULTS / "ranks.md").read_text()
    assert (tmp_path / "ranks.png").exists()
    # Sums in another order, rounded to float32 or float64: the first losses are the same but for that.
    for one, other in (("1", "2"), ("1", "4"), ("2", "2-killed")):
        assert max(page.differences(found, one, other)[:20]) < 1e-5
    for other in ("2-float64", "4-float64"):
        assert max(page.differences(found, "1-float64", other)[:20]) < 1e-13
