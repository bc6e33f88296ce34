"""Fair baselines: what a restart times, and statistics over restarts with planted times."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch

from bench.core import timer
from bench.core.experiment import Bench, Part
from bench.core.store import Store
from bench.experiments import baselines
from bench.experiments.baselines import Results, Settings
from bench.experiments.baselines.decoders import COMPILED, STRATEGIES, decoders, prepared
from bench.study.curve_estimates import SHALLOW
from bench.workloads.timed_models import TINY
from seqocr.statistics import UNDECIDED
from tests.measured import measured

EXPERIMENT = baselines.EXPERIMENT
MS = {**dict.fromkeys(STRATEGIES, 10.0), "ar": 20.0, f"{SHALLOW}-speculative": 8.0}


def planted(restart: int, disturbed_round: int = -1) -> list[dict[str, Any]]:
    """A restart in which all takes 10 % longer than in the one before; a disturbed round takes ten times as long."""
    return [
        {
            **{"strategy": name, "batch": 1, "round": number, "passes": 1, "cpu": 0.0, "switches": 0, "stolen": 0.0},
            "seconds": MS[name] / 1e3 * 1.1**restart * (10 if number == disturbed_round else 1),
            **{"others": 1.0 if number == disturbed_round else 0.0, "core_seconds": 2.0},
        }
        for name in STRATEGIES
        for number in range(4)
    ]


@pytest.fixture
def results() -> Results:
    rows = [{**row, "restart": restart} for restart in range(8) for row in planted(restart, restart % 4)]
    return Results({TINY.name: pd.DataFrame(rows).assign(warmup=False, counts=True)})


def test_every_strategy_writes_the_string_in_as_many_passes_as_it_should() -> None:
    recognizer = prepared(TINY)
    with torch.inference_mode():
        features = recognizer.encoder(torch.zeros(1, 3, 28, 140))
        decode = decoders(recognizer)
        assert tuple(decode) == STRATEGIES
        found = {name: decode[name](features) for name in STRATEGIES if name != COMPILED}  # which takes a minute
    assert {name: output.texts[0] for name, output in found.items() if name != "ctc"} == {
        name: "00000" for name in found if name != "ctc"
    }
    one_pass = {"ar-speculative", f"{SHALLOW}-speculative", "parallel", "ctc"}
    assert {name: output.passes for name, output in found.items()} == {
        name: 1 if name in one_pass else 6 for name in found
    }


def test_rounds_time_every_strategy_at_every_batch(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled one takes a minute to compile: here `ar-generate` stands in for it."""
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: None)
    monkeypatch.setattr(timer, "AGAIN", 0)  # other tests run meanwhile
    bench = Bench(Store(tmp_path / "raw" / "run"))
    settings = Settings(TINY, batches=(1, 2), rounds=2, repeats=2)
    part = Part(f"baselines-{TINY.name}", settings, settings.steps)
    measured(EXPERIMENT, part, bench)
    rows = bench.store.read(part.name)
    assert set(rows["strategy"]) == {*STRATEGIES}
    counts = rows[~rows["warmup"]].groupby(["batch", "strategy"]).size()
    assert counts.groupby("batch").unique().map(list).to_dict() == {1: [4], 2: [2]}
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    assert found.milliseconds(TINY.name, 2, "ar").n == 2


def test_ratios_are_within_a_restart_and_disturbed_rounds_left_out(results: Results) -> None:
    value = results.over(TINY.name, 1, "ar")
    expected = MS["ar"] / MS["parallel"]
    assert (value.low, value.estimate, value.high, value.n) == (*[pytest.approx(expected)] * 3, 8)
    assert results.milliseconds(TINY.name, 1, "ar").high < MS["ar"] * 1.1**8  # ten times as long in disturbed rounds


def test_the_section_and_claims_say_what_was_planted(results: Results) -> None:
    (section,) = EXPERIMENT.sections(results, {})
    assert "timed in 8 restarts" in section.text
    assert section.table is not None
    row = (
        section.table.set_index("strategy").loc["`parallel`"]
        if "`parallel`" in set(section.table["strategy"])
        else None
    )
    assert row is not None
    assert row[f"{TINY.label}, batch 1: over one pass"] == "1.00 (1.00 to 1.00)"
    assert len(EXPERIMENT.tables(results)["baselines"]) == len(STRATEGIES)
    words = {claim.name.split("`")[1]: claim.verdict for claim in EXPERIMENT.claims(results)}
    assert words["ar"] == "slower"
    assert words[SHALLOW] == words["ctc"] == UNDECIDED
    assert words[f"{SHALLOW}-speculative"] == "faster"
    assert set(words) == {*STRATEGIES} - {"parallel"}
