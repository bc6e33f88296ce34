"""Statistics of the family of encoders: what heads read and take. The unit of replication is the training (seed) for
exact match, the restart of the process for times. What is compared with what: plan.md."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from bench.core.experiment import Claim
from bench.core.formatting import estimates
from bench.core.timer import ByRound
from bench.study.crnn import NAME as CRNN
from bench.study.curve_estimates import OTHERS, SEEDS, SHALLOW, over_seeds
from bench.study.estimates import AR, ONE_PASS, error_of_strings, judge
from bench.study.family import ABSENT, GRAPH_HEADS, GRAPHS_EXACT, SHIPPED, STRATEGIES, alone, unpack
from bench.study.family_session import INT8
from bench.workloads.accuracy_tables import Comparison
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.statistics import (
    MARGIN,
    UNDECIDED,
    Replicated,
    Value,
    Verdict,
    paired_difference,
    proportion,
    replicated,
    verdicts,
)

ALONE = "alone"  # behind an encoder's name, of heads that learned so
Reader = tuple[str, str]  # encoder and strategy
READS_AS = {"ar-generate": AR, "ar-speculative": AR}  # strategies that predict what another does


@dataclass(frozen=True)
class FamilyResults:
    """Attributes:
    rows: one per encoder, seed, set and string, with what every strategy reads.
    facts: `trainings` by name, with what their int8 graphs read (`GRAPHS_EXACT`), and how many there are to be (`of`).
    times: one per encoder, restart, batch, round and strategy; empty before anything is timed.
    timed: of each encoder that was: its weights and environment.
    crnn: what CRNN reads, one row per set and string; empty where it was not trained.
    elsewhere: timed on another machine than the run that the report is of.
    """

    rows: pd.DataFrame
    facts: dict[str, Any]
    times: pd.DataFrame
    timed: dict[str, Any]
    crnn: pd.DataFrame = field(default_factory=pd.DataFrame)
    elsewhere: bool = False

    @cached_property
    def names(self) -> list[str]:
        return list(self.rows["encoder"].unique())

    @property
    def trained(self) -> list[str]:
        """Encoders trained here with all heads, the smallest first."""
        return [name for name in self.names if name not in SHIPPED and len(self.strategies(name)) > 1]

    @property
    def encoders(self) -> list[str]:
        """Those, and shipped weights."""
        return [*self.trained, *(name for name in self.names if name in SHIPPED)]

    @property
    def longest_trained(self) -> str | None:
        """Shipped weights of digits by hand, where they were read."""
        return SHIPPED[0] if SHIPPED[0] in self.names else None

    def strategies(self, encoder: str) -> list[str]:
        """Those that an encoder's heads read by."""
        return list(self._right[encoder, self.sets[0]][0])

    @property
    def sets(self) -> list[str]:
        return list(self.rows["set"].unique())

    @cached_property
    def _right(self) -> dict[tuple[str, str], dict[int, pd.DataFrame]]:
        """Of (encoder, set), by seed: which strings (rows) each strategy that there is (columns) reads right."""
        read = unpack(self.rows, self.facts.get("depends", {}).get("strategies", STRATEGIES))
        right, absent = read.eq(self.rows["text"], axis=0), read.eq(ABSENT)
        found: dict[tuple[str, str], dict[int, pd.DataFrame]] = {}
        for (encoder, name, seed), where in self.rows.groupby(["encoder", "set", "seed"], sort=False).groups.items():
            there = right.columns[~absent.loc[where].all()]
            table = right.loc[where, there].reset_index(drop=True)
            found.setdefault((str(encoder), str(name)), {})[int(str(seed))] = table
        return found

    def seeds(self, encoder: str) -> int:
        return len(self._right[encoder, self.sets[0]])

    def exact(self, encoder: str, name: str, strategy: str) -> Value:
        """Of a set: over seeds; of one training, over strings."""
        column = READS_AS.get(strategy, strategy)
        by_seed = self._right[encoder, name].values()
        return _over_trainings([(int(right[column].sum()), len(right)) for right in by_seed])

    def int8_exact(self, encoder: str, name: str, strategy: str) -> Value | None:
        """As `exact`, of graphs in int8; None where they read none."""
        trainings = [self.facts["trainings"].get(f"{encoder}-seed{seed}", {}) for seed in range(self.seeds(encoder))]
        by_seed = [about[GRAPHS_EXACT] for about in trainings if GRAPHS_EXACT in about]
        column = READS_AS.get(strategy, strategy)
        counts = [found[name] for found in by_seed if column in found.get(name, {})]
        return _over_trainings([(found[column], found["strings"]) for found in counts]) if counts else None

    def crnn_exact(self, name: str) -> Value | None:
        """Of CRNN, over strings; None where it was not trained."""
        if self.crnn.empty:
            return None
        rows = self.crnn[self.crnn["set"] == name]
        return proportion(int((rows["prediction"] == rows["text"]).sum()), len(rows))

    def gap(self, one: Reader, other: Reader, level: str) -> Replicated | None:
        """Exact match of one (encoder, strategy) minus another, of the same strings of each seed; None of fewer than
        `SEEDS`."""
        (encoder, strategy), (beside, opponent) = one, other
        rights = self._right.get((encoder, level), {}), self._right.get((beside, level), {})
        seeds = sorted(set(rights[0]) & set(rights[1]))
        if len(seeds) < SEEDS:
            return None
        pairs = [
            (rights[0][seed][strategy].to_numpy(dtype=int), rights[1][seed][opponent].to_numpy(dtype=int))
            for seed in seeds
        ]
        return replicated([(a - b).mean() for a, b in pairs], MARGIN, error_of_strings(pairs))

    @cached_property
    def _gaps(self) -> dict[tuple[str, str, str], Replicated]:
        """What is claimed, one family: `ar` minus `OTHERS` at every level, of every encoder with enough seeds; and of
        heads that learned alone."""
        pairs = {(name, other): ((name, AR), (name, other)) for name in self.trained for other in OTHERS}
        for name in self.trained:
            for other in OTHERS:
                pairs[f"{name}, {ALONE}", other] = ((alone(name, AR), AR), (alone(name, other), other))
        return {
            (encoder, level, other): gap
            for (encoder, other), readers in pairs.items()
            for level in LEVELS
            if (gap := self.gap(*readers, level)) is not None
        }

    @property
    def family(self) -> pd.DataFrame:
        return judge(self._gaps, ("encoder", "level", "other"))

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """`ar` beside one-pass heads of shipped weights at every level, over strings (McNemar, Holm): one family."""
        found = [
            (f"`{level}`, `{name}`", other, paired_difference(right[AR], right[other]))
            for name in self.names
            for level in LEVELS
            for other in OTHERS
            if name in SHIPPED and other != SHALLOW
            for right in self._right[name, level].values()
        ]
        judged = verdicts([gap for _, _, gap in found])
        return [
            Comparison(where, AR, other, gap, verdict)
            for (where, other, gap), verdict in zip(found, judged, strict=True)
        ]

    def minutes_alone(self, head: str) -> float:
        """Of a core, that a head took to learn alone on the smallest encoder: the mean over trainings."""
        encoder = alone(self.trained[0], head)
        trainings = [self.facts["trainings"].get(f"{encoder}-seed{seed}", {}) for seed in range(self.seeds(encoder))]
        return sum(float(about.get("seconds", 0)) for about in trainings) / len(trainings) / 60

    def strings_seen(self, encoder: str) -> int:
        """By its first training."""
        return int(self.facts["trainings"].get(f"{encoder}-seed0", {}).get("strings_seen") or 0)

    def leads(self, level: str) -> list[tuple[Value, Verdict]]:
        """`ar` minus one-pass heads at a level, as judged in the family, of the encoders that saw fewest strings."""
        short = {*self.trained} - {*self.longer}
        return [found for (encoder, _), found in self._judged(level).items() if encoder in short]

    @property
    def longer(self) -> list[str]:
        """Encoders that saw more strings than others."""
        fewest = min((self.strings_seen(name) for name in self.trained), default=0)
        return [name for name in self.trained if self.strings_seen(name) > fewest]

    def lead(self, encoder: str, level: str, other: str) -> float:
        """`ar` minus a one-pass head at a level, in points: the mean over trainings, or of one."""
        return 100 * (self.exact(encoder, level, AR).estimate - self.exact(encoder, level, other).estimate)

    def leads_alone(self, level: str) -> list[tuple[Value, Verdict]]:
        """As `leads`, of heads each of which learned alone."""
        return [found for (encoder, _), found in self._judged(level).items() if encoder.endswith(ALONE)]

    def exact_alone(self, level: str) -> dict[str, Value]:
        """Of the smallest encoder, by head that learned alone on it."""
        heads = [head for head in GRAPH_HEADS if alone(self.trained[0], head) in self.names] if self.trained else []
        return {head: self.exact(alone(self.trained[0], head), level, head) for head in heads}

    def _judged(self, level: str) -> dict[tuple[str, str], tuple[Value, Verdict]]:
        """By encoder and one-pass head."""
        judged = zip(self._gaps.items(), verdicts([*self._gaps.values()]), strict=True)
        return {
            (encoder, other): (gap.difference, verdict)
            for ((encoder, of, other), gap), verdict in judged
            if of == level and other != SHALLOW
        }

    def table(self) -> pd.DataFrame:
        """One row per encoder, set and strategy: exact match, and that of int8 graphs."""
        rows: list[dict[str, Any]] = []
        for encoder in self.names:
            for name in self.sets:
                for strategy in self.strategies(encoder):
                    row = {"encoder": encoder, "set": name, "strategy": strategy, "seeds": self.seeds(encoder)}
                    int8 = self.int8_exact(encoder, name, strategy)
                    row |= self.exact(encoder, name, strategy).columns("exact")
                    rows.append({**row, **(int8.columns("int8_exact") if int8 else {})})
        return pd.DataFrame(rows)

    # Times

    @property
    def main(self) -> str | None:
        """The default weights, or else the largest encoder, of those that were timed; None: none was."""
        return next((name for name in reversed(self.encoders) if self.batches(name)), None)

    @cached_property
    def _times(self) -> dict[tuple[str, int], ByRound]:
        return {
            (str(encoder), int(str(batch))): ByRound(table, ["strategy"])
            for (encoder, batch), table in self.times.groupby(["encoder", "batch"])
        }

    def batches(self, encoder: str) -> list[int]:
        return sorted(batch for name, batch in self._times if name == encoder)

    def timed_strategies(self, encoder: str) -> list[str]:
        """Eager ones in the order of the session, then those of graphs."""
        found = list(self.times.loc[self.times["encoder"] == encoder, "strategy"].unique())
        order = ["ar-generate", *STRATEGIES, "ar-speculative", CRNN]
        return sorted(found, key=lambda name: (INT8 in name, order.index(name.split(",")[0])))

    def milliseconds(self, encoder: str, batch: int, strategy: str) -> Value:
        """A string, from image to text, in batches of so many."""
        return self._times[encoder, batch].milliseconds(strategy, batch)

    def over(self, encoder: str, batch: int, strategy: str, other: str = ONE_PASS) -> Value:
        """How many times as long as another strategy takes."""
        return self._times[encoder, batch].over(strategy, other)

    def times_of_int8(self, encoder: str, batch: int, strategy: str) -> float:
        """How many times as fast a graph in int8 is."""
        return self.over(encoder, batch, strategy, f"{strategy}, {INT8}").estimate

    @property
    def time_claims(self) -> list[Claim]:
        """How many times as long as one pass strategies take, for `bench repeat`."""
        return [
            Claim(f"{encoder}, batch {batch}: `{name}` over `{ONE_PASS}`", _judged(over), over)
            for encoder, batch in self._times
            for name in self.timed_strategies(encoder)
            if name != ONE_PASS and (over := self.over(encoder, batch, name))
        ]

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


def _over_trainings(counts: Sequence[tuple[int, int]]) -> Value:
    """Share that is right, of (right, strings) of each training: over trainings; of one, over strings."""
    if len(counts) == 1:
        return proportion(*counts[0])
    return over_seeds(pd.Series([right / strings for right, strings in counts]))


def _judged(over: Value) -> str:
    return "slower" if over.low > 1 else "faster" if over.high < 1 else UNDECIDED
