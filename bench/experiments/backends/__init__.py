"""How far does a good runtime narrow the gap? The same weights through several runtimes, from pixels to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.backends import backends
from bench.core import strategies
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section, stored
from bench.core.store import Store
from bench.experiments.backends import agreement, plots, sections, timing
from bench.experiments.backends.estimates import Results, agreement_table, timed
from bench.workloads import fingerprints
from bench.workloads.timed_models import SMALL_NATIVE, TIMED_MODELS, TINY
from seqocr.progress import Reporter


class Runtimes(Experiment):
    name = "runtimes"
    page, order = DEPLOYMENT, 60

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        if preset != "full" or bench.device.type != "cpu":
            return []
        found = backends()
        quick = tuple(name for name, each in found.items() if not each.slow_to_load)
        settings = (
            timing.Settings(TINY, tuple(found), 14, batch=64, repeats=2),
            timing.Settings(SMALL_NATIVE, quick, 10, batch=8),
        )
        parts = []
        for each in settings:
            parts.append(Part(f"runtimes-{each.subject.name}", each, each.rounds + each.warmup))
        read = agreement.Settings(tuple(found))
        agreed = Part("runtimes-agreement", read, len(found), weights=(bench.task,), timed=False)
        return [*parts, agreed]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        how = timing if isinstance(part.settings, timing.Settings) else agreement
        how.measure(part, bench, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        settings = part.settings
        if not isinstance(settings, timing.Settings):
            return {}
        names = (*strategies.autoregressive(), *strategies.heads())
        eager = fingerprints.of_timed_model(settings.subject, settings.lengths, names)
        return eager | fingerprints.of_graphs(settings.subject, strategies.exportable())

    def results(self, store: Store) -> Results | None:
        parts = {name.removeprefix("runtimes-"): store.read(name) for name in stored(store, self.name)}
        subjects = {name: timed(TIMED_MODELS[name], parts[name]) for name in TIMED_MODELS if name in parts}
        not_run: dict[str, str] = {}
        for name in parts:
            not_run |= store.facts(f"runtimes-{name}").get("not_run", {})
        return Results(subjects, agreement_table(parts.get("agreement")), not_run) if subjects else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {
            "runtime_slopes": results.slopes(),
            "runtime_overhead": results.overhead(),
            "runtime_speed": results.speed(),
            "runtime_agreement": results.agreement,
        }

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"runtimes": partial(plots.runtimes_plot, results)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        return [sections.section(results)]


EXPERIMENT = Runtimes()
