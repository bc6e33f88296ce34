"""What does a head cost as the string grows? Milliseconds from image to text against length, at batch 1."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from bench import plots, ways
from bench.experiment import Bench, Claim, Experiment, Part, Section, stored
from bench.formatting import ratio, time
from bench.palette import look
from bench.store import Store
from bench.subjects import (
    CODE,
    LENGTHS,
    SMALL_NATIVE,
    SMALL_SQUARE,
    SUBJECTS,
    TASK_LENGTH,
    TINY,
    TINY_GROWING,
    Bound,
    Subject,
    bind,
)
from bench.timer import ByRound, Rounds, clock, effort
from seqocr.progress import Reporter
from seqocr.statistics import Value, location, slopes
from seqocr.statistics import ratio as ratio_of

FLAT = 1.25  # decoding the longest string over the shortest, below which a head's cost does not grow


@dataclass(frozen=True)
class Settings:
    """Attributes:
    repeats: of every call in a visit.
    study: also time the ways to decode that nobody deploys.
    """

    subject: Subject
    lengths: tuple[int, ...]
    rounds: int
    repeats: int = 1
    warmup: int = 1
    study: bool = False


# Rounds are spent where a claim needs them: a short call is repeated, a long one needs few rounds, and what costs most,
# 384×384 pixels, is timed at the lengths that claims are about.
PRESETS = {
    "smoke": (Settings(TINY, (1, 5, 10), 3), Settings(SMALL_NATIVE, (1, 5), 2)),
    "default": (
        Settings(TINY, LENGTHS, 16, repeats=2, study=True),
        Settings(SMALL_NATIVE, LENGTHS, 10),
        Settings(SMALL_SQUARE, (1, 5, 50), 6),
        Settings(TINY_GROWING, (1, 5, 20, 50), 6),
    ),
    "full": (
        Settings(TINY, LENGTHS, 24, repeats=3, warmup=2, study=True),
        Settings(SMALL_NATIVE, LENGTHS, 16, warmup=2, study=True),
        Settings(SMALL_SQUARE, (1, 5, 20, 50), 10, study=True),
        Settings(TINY_GROWING, LENGTHS, 10),
    ),
}


@dataclass(frozen=True)
class Timed:
    """One subject's times.

    Attributes:
        by: seconds by round, of (variant, length, phase).
        effort: see `bench.timer.effort`.
    """

    subject: Subject
    variants: tuple[str, ...]
    lengths: tuple[int, ...]
    by: ByRound
    effort: dict[str, int]

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
        """Image to text, confidence included, over the encoder alone: of the very call that decoding followed."""
        parts = self.by(*((variant, length, phase) for phase in ("encode", "decode", "confidence")))
        return ratio_of(sum(parts), parts[0])

    def flatness(self, variant: str) -> Value:
        """Decoding the longest string over the shortest."""
        long, short = self.by((variant, max(self.lengths), "decode"), (variant, min(self.lengths), "decode"))
        return ratio_of(long, short)

    def speedup(self, variant: str, over: str, length: int) -> Value:
        """How many times faster a variant is from image to text."""
        phases = ("encode", "decode", "confidence")
        keys = [(name, length, phase) for name in (over, variant) for phase in phases]
        seconds = self.by(*keys)
        return ratio_of(sum(seconds[:3]), sum(seconds[3:]))

    def slope(self, variant: str) -> Value:
        """Milliseconds a symbol: of decoding, and of the encoder its own where the image grows."""
        phase = "encode" if variant == "encoder" else "decode"
        seconds = self.by(*((variant, length, phase) for length in self.lengths))
        return location(slopes(self.lengths, list(zip(*seconds, strict=True)))).times(1e3)


@dataclass(frozen=True)
class Results:
    subjects: dict[str, Timed]

    @property
    def fixed(self) -> list[Timed]:
        """Those whose image does not grow."""
        return [timed for timed in self.subjects.values() if not timed.subject.grows]

    def effort(self) -> dict[str, int]:
        return {
            name: sum(timed.effort[name] for timed in self.subjects.values())
            for name in ("visits", "again", "disturbed")
        }


class Latency(Experiment):
    name = "latency"
    order = 10
    code = (*CODE, "bench.timer")

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(f"latency-{s.subject.name}", s, s.rounds + s.warmup) for s in PRESETS[preset]]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A visit is one length. There, every way to decode is timed in random order, each after an encoder run that is
        timed too, as in use; drift of the machine hits all alike, and ratios within a round are what is compared."""
        settings: Settings = part.settings
        bound = bind(settings.subject, settings.lengths, bench.device)
        inputs = {length: bound[length].pixel_values(1) for length in settings.lengths}
        names = ways.timed(deployed=not settings.study)

        def visit(length: int, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            for repeat in range(settings.repeats):
                for row in in_turn(bound[length], names, inputs[length], shuffle):
                    yield {"length": length, "repeat": repeat, **row}

        rounds = Rounds(bench.store, part.name, settings.rounds, settings.warmup)
        rounds.measure(settings.lengths, visit, reporter, part.name)

    def results(self, store: Store) -> Results | None:
        parts = {name.removeprefix("latency-"): store.read(name) for name in stored(store, self.name)}
        return Results({s: _timed(SUBJECTS[s], parts[s]) for s in SUBJECTS if s in parts}) if parts else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
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
                for over in ways.autoregressive():
                    for n in t.lengths:
                        if variant != over:
                            found = t.speedup(variant, over, n)
                            of = {"subject": name, "length": n, "variant": variant, "over": over, "rounds": found.n}
                            speedup.append({**of, **found.columns("ratio")})
        tables = {"latency": latency, "slopes": slope, "flatness": flatness, "speedups": speedup}
        return {name: pd.DataFrame(rows) for name, rows in tables.items()}

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"latency": partial(latency_plot, results), "breakdown": partial(breakdown_plot, results)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        return [_growth(results), _whole(results)]

    def claims(self, results: Results) -> list[Claim]:
        found = []
        for t in results.fixed:
            label, (generate, own) = t.subject.label, ways.autoregressive()[:2]
            for head in ways.one_pass():
                flat = t.flatness(head)
                found.append(Claim(f"{label}: `{head}`, longest over shortest", _flat(flat), flat))
                whole = t.over_encoder(head, TASK_LENGTH)
                said = _over(whole, 1.25, "large", "small")
                found.append(Claim(f"{label}: `{head}`, whole over encoder", said, whole))
            best = fastest(t)
            for over in (generate, own):
                value = t.speedup(best, over, TASK_LENGTH)
                said = _over(value, 1, "faster", "slower")
                found.append(Claim(f"{label}: one pass over `{over}`", said, value))
            slope = t.slope(own)
            found.append(
                Claim(f"{label}: `{own}` grows with n", "grows" if slope.low > 0 else "not seen", slope, ratio=False)
            )
        return found


EXPERIMENT = Latency()


def in_turn(
    bound: Bound, names: tuple[str, ...], pixel_values: torch.Tensor, shuffle: random.Random
) -> Iterator[dict[str, Any]]:
    """Every way to decode, image to text, in random order; the confidence is asked for once the text is there."""
    encoder, variants = bound.recognizer.encoder, bound.variants()
    with torch.inference_mode():
        for name in shuffle.sample(names, len(names)):
            features, sample = clock(partial(encoder, pixel_values), bound.device)
            yield {"variant": name, "phase": "encode", **sample}
            decoded, sample = clock(partial(variants[name], features, length=bound.length), bound.device)
            yield {"variant": name, "phase": "decode", "passes": decoded.passes, **sample}
            _, sample = clock(lambda decoded=decoded: decoded.confidences, bound.device)  # type: ignore[misc]
            yield {"variant": name, "phase": "confidence", **sample}


def _timed(subject: Subject, rows: pd.DataFrame) -> Timed:
    present = set(rows["variant"])
    lengths = tuple(sorted(int(n) for n in rows["length"].unique()))
    encoder = rows[rows["phase"] == "encode"].assign(variant="encoder")  # whatever was decoded after
    by = ByRound(pd.concat([rows, encoder]), ["variant", "length", "phase"])
    return Timed(subject, tuple(n for n in ways.ways() if n in present), lengths, by, effort(rows))


def fastest(timed: Timed) -> str:
    """The one-pass head that takes the least time from image to text."""
    return min(ways.one_pass(), key=lambda head: timed.total(head, TASK_LENGTH).estimate)


def _flat(value: Value) -> str:
    return "flat" if value.estimate < FLAT else "grows"


def _over(value: Value, limit: float, above: str, below: str) -> str:
    return above if value.estimate > limit else below


def _growth(results: Results) -> Section:
    """How cost grows with length."""
    rows, worst = [], 1.0
    for t in results.fixed:
        for variant in ways.deployed():
            flat = t.flatness(variant)
            if variant in ways.one_pass():
                worst = max(worst, flat.estimate)
            rows.append(
                {
                    "model": t.subject.label,
                    "way to decode": f"`{variant}`",
                    "ms a symbol": time(t.slope(variant)),
                    f"n = {max(t.lengths)} over n = {min(t.lengths)}": ratio(flat),
                }
            )
    text = (
        "A way that decodes token by token pays a decoder pass a symbol. A one-pass head does the same work whatever "
        f"the text: decoding the longest string takes it {worst:.2f} times as long as the shortest, at most. "
        "The table is of decoding alone; the encoder comes on top, for every head alike."
    )
    for t in results.subjects.values():
        if t.subject.grows:
            text += (
                f" Where the image grows with the string ({t.subject.label}), no head is O(1): the encoder alone then "
                f"takes {time(t.slope('encoder'), ' ms')} a symbol."
            )
    return Section("Cost against length", text, "latency", pd.DataFrame(rows))


def _whole(results: Results) -> Section:
    """What dropping autoregression saves of the whole."""
    rows = []
    for t in results.fixed:
        head = fastest(t)
        rows.append(
            {
                "model": t.subject.label,
                "encoder, ms": time(t.encode(TASK_LENGTH)),
                **{
                    f"times as fast as `{over}`": ratio(t.speedup(head, over, TASK_LENGTH))
                    for over in ways.autoregressive()
                },
                **{f"`{name}` over encoder": ratio(t.over_encoder(name, TASK_LENGTH)) for name in ways.one_pass()},
            }
        )
    text = (
        f"From image to text, n = {TASK_LENGTH}, batch 1, confidence included; the faster one-pass head. The encoder "
        "is the floor for every head: the larger the image, the less there is to save by decoding at once."
    )
    found = results.subjects
    if {SMALL_SQUARE.name, SMALL_NATIVE.name} <= set(found):
        large, small = found[SMALL_SQUARE.name], found[SMALL_NATIVE.name]
        start = large.total(ways.autoregressive()[0], TASK_LENGTH).estimate
        head = start / large.total(fastest(large), TASK_LENGTH).estimate
        image = start / small.total(ways.autoregressive()[0], TASK_LENGTH).estimate
        both = start / small.total(fastest(small), TASK_LENGTH).estimate
        text += (
            f" From `{ways.autoregressive()[0]}` at 384×384, a one-pass head alone is {head:.2f} times as fast, a "
            f"32×160 image alone {image:.1f} times, both together {both:.1f} times."
        )
    return Section("Where the time goes", text, "breakdown", pd.DataFrame(rows))


def latency_plot(results: Results, only: int | None = None) -> Figure:
    """Milliseconds a string against its length, one panel a subject, with bands of 95 % confidence."""
    subjects = list(results.subjects.values())
    figure, axes = plots.panels(len(subjects), 4.6, 3.3)
    for axis, t in zip(axes, subjects, strict=True):
        for variant in (*t.variants, "encoder"):
            plots.curve(axis, variant, t.lengths, [t.total(variant, n) for n in t.lengths])
        # Ways for study may leave the frame, so that the others stay readable.
        axis.set_ylim(0, 1.12 * max(t.total(v, max(t.lengths)).estimate for v in ways.deployed()))
        axis.set_title(t.subject.label, fontsize=10)
        # 1 and 2 would touch on a long axis.
        axis.set_xticks(t.lengths if max(t.lengths) <= 10 else [n for n in t.lengths if n != 2])
        axis.set_xlabel("symbols written, n")
        axis.set_ylabel("image to text, ms")
    figure.suptitle("Latency against length, batch 1 (95 % CI)", fontsize=11)
    present = {v for t in subjects for v in t.variants}
    plots.legend(figure, [*(v for v in ways.ways() if v in present), "encoder"])
    return figure


def breakdown_plot(results: Results) -> Figure:
    """Encoder and decoder milliseconds of each variant, stacked, at the task's length and at the longest."""
    parts = [(t, n) for t in results.fixed for n in sorted({TASK_LENGTH, max(t.lengths)})]
    figure, axes = plots.panels(len(parts), 4.6, 2.1)
    for axis, (t, n) in zip(axes, parts, strict=True):
        shown = list(ways.deployed())[::-1]
        encode = t.encode(n).estimate
        decode = [t.decode(v, n).estimate for v in shown]
        axis.barh(shown, [encode] * len(shown), color="#BBBBBB")
        axis.barh(shown, decode, left=encode, color=[look(v).colour for v in shown])
        for y, ms in enumerate(decode):
            axis.text(encode + ms, y, f" {ms / (encode + ms):.0%}", va="center", fontsize=8)
        axis.set_xlim(0, (encode + max(decode)) * 1.14)
        axis.grid(axis="y", visible=False)
        axis.set_title(f"{t.subject.label}, n = {n}", fontsize=10)
        axis.set_xlabel("ms")
    figure.suptitle("Where the time goes: encoder (grey) and decoder (colour, with its share)", fontsize=11)
    return figure
