"""Answers to what people ask follow the numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from bench.core.store import Store
from bench.experiments.difficulty import _loses_repeats
from bench.experiments.latency.sections import gains_at_384
from bench.report.build import everything
from bench.report.questions import _repeats, questions
from bench.study.sections import real_amounts
from tests.synthetic import finished_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return finished_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "prediction", "lost"),
    [
        ("1122", "112", True),
        ("1122", "12", True),
        ("1122", "1122", False),
        ("1122", "1112", False),
        ("11222", "1112", False),
        ("1122", "132", False),
        ("12", "1", False),
    ],
)
def test_a_lost_repeat_is_no_other_mistake(text: str, prediction: str, lost: bool) -> None:
    assert _loses_repeats(text, prediction) == lost


def lost(ar: int, ctc: int, of: int = 400) -> pd.DataFrame:
    return pd.DataFrame({"ar": [i < ar for i in range(of)], "ctc": [i >= of - ctc for i in range(of)]})


def test_ctc_beside_ar_is_said_as_tests_have_it(store: Store) -> None:
    def said(ar: int, ctc: int, of: int = 400) -> str:
        found = everything(store)
        return questions({**found, "levels": SimpleNamespace(repeats=lost(ar, ctc, of), comparisons=[])})

    assert "2 by `ar`, 2 by `ctc`. `ctc` loses them as often as `ar`, within 1 point." in said(2, 2, 2000)
    assert "`ctc` loses them more often than `ar`." in said(2, 40)
    assert "`ctc` loses them less often than `ar`." in said(40, 2)
    assert "That does not tell `ctc` from `ar`." in said(2, 4, 60)


def test_without_ctc_or_levels_it_is_not_asked(store: Store) -> None:
    assert _repeats(lost(1, 1)[["ar"]]) is None
    assert "swallow" not in questions(everything(store))


def test_sizes_that_were_not_timed_have_no_gain(store: Store) -> None:
    assert gains_at_384(everything(store)["latency"]) is None
    assert "384" not in questions(everything(store))


def test_real_amounts_end_in_zeros() -> None:
    found = real_amounts()
    assert 0 < found["expected"] < found["share"] < 1
