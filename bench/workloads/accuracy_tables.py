"""What readings of strings say, by level, by reader, by phase: shares read right, and what was misread how."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rapidfuzz.distance import Levenshtein

from bench.report.formatting import percent, share
from seqocr import metrics
from seqocr.statistics import Paired, Value, proportion

_EDITS = {"substituted": "replace", "missed": "delete", "invented": "insert"}  # and what rapidfuzz calls them
SAME = "no measurable difference"
EDITS = (
    "Substituted, missed (merged with a neighbour, or overlooked) and invented (doubled, or read from a mark) digits "
    "are shares of the digits there are."
)


def exact(read: pd.DataFrame) -> Value:
    """The share of strings that are read right, of a table with `text` and `prediction`."""
    return proportion(int((read["text"] == read["prediction"]).sum()), len(read))


def summary(read: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row a group: strings, exact match with its interval, CER, and edits of each kind."""
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


def verdict(found: Paired) -> str:
    """How the first of two readers does beside the second."""
    if found.difference.low > 0:
        return "better"
    return "worse" if found.difference.high < 0 else SAME


def columns(row: dict[str, Any]) -> dict[str, str]:
    """A row of `summary` as the report shows it."""
    return {
        "exact match": share(Value.of(row, "exact", row["strings"])),
        "CER": percent(row["cer"]),
        **{name: percent(row[name]) for name in _EDITS},
    }
