"""Speculative decoding, on trained weights: passes and times of every level."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.core import strategies
from bench.core.experiment import Bench, Part
from bench.core.store import Store
from bench.experiments import speculative
from bench.experiments.speculative import EXPERIMENT, Results
from bench.report.build import write_report
from seqocr.data.sources.datasets import embedded_digits
from seqocr.data.synthetic.layouts import LEVELS
from tests.measured import measured
from tests.synthetic import finished_run


@pytest.fixture(scope="module")
def part() -> Part:
    (part,) = EXPERIMENT.parts("smoke", Bench(Store(Path())))
    return part


@pytest.fixture(scope="module")
def store(part: Part, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Beside made-up results of what the first screen needs."""
    store = finished_run(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speculative, "held_out_digits", embedded_digits)
        measured(EXPERIMENT, part, Bench(store))
    return store


@pytest.fixture(scope="module")
def found(store: Store) -> Results:
    found = EXPERIMENT.results(store)
    assert found is not None
    return found


def test_every_level_is_read_every_way(found: Results) -> None:
    assert found.levels == list(LEVELS)
    assert found.strategies == list(strategies.heads())


def test_verifying_takes_a_pass_and_one_for_each_disagreement(found: Results) -> None:
    for level in found.levels:
        assert found.passes[level, "parallel"] == found.passes[level, "ctc"] == 1
        assert found.passes[level, "ar"] > found.length  # the symbols and the end, of nearly all
        assert 1 <= found.passes[level, "ar-speculative"] < 1.6


def test_ratios_are_of_the_same_round(found: Results) -> None:
    for level in found.levels:
        assert found.over(level, "ar", "ar").estimate == pytest.approx(1)
        over, back = found.over(level, "ar", "ar-speculative"), found.over(level, "ar-speculative", "ar")
        assert over.estimate * back.estimate == pytest.approx(1)


def test_the_report_has_them(store: Store, tmp_path: Path) -> None:
    text = write_report(store, tmp_path).with_name("details.md").read_text()
    section = text.split("## Speculative decoding")[1].split("\n## ")[0]
    assert section.count("| `wild` |") == 1
    table = pd.read_csv(tmp_path / "tables" / "drafts.csv")
    assert len(table) == len(LEVELS) * len(strategies.heads())
    assert (table["over_ar"][table["strategy"] == "ar"] == 1).all()
