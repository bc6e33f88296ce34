"""From rows to numbers: what is compared is compared within a round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.backends import EAGER, backends
from bench.core import strategies
from bench.core.timer import ByRound, counted
from bench.experiments.backends.timing import BATCH, LENGTHS, SINGLE
from bench.workloads.timed_models import SMALL_NATIVE, TASK_LENGTH, TimedModel
from seqocr.statistics import Value, location, paired_difference, proportion, quotient, ratio, slopes


@dataclass(frozen=True)
class Timed:
    """One subject's times.

    Attributes:
        by: seconds by round, of (runtime, what is timed, variant, length).
    """

    subject: TimedModel
    runtimes: tuple[str, ...]
    lengths: tuple[int, ...]
    batch: int
    by: ByRound

    def variants(self, runtime: str, what: str = SINGLE) -> list[str]:
        """The encoder and the ways to decode that were timed."""
        timed = {(name, of, variant) for name, of, variant, _ in self.by.keys}
        return [variant for variant in ("encoder", *strategies.ways()) if (runtime, what, variant) in timed]

    def seconds(self, runtime: str, variant: str, what: str = SINGLE) -> Value:
        """Of a string, or of a batch of them, at the task's length: image to text, confidence included."""
        return location(self._rounds((runtime, what, variant, TASK_LENGTH))[0])

    def rate(self, runtime: str, variant: str) -> Value:
        """Strings a second in batches."""
        return self.seconds(runtime, variant, BATCH).map(lambda seconds: self.batch / seconds)

    def speedup(self, runtime: str, variant: str, what: str = SINGLE) -> Value:
        """How many times as fast as in eager mode."""
        return ratio(*self._rounds(*((name, what, variant, TASK_LENGTH) for name in (EAGER, runtime))))

    def over(self, runtime: str, variant: str, other: str) -> Value:
        """A string read one way over one read another way, or over the encoder alone, in the same runtime."""
        return ratio(*self._rounds(*((runtime, SINGLE, name, TASK_LENGTH) for name in (variant, other))))

    def fastest(self, runtime: str) -> str:
        """The one-pass head that takes the least time."""
        here = self.variants(runtime)
        return min((w for w in strategies.one_pass() if w in here), key=lambda w: self.seconds(runtime, w).estimate)

    def slope(self, runtime: str, variant: str) -> Value:
        """Milliseconds a symbol."""
        return location(self._slopes((runtime, variant))[0]).times(1e3)

    def over_generate(self, runtime: str, variant: str) -> Value:
        """What a symbol costs, over what it costs Hugging Face's `generate` in eager mode."""
        return quotient(*self._slopes((runtime, variant), (EAGER, strategies.autoregressive()[0])))

    def _slopes(self, *which: tuple[str, str]) -> list[np.ndarray]:
        """Seconds a symbol of each (runtime, variant), by round, of the rounds that have them all."""
        found = self._rounds(*((name, LENGTHS, variant, n) for name, variant in which for n in self.lengths))
        each = np.array(found).reshape(len(which), len(self.lengths), -1)
        return [slopes(self.lengths, seconds.T) for seconds in each]

    def _rounds(self, *keys: tuple[str, str, str, int]) -> list[np.ndarray]:
        """Seconds by round, of the rounds that have every key; a key may come twice."""
        once = list(dict.fromkeys(keys))
        found = dict(zip(once, self.by(*once), strict=True))
        return [found[key] for key in keys]


@dataclass(frozen=True)
class Results:
    """Attributes:
    agreement: one row a runtime and head: strings that it reads otherwise than in eager mode, and what that changes.
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
        rows = []
        for t, runtime, variant in self._each(LENGTHS):
            found, over = t.slope(runtime, variant), t.over_generate(runtime, variant)
            of = {"subject": t.subject.name, "runtime": runtime, "variant": variant, "rounds": found.n}
            rows.append({**of, **found.columns("ms_a_symbol"), **over.columns("over_generate")})
        return pd.DataFrame(rows)

    def overhead(self) -> pd.DataFrame:
        """Image to text over the encoder alone in the same runtime, batch 1."""
        rows = []
        for t, runtime, variant in self._each(SINGLE):
            if variant != "encoder":
                found = t.over(runtime, variant, "encoder")
                of = {"subject": t.subject.name, "runtime": runtime, "variant": variant, "rounds": found.n}
                rows.append({**of, **found.columns("over_encoder")})
        return pd.DataFrame(rows)

    def speed(self) -> pd.DataFrame:
        """Milliseconds a string and a batch, and how many times as fast as in eager mode."""
        rows = []
        for what in (SINGLE, BATCH):
            for t, runtime, variant in self._each(what):
                found, faster = t.seconds(runtime, variant, what).times(1e3), t.speedup(runtime, variant, what)
                of = {"subject": t.subject.name, "runtime": runtime, "variant": variant, "rounds": found.n}
                batch = 1 if what == SINGLE else t.batch
                rows.append({**of, "batch": batch, **found.columns("ms"), **faster.columns("times_as_fast")})
        return pd.DataFrame(rows)

    def _each(self, what: str) -> Iterator[tuple[Timed, str, str]]:
        for t in self.subjects.values():
            for runtime in t.runtimes:
                for variant in t.variants(runtime, what):
                    yield t, runtime, variant


def timed(subject: TimedModel, rows: pd.DataFrame) -> Timed:
    rows = counted(rows)
    present, at_lengths = set(rows["runtime"]), rows[rows["what"] == LENGTHS]
    return Timed(
        subject,
        tuple(name for name in backends() if name in present),
        tuple(sorted(int(n) for n in at_lengths["length"].unique())),
        int(rows["batch"].max()),
        ByRound(rows, ["runtime", "what", "variant", "length"]),
    )


def agreement_table(read: pd.DataFrame | None) -> pd.DataFrame:
    """See `Results`; empty where nothing was read."""
    if read is None:
        return pd.DataFrame(columns=["runtime", "head", "strings", "disagreements"])
    wide = read.pivot(index="index", columns=["runtime", "head"], values="prediction")
    truth = read.drop_duplicates("index").set_index("index")["text"]
    rows: list[dict[str, Any]] = []
    for runtime, head in wide.columns:
        here, eager = wide[runtime, head], wide[EAGER, head]
        differ, change = int((here != eager).sum()), paired_difference(here == truth, eager == truth).difference
        row = {"runtime": runtime, "head": head, "strings": len(wide), "disagreements": differ}
        row |= {**proportion(differ, len(wide)).columns("rate"), "exact": float((here == truth).mean())}
        rows.append({**row, **change.columns("difference")})
    return pd.DataFrame(rows)
