"""How trainings by several processes are compared: what differs is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.core import experiment
from bench.core.store import Store
from bench.experiments import distributed
from bench.experiments.distributed import EXPERIMENT, process

STORE = Store(Path(experiment.__file__).parents[2] / "results" / "raw" / "full-bda5b154")


def test_weights_that_differ_are_seen(tmp_path: Path) -> None:
    weights = {"a": torch.tensor([1.0, -2.0]), "b": torch.tensor([[0.5]])}
    save_file(weights, tmp_path / "one")
    save_file({**weights, "b": torch.tensor([[0.25]])}, tmp_path / "other")
    difference = distributed.weight_difference
    assert difference(tmp_path / "one", tmp_path / "one") == {"difference": 0.0, "largest": 2.0}
    assert difference(tmp_path / "one", tmp_path / "other")["difference"] == 0.25


def test_of_steps_done_twice_the_last_loss_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    written = [[0, 3.0], [1, 2.0], [2, 9.0], [1, 2.0], [2, 1.0]]
    process.losses_of(out).write_text("".join(json.dumps(each) + "\n" for each in written) + "[3, 0.")
    monkeypatch.setattr(process, "CONFIG", process.TrainConfig(steps=3))
    trained = type("Trained", (), {"provenance": {"validation": [{"exact": {"ctc": 0.5}}]}})
    monkeypatch.setattr(distributed, "load_recognizer", lambda _: trained)
    found = distributed.run_facts(distributed.Case("x", 2, killed_at=2), out)
    assert (found["losses"], found["resumed_from"], found["exact"]) == ([3.0, 2.0, 1.0], 1, {"ctc": 0.5})


def test_committed_losses_differ_by_rounding_alone() -> None:
    found = EXPERIMENT.results(STORE)
    assert found is not None
    # Sums in another order, rounded to float32 or float64: the first losses are the same but for that.
    for one, other in (("1", "2"), ("1", "4"), ("2", "2-killed")):
        assert max(found.differences(one, other)[:20]) < 1e-5
    for other in ("2-float64", "4-float64"):
        assert 0 < max(found.differences("1-float64", other)[:20]) < 1e-13
    (section,) = EXPERIMENT.sections(found, {})
    assert "differ by 8.9e-16 at most in the first 20 steps, against 3.2e-07 in float32" in section.text
    assert "they resumed from step 100" in section.text
