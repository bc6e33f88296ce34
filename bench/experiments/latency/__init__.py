"""What does a head cost as the string grows? Milliseconds from image to text against length, at batch 1."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import strategies
from bench.core.experiment import Bench, Claim, Experiment, Part, Section
from bench.core.store import Store
from bench.core.timer import Rounds
from bench.experiments.latency import sections
from bench.experiments.latency.estimates import Results, tables, timed
from bench.workloads import fingerprints
from bench.workloads.timed_models import (
    LENGTHS,
    SMALL_NATIVE,
    SMALL_SQUARE,
    TIMED_MODELS,
    TINY,
    TINY_GROWING,
    TimedModel,
    bind,
    interleaved,
)
from seqocr.progress import Reporter


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    repeats: of every call in a sample.
    more: further repeats of heads that need one pass: what they take is little, and scatters.
    study: also time the strategies that nobody deploys.
    """

    subject: TimedModel
    lengths: tuple[int, ...]
    repeats: int = 1
    more: int = 0
    study: bool = False


# Rounds are spent where a claim needs them: a short call is repeated, above all that of a one-pass head; a long one
# needs few rounds; and what costs most, 384×384 pixels, is timed at the lengths that claims are about.
PRESETS = {
    "smoke": (Settings(TINY, (1, 5, 10), rounds=3), Settings(SMALL_NATIVE, (1, 5, 10), rounds=2)),
    "default": (
        Settings(TINY, LENGTHS, rounds=18, repeats=2, more=2, study=True),
        Settings(SMALL_NATIVE, LENGTHS, rounds=14, more=3),
        Settings(SMALL_SQUARE, (1, 5, 50), rounds=8, more=2),
        Settings(TINY_GROWING, (1, 5, 20, 50), rounds=6),
    ),
    "full": (
        Settings(TINY, LENGTHS, rounds=4, restarts=8, repeats=2, more=2, study=True),
        Settings(SMALL_NATIVE, LENGTHS, rounds=4, restarts=8, more=3, study=True),
        Settings(SMALL_SQUARE, (1, 5, 20, 50), rounds=3, restarts=8, more=1),
        Settings(TINY_GROWING, LENGTHS, rounds=3, restarts=8),
    ),
}


class Latency(Experiment):
    name = "latency"
    order = 10

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(f"latency-{s.subject.name}", s, s.steps) for s in PRESETS[preset]]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A sample is one length: every strategy is timed in random order, each after an encoder run that is timed too,
        as in use. `more` repeats are samples of their own: a short sample is disturbed less often."""
        settings: Settings = part.settings
        bound = bind(settings.subject, settings.lengths, bench.device)
        inputs = {length: bound[length].pixel_values(1) for length in settings.lengths}
        names = strategies.timed() if settings.study else strategies.deployed()

        samples = {str(n): (n, names, settings.repeats) for n in settings.lengths}
        if settings.more:
            samples |= {f"{n}, one pass": (n, strategies.one_pass(), settings.more) for n in settings.lengths}

        def sample(each: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            length, called, repeats = samples[each]
            for repeat in range(repeats):
                for row in interleaved(bound[length], called, inputs[length], shuffle):
                    yield {"length": length, "repeat": repeat, **row}

        bench.measure_rounds(part, list(samples), sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        names = strategies.timed() if part.settings.study else strategies.deployed()
        return fingerprints.of_timed_model(part.settings.subject, part.settings.lengths, names)

    def results(self, store: Store) -> Results | None:
        parts = self.rows(store)
        return Results({s: timed(TIMED_MODELS[s], parts[s]) for s in TIMED_MODELS if s in parts}) if parts else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return tables(results)

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        made = {"latency": sections.latency_plot, "breakdown": sections.breakdown_plot}
        return {name: partial(plot, results) for name, plot in made.items()}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        return [sections.growth(results), sections.whole(results)]

    def claims(self, results: Results) -> list[Claim]:
        return sections.claims(results)


EXPERIMENT = Latency()
