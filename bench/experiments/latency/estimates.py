"""Statistics of latency: what a subject's rounds say."""

from dataclasses import dataclass

import pandas as pd

from bench.core import strategies
from bench.core.formatting import estimates
from bench.core.timer import ByRound
from bench.workloads.timed_models import SMALL_NATIVE, TASK_LENGTH, TimedModel
from seqocr.statistics import Value, location
from seqocr.statistics import ratio as ratio_of


@dataclass(frozen=True)
class Timed:
    """One subject's times.

    Attributes:
        by: seconds by round, of (strategy, length, phase), in samples that time every strategy: only these can be
            compared.
        more: the same, of all samples: for what compares a strategy with itself.
    """

    subject: TimedModel
    strategies: tuple[str, ...]
    lengths: tuple[int, ...]
    by: ByRound
    more: ByRound

    def total(self, strategy: str, length: int) -> Value:
        """Milliseconds from image to text, confidence included; of the encoder alone, its own."""
        if strategy == "encoder":
            return self.encode(length)
        return location(sum(self.by(*_phases(strategy, length)))).times(1e3)

    def decode(self, strategy: str, length: int) -> Value:
        """Milliseconds from features to text."""
        return self.by.milliseconds((strategy, length, "decode"))

    def encode(self, length: int) -> Value:
        return self.by.milliseconds(("encoder", length, "encode"))

    def over_encoder(self, strategy: str, length: int) -> Value:
        """Image to text, confidence included, over the encoder alone: of the calls that decoding followed."""
        parts = self.more(*_phases(strategy, length))
        return ratio_of(sum(parts), parts[0])

    def flatness(self, strategy: str) -> Value:
        """Decoding the longest string over the shortest."""
        return self.more.over((strategy, max(self.lengths), "decode"), (strategy, min(self.lengths), "decode"))

    def speedup(self, strategy: str, over: str, length: int) -> Value:
        """How many times faster a strategy is from image to text."""
        seconds = self.by(*_phases(over, length), *_phases(strategy, length))
        return ratio_of(sum(seconds[:3]), sum(seconds[3:]))

    def slope(self, strategy: str) -> Value:
        """Milliseconds a symbol: of decoding, and of the encoder its own where the image grows."""
        phase = "encode" if strategy == "encoder" else "decode"
        keys = [(strategy, length, phase) for length in self.lengths]
        return location(self.more.slopes(self.lengths, keys)[0]).times(1e3)


def _phases(strategy: str, length: int) -> list[tuple[str, int, str]]:
    return [(strategy, length, phase) for phase in ("encode", "decode", "confidence")]


@dataclass(frozen=True)
class Results:
    subjects: dict[str, Timed]

    @property
    def restarts(self) -> int:
        """Processes that timed the main subject, over which intervals are; 1: they are over its rounds."""
        main = self.main
        return main.encode(min(main.lengths)).n if main.by.units == "restarts" else 1

    @property
    def fixed(self) -> list[Timed]:
        """Those whose image does not grow."""
        return [timed for timed in self.subjects.values() if not timed.subject.grows]

    @property
    def main(self) -> Timed:
        """The subject whose numbers stand for all in words: TrOCR's size at the lines' own shape, if it was timed."""
        return self.subjects.get(SMALL_NATIVE.name) or self.fixed[-1]


def timed(subject: TimedModel, rows: pd.DataFrame) -> Timed:
    present = set(rows["strategy"])
    lengths = tuple(sorted(rows["length"].unique().tolist()))
    encoder = rows[rows["phase"] == "encode"].assign(strategy="encoder")  # whatever was decoded after
    everything = pd.concat([rows, encoder])
    # Those that are named by their length alone; in others only heads that need one pass take turns.
    together = everything[everything["sample"].astype(str) == everything["length"].astype(str)]
    by, more = (ByRound(part, ["strategy", "length", "phase"]) for part in (together, everything))
    return Timed(subject, tuple(n for n in strategies.by_name() if n in present), lengths, by, more)


def fastest(timed: Timed) -> str:
    """The one-pass head that takes the least time from image to text."""
    return min(strategies.one_pass(), key=lambda head: timed.total(head, TASK_LENGTH).estimate)


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Latency, slopes, flatness and speedups, one row an estimate."""
    latency, slope, flatness, speedup = [], [], [], []
    for name, t in results.subjects.items():
        unit = t.by.units
        for strategy in (*t.strategies, "encoder"):
            of = {"subject": name, "strategy": strategy}
            for n in t.lengths:
                total = t.total(strategy, n)
                row = {**of, "length": n, unit: total.n, "total_ms": total}
                if strategy != "encoder":
                    row |= {"decode_ms": t.decode(strategy, n), "over_encoder": t.over_encoder(strategy, n)}
                latency.append(row)
            slope.append({**of, unit: (found := t.slope(strategy)).n, "ms_a_symbol": found})
            if strategy == "encoder":
                continue
            ends = {"short": min(t.lengths), "long": max(t.lengths)}
            flatness.append({**of, **ends, unit: (found := t.flatness(strategy)).n, "ratio": found})
            for over in strategies.autoregressive():
                for n in t.lengths if strategy != over else ():
                    found = t.speedup(strategy, over, n)
                    of_two = {"subject": name, "length": n, "strategy": strategy, "over": over}
                    speedup.append({**of_two, unit: found.n, "ratio": found})
    made = {"latency": latency, "slopes": slope, "flatness": flatness, "speedups": speedup}
    return {name: estimates(rows) for name, rows in made.items()}
