"""Batch inference and data loading at scale: throughput, memory, killed nodes, an object store, and a cost model."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pandas as pd

from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.store import Store
from bench.core.timer import Rounds, measure_rounds
from bench.experiments.scale import batch_inference, data_loading
from bench.experiments.scale.archives import make_archives
from bench.experiments.scale.model import fit_cost, simulate_failures
from bench.experiments.scale.sections import Results, sections
from seqocr.inference.shipped import READER, SHIPPED
from seqocr.progress import Reporter

_WORK = Path("runs/scale")  # keeps the archives, and predictions that later parts are compared with


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    lines: that are read while nodes are killed, and at most where memory is watched.
    """

    lines: int


class Scale(Experiment):
    name = "scale"
    page, order = DEPLOYMENT, 80
    on_request = True
    packages: ClassVar[Mapping[str, str]] = {
        **{name: name for name in ("pyarrow", "fsspec", "ray", "simpy", "s3fs")},
        "moto": "'moto[server]'",
    }

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        settings = Settings(20_000 if preset == "smoke" else 200_000, rounds=5, warmup=0)
        untimed = [Part(f"scale-{name}", settings, timed=False) for name in ("memory", "killed", "store")]
        steps = {"workers": settings.rounds, "model": 1, "loading": settings.rounds}
        parts = [*untimed, *(Part(f"scale-{name}", settings, count) for name, count in steps.items())]
        return [replace(part, weights=(READER, SHIPPED)) for part in parts]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        settings, store, work = part.settings, bench.store, _WORK.absolute()
        archives = make_archives(work / "lines", settings.lines)
        measured = partial(measure_rounds, store, part.name, settings)
        match part.name.removeprefix("scale-"):
            case "memory":
                counts = (settings.lines // 10, settings.lines)
                rows = [batch_inference.measure_memory(archives, work, lines) for lines in counts]
            case "killed":
                rows = [batch_inference.measure_kills(archives, work, settings.lines)]
            case "store":
                rows = list(batch_inference.measure_object_store(archives, work))
            case "workers":

                def run(workers: int, _: random.Random) -> Iterator[dict[str, Any]]:
                    yield asdict(batch_inference.predict_archives(archives, work, workers))

                return measured((1, 2), run, reporter)
            case "model":
                rows, facts = batch_inference.measure_costs(archives, work)
                simulation = simulate_failures(fit_cost(pd.DataFrame(rows)))
                store.write(f"{part.name}.simulation", pd.DataFrame(simulation))
                store.add_facts(part.name, **facts)
            case _:
                with TemporaryDirectory() as folder:
                    trainers = data_loading.trainers(Path(folder))
                    turns = partial(data_loading.measure_turns, trainers)
                    return measured(list(trainers), turns, reporter)
        store.write(part.name, pd.DataFrame(rows))

    def results(self, store: Store) -> Results | None:
        if not (tables := self.rows(store)):
            return None
        environment = store.environment(f"scale-{next(iter(tables))}")
        if "model" in tables:
            tables["simulation"] = store.read("scale-model.simulation")
        return Results(tables, store.facts("scale-model"), environment)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {f"scale_{name}": table for name, table in results.tables.items()}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        return sections(results)


EXPERIMENT = Scale()
