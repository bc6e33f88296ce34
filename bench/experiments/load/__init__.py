"""Load: latency and throughput of decoding strategies, driven by the official MLPerf LoadGen.

SingleStream issues the next line when one is read, Offline all at once, Server at random moments (Poisson); see Reddi
et al. 2020, "MLPerf Inference Benchmark". Departures from MLPerf's rules: seconds instead of ten minutes, 99 % of a
bound of our own, our model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from bench.backends import EAGER, backends
from bench.core import strategies
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.formatting import digits
from bench.core.plugins import not_installed
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import is_disturbed
from bench.workloads import fingerprints
from bench.workloads.loadgen import MIN_QUERIES, chosen, highest_rate, percentiles, run_test
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter

_RUNTIMES = (EAGER, "onnxruntime")
_SEARCH = 6  # Server tests that close in on the highest rate
_SLOWEST = 32  # times slower than Offline is where that search begins: lines come one at a time, and wait
_MANY = 10_000.0  # lines per second that no head here reads one by one
# By scenario, the figure of LoadGen's summary that counts.
FIGURES = {
    "SingleStream": "90.00 percentile latency (ns)",
    "Offline": "Samples per second",
    "Server": "Completed samples per second",
}


@dataclass(frozen=True)
class Settings:
    """Attributes:
    seconds: shortest duration of a test.
    bound: seconds that 99 % of Server's lines may take.
    """

    runtime: str
    strategy: str
    seconds: float = 4.0
    bound: float = 0.1


class Load(Experiment):
    name = "load"
    page, order = DEPLOYMENT, 75

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        """One per runtime and strategy."""
        if preset != "full" or bench.device.type != "cpu":
            return []
        held = load_recognizer(bench.task).decode_functions()
        return [
            Part(f"load-{runtime}-{strategy}", Settings(runtime, strategy), weights=(bench.task,))
            for runtime in _RUNTIMES
            for strategy in (strategies.deployed() if runtime == EAGER else strategies.exportable())
            if strategy in held
        ]

    def missing(self, part: Part) -> str:
        return not_installed(mlperf_loadgen="mlcommons-loadgen") or backends()[part.settings.runtime].missing()

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Every scenario, a row per LoadGen test; saved at the end."""
        weights, heads = str(part.weights[0]), strategies.heads_of(part.settings.strategy)
        with TemporaryDirectory() as folder:
            rows = _scenarios({"weights": weights, "heads": heads, "folder": folder, **vars(part.settings)})
            bench.store.write(part.name, pd.DataFrame(rows))

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        return fingerprints.of_recognizer(part.weights[0], TASK_LENGTH, (part.settings.strategy,))

    def results(self, store: Store) -> pd.DataFrame | None:
        """One row per runtime, strategy (column `head`) and scenario, of the LoadGen test that counts."""
        parts = self.rows(store)
        names = [f"{runtime}-{strategy}" for runtime in _RUNTIMES for strategy in strategies.by_name()]
        if not parts:
            return None
        tables = [parts[name].assign(disturbed=is_disturbed(parts[name])) for name in names if name in parts]
        return chosen(pd.concat(tables, ignore_index=True))

    def tables(self, results: pd.DataFrame) -> dict[str, pd.DataFrame]:
        return {"load": results}

    def sections(self, results: pd.DataFrame, everything: Mapping[str, Any]) -> list[Section]:
        table = pd.DataFrame({"strategy": f"`{name}`", **_row(results, name)} for name in results["head"].unique())
        text = prose("load", bound=results["bound_ms"].iloc[0], gains=_gains(results))
        return [Section("Under load", text, None, table)]


EXPERIMENT = Load()


def _scenarios(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All tests of a strategy in a runtime. `chosen` marks the one that counts where a scenario took several."""
    yield test_row(request, "SingleStream", _MANY)
    # LoadGen makes one query of as many lines as the expected rate asks for, which must last the duration.
    rate = 1500.0
    while not (row := test_row(request, "Offline", rate))["valid"]:
        yield {**row, "chosen": False}
        rate = 1.2 * max(rate, row["value"])
    yield row
    # The highest rate that Server sustains lies below Offline's.
    yield from highest_rate(partial(test_row, request, "Server"), row["value"] / _SLOWEST, row["value"], _SEARCH)


def test_row(request: dict[str, Any], scenario: str, rate: float) -> dict[str, Any]:
    """The row of one test. `value` is milliseconds (p90) or lines per second."""
    seconds = max(request["seconds"], MIN_QUERIES / rate if scenario == "Server" else 0)
    asked = {**request, "scenario": scenario, "rate": rate, "seconds": seconds}
    test = run_test("bench.experiments.load.reader", asked)
    value = test[FIGURES[scenario]]
    return {
        **{"runtime": request["runtime"], "head": request["strategy"], "scenario": scenario, "rate": rate},
        **{"bound_ms": request["bound"] * 1e3, "seconds": seconds, "valid": test["valid"], "chosen": True},
        "value": value / 1e6 if scenario == "SingleStream" else value,
        **percentiles(test, 50, 90, 99),
        **{name: test[name] for name in ("attempts", "others", "stolen", "core_seconds")},
    }


_SHOWN = {
    "SingleStream, p90 ms": ("SingleStream", "value"),
    "Offline, lines/s": ("Offline", "value"),
    "Server, lines/s": ("Server", "rate"),
}


def _row(results: pd.DataFrame, strategy: str) -> dict[str, str]:
    """Tests that LoadGen did not call VALID, and those that were disturbed, are marked."""
    row, tests = {}, results[results["head"] == strategy].set_index(["runtime", "scenario"]).to_dict("index")
    for runtime in results["runtime"].unique():
        for column, (scenario, value) in _SHOWN.items():
            test = tests.get((runtime, scenario))
            marks = (" ≈" * test["disturbed"] + " (not valid)" * (not test["valid"])) if test else ""
            row[f"{runtime}: {column}"] = digits(test[value]) + marks if test else ""
    return row


def _gains(results: pd.DataFrame) -> list[dict[str, Any]]:
    """By runtime: the rate that a service sustains with the best one-pass head, over the best autoregressive one."""
    found = []
    for runtime, tests in results[results["scenario"] == "Server"].groupby("runtime", sort=False):
        rates = dict(zip(tests["head"], tests["rate"], strict=True))
        kinds = (strategies.one_pass(), strategies.autoregressive())
        one_pass, others = ([name for name in kind if name in rates] for kind in kinds)
        if one_pass and others:
            best, other = (max(names, key=rates.__getitem__) for names in (one_pass, others))
            found.append({"runtime": runtime, "best": best, "other": other, "times": rates[best] / rates[other]})
    return found
