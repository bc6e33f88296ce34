"""How many strings a second does a head read in batches?"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section, stored
from bench.core.formatting import estimates, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, counted, measure_rounds
from bench.workloads import fingerprints
from bench.workloads.timed_models import (
    SMALL_NATIVE,
    SMALL_SQUARE,
    TASK_LENGTH,
    TIMED_MODELS,
    TINY,
    TimedModel,
    bind,
    interleaved,
)
from seqocr.progress import Reporter
from seqocr.statistics import Value, location


@dataclass(frozen=True)
class Settings:
    subject: TimedModel
    batches: tuple[int, ...]
    rounds: int
    warmup: int = 1


PRESETS = {
    "smoke": (Settings(TINY, (1, 8), 2),),
    "default": (Settings(TINY, (1, 8, 64), 8), Settings(SMALL_NATIVE, (1, 8), 8)),
    "full": (
        Settings(TINY, (1, 8, 64), 10),
        Settings(SMALL_NATIVE, (1, 8, 64), 8),
        Settings(SMALL_SQUARE, (1, 8), 6),
    ),
}


@dataclass(frozen=True)
class Results:
    """Attributes:
    rates: strings a second, by (subject, strategy or "encoder", batch).
    """

    rates: dict[tuple[str, str, int], Value]

    @property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(subject for subject, _, _ in self.rates))

    def of(self, subject: str, strategy: str) -> dict[int, Value]:
        return {batch: value for (s, name, batch), value in self.rates.items() if (s, name) == (subject, strategy)}


class Throughput(Experiment):
    name = "throughput"
    page, order = DEPLOYMENT, 50

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(f"throughput-{s.subject.name}", s, s.rounds + s.warmup) for s in PRESETS[preset]]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        settings: Settings = part.settings
        bound = bind(settings.subject, (TASK_LENGTH,), bench.device)[TASK_LENGTH]
        inputs = {batch: bound.pixel_values(batch) for batch in settings.batches}

        def sample(batch: int, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            for row in interleaved(bound, strategies.deployed(), inputs[batch], shuffle):
                yield {"batch": batch, **row}

        measure_rounds(bench.store, part.name, settings.rounds, settings.warmup, settings.batches, sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        names = strategies.deployed()
        return fingerprints.of_timed_model(part.settings.subject, (TASK_LENGTH,), names, batch=2)

    def results(self, store: Store) -> Results | None:
        parts = {name.removeprefix("throughput-"): store.read(name) for name in stored(store, self.name)}
        rates: dict[tuple[str, str, int], Value] = {}
        for subject in (name for name in TIMED_MODELS if name in parts):
            rows = parts[subject]
            encoder = rows[rows["phase"] == "encode"].assign(strategy="encoder")
            by = ByRound(pd.concat([rows, encoder]), ["strategy", "batch", "phase"])
            for batch in sorted(int(b) for b in counted(rows)["batch"].unique()):
                for strategy in (*strategies.deployed(), "encoder"):
                    phases = ("encode",) if strategy == "encoder" else ("encode", "decode", "confidence")
                    seconds = location(sum(by(*((strategy, batch, phase) for phase in phases))))
                    rates[subject, strategy, batch] = seconds.map(partial(_rate, batch))
        return Results(rates) if rates else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = [
            {"subject": s, "strategy": name, "batch": batch, "rounds": value.n, "strings_per_second": value}
            for (s, name, batch), value in results.rates.items()
        ]
        return {"throughput": estimates(rows)}

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"throughput": partial(throughput_plot, results)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        table = pd.DataFrame(
            {
                "strategy": f"`{strategy}`",
                **{
                    f"{TIMED_MODELS[subject].label}, batch {size}": time(rates[size])
                    for subject in results.subjects
                    for rates in [results.of(subject, strategy)]
                    for size in (1, max(rates))
                },
            }
            for strategy in strategies.deployed()
        )
        kinds = (strategies.one_pass(), strategies.autoregressive())
        gains = []
        for subject in results.subjects:
            batch = max(results.of(subject, "encoder"))
            fast, slow = (max(results.of(subject, name)[batch].estimate for name in kind) for kind in kinds)
            gains.append(fast / slow)
        text = prose("throughput", length=TASK_LENGTH, least=min(gains), most=max(gains))
        return [Section("Throughput", text, "throughput", table)]


EXPERIMENT = Throughput()


def _rate(strings: int, seconds: float) -> float:
    return strings / seconds


def throughput_plot(results: Results) -> Figure:
    """Strings a second against batch size."""
    figure, axes = plotting.panels(len(results.subjects), 3.6, 3.3, columns=3)
    shown = (*strategies.deployed(), "encoder")
    for axis, subject in zip(axes, results.subjects, strict=True):
        for strategy in shown:
            rates = results.of(subject, strategy)
            plotting.curve(axis, strategy, list(rates), list(rates.values()))
        axis.set_xscale("log")
        axis.set_yscale("log")
        plotting.at_points(axis, list(results.of(subject, "encoder")))
        plotting.plain_log_axis(axis, "y")
        axis.set_xlabel("batch size")
        axis.set_title(TIMED_MODELS[subject].label, fontsize=10)
    axes[0].set_ylabel("strings per second")
    figure.suptitle(f"Throughput, strings of {TASK_LENGTH} (95 % CI)", fontsize=11)
    plotting.legend(figure, shown)
    return figure
