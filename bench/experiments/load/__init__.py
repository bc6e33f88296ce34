"""What does a service see? Load driven by the official MLPerf LoadGen.

SingleStream asks for the next line when one is read, Offline for all at once, Server at random moments (Poisson); see
Reddi et al. 2020, "MLPerf Inference Benchmark". Where this departs from MLPerf's rules: seconds in place of ten
minutes, 99 % of a bound of our own, our model.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from bench.backends import EAGER, backends
from bench.core import strategies
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section, stored
from bench.core.store import Store
from bench.core.timer import Moment, disturbance, quiet_within
from bench.report.formatting import digits
from bench.report.templating import prose
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter

SCENARIOS = ("SingleStream", "Offline", "Server")
_RUNTIMES = (EAGER, "onnxruntime")
_SEARCH = 6  # Server tests that close in on the highest rate
_SLOWEST = 32  # times slower than Offline is where that search begins: lines come one at a time, and wait
_LEAST_QUERIES = 700  # of a Server test: LoadGen wants some 660 to be sure of a 99th percentile
_ATTEMPTS = 2  # at a test that is disturbed
_WAIT = 8.0  # seconds at most until nothing else runs; a machine that is still busy then is taken to be so for good
_MANY = 10_000.0  # lines a second that no head here reads one by one
_VALUES = {
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


@dataclass(frozen=True)
class Results:
    """Attributes:
    tests: one row a runtime, head and scenario, of LoadGen's test that counts.
    """

    tests: pd.DataFrame

    def of(self, runtime: str, strategy: str) -> dict[str, dict[str, Any]]:
        """By scenario."""
        rows = self.tests[(self.tests["runtime"] == runtime) & (self.tests["head"] == strategy)]
        return {row["scenario"]: row for row in rows.to_dict("records")}

    @property
    def readers(self) -> list[tuple[str, str]]:
        """(runtime, strategy), in order."""
        return list(dict.fromkeys(zip(self.tests["runtime"], self.tests["head"], strict=True)))


class Load(Experiment):
    name = "load"
    page, order = DEPLOYMENT, 75

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        """One a runtime and head, of those that can be had here."""
        if preset != "full" or bench.device.type != "cpu" or not find_spec("mlperf_loadgen"):
            return []
        found, held = backends(), load_recognizer(bench.task).decode_functions()
        return [
            Part(
                f"load-{runtime}-{strategy}",
                Settings(runtime, strategy),
                weights=(bench.task,),
            )
            for runtime in _RUNTIMES
            if not found[runtime].missing()
            for strategy in (strategies.deployed() if runtime == EAGER else strategies.exportable())
            if strategy in held
        ]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Every scenario, a row a LoadGen test; saved at the end."""
        settings: Settings = part.settings
        with TemporaryDirectory() as folder:
            request = {
                "weights": str(part.weights[0]),
                "heads": strategies.heads_of(settings.strategy),
                "folder": folder,
                **vars(settings),
            }
            rows = list(_scenarios(request))
        bench.store.write(part.name, pd.DataFrame(rows))

    def results(self, store: Store) -> Results | None:
        there = stored(store, self.name)
        names = [f"{self.name}-{runtime}-{strategy}" for runtime in _RUNTIMES for strategy in strategies.by_name()]
        tables = [store.read(name) for name in names if name in there]
        if not tables:
            return None
        tests = pd.concat(tables, ignore_index=True)
        return Results(tests[tests["chosen"]].drop(columns="chosen").reset_index(drop=True))

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"load": results.tests}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        names = dict.fromkeys(name for _, name in results.readers)
        table = pd.DataFrame({"strategy": f"`{name}`", **_row(results, name)} for name in names)
        text = prose("load", bound=results.tests["bound_ms"].iloc[0], gains=_gains(results))
        return [Section("Under load", text, None, table)]


EXPERIMENT = Load()


def _scenarios(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All tests of a head in a runtime. `chosen` marks the one that counts where a scenario took several."""
    yield _tested(request, "SingleStream", _MANY)
    # LoadGen makes one query of as many lines as the expected rate asks for, which must last the duration.
    rate = 1500.0
    while not (row := _tested(request, "Offline", rate))["valid"]:
        yield {**row, "chosen": False}
        rate = 1.2 * max(rate, row["value"])
    yield row
    # The highest rate that Server sustains lies below Offline's: bisection, in equal ratios.
    low, high = row["value"] / _SLOWEST, row["value"]
    found: list[dict[str, Any]] = []
    for _ in range(_SEARCH):
        rate = (low * high) ** 0.5
        found.append(_tested(request, "Server", rate))
        low, high = (rate, high) if found[-1]["valid"] else (low, rate)
    best = max(found, key=lambda row: (row["valid"], row["rate"] if row["valid"] else -row["rate"]))
    yield from ({**row, "chosen": row is best} for row in found)


def _tested(request: dict[str, Any], scenario: str, rate: float) -> dict[str, Any]:
    """A test and what disturbed it; one that was disturbed is made again."""
    for attempt in range(1, _ATTEMPTS + 1):
        before = Moment.now()
        row = _test(request, scenario, rate)
        row |= {"attempts": attempt, **disturbance(before, Moment.now())}
        if not row["disturbed"] or attempt == _ATTEMPTS or not quiet_within(_WAIT):
            break
    return row


def _test(request: dict[str, Any], scenario: str, rate: float) -> dict[str, Any]:
    """One LoadGen test in a process of its own. `value` is milliseconds (p90) or lines a second."""
    seconds = max(request["seconds"], _LEAST_QUERIES / rate if scenario == "Server" else 0)
    with TemporaryDirectory() as logs:
        asked = {**request, "scenario": scenario, "rate": rate, "seconds": seconds, "logs": logs}
        command = [sys.executable, "-m", "bench.experiments.load.loadgen", json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"LoadGen's process failed: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    value = found[_VALUES[scenario]]
    return {
        **{"runtime": request["runtime"], "head": request["strategy"], "scenario": scenario, "rate": rate},
        **{"bound_ms": request["bound"] * 1e3, "seconds": seconds, "valid": found["valid"], "chosen": True},
        "value": value / 1e6 if scenario == "SingleStream" else value,
        **{f"p{p}_ms": found[f"{p}.00 percentile latency (ns)"] / 1e6 for p in (50, 90, 99)},
    }


_SHOWN = {
    "SingleStream, p90 ms": ("SingleStream", "value"),
    "Offline, lines/s": ("Offline", "value"),
    "Server, lines/s": ("Server", "rate"),
}


def _row(results: Results, strategy: str) -> dict[str, str]:
    """Tests that LoadGen did not call VALID, and those that were disturbed, are marked."""
    row = {}
    for runtime in dict.fromkeys(runtime for runtime, _ in results.readers):
        by = results.of(runtime, strategy)
        for column, (scenario, value) in _SHOWN.items():
            test = by.get(scenario)
            marks = (" ≈" * test["disturbed"] + " (not valid)" * (not test["valid"])) if test else ""
            row[f"{runtime}: {column}"] = digits(test[value]) + marks if test else ""
    return row


def _gains(results: Results) -> list[dict[str, Any]]:
    """By runtime: the rate that a service sustains with the best one-pass head, over the best autoregressive one."""
    found = []
    for runtime in dict.fromkeys(runtime for runtime, _ in results.readers):
        rates = {name: results.of(runtime, name)["Server"]["rate"] for r, name in results.readers if r == runtime}
        kinds = (strategies.one_pass(), strategies.autoregressive())
        one_pass, others = ([name for name in kind if name in rates] for kind in kinds)
        if one_pass and others:
            best, other = (max(names, key=rates.__getitem__) for names in (one_pass, others))
            found.append({"runtime": runtime, "best": best, "other": other, "times": rates[best] / rates[other]})
    return found
