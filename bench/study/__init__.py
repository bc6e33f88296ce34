"""When does autoregression pay? One encoder, label distributions that are known exactly, damage by known amounts.

`make study` makes the study, in an hour and more (see `pipeline`); its table is in results/study. The bench shows it,
and measures one cell again, in small.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core.experiment import Bench, Experiment, Part, Section, stored
from bench.core.store import Store
from bench.study import cost, pipeline, plots, sections, training
from bench.study.design import Size
from bench.study.estimates import ONE_PASS, Results
from bench.workloads import fingerprints
from seqocr.progress import Reporter

_COMMITTED = Path(__file__).parents[2] / "results" / "study"
_CELL = "dependence-cell"


@dataclass(frozen=True)
class Settings:
    """The cell that is measured again (see `pipeline.cell`)."""

    labels: str = "lexicon-100"
    damage: str = "erased 60%"
    steps: int = 200
    batch: int = 32
    strings: int = 500


class Dependence(Experiment):
    name = "dependence"
    order = 1
    timed = False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        if study_of(bench.store) is None:
            return []  # there is nothing to compare it with
        settings = Settings(steps=2, batch=8, strings=20) if preset == "smoke" else Settings()
        return [Part(_CELL, settings, weights=(bench.task,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        with TemporaryDirectory() as folder:
            rows = pipeline.cell(**vars(part.settings), folder=Path(folder))
        bench.store.write(part.name, rows)
        bench.store.add_facts(part.name, about=vars(part.settings))

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        size = pipeline.cell_size(**vars(part.settings))
        return fingerprints.of_training(partial(training.base_trainer, size, pipeline.CELL_HEADS))

    def results(self, store: Store) -> Results | None:
        found = study_of(store)
        if found is None:
            return None
        again = None
        if _CELL in stored(store, self.name):
            again = {**store.facts(_CELL)["about"], "rows": store.read(_CELL)}
        facts = found.facts("study")
        timed_on = found.facts(cost.TABLE).get("environment", {}).get("cpu", "")
        return Results(found.read(pipeline.READINGS), size_of(facts), facts, again, cost.read(found), timed_on)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        timed = {} if results.cost is None else {"dependence_cost": results.cost.table(ONE_PASS)}
        return {
            **timed,
            "dependence": results.by_cell(),
            "dependence_claims": results.family,
            "dependence_likelihoods": results.likelihoods(),
            "dependence_ablations": results.ablations(),
        }

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {
            "dependence": partial(plots.dependence_plot, results),
            "likelihoods": partial(plots.likelihoods_plot, results),
        }

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        return [sections.answer(results, everything), sections.gains(results), sections.shift(results)]


EXPERIMENT = Dependence()


def study_of(store: Store) -> Store | None:
    """The study beside a run's measurements, or else the committed one; None where there is neither."""
    for folder in (store.folder.parent.parent / "study", _COMMITTED):
        if (folder / "study.json").exists():
            return Store(folder)
    return None


def size_of(facts: dict[str, Any]) -> Size:
    """Of a study, as its facts say."""
    said: dict[str, Any] = facts["size"]
    return Size(**{name: tuple(value) if isinstance(value, list) else value for name, value in said.items()})  # type: ignore[arg-type]
