"""Metrics of tables made by hand, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqocr import metrics
from seqocr.metrics import NOTHING
from seqocr.statistics import proportion


def table(**heads: list[tuple[str, str, float]]) -> pd.DataFrame:
    """Rows of (text, prediction, confidence) by head."""
    rows = [(i, head, *row) for head, readings in heads.items() for i, row in enumerate(readings)]
    return pd.DataFrame(rows, columns=["index", "head", "text", "prediction", "confidence"])


PREDICTIONS = table(
    ar=[("123", "123", 0.9), ("45", "45", 0.8), ("6", "7", 0.6), ("89", "8", 0.5)],
    ctc=[("123", "23", 0.9), ("45", "45", 0.7), ("6", "66", 0.2), ("89", "", 0.1)],
)


def test_summary() -> None:
    ar, ctc = metrics.summary(PREDICTIONS).to_dict("records")
    assert [ar["head"], ctc["head"]] == ["ar", "ctc"]
    assert [ar["strings"], ctc["strings"]] == [4, 4]
    assert [ar["exact"], ctc["exact"]] == [0.5, 0.25]
    # In their places: 3 + 2 + 0 + 1 of 8 digits; and 0 + 2 + 1 + 0, since "23" is not where "123" is.
    assert [ar["digit_accuracy"], ctc["digit_accuracy"]] == [6 / 8, 3 / 8]
    # Edits: one replaced and one missed; one missed, one invented and two missed.
    assert [ar["cer"], ctc["cer"]] == [2 / 8, 4 / 8]


def test_positions() -> None:
    found = metrics.positions(PREDICTIONS)
    assert list(found[["head", "position", "digits", "right"]].itertuples(index=False, name=None)) == [
        ("ar", 1, 4, 3),
        ("ar", 2, 3, 2),
        ("ar", 3, 1, 1),
        ("ctc", 1, 4, 2),
        ("ctc", 2, 3, 1),
        ("ctc", 3, 1, 0),
    ]
    assert found["accuracy"].tolist() == pytest.approx([0.75, 2 / 3, 1, 0.5, 1 / 3, 0])
    assert (found["low"][0], found["high"][0]) == (proportion(3, 4).low, proportion(3, 4).high)


def test_nothing_read_at_all() -> None:
    predictions = table(ar=[("12", "", 0.5), ("3", "", 0.5)])
    row = metrics.summary(predictions).iloc[0]
    assert (row["exact"], row["digit_accuracy"], row["cer"]) == (0, 0, 1)
    assert metrics.confusion(predictions, "0123456789")["read"].tolist() == [NOTHING] * 3


def test_confusion() -> None:
    found = metrics.confusion(PREDICTIONS, "0123456789")
    ar = {(a, b): n for head, a, b, n in found.itertuples(index=False, name=None) if head == "ar"}
    ctc = {(a, b): n for head, a, b, n in found.itertuples(index=False, name=None) if head == "ctc"}
    same = {(c, c): 1 for c in "12345"}
    assert ar == {**same, ("6", "7"): 1, ("8", "8"): 1, ("9", NOTHING): 1}
    missed = {(c, NOTHING): 1 for c in "189"}
    assert ctc == {**missed, **{(c, c): 1 for c in "23456"}, (NOTHING, "6"): 1}
    assert found["head"].tolist() == sorted(found["head"])
    assert found[found["head"] == "ctc"]["truth"].tolist() == [*"12345689", NOTHING]  # nothing comes last


@settings(deadline=None)  # of a machine that does other work
@given(st.lists(st.tuples(st.text("012", min_size=1, max_size=6), st.text("012", max_size=6)), min_size=1, max_size=5))
def test_confusion_accounts_for_every_symbol_of_both_sides(pairs: list[tuple[str, str]]) -> None:
    found = metrics.confusion(table(ctc=[(a, b, 0.5) for a, b in pairs]), "012")
    for symbol in "012":
        assert found.loc[found["truth"] == symbol, "count"].sum() == sum(a.count(symbol) for a, _ in pairs)
        assert found.loc[found["read"] == symbol, "count"].sum() == sum(b.count(symbol) for _, b in pairs)
    wrong = found.loc[found["truth"] != found["read"], "count"].sum()
    row = metrics.summary(table(ctc=[(a, b, 0.5) for a, b in pairs])).iloc[0]
    assert wrong / sum(len(a) for a, _ in pairs) == pytest.approx(row["cer"])


def test_expected_calibration_error() -> None:
    # Two bins of 15: [0.4667, 0.5333) holds two of 0.5, one right: no gap. [0.9333, 1] holds 0.95 and 1.0, one right:
    # a gap of 0.975 - 0.5, weighing a half.
    confidences, right = np.array([0.5, 0.5, 0.95, 1.0]), np.array([True, False, True, False])
    assert metrics.expected_calibration_error(confidences, right) == pytest.approx(0.475 / 2)
    assert metrics.expected_calibration_error(np.ones(3), np.ones(3, dtype=bool)) == 0
    assert metrics.expected_calibration_error(np.ones(3), np.zeros(3, dtype=bool)) == 1
    assert metrics.expected_calibration_error(np.zeros(3), np.zeros(3, dtype=bool)) == 0
    assert metrics.summary(PREDICTIONS)["ece"][0] == pytest.approx((0.1 + 0.2 + 0.6 + 0.5) / 4)


def test_comparisons_use_mcnemars_exact_test() -> None:
    """Of 20 strings 9 are read right by `a` alone, 1 by `b` alone: p = 2 (1 + 10) / 2^10."""
    a = [("1", "1" if i < 14 else "2", 0.5) for i in range(20)]
    b = [("1", "1" if 9 <= i < 15 else "2", 0.5) for i in range(20)]
    (row,) = metrics.comparisons(table(a=a, b=b)).to_dict("records")
    assert (row["head"], row["other"]) == ("a", "b")
    assert (row["only_head_right"], row["only_other_right"]) == (9, 1)
    assert row["p_value"] == pytest.approx(22 / 1024)
    assert row["difference"] == pytest.approx(8 / 20)
    assert 0 < row["low"] < row["difference"] < row["high"] < 1


def test_comparisons_of_every_pair_and_of_equals() -> None:
    same = [("1", "1", 0.5), ("2", "3", 0.5)]
    found = metrics.comparisons(table(a=same, b=same, c=same))
    assert list(found[["head", "other"]].itertuples(index=False, name=None)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["p_value"].tolist() == [1.0] * 3
    assert (found["difference"] == 0).all()
    assert ((found["low"] < 0) & (found["high"] > 0)).all()  # two strings cannot show that there is no difference
    assert len(metrics.comparisons(table(a=same))) == 0


def test_strings_are_paired_by_index_not_by_row() -> None:
    predictions = table(a=[("1", "1", 0.5), ("2", "9", 0.5)], b=[("1", "1", 0.5), ("2", "9", 0.5)])
    shuffled = predictions.iloc[[0, 3, 1, 2]]
    (row,) = metrics.comparisons(shuffled).to_dict("records")
    assert (row["only_head_right"], row["only_other_right"]) == (0, 0)
