"""Work without a clock: passes, FLOPs, bytes and memory, and how near the machine's limits the measured times come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.core import strategies
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.formatting import percent, si
from bench.core.store import Store
from bench.core.templating import prose
from bench.experiments import latency
from bench.experiments.latency.estimates import Timed
from bench.workloads import fingerprints
from bench.workloads.counting import costs, machine_rates
from bench.workloads.timed_models import SMALL_NATIVE, TASK_LENGTH, TIMED_MODELS, TINY, TimedModel, bind
from seqocr.progress import Reporter


@dataclass(frozen=True)
class Settings:
    subject: TimedModel
    lengths: tuple[int, ...]
    memory: bool = True


@dataclass(frozen=True)
class Rates:
    """The machine's best rates."""

    tries: int = 20


@dataclass(frozen=True)
class Results:
    costs: pd.DataFrame
    rates: pd.Series


class Costs(Experiment):
    name = "costs"
    page, order = DEPLOYMENT, 80
    counts = ("passes", "flops")

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        found = []
        for each in latency.PRESETS[preset]:
            lengths = tuple(sorted({min(each.lengths), TASK_LENGTH, max(each.lengths)}))
            found.append(Part(f"costs-{each.subject.name}", Settings(each.subject, lengths), timed=False))
        return [*found, Part("costs-rates", Rates())]  # only these are timed

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        settings = part.settings
        if isinstance(settings, Rates):
            bench.store.write(part.name, pd.DataFrame([machine_rates(bench.device) for _ in range(settings.tries)]))
            return
        bound = bind(settings.subject, settings.lengths, bench.device)
        rows = [row for n in settings.lengths for row in costs(bound[n], settings.memory)]
        bench.store.write(part.name, pd.DataFrame(rows).assign(subject=settings.subject.name))

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        settings = part.settings
        return {} if isinstance(settings, Rates) else fingerprints.of_timed_model(settings.subject, settings.lengths)

    def results(self, store: Store) -> Results | None:
        parts = self.rows(store)
        tables = [parts[name] for name in TIMED_MODELS if name in parts]
        if not tables or "rates" not in parts:
            return None
        return Results(pd.concat(tables, ignore_index=True), parts["rates"].max())

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"costs": results.costs.assign(**_limits(results))}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        timed = everything.get("latency")
        shown = SMALL_NATIVE.name if SMALL_NATIVE.name in set(results.costs["subject"]) else TINY.name
        costs = results.costs.assign(**_limits(results))
        costs = costs[costs["subject"] == shown].sort_values("length").set_index(["strategy", "length"])
        longest = int(costs.index.get_level_values("length").max())
        rows = [
            {
                TIMED_MODELS[shown].label: f"`{name}`",
                "parameters": si((here := costs.loc[name, TASK_LENGTH])["parameters"]),
                "passes": int(here["passes"]),
                f"FLOPs, n = {TASK_LENGTH}": si(here["flops"]),
                f"FLOPs, n = {longest}": si(costs.loc[name, longest]["flops"]),
                "peak memory": f"{si(here['peak_bytes'])}B",
                **({"of the roofline": _share_of_limit(name, here, timed.subjects[shown])} if timed else {}),
            }
            for name in ("encoder", *strategies.heads())
        ]
        text = prose("costs", rates=results.rates, timed=timed is not None)
        return [Section("Work, memory and passes", text, None, pd.DataFrame(rows))]


EXPERIMENT = Costs()


def _limits(results: Results) -> dict[str, pd.Series]:
    """Milliseconds that the work, and the bytes that it moves, take at the machine's best rates."""
    best = results.rates
    return {
        "work_ms": results.costs["flops"] / best["flops_per_second"] * 1e3,
        "memory_ms": results.costs["bytes"] / best["bytes_per_second"] * 1e3,
    }


def _share_of_limit(name: str, row: pd.Series, timed: Timed) -> str:
    """Of the encoder alone, or of decoding alone."""
    encoder = name == "encoder"
    measured = timed.encode(TASK_LENGTH) if encoder else timed.decode(name, TASK_LENGTH)
    return percent(max(row["work_ms"], row["memory_ms"]) / measured.estimate, 0 if encoder else 1)
