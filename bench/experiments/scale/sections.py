"""The report's sections on batch inference and data loading."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

from bench.core.experiment import Section
from bench.core.templating import prose
from bench.core.timer import ByRound
from bench.experiments.scale.data_loading import BOTH, DEVICE, DRAWING, LEARNING, TURNS
from bench.experiments.scale.model import fit_cost

_LABELS = {
    DRAWING: "drawing alone",
    LEARNING: "training alone",
    BOTH: "both",
    DEVICE: "drawing, and a device that waits for it",
}


@dataclass(frozen=True)
class Results:
    """Attributes:
    tables: rows by measurement. bytes: of a line and of its row.
    """

    tables: dict[str, pd.DataFrame]
    bytes: dict[str, Any]
    environment: dict[str, Any]

    def rates(self, name: str, columns: list[str], count: str) -> ByRound:
        """Lines or strings per second."""
        table = self.tables[name]
        return ByRound(table.assign(rate=table[count] / table["seconds"]), columns, "rate")


def median_range(values: Any, places: int = 0) -> str:
    """The median, and least to most."""
    return f"{median(values):,.{places}f} ({min(values):,.{places}f} to {max(values):,.{places}f})"


def sections(results: Results) -> list[Section]:
    """Those of which something was measured."""
    found, there = [], results.tables.keys()
    if inference := list(_inference_rows(results)):
        speedup = None
        if "workers" in there:
            one, two = results.rates("workers", ["workers"], "lines")(1, 2)
            speedup = median_range(two / one, 2)
        text = prose("batch_inference", results=results, measured=there, speedup=speedup)
        found.append(Section("Batch inference", text, None, pd.DataFrame(inference)))
    if "model" in there:
        cost, new = fit_cost(results.tables["model"]), results.tables["model"].query("~fitted").iloc[0]
        predicted = cost.seconds(new["lines"], new["shards"], new["workers"])
        text = prose("batch_inference_cost", results=results, cost=cost, new=new, predicted=predicted)
        found.append(Section("Batch inference of 100 million lines", text, None, _simulation(results)))
    if "loading" in there:
        found.append(_loading(results))
    return found


def _inference_rows(results: Results) -> Iterator[dict[str, str]]:
    tables = results.tables

    def row(what: str, lines: int, rate: str, wrong: str = "", memory: str = "") -> dict[str, str]:
        found = {"what": what, "lines": f"{lines:,}", "lines a second": rate}
        return {**found, "rows lost, doubled, different": wrong, "a worker at most, MB": memory}

    if "workers" in tables:
        rates = results.rates("workers", ["workers"], "lines")
        for workers in (1, 2):
            what = f"`strings`, {workers} worker{'s' * (workers > 1)}"
            yield row(what, tables["workers"]["lines"].iloc[0], median_range(rates(workers)[0]))
    records = {name: table.to_dict("records") for name, table in tables.items()}
    for each in records.get("memory", []):
        yield row("`tiny`, 2 workers", each["lines"], _rate(each), "", f"{each['worker_mb']:,.0f}")
    for each in records.get("killed", []):
        yield row(f"`tiny` on Ray, {each['kills']} nodes killed", each["lines"], _rate(each), _wrong(each))
    for each in records.get("store", []):
        what = f"`tiny`, object store, {each['files']:,} files"
        rate = f"{_rate(each, 'store_seconds')} (from a folder: {_rate(each, 'here_seconds')})"
        yield row(what, each["lines"], rate, _wrong(each))


def _rate(row: dict[str, Any], seconds: str = "seconds") -> str:
    return f"{row['lines'] / row[seconds]:,.0f}"


def _wrong(row: dict[str, Any]) -> str:
    return ", ".join(str(row[name]) for name in ("lost", "doubled", "different"))


def _simulation(results: Results) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a machine dies": often,
            "hours": median_range(runs["hours"], 2),
            "machines that died": f"{median(runs['deaths']):,.0f}",
            "shards begun again": f"{median(runs['again']):,.0f}",
        }
        for often, runs in results.tables["simulation"].groupby("often", sort=False)
    )


def _loading(results: Results) -> Section:
    rates = results.rates("loading", ["training", "what", "workers"], "strings")
    trainings = list(dict.fromkeys(training for training, _, _ in rates.keys))
    rows = [
        {
            "strings a second": _LABELS[what],
            "workers": "–" if what == LEARNING else workers,
            **{f"`{training}`": median_range(rates((training, what, workers))[0]) for training in trainings},
        }
        for what, workers in TURNS
    ]
    text, details = prose("data_loading", environment=results.environment), {"Rates": pd.DataFrame(rows)}
    return Section("Data loading beside training", text, None, _workers_worth(rates, trainings), details)


def _workers_worth(rates: ByRound, trainings: Sequence[str]) -> pd.DataFrame:
    """What workers change: medians of ratios, round by round.

    Of training, its rate over that without workers; of the device, the share of time that it is at work.
    """

    def ratio(training: str, what: str, workers: int, base: str) -> float:
        if (what, workers) == (base, 0):
            return 1.0
        one, other = rates((training, what, workers), (training, base, 0))
        return median(one / other)

    return pd.DataFrame(
        {
            "workers": workers,
            **{f"training `{name}`, times": f"{ratio(name, BOTH, workers, BOTH):.2f}" for name in trainings},
            **{f"device of `{name}`, at work": f"{ratio(name, DEVICE, workers, DRAWING):.0%}" for name in trainings},
        }
        for workers in (0, 1, 2)
    )
