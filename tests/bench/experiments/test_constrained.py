"""Codes read with and without constraints, on trained weights."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from stdnum import luhn

from bench.core.experiment import Bench, Part
from bench.core.store import Store
from bench.experiments import constrained
from bench.experiments.constrained import BOTH, CONSTRAINTS, EXPERIMENT, NONE, PATTERN, Codes, Results
from bench.report.build import write_report
from seqocr.data.sources.datasets import embedded_digits
from seqocr.models.heads.registry import HEADS
from tests.measured import measured
from tests.synthetic import finished_run


@pytest.fixture(scope="module")
def part() -> Part:
    (part,) = EXPERIMENT.parts("smoke", Bench(Store(Path())))
    return part


@pytest.fixture(scope="module")
def store(part: Part, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = finished_run(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constrained, "held_out_digits", embedded_digits)
        measured(EXPERIMENT, part, Bench(store))
    return store


@pytest.fixture(scope="module")
def found(store: Store) -> Results:
    found = EXPERIMENT.results(store)
    assert found is not None
    return found


def test_codes_end_in_their_check_digit() -> None:
    codes = Codes(8).sample(50, 10, torch.Generator().manual_seed(0))
    assert all(luhn.is_valid("".join(map(str, code.tolist()))) and len(code) == 8 for code in codes)


def test_every_head_reads_the_same_codes_under_every_constraint(found: Results) -> None:
    assert list(found.right) == [(head, constraint) for head in HEADS for constraint in CONSTRAINTS]
    assert {len(right) for right in found.right.values()} == {16}


def test_a_constraint_never_costs_a_code_that_was_read_right(found: Results) -> None:
    """Every code is of each constraint: what was the likeliest of all texts is the likeliest of those that fit."""
    for head in ("parallel", "ctc"):
        for constraint in (PATTERN, BOTH):
            pairs = zip(found.right[head, constraint], found.right[head, NONE], strict=True)
            assert all(under or not without for under, without in pairs)
            assert found.gain(head, constraint).difference.estimate >= 0


def test_passes_are_one_but_of_the_autoregressive_head(found: Results) -> None:
    for constraint in CONSTRAINTS:
        assert found.passes["parallel", constraint] == found.passes["ctc", constraint] == 1
        assert 8 <= found.passes["ar", constraint] <= 11


def test_the_report_has_them(store: Store, tmp_path: Path) -> None:
    text = write_report(store, tmp_path).with_name("details.md").read_text()
    section = text.split("## Constrained decoding")[1].split("\n## ")[0]
    assert section.count("| `ctc` |") == 1
    table = pd.read_csv(tmp_path / "tables" / "constrained.csv")
    assert len(table) == len(HEADS) * len(CONSTRAINTS)
    assert set(table["passes"][table["head"] == "ctc"]) == {1}
