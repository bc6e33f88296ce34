"""Exact match, CER, edits by kind and paired comparisons, of tables of predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rapidfuzz.distance import Levenshtein

from bench.core import strategies
from bench.core.experiment import Claim
from seqocr import metrics
from seqocr.errors import InputError
from seqocr.statistics import Paired, Value, holm, paired_difference, proportion

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


def right(read: pd.DataFrame, keys: str | list[str] = "index", readers: str | list[str] = "head") -> pd.DataFrame:
    """Whether each reader (columns) reads each string (rows) right."""
    found = read.assign(right=read["prediction"] == read["text"])
    return found.pivot(index=keys, columns=readers, values="right").sort_index()


def verdict(gap: Paired, p_value: float) -> str:
    """How the first of two readers does beside the second, at 5 %."""
    if p_value >= 0.05:
        return SAME
    return "better" if gap.difference.estimate > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """An autoregressive head and the one-pass head that reads the same strings best.

    Attributes:
        head: the autoregressive one.
        best: the one-pass head.
        gap: exact match of `head` minus that of `best`.
        p_value: of the exact McNemar test, after Holm's correction over the family.
    """

    head: str
    best: str
    gap: Paired
    p_value: float

    @property
    def verdict(self) -> str:
        """How the autoregressive head does."""
        return verdict(self.gap, self.p_value)

    def claim(self, name: str) -> Claim:
        return Claim(name, self.verdict, self.gap.difference, ratio=False)


def beside_one_pass(rights: Mapping[str, pd.DataFrame]) -> dict[str, Comparison]:
    """One family of comparisons, by name: of each, what `right` gives.

    Raises:
        InputError: the readers are not of both kinds.
    """
    found = {}
    for name, table in rights.items():
        by_symbol, one_pass = (
            [head for head in kind if head in table] for kind in (strategies.by_symbol(), strategies.one_pass())
        )
        if not by_symbol or not one_pass:
            raise InputError(f"only {', '.join(table)}: evaluate weights with an autoregressive and a one-pass head")
        best = max(one_pass, key=lambda head: table[head].mean())
        found[name] = by_symbol[0], best, paired_difference(table[by_symbol[0]], table[best])
    p_values = holm([gap.p_value for *_, gap in found.values()])
    return {name: Comparison(*pair, float(p)) for (name, pair), p in zip(found.items(), p_values, strict=True)}
