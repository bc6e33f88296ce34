"""From rows to numbers: what is compared is compared within a round."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.backends import EAGER, backends
from bench.core import strategies
from bench.core.formatting import estimates
from bench.core.timer import ByRound, counted
from bench.experiments.backends.timing import BATCH, LENGTHS, SINGLE
from bench.workloads.timed_models import SMALL_NATIVE, TASK_LENGTH, TimedModel
from seqocr.statistics import Value, location, paired_difference, proportion, quotient


@dataclass(frozen=True)
class Timed:
    """One subject's times.

    Attributes:
        by: seconds by round, of (runtime, what is timed, strategy, length).
    """

    subject: TimedModel
    runtimes: tuple[str, ...]
    lengths: tuple[int, ...]
    batch: int
    by: ByRound

    def strategies(self, runtime: str, what: str = SINGLE) -> list[str]:
        """The encoder and the strategies that were timed."""
        timed = {key[:3] for key in self.by.keys}
        return [name for name in ("encoder", *strategies.by_name()) if (runtime, what, name) in timed]

    def seconds(self, runtime: str, strategy: str, what: str = SINGLE) -> Value:
        """Of a string, or of a batch of them, at the task's length: image to text, confidence included."""
        return location(self.by((runtime, what, strategy, TASK_LENGTH))[0])

    def rate(self, runtime: str, strategy: str) -> Value:
        """Strings a second in batches."""
        return self.seconds(runtime, strategy, BATCH).map(lambda seconds: self.batch / seconds)

    def speedup(self, runtime: str, strategy: str, what: str = SINGLE) -> Value:
        """How many times as fast as in eager mode."""
        return self.by.over((EAGER, what, strategy, TASK_LENGTH), (runtime, what, strategy, TASK_LENGTH))

    def over(self, runtime: str, strategy: str, other: str) -> Value:
        """A string with one strategy over one with another, or over the encoder alone, in the same runtime."""
        return self.by.over((runtime, SINGLE, strategy, TASK_LENGTH), (runtime, SINGLE, other, TASK_LENGTH))

    def fastest(self, runtime: str) -> str:
        """The one-pass head that takes the least time."""
        here = self.strategies(runtime)
        return min((w for w in strategies.one_pass() if w in here), key=lambda w: self.seconds(runtime, w).estimate)

    def slope(self, runtime: str, strategy: str) -> Value:
        """Milliseconds a symbol."""
        return location(self._slopes((runtime, strategy))[0]).times(1e3)

    def over_generate(self, runtime: str, strategy: str) -> Value:
        """What a symbol costs, over what it costs Hugging Face's `generate` in eager mode."""
        return quotient(*self._slopes((runtime, strategy), (EAGER, strategies.autoregressive()[0])))

    def _slopes(self, *which: tuple[str, str]) -> list[np.ndarray]:
        """Seconds per symbol of each (runtime, strategy), by round."""
        keys = ([(name, LENGTHS, strategy, n) for n in self.lengths] for name, strategy in which)
        return self.by.slopes(self.lengths, *keys)


@dataclass(frozen=True)
class Results:
    """Attributes:
    agreement: one row per runtime and head: strings that it reads otherwise than in eager mode, and what that changes.
    not_run: why, by runtime.
    """

    subjects: dict[str, Timed]
    agreement: pd.DataFrame
    not_run: dict[str, str]

    @property
    def main(self) -> Timed:
        """The one in the report's table."""
        return self.subjects.get(SMALL_NATIVE.name) or list(self.subjects.values())[-1]

    def slopes(self) -> pd.DataFrame:
        """What a symbol costs every autoregressive head, alone and over eager `generate`."""
        return estimates(
            {
                **{**of, t.by.units: (found := t.slope(*args)).n},
                **{"ms_a_symbol": found, "over_generate": t.over_generate(*args)},
            }
            for t, of, args in self._each(LENGTHS)
        )

    def overhead(self) -> pd.DataFrame:
        """Image to text over the encoder alone in the same runtime, batch 1."""
        return estimates(
            {**of, t.by.units: (found := t.over(*args, "encoder")).n, "over_encoder": found}
            for t, of, args in self._each(SINGLE)
            if of["strategy"] != "encoder"
        )

    def speed(self) -> pd.DataFrame:
        """Milliseconds a string and a batch, and how many times as fast as in eager mode."""
        rows = []
        for what in (SINGLE, BATCH):
            for t, of, args in self._each(what):
                found = t.seconds(*args, what).times(1e3)
                row = {**of, t.by.units: found.n, "batch": 1 if what == SINGLE else t.batch, "ms": found}
                rows.append({**row, "times_as_fast": t.speedup(*args, what)})
        return estimates(rows)

    def _each(self, what: str) -> Iterator[tuple[Timed, dict[str, Any], tuple[str, str]]]:
        for t in self.subjects.values():
            for runtime in t.runtimes:
                for strategy in t.strategies(runtime, what):
                    of = {"subject": t.subject.name, "runtime": runtime, "strategy": strategy}
                    yield t, of, (runtime, strategy)


def timed(subject: TimedModel, rows: pd.DataFrame) -> Timed:
    rows = counted(rows)
    present, at_lengths = set(rows["runtime"]), rows[rows["what"] == LENGTHS]
    return Timed(
        subject,
        tuple(name for name in backends() if name in present),
        tuple(sorted(at_lengths["length"].unique().tolist())),
        int(rows["batch"].max()),
        ByRound(rows, ["runtime", "what", "strategy", "length"]),
    )


def agreement_table(read: pd.DataFrame | None) -> pd.DataFrame:
    """See `Results`; empty where nothing was read."""
    if read is None:
        return pd.DataFrame(columns=["runtime", "head", "strings", "disagreements"])
    wide = read.pivot(index="index", columns=["runtime", "head"], values="prediction")
    truth = read.drop_duplicates("index").set_index("index")["text"]
    return estimates(
        {
            "runtime": runtime,
            "head": head,
            "strings": len(wide),
            "disagreements": (differ := int((here != wide[EAGER, head]).sum())),
            "rate": proportion(differ, len(wide)),
            "exact": float((here == truth).mean()),
            "difference": paired_difference(here == truth, wide[EAGER, head] == truth).difference,
        }
        for (runtime, head), here in wide.items()
    )
