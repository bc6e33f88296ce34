"""Statistics of the learning curves: what the lead of `ar` over a one-pass head is made of. The unit of replication is
the training (seed). What is compared with what was fixed before measuring: plan.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.study.estimates import AR, JOINT, LOCAL, MARGINAL, ONE_PASS
from seqocr.statistics import MARGIN, Value, mean, replicated, verdicts

SHALLOW, REVERSED, DEEP = "ar-1layer", "ar-rtl", "slots"
ALONE = (AR, SHALLOW, REVERSED, ONE_PASS, DEEP, "ctc")
OTHERS = (ONE_PASS, "ctc", SHALLOW)  # what `ar` is compared with
SEEDS = 3  # trainings, at least, for a verdict
FIRST = 1000  # steps after which leads are taken apart
LARGE = 0.05  # of exact match: smaller leads are not
LEARNED = 0.9  # of the way from the local oracle to the joint one
Cell = tuple[str, str]  # labels, damage


@dataclass(frozen=True)
class CurveResults:
    """Attributes:
    rows: one per training (`heads` joined by "+"), seed, steps, damage and strategy, and of oracle readers.
    facts: of the run: how many trainings there are, and are to be.
    """

    rows: pd.DataFrame
    facts: dict[str, Any]

    @cached_property
    def _exact(self) -> dict[tuple[Any, ...], pd.Series]:
        """Exact match by seed, of (labels, damage, heads, strategy, steps)."""
        keys = ["labels", "damage", "heads", "strategy", "steps"]
        return {key: rows.set_index("seed")["exact"].sort_index() for key, rows in self.rows.groupby(keys, sort=False)}

    @cached_property
    def cells(self) -> list[Cell]:
        return [*self.rows[["labels", "damage"]].drop_duplicates().itertuples(index=False, name=None)]

    def steps(self, labels: str) -> list[int]:
        """After which heads read, those that every head alone has reached."""
        rows = self.rows[(self.rows["labels"] == labels) & (self.rows["heads"] == self.rows["strategy"])]
        reached = rows.groupby("steps")["strategy"].nunique()
        return sorted(int(steps) for steps, count in reached.items() if count == rows["strategy"].nunique())

    def exact(self, cell: Cell, strategy: str, steps: int, heads: str = "") -> pd.Series:
        """(seeds,) exact match of a head trained alone, or together with others; empty where it was not read."""
        return self._exact.get((*cell, heads or strategy, strategy, steps), pd.Series(dtype=float))

    def oracle(self, cell: Cell, reader: str) -> pd.Series:
        return self._exact[(*cell, "oracles", reader, 0)]

    def gap(self, cell: Cell, strategy: str, other: str, steps: int, heads: tuple[str, str] = ("", "")) -> Value | None:
        """Exact match of one minus another, mean over the seeds that both have; None where there are none."""
        pair = [self.exact(cell, name, steps, joined) for name, joined in zip((strategy, other), heads, strict=True)]
        return over_seeds(pair[0] - pair[1])

    def must_be_lost(self, cell: Cell) -> Value | None:
        """G: what the best reader that takes symbols as independent reads less than the best of all."""
        return over_seeds(self.oracle(cell, JOINT) - self.oracle(cell, MARGINAL))

    def leads(self) -> Iterator[Cell]:
        """The cells where `ar` leads `parallel` by `LARGE` at `FIRST` steps, both trained alone, the largest first."""
        found = {cell: gap.estimate for cell in self.cells if (gap := self.gap(cell, AR, ONE_PASS, FIRST))}
        yield from sorted((cell for cell in found if found[cell] >= LARGE), key=lambda cell: -found[cell])

    def decomposition(self) -> pd.DataFrame:
        """One row per cell of `leads`: the parts of plan.md, as `Value`s, None where trainings are missing."""
        return pd.DataFrame([self._parts(cell) for cell in self.leads()])

    def _parts(self, cell: Cell) -> dict[str, Any]:
        last = max(self.steps(cell[0]))
        first, later = self.gap(cell, AR, ONE_PASS, FIRST), self.gap(cell, AR, ONE_PASS, last)
        return {
            "labels": cell[0],
            "damage": cell[1],
            "last": last,
            "lead": first,
            "lead_at_last": later,
            "must_be_lost": self.must_be_lost(cell),
            "speed": over_seeds(self._lead(cell, FIRST) - self._lead(cell, last)),
            **{
                f"{part}{when}": self.gap(cell, one, other, steps)
                for when, steps in (("", FIRST), ("_at_last", last))
                for part, one, other in (
                    ("depth_one_pass", DEEP, ONE_PASS),
                    ("depth_ar", AR, SHALLOW),
                    ("direction", AR, REVERSED),
                )
            },
        }

    def _lead(self, cell: Cell, steps: int) -> pd.Series:
        return self.exact(cell, AR, steps) - self.exact(cell, ONE_PASS, steps)

    def learned_after(self, cell: Cell, head: str) -> int | None:
        """Steps after which a head alone has learned a cell, on the mean over seeds: the first from which it makes
        `LEARNED` of the oracle's gain; None if it has not, by its last."""
        local, joint = (float(self.oracle(cell, reader).mean()) for reader in (LOCAL, JOINT))
        bar = local + LEARNED * (joint - local)
        reached = [(steps, self.exact(cell, head, steps)) for steps in self.steps(cell[0])]
        return next((steps for steps, exact in reached if len(exact) and exact.mean() >= bar), None)

    def guided(self, cell: Cell, head: str, steps: int) -> dict[str, Value | None]:
        """What learning beside `ar` gives a one-pass head that is read alone, beside the lead of `ar`."""
        return {
            "lead": self.gap(cell, AR, head, steps),
            "guided": self.gap(cell, head, head, steps, (f"{AR}+{head}", "")),
        }

    def under_forms(self, cell: Cell) -> dict[str, Value | None]:
        """Exact match at the last step, alone and under each form, of `ar` and `parallel` trained alone."""
        last = max(self.steps(cell[0]))
        names = {name for *where, name, steps in self._exact if tuple(where[:2]) == cell and steps == last}
        shown = [(head, name) for head in (AR, ONE_PASS) for name in sorted(names) if name.split(" + ")[0] == head]
        return {name: over_seeds(self.exact(cell, name, last, head)) for head, name in shown}

    @cached_property
    def family(self) -> pd.DataFrame:
        """The claims: `ar` minus `OTHERS` at the last step of every cell that at least `SEEDS` trainings of both have
        read, with the verdict of the family."""
        claims = {}
        for cell in self.cells:
            last = max(self.steps(cell[0]))
            for other in OTHERS:
                values = (self.exact(cell, AR, last) - self.exact(cell, other, last)).dropna()
                if len(values) >= SEEDS:
                    claims[cell, other, last] = replicated(values.to_numpy(dtype=float), MARGIN)
        rows = []
        for (cell, other, last), verdict in zip(claims, verdicts([*claims.values()]) if claims else [], strict=True):
            difference = claims[cell, other, last].difference
            of = {"labels": cell[0], "damage": cell[1], "other": other, "steps": last, "seeds": difference.n}
            holm = {"p_holm": verdict.p_value, "p_within_holm": verdict.p_within, "verdict": verdict.word}
            rows.append({**of, **difference.columns("difference"), **holm})
        return pd.DataFrame(rows)

    def table(self) -> pd.DataFrame:
        """One row per cell, heads, strategy and steps: exact match over seeds."""
        rows = []
        for (labels, damage, heads, strategy, steps), exact in self._exact.items():
            of = {"labels": labels, "damage": damage, "trained": heads, "strategy": strategy, "steps": steps}
            rows.append({**of, "seeds": len(exact), "exact": exact.mean(), "sd_over_seeds": exact.std()})
        return pd.DataFrame(rows)


def over_seeds(values: pd.Series) -> Value | None:
    """The mean with Student's interval; of one seed nothing but the value is known; None where there is none."""
    found = values.dropna().to_numpy(dtype=float)
    if len(found) > 1:
        return mean(found)
    return Value(float(found[0]), -np.inf, np.inf, 1) if len(found) else None
