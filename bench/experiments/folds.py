"""Do heads differ on real lines? Cross-validation, as shipped and adapted (`python -m bench folds`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.core.experiment import DETAILS, Claim, Reported, Section
from bench.core.formatting import points, share
from bench.core.store import Store
from bench.core.templating import prose
from bench.study import study_of
from bench.study.estimates import AR
from bench.study.folds import ADAPTED, PARTS, SHIPPED, TABLE
from bench.workloads import accuracy_tables
from seqocr.statistics import (
    BETTER,
    MARGIN,
    WORSE,
    Paired,
    Replicated,
    Value,
    Verdict,
    mean,
    paired_difference,
    replicated,
    verdicts,
)
from seqocr.train.config import VALIDATION_SHARE

_OTHERS = ("parallel", "ctc")  # what `ar` is compared with
_TESTED = 1 / (PARTS - 1) / (1 - VALIDATION_SHARE)  # lines read, as a share of the lines learned from


@dataclass(frozen=True)
class FoldResults:
    """Attributes:
    rows: one per line, head, phase and seed.
    facts: of `sets` by name, `readings` there are `of` those there are to be.
    """

    rows: pd.DataFrame
    facts: dict[str, Any]

    @property
    def sets(self) -> list[str]:
        return list(self.rows["set"].unique())

    @property
    def heads(self) -> list[str]:
        return list(self.rows["head"].unique())

    @cached_property
    def _by_fold(self) -> dict[str, pd.DataFrame]:
        """Of adapted weights, exact match by set: folds (seed, part) and heads (columns)."""
        rows = self.rows[self.rows["phase"] == ADAPTED]
        rows = rows.assign(right=rows["prediction"] == rows["text"])
        return {
            str(name): table.pivot_table(index=["seed", "part"], columns="head", values="right")
            for name, table in rows.groupby("set", sort=False)
        }

    def shipped(self, name: str, head: str) -> Value:
        rows = self.rows[(self.rows["set"] == name) & (self.rows["phase"] == SHIPPED) & (self.rows["head"] == head)]
        return accuracy_tables.exact(rows)

    def is_whole(self, name: str) -> bool:
        """Whether all parts of a set have been read."""
        about = self.facts["sets"][name]
        return bool(about["readings"] == about["of"])

    def adapted(self, name: str, head: str) -> Value | None:
        """Over folds; None before all have been read."""
        folds = self._by_fold.get(name)
        if folds is None or not self.is_whole(name):
            return None
        return mean(folds[head], corrected_error(folds[head]))

    def gap(self, name: str, other: str, phase: str) -> Replicated | Paired | None:
        """Exact match of `ar` minus that of another head: as shipped over lines, adapted over folds; None before all
        have been read."""
        if phase == SHIPPED:
            rows = self.rows[(self.rows["set"] == name) & (self.rows["phase"] == SHIPPED)]
            right = accuracy_tables.right(rows, "name")
            return paired_difference(right[AR], right[other])
        folds = self._by_fold.get(name)
        if folds is None or not self.is_whole(name):
            return None
        difference = folds[AR] - folds[other]
        return replicated(difference, MARGIN, corrected_error(difference))

    @cached_property
    def comparisons(self) -> list[tuple[str, str, str, Value, Verdict]]:
        """Set, phase, other head, gap and verdict; each phase is a family."""
        found = []
        for phase in (SHIPPED, ADAPTED):
            gaps = {(name, other): self.gap(name, other, phase) for name in self.sets for other in _OTHERS}
            there = {key: gap for key, gap in gaps.items() if gap is not None}
            for ((name, other), gap), verdict in zip(there.items(), verdicts([*there.values()]), strict=True):
                found.append((name, phase, other, gap.difference, verdict))
        return found

    @property
    def whole(self) -> list[str]:
        """Sets of which all parts have been read."""
        return [name for name in self.sets if self.is_whole(name)]

    @property
    def seeds(self) -> int:
        return int(self.rows.loc[self.rows["phase"] == ADAPTED, "seed"].nunique())

    @property
    def parts(self) -> int:
        return PARTS

    @property
    def adapted_range(self) -> dict[str, tuple[float, float]]:
        """Of adapted heads, the least and most exact match, by set."""
        means = {name: self._by_fold[name].mean() for name in self.whole}
        return {name: (float(heads.min()), float(heads.max())) for name, heads in means.items()}

    @property
    def shown(self) -> list[tuple[str, str, str]]:
        """Set, other head and points, where adapted `ar` is shown to differ."""
        return [
            (name, other, points(gap))
            for name, phase, other, gap, verdict in self.comparisons
            if phase == ADAPTED and verdict.word in (BETTER, WORSE)
        ]


def corrected_error(values: pd.Series) -> float:
    """The standard error of a mean over folds, whose trainings share most of their lines (Nadeau and Bengio 2003,
    "Inference for the Generalization Error"): the variance counts 1/k + read/learned times, not 1/k times."""
    return float(np.sqrt((1 / len(values) + _TESTED) * values.var(ddof=1)))


class Folds(Reported):
    name = "folds"
    page, order = DETAILS, 41

    def results(self, store: Store) -> FoldResults | None:
        study = study_of(store)
        return FoldResults(study.read(TABLE), study.facts(TABLE)) if study is not None and study.has(TABLE) else None

    def tables(self, results: FoldResults) -> dict[str, pd.DataFrame]:
        rows = []
        for name in results.sets:
            for head in results.heads:
                adapted = results.adapted(name, head)
                row = {"set": name, "head": head, **results.shipped(name, head).columns("shipped")}
                rows.append({**row, **(adapted.columns("adapted") if adapted else {})})
        return {"folds": pd.DataFrame(rows)}

    def sections(self, results: FoldResults, everything: Mapping[str, Any]) -> list[Section]:
        rows = []
        for name in results.sets:
            for head in results.heads:
                adapted = results.adapted(name, head)
                row = {"lines": name, "head": f"`{head}`", SHIPPED: share(results.shipped(name, head))}
                rows.append({**row, ADAPTED: share(adapted) if adapted else ""})
        beside = pd.DataFrame(
            {
                "lines": name,
                "heads": f"`{AR}` minus `{other}`, {phase}",
                "points": points(gap),
                "lines or folds": gap.n,
                "verdict": verdict.word,
            }
            for name, phase, other, gap, verdict in results.comparisons
        )
        unread = [name for name in results.sets if not results.is_whole(name)]
        text = prose("folds", parts=PARTS, unread=unread)
        details: dict[str, Any] = {f"`{AR}` beside one pass": beside} if len(beside) else {}
        return [Section("Real lines, cross-validated", text, None, pd.DataFrame(rows), details)]

    def claims(self, results: FoldResults) -> list[Claim]:
        return [
            Claim(f"{name}, {phase}: `{AR}` beside `{other}`, cross-validated", verdict.word, gap, ratio=False)
            for name, phase, other, gap, verdict in results.comparisons
        ]


EXPERIMENT = Folds()
