"""How far does a good runtime narrow the gap? The same weights through several runtimes, from pixels to text."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.backends import backends
from bench.core import strategies
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.store import Store
from bench.experiments.backends import agreement, sections, timing
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
            timing.Settings(TINY, tuple(found), batch=64, rounds=2, restarts=8, repeats=2),
            timing.Settings(SMALL_NATIVE, quick, batch=8, rounds=2, restarts=8),
        )
        timed = [Part(f"runtimes-{each.subject.name}", each, each.steps) for each in settings]
        read = agreement.Settings(tuple(found))
        return [*timed, Part("runtimes-agreement", read, len(found), weights=(bench.task,), timed=False)]

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

    def predict_again(self, part: Part, bench: Bench, rows: pd.DataFrame) -> pd.DataFrame | None:
        return agreement.predict_again(part, rows) if isinstance(part.settings, agreement.Settings) else None

    def results(self, store: Store) -> Results | None:
        parts = self.rows(store)
        subjects = {name: timed(TIMED_MODELS[name], parts[name]) for name in TIMED_MODELS if name in parts}
        not_run: dict[str, str] = {}
        for name in parts:
            not_run |= store.facts(f"runtimes-{name}").get("not_run", {})
        return Results(subjects, agreement_table(parts.get("agreement")), not_run) if subjects else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        times = {"slopes": results.slopes(), "overhead": results.overhead(), "speed": results.speed()}
        return {f"runtime_{name}": table for name, table in {**times, "agreement": results.agreement}.items()}

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"runtimes": partial(sections.runtimes_plot, results)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        return [sections.section(results)]


EXPERIMENT = Runtimes()
