"""Statistics of latency: what a subject's rounds say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.core import strategies
from bench.core.timer import ByRound
from bench.workloads.timed_models import SMALL_NATIVE, TASK_LENGTH, TimedModel
from seqocr.statistics import Value, location, slopes
from seqocr.statistics import ratio as ratio_of


@dataclass(frozen=True)
class Timed:
    """One subject's times.

    Attributes:
        by: seconds by round, of (variant, length, phase), in visits where every way takes its turn: only these can be
            compared with each other.
        more: the same, of all visits: for what compares a way with itself.
    """

    subject: TimedModel
    variants: tuple[str, ...]
    lengths: tuple[int, ...]
    by: ByRound
    more: ByRound

    def total(self, variant: str, length: int) -> Value:
        """Milliseconds from image to text, confidence included; of the encoder alone, its own."""
        if variant == "encoder":
            return self.encode(length)
        phases = ("encode", "decode", "confidence")
        return location(sum(self.by(*((variant, length, phase) for phase in phases)))).times(1e3)

    def decode(self, variant: str, length: int) -> Value:
        """Milliseconds from features to text."""
        return location(self.by((variant, length, "decode"))[0]).times(1e3)

    def encode(self, length: int) -> Value:
        return location(self.by(("encoder", length, "encode"))[0]).times(1e3)

    def over_encoder(self, variant: str, length: int) -> Value:
        """Image to text, confidence included, over the encoder alone: of the calls that decoding followed."""
        parts = self.more(*((variant, length, phase) for phase in ("encode", "decode", "confidence")))
        return ratio_of(sum(parts), parts[0])

    def flatness(self, variant: str) -> Value:
        """Decoding the longest string over the shortest."""
        long, short = self.more((variant, max(self.lengths), "decode"), (variant, min(self.lengths), "decode"))
        return ratio_of(long, short)

    def decodes(self, variant: str, over: str, length: int) -> Value:
        """Decoding alone, over that of another way."""
        return ratio_of(*self.by((variant, length, "decode"), (over, length, "decode")))

    def speedup(self, variant: str, over: str, length: int) -> Value:
        """How many times faster a variant is from image to text."""
        phases = ("encode", "decode", "confidence")
        keys = [(name, length, phase) for name in (over, variant) for phase in phases]
        seconds = self.by(*keys)
        return ratio_of(sum(seconds[:3]), sum(seconds[3:]))

    def slope(self, variant: str) -> Value:
        """Milliseconds a symbol: of decoding, and of the encoder its own where the image grows."""
        phase = "encode" if variant == "encoder" else "decode"
        seconds = self.more(*((variant, length, phase) for length in self.lengths))
        return location(slopes(self.lengths, list(zip(*seconds, strict=True)))).times(1e3)


@dataclass(frozen=True)
class Results:
    subjects: dict[str, Timed]

    @property
    def fixed(self) -> list[Timed]:
        """Those whose image does not grow."""
        return [timed for timed in self.subjects.values() if not timed.subject.grows]

    @property
    def main(self) -> Timed:
        """The subject whose numbers stand for all in words: TrOCR's size at the lines' own shape, if it was timed."""
        return self.subjects.get(SMALL_NATIVE.name) or self.fixed[-1]


def timed(subject: TimedModel, rows: pd.DataFrame) -> Timed:
    present = set(rows["variant"])
    lengths = tuple(sorted(int(n) for n in rows["length"].unique()))
    encoder = rows[rows["phase"] == "encode"].assign(variant="encoder")  # whatever was decoded after
    everything = pd.concat([rows, encoder])
    # Those that are named by their length alone; in others only heads that need one pass take turns.
    together = everything[everything["visit"].astype(str) == everything["length"].astype(str)]
    by, more = (ByRound(part, ["variant", "length", "phase"]) for part in (together, everything))
    return Timed(subject, tuple(n for n in strategies.ways() if n in present), lengths, by, more)


def fastest(timed: Timed) -> str:
    """The one-pass head that takes the least time from image to text."""
    return min(strategies.one_pass(), key=lambda head: timed.total(head, TASK_LENGTH).estimate)


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Latency, slopes, flatness and speedups, one row an estimate."""
    latency: list[dict[str, Any]] = []
    slope: list[dict[str, Any]] = []
    flatness: list[dict[str, Any]] = []
    speedup: list[dict[str, Any]] = []
    for name, t in results.subjects.items():
        for variant in (*t.variants, "encoder"):
            for n in t.lengths:
                total = t.total(variant, n)
                row = {
                    "subject": name,
                    "variant": variant,
                    "length": n,
                    "rounds": total.n,
                    **total.columns("total_ms"),
                }
                if variant != "encoder":
                    row |= t.decode(variant, n).columns("decode_ms")
                    row |= t.over_encoder(variant, n).columns("over_encoder")
                latency.append(row)
            found = t.slope(variant)
            slope.append({"subject": name, "variant": variant, "rounds": found.n, **found.columns("ms_a_symbol")})
        for variant in t.variants:
            found = t.flatness(variant)
            ends = {"short": min(t.lengths), "long": max(t.lengths), "rounds": found.n}
            flatness.append({"subject": name, "variant": variant, **ends, **found.columns("ratio")})
            for over in strategies.autoregressive():
                for n in t.lengths:
                    if variant != over:
                        found = t.speedup(variant, over, n)
                        of = {"subject": name, "length": n, "variant": variant, "over": over, "rounds": found.n}
                        speedup.append({**of, **found.columns("ratio")})
    tables = {"latency": latency, "slopes": slope, "flatness": flatness, "speedups": speedup}
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}
