"""How many strings a second does a head read in batches?"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import truediv
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.formatting import estimates, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, Rounds, counted
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
class Settings(Rounds):
    subject: TimedModel
    batches: tuple[int, ...]


PRESETS = {
    "smoke": (Settings(TINY, (1, 8), rounds=2),),
    "default": (Settings(TINY, (1, 8, 64), rounds=8), Settings(SMALL_NATIVE, (1, 8), rounds=8)),
    "full": (
        Settings(TINY, (1, 8, 64), rounds=4, restarts=8),
        Settings(SMALL_NATIVE, (1, 8, 64), rounds=4, restarts=8),
        Settings(SMALL_SQUARE, (1, 8), rounds=2, restarts=8),
    ),
}


@dataclass(frozen=True)
class Results:
    """Attributes:
    rates: strings a second, by (subject, strategy or "encoder", batch).
    units: what intervals are over, restarts or rounds.
    """

    rates: dict[tuple[str, str, int], Value]
    units: str

    def of(self, strategy: str) -> dict[str, dict[int, Value]]:
        """Strings a second by batch, by subject."""
        found: dict[str, dict[int, Value]] = {}
        for (subject, name, batch), value in self.rates.items():
            if name == strategy:
                found.setdefault(subject, {})[batch] = value
        return found


class Throughput(Experiment):
    name = "throughput"
    page, order = DEPLOYMENT, 50

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(f"throughput-{s.subject.name}", s, s.steps) for s in PRESETS[preset]]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        settings: Settings = part.settings
        bound = bind(settings.subject, (TASK_LENGTH,), bench.device)[TASK_LENGTH]
        inputs = {batch: bound.pixel_values(batch) for batch in settings.batches}

        def sample(batch: int, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            for row in interleaved(bound, strategies.deployed(), inputs[batch], shuffle):
                yield {"batch": batch, **row}

        bench.measure_rounds(part, settings.batches, sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        names = strategies.deployed()
        return fingerprints.of_timed_model(part.settings.subject, (TASK_LENGTH,), names, batch=2)

    def results(self, store: Store) -> Results | None:
        parts, rates = self.rows(store), dict[tuple[str, str, int], Value]()
        for subject in (name for name in TIMED_MODELS if name in parts):
            rows = parts[subject]
            encoder = rows[rows["phase"] == "encode"].assign(strategy="encoder")
            by = ByRound(pd.concat([rows, encoder]), ["strategy", "batch", "phase"])
            for batch in sorted(counted(rows)["batch"].unique().tolist()):
                for strategy in (*strategies.deployed(), "encoder"):
                    phases = ("encode",) if strategy == "encoder" else ("encode", "decode", "confidence")
                    seconds = location(sum(by(*((strategy, batch, phase) for phase in phases))))
                    rates[subject, strategy, batch] = seconds.map(partial(truediv, batch))
        return Results(rates, by.units) if rates else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = [
            {"subject": s, "strategy": name, "batch": batch, results.units: value.n, "strings_per_second": value}
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
                    for subject, rates in results.of(strategy).items()
                    for size in (1, max(rates))
                },
            }
            for strategy in strategies.deployed()
        )
        kinds = (strategies.one_pass(), strategies.autoregressive())
        gains = []
        for subject, rates in results.of("encoder").items():
            batch = max(rates)
            fast, slow = (max(results.rates[subject, name, batch].estimate for name in kind) for kind in kinds)
            gains.append(fast / slow)
        text = prose("throughput", length=TASK_LENGTH, least=min(gains), most=max(gains))
        return [Section("Throughput", text, "throughput", table)]


EXPERIMENT = Throughput()


def throughput_plot(results: Results) -> Figure:
    """Strings a second against batch size."""
    encoder, shown = results.of("encoder"), (*strategies.deployed(), "encoder")
    figure, axes = plotting.panels(len(encoder), 3.6, 3.3, columns=3)
    for axis, (subject, batches) in zip(axes, encoder.items(), strict=True):
        for strategy in shown:
            rates = results.of(strategy)[subject]
            plotting.curve(axis, strategy, list(rates), list(rates.values()))
        axis.set(xscale="log", yscale="log", xlabel="batch size")
        plotting.at_points(axis, list(batches))
        plotting.plain_log_axis(axis, "y")
        axis.set_title(TIMED_MODELS[subject].label, fontsize=10)
    axes[0].set_ylabel("strings per second")
    figure.suptitle(f"Throughput, strings of {TASK_LENGTH} (95 % CI)", fontsize=11)
    plotting.legend(figure, shown)
    return figure
