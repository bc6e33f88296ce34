"""Statistics of the study. The unit of replication is the seed: a training, with strings of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.study.cost import Cost
from bench.study.design import ABLATED, LENGTH, UNIFORM, Size, Training
from bench.study.label_distributions import LABEL_DISTRIBUTIONS
from bench.study.predictions import SLOTS
from seqocr.statistics import (
    MARGIN,
    Replicated,
    Value,
    holm,
    mean,
    paired_difference,
    replicated,
    smallest_seen,
    verdicts,
)

AR, ONE_PASS = "ar", "parallel"
# What `ar` is compared with: the one-pass head that people deploy, and one with a decoder as deep as its own, so that
# what is claimed of autoregression is not owed to layers.
OTHERS = (ONE_PASS, SLOTS)
LOCAL, MARGINAL, JOINT = "oracle local", "oracle marginal", "oracle joint"
SEEN = 0.02  # of exact match: where the joint reader is ahead by less, shares of it say nothing
Cell = tuple[str, str, str]  # labels learned, labels read, damage
_CELL = ["labels", "read", "damage"]
_JUDGED = ("seeds", "difference", "difference_low", "difference_high", "p_holm", "p_within_holm", "verdict")


@dataclass(frozen=True)
class Results:
    """Attributes:
    rows: one a training, cell and strategy (see `predictions.read`).
    facts: preset, environment, commit, seconds.
    again: settings and `rows` of the cell that was measured again, if one was.
    cost: what strategies take, if they were timed; timed_on: the CPU on which they were.
    """

    rows: pd.DataFrame
    size: Size
    facts: dict[str, Any]
    again: dict[str, Any] | None = None
    cost: Cost | None = None
    timed_on: str = ""

    @cached_property
    def main(self) -> pd.DataFrame:
        """Of trainings that are no ablation, by cell, strategy and seed."""
        names = {Training(labels, seed).name for labels, seeds in self.size.seeds.items() for seed in range(seeds)}
        rows = self.rows[self.rows["training"].isin(names)]
        return rows.set_index([*_CELL, "strategy", "seed"]).sort_index()

    @cached_property
    def total_correlations(self) -> dict[str, float]:
        """Of each label distribution, nats, in rising order."""
        found = {labels: LABEL_DISTRIBUTIONS[labels](LENGTH).total_correlation for labels in self.size.seeds}
        return dict(sorted(found.items(), key=lambda item: item[::-1]))

    @property
    def labels(self) -> list[str]:
        """Names of the label distributions, by their total correlation."""
        return list(self.total_correlations)

    @property
    def strategies(self) -> list[str]:
        return list(self.rows["strategy"].unique())

    @property
    def own(self) -> list[Cell]:
        """Every label distribution under every damage, read by what learned it."""
        return [(labels, labels, damage) for labels in self.labels for damage in self.size.damages]

    @property
    def shifted(self) -> list[Cell]:
        """Independent digits, read by what learned another distribution."""
        return [
            (labels, UNIFORM, damage) for labels in self.labels if labels != UNIFORM for damage in self.size.shifted
        ]

    def exact(self, cell: Cell, strategy: str) -> np.ndarray:
        """(seeds,) shares read right."""
        return self._column(cell, strategy, "exact")

    def mean(self, cell: Cell, column: str, strategy: str = AR) -> float:
        return float(self._column(cell, strategy, column).mean())

    def _column(self, cell: Cell, strategy: str, column: str) -> np.ndarray:
        found: np.ndarray = self._by_cell[(*cell, strategy)][column].to_numpy(dtype=float)
        return found

    @cached_property
    def _by_cell(self) -> dict[tuple[str, ...], pd.DataFrame]:
        """`main` by cell and strategy: looked up very often."""
        return dict(iter(self.main.groupby(level=[0, 1, 2, 3], sort=False)))

    def gap(self, cell: Cell, strategy: str = AR, other: str = ONE_PASS) -> Replicated:
        """Exact match of one strategy minus another's, on the same strings of each seed."""
        difference = self.exact(cell, strategy) - self.exact(cell, other)
        return replicated(difference, MARGIN, error_of_strings(self._right(cell, strategy, other)))

    def _right(self, cell: Cell, strategy: str, other: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each seed, which strings each strategy read right: 1 or 0."""
        found = [self._by_cell[(*cell, name)][["right", "strings"]].to_dict("records") for name in (strategy, other)]
        return [(bits(one), bits(two)) for one, two in zip(*found, strict=True)]

    def together(self, cells: Sequence[Cell], strategy: str) -> np.ndarray:
        """(seeds,) exact match, the mean over cells, of the seeds that all of them have."""
        count = min(self.size.seeds[cell[0]] for cell in cells)
        found: np.ndarray = np.mean([self.exact(cell, strategy)[:count] for cell in cells], axis=0)
        return found

    def ahead(self, cells: Sequence[Cell], strategy: str, other: str) -> Value:
        """Exact match of one strategy minus another's, the mean over cells."""
        return mean(self.together(cells, strategy) - self.together(cells, other))

    def seen_by_one_seed(self) -> tuple[int, int]:
        """Of the differences that the claims found, how many the first seed alone would have shown, and how many there
        are. Over the strings of one seed McNemar's test does not know that another training might differ."""
        found = self.family[self.family["verdict"].isin(("better", "worse"))]
        cells = [*zip(*(self.family[name] for name in _CELL), strict=True)]
        first = [self._right(cell, AR, other)[0] for cell, other in zip(cells, self.family["other"], strict=True)]
        gaps = pd.Series([(a - b).mean() for a, b in first], self.family.index)
        seen = pd.Series(holm([paired_difference(a, b).p_value for a, b in first]) < 0.05, self.family.index)
        return int((seen & (gaps * found["difference"] > 0)).sum()), len(found)

    @cached_property
    def family(self) -> pd.DataFrame:
        """The claims: `ar` minus each of `OTHERS` in every cell of the label distributions with the most seeds. One row
        per claim, with the verdict and the smallest difference that could have been seen."""
        most = max(self.size.seeds.values())
        cells = [cell for cell in (*self.own, *self.shifted) if self.size.seeds[cell[0]] == most]
        claims = [(cell, other) for other in self.others for cell in cells]
        gaps = [self.gap(cell, AR, other) for cell, other in claims]
        rows = []
        for (cell, other), gap, verdict in zip(claims, gaps, verdicts(gaps), strict=True):
            scattered = self.exact(cell, AR) - self.exact(cell, other)
            own = cell[0] == cell[1]
            rows.append(
                {
                    **dict(zip(_CELL, cell, strict=True)),
                    "other": other,
                    "seeds": gap.difference.n,
                    **gap.difference.columns("difference"),
                    "p_holm": verdict.p_value,
                    "p_within_holm": verdict.p_within,
                    "verdict": verdict.word,
                    "smallest_seen": smallest_seen(scattered, 0.05 / len(claims)),
                    **{axis: self.mean(cell, axis) if own else None for axis in ("C", "G", "worth")},
                }
            )
        return pd.DataFrame(rows)

    @property
    def others(self) -> list[str]:
        return [name for name in OTHERS if name in self.strategies]

    def verdict(self, cell: Cell, other: str = ONE_PASS) -> str:
        """Of a claim of the family; empty for others."""
        return str(self._claims["verdict"].get((*cell, other), ""))

    def p_within(self, cell: Cell, other: str = ONE_PASS) -> float:
        """Of equivalence, after Holm's correction, of a claim of the family; 1 for others."""
        return float(self._claims["p_within_holm"].get((*cell, other), 1.0))

    @cached_property
    def _claims(self) -> pd.DataFrame:
        return self.family.set_index([*_CELL, "other"])

    def captured(self, strategy: str, floor: str = MARGINAL, cells: Sequence[Cell] | None = None) -> Value:
        """Share of the joint reader's lead over another oracle reader that a strategy makes: 0 is that one's exact
        match, 1 the joint reader's. Over the cells where the lead is `SEEN` at least; replications are seeds.

        Args:
            floor: `MARGINAL`, and the lead is G; `LOCAL`, and it is the whole oracle gain.
            cells: of those; None: all of them.
        """
        chosen = self.worthwhile(floor) if cells is None else cells
        below = self.together(chosen, floor)
        return mean((self.together(chosen, strategy) - below) / (self.together(chosen, JOINT) - below))

    def unlearned(self) -> list[str]:
        """Label distributions of whose oracle gain, where there is one, `ar` makes less than a tenth."""
        cells = {labels: [cell for cell in self.worthwhile(LOCAL) if cell[0] == labels] for labels in self.labels}
        return [labels for labels, there in cells.items() if there and self.captured(AR, LOCAL, there).estimate < 0.1]

    def worthwhile(self, floor: str = MARGINAL) -> list[Cell]:
        """The cells where the joint reader is expected to lead by `SEEN` at least, the largest lead first. What is
        expected is computed from the label distribution and the images, not from the predictions."""
        column = {MARGINAL: "G", LOCAL: "worth"}[floor]
        leads = {cell: self.mean(cell, column) for cell in self.own}
        return sorted((cell for cell in self.own if leads[cell] >= SEEN), key=lambda cell: -leads[cell])

    def price(self, labels: str, strategy: str, damage: str) -> Value:
        """What having learned a label distribution costs a strategy on independent digits, against having learned
        those."""
        seeds = min(self.size.seeds[labels], self.size.seeds[UNIFORM])
        there, here = (self.exact((learned, UNIFORM, damage), strategy)[:seeds] for learned in (labels, UNIFORM))
        return mean(there - here)

    def passes(self, strategy: str) -> float:
        """Decoder passes a string, over all cells of its own label distribution."""
        return float(np.mean([self.mean(cell, "passes", strategy) for cell in self.own]))

    def by_cell(self) -> pd.DataFrame:
        """One row per cell and strategy: exact match over seeds, passes, C and G."""
        columns = {"seeds": ("exact", "size"), "exact": ("exact", "mean"), "sd_over_seeds": ("exact", "std")}
        columns |= {name: (name, "mean") for name in ("passes", "C", "G")}
        found = self.main.groupby(level=[0, 1, 2, 3], sort=False).agg(**columns)
        order = [(*cell, name) for cell in (*self.own, *self.shifted) for name in self.strategies]
        return found.loc[[key for key in order if key in found.index]].reset_index()

    def likelihoods(self) -> pd.DataFrame:
        """One row per cell and strategy that takes symbols as independent: C, and the nats a string that it gives the
        truth less than `ar` does."""
        rows = []
        for other in self.others:
            for cell in self.own:
                gap = self._column(cell, other, "nats") - self._column(cell, AR, "nats")
                row = {"other": other, "labels": cell[0], "damage": cell[2], "C": self.mean(cell, "C")}
                rows.append({**row, **mean(gap).columns("nats_lost")})
        return pd.DataFrame(rows)

    def ablations(self) -> pd.DataFrame:
        """One row per kind of training, damage and head: exact match of the ablated distribution's strings."""
        labels, rows = self.size.ablated, []
        trainings = [each for each in self.size.trainings() if each.labels == labels]
        named = {each.name: each.ablation or "as all" for each in trainings if each.ablation or each.seed < ABLATED}
        chosen = self.rows[(self.rows["read"] == labels) & self.rows["training"].isin(named)]
        chosen = chosen[chosen["strategy"].isin((AR, ONE_PASS, "ctc"))].assign(trained=chosen["training"].map(named))
        for key, table in chosen.groupby(["trained", "damage", "strategy"], sort=False):
            found = mean(table["exact"])
            of = dict(zip(("trained", "damage", "strategy"), key, strict=True))
            rows.append({**of, "seeds": found.n, **found.columns("exact")})
        return pd.DataFrame(rows)


def judge(gaps: Mapping[tuple[Any, ...], Replicated], keys: Sequence[str]) -> pd.DataFrame:
    """A family of claims, one row per gap, whose key gives the columns `keys`: the difference and its verdict."""
    rows = []
    for (key, gap), verdict in zip(gaps.items(), verdicts([*gaps.values()]), strict=True):
        holm = {"p_holm": verdict.p_value, "p_within_holm": verdict.p_within, "verdict": verdict.word}
        of = dict(zip(keys, key, strict=True))
        rows.append({**of, "seeds": gap.difference.n, **gap.difference.columns("difference"), **holm})
    return pd.DataFrame(rows, columns=[*keys, *_JUDGED])


def error_of_strings(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The standard error that the choice of strings alone makes of the mean difference of two readers (McNemar's
    variance).

    Args:
        pairs: of each training, which of the same strings each reader read right: 1 or 0.
    """
    variances = [(a - b).var() / len(a) for a, b in pairs]
    return float(np.sqrt(np.sum(variances)) / len(variances))


def bits(row: Mapping[str, Any]) -> np.ndarray:
    """(strings,) 1 or 0, of a row's `right`."""
    packed = np.frombuffer(bytes.fromhex(row["right"]), np.uint8)
    found: np.ndarray = np.unpackbits(packed, count=row["strings"]).astype(int)
    return found
