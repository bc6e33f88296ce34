"""Exact match, CER, edits by kind and paired comparisons, of tables of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rapidfuzz.distance import Levenshtein

from seqocr import metrics
from seqocr.statistics import Paired, Value, holm, proportion

_EDITS = {"substituted": "replace", "missed": "delete", "invented": "insert"}  # and what rapidfuzz calls them
SAME = "no measurable difference"


def exact(read: pd.DataFrame) -> Value:
    """The share of strings that are read right, of a table with `text` and `prediction`."""
    return proportion(int((read["text"] == read["prediction"]).sum()), len(read))


def summary(read: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row per group: strings, exact match with its interval, CER, and edits of each kind."""
    rows: list[dict[str, Any]] = []
    for key, table in read.groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True)) | {"strings": len(table)} | exact(table).columns("exact")
        rows.append(row | {"cer": metrics.character_error_rate(table)} | edit_rates(table))
    return pd.DataFrame(rows)


def edit_rates(read: pd.DataFrame) -> dict[str, float]:
    """Substituted, missed and invented symbols, as shares of the symbols that there are."""
    symbols = read["text"].str.len().sum()
    pairs = zip(read["text"], read["prediction"], strict=True)
    edits = [edit.tag for pair in pairs for edit in Levenshtein.editops(*pair)]
    return {name: edits.count(tag) / symbols for name, tag in _EDITS.items()}


def verdicts(gaps: Sequence[Paired]) -> list[str]:
    """How the first of two readers does beside the second, in each comparison of a family: exact McNemar tests at 5 %,
    after Holm's correction."""
    return [
        SAME if p_value >= 0.05 else "better" if gap.difference.estimate > 0 else "worse"
        for gap, p_value in zip(gaps, holm([gap.p_value for gap in gaps]), strict=True)
    ]
