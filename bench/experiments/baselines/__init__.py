"""How much of one pass's advantage is left against the best that autoregression can do? A decoder of one layer,
`generate` with other caches and compiled, speculative decoding with either decoder, at batch 1 and 64, in processes of
their own: the unit of replication is the restart."""

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import torch

from bench.core.experiment import DETAILS, Bench, Claim, Experiment, Part, Section
from bench.core.formatting import estimates, ratio, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, Rounds, clock_each
from bench.experiments.baselines import decoders
from bench.experiments.baselines.decoders import STRATEGIES
from bench.study.curve_estimates import SHALLOW
from bench.study.estimates import ONE_PASS
from bench.workloads import fingerprints
from bench.workloads.timed_models import SMALL_NATIVE, TASK_LENGTH, TIMED_MODELS, TINY, TimedModel
from seqocr.progress import Reporter
from seqocr.statistics import UNDECIDED, Value


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    repeats: of every strategy at batch 1, in a round.
    """

    subject: TimedModel
    batches: tuple[int, ...] = (1, 64)
    repeats: int = 3


PRESETS = {
    "smoke": (),
    "default": (),
    "full": (Settings(TINY, rounds=4, restarts=8), Settings(SMALL_NATIVE, rounds=3, restarts=8)),
}


@dataclass(frozen=True)
class Results:
    """Attributes:
    rows: by name of the subject, one per restart, batch, round and strategy.
    elsewhere: they are of another machine than the rest of the run.
    """

    rows: dict[str, pd.DataFrame]
    elsewhere: bool = False

    @property
    def subjects(self) -> list[TimedModel]:
        return [TIMED_MODELS[name] for name in self.rows]

    def missing(self, names: Collection[str]) -> set[str]:
        """Of these strategies, those that were not timed, such as those of installed heads."""
        return {name for name in names if any(name not in set(rows["strategy"]) for rows in self.rows.values())}

    def batches(self, subject: str) -> list[int]:
        return sorted(int(batch) for batch in self.rows[subject]["batch"].unique())

    @cached_property
    def _times(self) -> dict[tuple[str, int], ByRound]:
        return {
            (subject, int(batch)): ByRound(of_batch, ["strategy"])
            for subject, table in self.rows.items()
            for batch, of_batch in table.groupby("batch")
        }

    def milliseconds(self, subject: str, batch: int, strategy: str) -> Value:
        """A string, in batches of so many."""
        return self._times[subject, batch].milliseconds(strategy, batch)

    def over(self, subject: str, batch: int, strategy: str, other: str = ONE_PASS) -> Value:
        """How many times as long as another strategy takes."""
        return self._times[subject, batch].over(strategy, other)


class Baselines(Experiment):
    name = "baselines"
    page, order = DETAILS, 16

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(f"baselines-{s.subject.name}", s, s.steps) for s in PRESETS[preset]]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A sample is a batch size."""
        settings: Settings = part.settings
        recognizer = decoders.prepared(settings.subject)
        works = {batch: decoders.works(recognizer, batch) for batch in settings.batches}

        def sample(batch: int, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            with torch.inference_mode():
                for _ in range(settings.repeats if batch == 1 else 1):
                    for row in clock_each(works[batch], shuffle):
                        yield {"batch": batch, **row}

        bench.measure_rounds(part, settings.batches, sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        """Of all strategies but the compiled one, which runs what `ar-generate` does, and `ctc`: how long a text it
        reads from noise, and so what its confidence takes, is the processor's own."""
        recognizer = decoders.prepared(part.settings.subject)
        decode = decoders.decoders(recognizer)
        del decode[decoders.COMPILED], decode["ctc"]
        return fingerprints.of_decoders(recognizer.encoder, decoders.pixels(recognizer, 1), decode, TASK_LENGTH)

    def results(self, store: Store) -> Results | None:
        if not (rows := self.rows(store)):
            return None
        elsewhere = any(store.is_of_another_machine(f"{self.name}-{name}") for name in rows)
        return Results({name: rows[name] for name in TIMED_MODELS if name in rows}, elsewhere)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = [
            {
                "model": subject.name,
                "batch": batch,
                "strategy": name,
                "restarts": results.milliseconds(subject.name, batch, name).n,
                "ms_a_string": results.milliseconds(subject.name, batch, name),
                "over_one_pass": results.over(subject.name, batch, name),
            }
            for subject in results.subjects
            for batch in results.batches(subject.name)
            for name in STRATEGIES
        ]
        return {"baselines": estimates(rows)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        table = pd.DataFrame(
            {
                "strategy": f"`{name}`",
                **{
                    f"{subject.label}, batch {batch}: {what}": shown
                    for subject in results.subjects
                    for batch in results.batches(subject.name)
                    for what, shown in (
                        ("ms a string", time(results.milliseconds(subject.name, batch, name))),
                        ("over one pass", ratio(results.over(subject.name, batch, name))),
                    )
                },
            }
            for name in STRATEGIES
        )
        shallow = {s.label: results.over(s.name, 1, f"{SHALLOW}-speculative") for s in results.subjects}
        restarts = min(rows["restart"].nunique() for rows in results.rows.values())
        text = prose("baselines", shallow=shallow, restarts=restarts, length=TASK_LENGTH)
        return [Section("Fair baselines", text, None, table)]

    def claims(self, results: Results) -> list[Claim]:
        found = []
        for subject in results.subjects:
            for name in (each for each in STRATEGIES if each != ONE_PASS):
                value = results.over(subject.name, 1, name)
                said = "slower" if value.low > 1 else "faster" if value.high < 1 else UNDECIDED
                found.append(Claim(f"{subject.label}: `{name}` over one pass, restarts", said, value))
        return found


EXPERIMENT = Baselines()
