"""Exact match, CER, edits by kind and paired comparisons, of tables of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rapidfuzz.distance import Levenshtein

from bench.core import strategies
from bench.core.experiment import Claim
from bench.core.formatting import digits, points
from seqocr import metrics
from seqocr.errors import InputError
from seqocr.statistics import Paired, Value, Verdict, paired_difference, proportion, verdicts

_EDITS = {"substituted": "replace", "missed": "delete", "invented": "insert"}  # and what rapidfuzz calls them


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


@dataclass(frozen=True)
class Comparison:
    """An autoregressive head beside a one-pass head, on the same strings.

    Attributes:
        where: level, phase or task.
        head, other: the autoregressive one, the one-pass one.
        gap: exact match of `head` minus that of `other`.
        verdict: how `head` does, of the family.
    """

    where: str
    head: str
    other: str
    gap: Paired
    verdict: Verdict

    @property
    def claim(self) -> Claim:
        name = f"{self.where}: `{self.head}` beside `{self.other}`"
        return Claim(name, self.verdict.word, self.gap.difference, ratio=False)


def beside_one_pass(rights: Mapping[str, pd.DataFrame]) -> list[Comparison]:
    """The first autoregressive head beside every one-pass head, of what `right` gives by name: one family.

    Raises:
        InputError: the readers are not of both kinds.
    """
    found = []
    for where, table in rights.items():
        by_symbol, one_pass = (
            [head for head in kind if head in table] for kind in (strategies.by_symbol(), strategies.one_pass())
        )
        if not by_symbol or not one_pass:
            raise InputError(f"only {', '.join(table)}: evaluate weights with an autoregressive and a one-pass head")
        own = by_symbol[0]
        found += [(where, own, other, paired_difference(table[own], table[other])) for other in one_pass]
    judged = verdicts([gap for *_, gap in found])
    return [Comparison(*each, verdict) for each, verdict in zip(found, judged, strict=True)]


def comparisons_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """For tables/*.csv: one row per comparison."""
    return pd.DataFrame(
        {
            "where": each.where,
            "head": each.head,
            "other": each.other,
            "strings": each.gap.difference.n,
            **each.gap.difference.columns("difference"),
            "p_mcnemar": each.gap.p_value,
            "p_holm": each.verdict.p_value,
            "p_within_holm": each.verdict.p_within,
            "verdict": each.verdict.word,
        }
        for each in comparisons
    )


def shown_comparisons(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """For a page: one row per comparison."""
    return pd.DataFrame(
        {
            "lines": each.where,
            "heads": f"`{each.head}` minus `{each.other}`",
            "points": points(each.gap.difference),
            "p, different (Holm)": digits(each.verdict.p_value, 2),
            "p, within 1 point (Holm)": digits(each.verdict.p_within, 2),
            "verdict": each.verdict.word,
        }
        for each in comparisons
    )
