"""Statistics of the learning curves: what the lead of `ar` over a one-pass head is made of. The unit of replication is
the training (seed). What is compared with what was fixed before measuring: plan.md."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.study.curves import COUNTED
from bench.study.estimates import AR, JOINT, LOCAL, MARGINAL, ONE_PASS, bits, error_of_strings, judge
from seqocr.statistics import MARGIN, Replicated, Value, mean, replicated

SHALLOW, REVERSED, DEEP = "ar-1layer", "ar-rtl", "slots"
ALONE = (AR, SHALLOW, REVERSED, ONE_PASS, DEEP, "ctc")
OTHERS = (ONE_PASS, "ctc", SHALLOW)  # what `ar` is compared with
COUNTED_FORM = f"{ONE_PASS} + {COUNTED}"
SEEDS = 3  # trainings, at least, for a verdict
EARLY = 1000  # steps after which leads are taken apart
LEAST_LEAD = 0.05  # of exact match: smaller ones are not
LEARNED = 0.9  # of the way from the local oracle to the joint one
Cell = tuple[str, str]  # labels, damage


@dataclass(frozen=True)
class CurveResults:
    """Attributes:
    rows: one per training (`heads` joined by "+"), seed, steps, damage and strategy, and of oracle readers.
    facts: of the run: `trainings` read `of` those there are to be, `whole` ones to their end; `commits`.
    """

    rows: pd.DataFrame
    facts: dict[str, Any]

    @cached_property
    def _by_key(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        """Rows by seed, of (labels, damage, heads, strategy, steps)."""
        keys = ["labels", "damage", "heads", "strategy", "steps"]
        return {key: rows.set_index("seed").sort_index() for key, rows in self.rows.groupby(keys, sort=False)}

    @cached_property
    def cells(self) -> list[Cell]:
        """Those that heads alone have read."""
        alone = self.rows[self.rows["heads"] == self.rows["strategy"]]
        return [*alone[["labels", "damage"]].drop_duplicates().itertuples(index=False, name=None)]

    def steps(self, labels: str) -> list[int]:
        """After which heads read, those that every training of a head alone has reached."""
        rows = self.rows[(self.rows["labels"] == labels) & (self.rows["heads"] == self.rows["strategy"])]
        reached = rows.drop_duplicates(["strategy", "seed", "steps"]).groupby("steps").size()
        return sorted(int(steps) for steps, count in reached.items() if count == reached.max())

    def last(self, labels: str) -> int:
        return max(self.steps(labels), default=0)

    def exact(self, cell: Cell, strategy: str, steps: int, heads: str = "") -> pd.Series:
        """(seeds,) exact match of a head trained alone, or together with others; empty where it was not read."""
        rows = self._by_key.get((*cell, heads or strategy, strategy, steps))
        return pd.Series(dtype=float) if rows is None else rows["exact"]

    def oracle(self, cell: Cell, reader: str) -> pd.Series:
        return self._by_key[(*cell, "oracles", reader, 0)]["exact"]

    def gap(
        self, cell: Cell, strategy: str, other: str, steps: int, heads: tuple[str, str] = ("", "")
    ) -> Replicated | None:
        """Exact match of one minus another, over the seeds that both have; None where there are none.

        Of one seed nothing but the value is known: no test says anything.
        """
        keys = [(*cell, joined or name, name, steps) for name, joined in zip((strategy, other), heads, strict=True)]
        if any(key not in self._by_key for key in keys):
            return None
        one, two = (self._by_key[key] for key in keys)
        seeds = one.index.intersection(two.index)
        if seeds.empty:
            return None
        difference = (one["exact"] - two["exact"])[seeds]
        if len(seeds) == 1:
            return Replicated(Value(float(difference.iloc[0]), -np.inf, np.inf, 1), 1.0, 1.0)
        rows = [frame.loc[seeds].to_dict("records") for frame in (one, two)]
        pairs = [(bits(a), bits(b)) for a, b in zip(*rows, strict=True)]
        return replicated(difference.to_numpy(dtype=float), MARGIN, error_of_strings(pairs))

    def must_be_lost(self, cell: Cell) -> Value:
        """G: what the best reader that takes symbols as independent reads less than the best of all."""
        return over_seeds(self.oracle(cell, JOINT) - self.oracle(cell, MARGINAL))

    @cached_property
    def leads(self) -> list[Cell]:
        """The cells where `ar` leads `parallel` by `LEAST_LEAD` after `EARLY` steps, both trained alone, the largest
        first."""
        gaps = {cell: self.gap(cell, AR, ONE_PASS, EARLY) for cell in self.cells}
        found = {cell: gap.difference.estimate for cell, gap in gaps.items() if gap is not None}
        return sorted((cell for cell in found if found[cell] >= LEAST_LEAD), key=lambda cell: -found[cell])

    @cached_property
    def decomposition(self) -> list[dict[str, Any]]:
        """One row per cell of `leads`: the parts of plan.md, as `Value`s, None where trainings are missing."""
        return [self._parts(cell) for cell in self.leads]

    def _parts(self, cell: Cell) -> dict[str, Any]:
        last = self.last(cell[0])
        pairs = {
            "lead": (AR, ONE_PASS),
            "depth_one_pass": (DEEP, ONE_PASS),
            "depth_ar": (AR, SHALLOW),
            "direction": (AR, REVERSED),
        }
        found = {
            f"{part}{when}": gap.difference if (gap := self.gap(cell, *heads, steps)) else None
            for when, steps in (("", EARLY), ("_at_last", last))
            for part, heads in pairs.items()
        }
        counted = self.gap(cell, COUNTED_FORM, AR, last, (ONE_PASS, ""))
        return {
            **{"labels": cell[0], "damage": cell[1], "last": last, **found},
            "counted_form_at_last": counted.difference if counted else None,
            "must_be_lost": self.must_be_lost(cell),
            "speed": over_seeds((self._lead(cell, EARLY) - self._lead(cell, last)).dropna()),
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

    def is_read(self, cell: Cell, head: str) -> bool:
        """Whether a head alone has read a cell at all."""
        return any(len(self.exact(cell, head, steps)) for steps in self.steps(cell[0]))

    def guided(self, cell: Cell, head: str, steps: int) -> Value | None:
        """What a one-pass head that is read alone gains by learning beside `ar`."""
        gap = self.gap(cell, head, head, steps, (f"{AR}+{head}", ""))
        return None if gap is None else gap.difference

    def under_forms(self, cell: Cell) -> dict[str, Value]:
        """Exact match at the last step, alone and under each form, of `ar` and `parallel` trained alone."""
        last = self.last(cell[0])
        names = {name for *where, _, name, steps in self._by_key if tuple(where) == cell and steps == last}
        shown = [(head, name) for head in (AR, ONE_PASS) for name in sorted(names) if name.split(" + ")[0] == head]
        found = {name: self.exact(cell, name, last, head) for head, name in shown}
        return {name: over_seeds(exact) for name, exact in found.items() if len(exact)}

    @cached_property
    def family(self) -> pd.DataFrame:
        """The claims: `ar` minus `OTHERS` at the last step of every cell that at least `SEEDS` trainings of both have
        read, with the verdict of the family."""
        gaps = {}
        for cell in self.cells:
            last = self.last(cell[0])
            for other in OTHERS:
                gap = self.gap(cell, AR, other, last)
                if gap is not None and gap.difference.n >= SEEDS:
                    gaps[*cell, other, last] = gap
        return judge(gaps, ("labels", "damage", "other", "steps"))

    def verdict(self, cell: Cell, other: str) -> str:
        """Of a claim of the family; empty where too few trainings have read it."""
        found = self.family[(self.family[["labels", "damage", "other"]] == [*cell, other]).all(axis=1)]
        return "" if found.empty else str(found["verdict"].iloc[0])

    def table(self) -> pd.DataFrame:
        """One row per cell, heads, strategy and steps: exact match over seeds."""
        rows = []
        for (labels, damage, heads, strategy, steps), read in self._by_key.items():
            of = {"labels": labels, "damage": damage, "trained": heads, "strategy": strategy, "steps": steps}
            rows.append({**of, "seeds": len(read), "exact": read["exact"].mean(), "sd_over_seeds": read["exact"].std()})
        return pd.DataFrame(rows)


def over_seeds(values: pd.Series) -> Value:
    """The mean with Student's interval; of one seed nothing but the value is known."""
    found = values.to_numpy(dtype=float)
    return mean(found) if len(found) > 1 else Value(float(found[0]), -np.inf, np.inf, 1)
