"""Statistics of the family of encoders: what heads read and take, of the same weights. The unit of replication is the
training (seed) for exact match, the restart of the process for times. What is compared with what: plan.md."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from bench.core.formatting import estimates
from bench.study.curve_estimates import OTHERS, SEEDS, over_seeds
from bench.study.estimates import AR, ONE_PASS, error_of_strings, judge
from bench.study.family import STRATEGIES, unpack
from bench.study.family_session import INT8
from bench.workloads.restarts import ByRestart
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.statistics import MARGIN, Replicated, Value, proportion, replicated

READS_AS = {"ar-generate": AR, "ar-speculative": AR}  # strategies that predict what another does


@dataclass(frozen=True)
class FamilyResults:
    """Attributes:
    rows: one per encoder, seed, set and string, with what every strategy reads.
    facts: `trainings` by name, and how many there are to be (`of`).
    times: one per encoder, restart, batch, round and strategy; empty before anything is timed.
    timed: of each encoder that was: its environment and what its int8 graphs read (`graphs_exact`).
    """

    rows: pd.DataFrame
    facts: dict[str, Any]
    times: pd.DataFrame
    timed: dict[str, Any]

    @cached_property
    def encoders(self) -> list[str]:
        return list(self.rows["encoder"].unique())

    @property
    def sets(self) -> list[str]:
        return list(self.rows["set"].unique())

    @cached_property
    def _right(self) -> dict[tuple[str, str], dict[int, pd.DataFrame]]:
        """Of (encoder, set), by seed: which strings (rows) each strategy (columns) reads right."""
        read = unpack(self.rows, self.facts.get("depends", {}).get("strategies", STRATEGIES))
        right = read.eq(self.rows["text"], axis=0)
        found: dict[tuple[str, str], dict[int, pd.DataFrame]] = {}
        for (encoder, name, seed), where in self.rows.groupby(["encoder", "set", "seed"], sort=False).groups.items():
            found.setdefault((str(encoder), str(name)), {})[int(str(seed))] = right.loc[where].reset_index(drop=True)
        return found

    def seeds(self, encoder: str) -> int:
        return len(self._right[encoder, self.sets[0]])

    def exact(self, encoder: str, name: str, strategy: str) -> Value:
        """Of a set: over seeds; of one training, over strings."""
        by_seed = self._right[encoder, name]
        column = READS_AS.get(strategy, strategy)
        if len(by_seed) == 1:
            (right,) = by_seed.values()
            return proportion(int(right[column].sum()), len(right))
        return over_seeds(pd.Series([right[column].mean() for right in by_seed.values()]))

    def first_exact(self, encoder: str, name: str, strategy: str) -> Value:
        """Of a set, by the weights of the first seed, which are timed: over strings."""
        right = self._right[encoder, name][0][READS_AS.get(strategy, strategy)]
        return proportion(int(right.sum()), len(right))

    def int8_exact(self, encoder: str, name: str, strategy: str) -> Value | None:
        """Of the graphs of the first seed, over strings; None where they read none."""
        found = self.timed.get(encoder, {}).get("graphs_exact", {}).get(name, {})
        column = READS_AS.get(strategy, strategy)
        return proportion(found[column], found["strings"]) if column in found else None

    def gap(self, encoder: str, name: str, strategy: str, other: str) -> Replicated | None:
        """Exact match of one strategy minus another, of the same strings of each seed; None of fewer than `SEEDS`."""
        by_seed = self._right[encoder, name]
        if len(by_seed) < SEEDS:
            return None
        pairs = [(right[strategy].to_numpy(dtype=int), right[other].to_numpy(dtype=int)) for right in by_seed.values()]
        return replicated([(a - b).mean() for a, b in pairs], MARGIN, error_of_strings(pairs))

    @cached_property
    def family(self) -> pd.DataFrame:
        """The claims: `ar` minus `OTHERS` at every level, of every encoder with enough seeds: one family."""
        gaps = {
            (encoder, level, other): gap
            for encoder in self.encoders
            for level in LEVELS
            for other in OTHERS
            if (gap := self.gap(encoder, level, AR, other)) is not None
        }
        return judge(gaps, ("encoder", "level", "other"))

    def table(self) -> pd.DataFrame:
        """One row per encoder, set and strategy: exact match, and that of int8 graphs."""
        rows: list[dict[str, Any]] = []
        for encoder in self.encoders:
            for name in self.sets:
                for strategy in STRATEGIES:
                    row = {"encoder": encoder, "set": name, "strategy": strategy, "seeds": self.seeds(encoder)}
                    int8 = self.int8_exact(encoder, name, strategy)
                    row |= self.exact(encoder, name, strategy).columns("exact")
                    rows.append({**row, **(int8.columns("int8_exact") if int8 else {})})
        return pd.DataFrame(rows)

    # Times

    @cached_property
    def _times(self) -> dict[tuple[str, int], ByRestart]:
        return {
            (str(encoder), int(str(batch))): ByRestart(table)
            for (encoder, batch), table in self.times.groupby(["encoder", "batch"])
        }

    def batches(self, encoder: str) -> list[int]:
        return sorted(batch for name, batch in self._times if name == encoder)

    def timed_strategies(self, encoder: str) -> list[str]:
        """Eager ones in the order of the session, then those of graphs."""
        found = list(self.times.loc[self.times["encoder"] == encoder, "strategy"].unique())
        order = ["ar-generate", *STRATEGIES, "ar-speculative"]
        return sorted(found, key=lambda name: (INT8 in name, order.index(name.split(",")[0])))

    def milliseconds(self, encoder: str, batch: int, strategy: str) -> Value:
        """A string, from image to text, in batches of so many."""
        return self._times[encoder, batch].milliseconds(strategy, batch)

    def over(self, encoder: str, batch: int, strategy: str, other: str = ONE_PASS) -> Value:
        """How many times as long as another strategy takes."""
        return self._times[encoder, batch].over(strategy, other)

    def times_table(self) -> pd.DataFrame:
        return estimates(
            {
                "encoder": encoder,
                "batch": batch,
                "strategy": strategy,
                "restarts": self.milliseconds(encoder, batch, strategy).n,
                "ms_a_string": self.milliseconds(encoder, batch, strategy),
                "over_one_pass": self.over(encoder, batch, strategy),
            }
            for encoder, batch in self._times
            for strategy in self.timed_strategies(encoder)
        )
