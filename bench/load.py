"""Load as a service sees it, driven by the official MLPerf LoadGen (Reddi et al. 2020, "MLPerf Inference Benchmark").

SingleStream asks for the next line when one is read, Offline for all at once, Server at random moments (Poisson).
Where this departs from MLPerf's rules: seconds in place of ten minutes, 99 % of a bound of our own, our model.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from bench import runtimes
from bench.plan import HEADS, Cell
from bench.rounds import task_strings
from bench.store import Store
from seqocr.checkpoints import SHIPPED, load_recognizer
from seqocr.batching import Batcher
from seqocr.models.base import Decoded
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter

LOAD_HEADS = ("ar-generate", *HEADS)
SCENARIOS = ("SingleStream", "Offline", "Server")
_LINES = 1024  # different ones that are asked for
_SEARCH = 6  # Server tests that close in on the highest rate
_SLOWEST = 32  # times slower than Offline is where that search begins: lines come one at a time, and wait
_LEAST_QUERIES = 700  # of a Server test: LoadGen wants some 660 to be sure of a 99th percentile
_MANY = 10_000.0  # lines a second that no head here reads one by one
_NS = 1e9


def drive(
    read: Callable[[torch.Tensor], Decoded],
    lines: torch.Tensor,
    scenario: str,
    logs: Path,
    *,
    seconds: float,
    rate: float = 100.0,
    bound: float = 0.1,
    max_batch: int = 64,
) -> dict[str, Any]:
    """One LoadGen test. It keeps state for the life of a process, so each test wants a process of its own.

    Args:
        read: lines (B, h, w) uint8 to texts.
        lines: (N, h, w) uint8, what is asked for, at random.
        scenario: one of `SCENARIOS`.
        logs: folder for LoadGen's logs.
        seconds: shortest duration.
        rate: lines a second: asked for (Server), or expected, better too many than too few (the others).
        bound: seconds that 99 % of Server's lines may take.

    Returns:
        LoadGen's own summary: `valid`, and its figures by their names there.
    """
    import mlperf_loadgen as loadgen

    def finished(tokens: list[Any], result: Decoded | Exception) -> None:
        if isinstance(result, Exception):
            raise result
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(token, 0, 0) for token in tokens])

    batcher = Batcher(read, finished, max_batch)

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            batcher.submit(sample.id, lines[sample.index])

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1e3)
    settings.single_stream_expected_latency_ns = int(_NS / rate)
    settings.offline_expected_qps = rate
    settings.server_target_qps = rate
    settings.server_target_latency_ns = int(bound * _NS)
    settings.server_target_latency_percentile = 0.99
    logs.mkdir(parents=True, exist_ok=True)
    output = loadgen.LogSettings()
    output.log_output.outdir, output.log_output.copy_summary_to_stdout = str(logs), False
    output.enable_trace = False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(len(lines), len(lines), lambda _: None, lambda _: None)
    try:
        loadgen.StartTestWithLogSettings(system, library, settings, output)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        batcher.close()
    return summary((logs / "mlperf_log_summary.txt").read_text(encoding="utf-8"))


def summary(text: str) -> dict[str, Any]:
    """LoadGen's summary as a dict; numbers as numbers, and `valid`."""
    pairs = re.findall(r"^ *([^:\n]+?) *: *(\S.*?) *$", text, flags=re.MULTILINE)
    found: dict[str, Any] = {}
    for name, value in pairs:
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return {"valid": found.get("Result is") == "VALID", **found}


def missing() -> str:
    """Why no load can be measured here; empty if it can."""
    return "" if find_spec("mlperf_loadgen") else "mlcommons-loadgen is not installed"


def combinations(cell: Cell) -> list[tuple[str, str]]:
    """(runtime, head) of a cell; `generate` runs in eager mode only."""
    return [
        (runtime, head)
        for runtime in cell.runtimes
        for head in LOAD_HEADS
        if runtimes.missing(runtime) == "" and (runtime == "eager" or head != "ar-generate")
    ]


def measured(store: Store, cell: Cell) -> int:
    """How many of the combinations are done."""
    return len(store.read(cell.name)[["runtime", "head"]].drop_duplicates()) if store.has(cell.name) else 0


def measure_load(cell: Cell, store: Store, weights: Path | None, reporter: Reporter) -> None:
    """Every scenario for every head and runtime of a cell, a row a LoadGen test, saved as they come."""
    rows: list[dict[str, Any]] = store.read(cell.name).to_dict("records") if store.has(cell.name) else []
    with TemporaryDirectory() as folder:
        for runtime, head in combinations(cell):
            if (runtime, head) in {(row["runtime"], row["head"]) for row in rows}:
                continue
            request: dict[str, Any] = {
                "weights": str(weights or SHIPPED),
                "runtime": runtime,
                "head": head,
                "folder": folder,
            }
            request |= {"seconds": cell.seconds, "bound": cell.bound}
            rows += [{"subject": cell.subject.name, **row} for row in _scenarios(request)]
            store.write(cell.name, pd.DataFrame(rows))
            reporter.advance(f"{cell.name}, {runtime} {head}")


def _scenarios(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All tests of a head in a runtime. `chosen` marks the one that counts where a scenario took several."""
    yield _row(request, "SingleStream", _MANY)
    # LoadGen makes one query of as many lines as the expected rate asks for, which must last the duration.
    rate = 1500.0
    while not (row := _row(request, "Offline", rate))["valid"]:
        yield {**row, "chosen": False}
        rate = 1.2 * max(rate, row["value"])
    yield row
    # The highest rate that Server sustains lies below Offline's: bisection, in equal ratios.
    low, high = row["value"] / _SLOWEST, row["value"]
    found: list[dict[str, Any]] = []
    for _ in range(_SEARCH):
        rate = (low * high) ** 0.5
        found.append(_row(request, "Server", rate))
        low, high = (rate, high) if found[-1]["valid"] else (low, rate)
    best = max(found, key=lambda row: (row["valid"], row["rate"] if row["valid"] else -row["rate"]))
    yield from ({**row, "chosen": row is best} for row in found)


_VALUES = {
    "SingleStream": "90.00 percentile latency (ns)",
    "Offline": "Samples per second",
    "Server": "Completed samples per second",
}


def _row(request: dict[str, Any], scenario: str, rate: float) -> dict[str, Any]:
    """One LoadGen test in a process of its own. `value` is milliseconds (p90) or lines a second."""
    seconds = max(request["seconds"], _LEAST_QUERIES / rate if scenario == "Server" else 0)
    with TemporaryDirectory() as logs:
        asked = {**request, "scenario": scenario, "rate": rate, "seconds": seconds, "logs": logs}
        command = [sys.executable, "-m", "bench.load", json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"LoadGen's process failed: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    value = found[_VALUES[scenario]]
    return {
        **{"runtime": request["runtime"], "head": request["head"], "scenario": scenario, "rate": rate},
        **{"bound_ms": request["bound"] * 1e3, "seconds": seconds, "valid": found["valid"], "chosen": True},
        "value": value / 1e6 if scenario == "SingleStream" else value,
        **{f"p{p}_ms": found[f"{p}.00 percentile latency (ns)"] / 1e6 for p in (50, 90, 99)},
    }


def _test(request: dict[str, Any]) -> dict[str, Any]:
    """What the process of a test does: the test split's strings, read through a runtime."""
    recognizer = load_recognizer(request["weights"])
    strings = task_strings(_LINES)
    lines: Any = strings.batch(range(len(strings)))[0]
    decode = runtimes.prepare(request["runtime"], recognizer, Path(request["folder"])).heads[request["head"]]
    processor = recognizer.processor

    def read(images: torch.Tensor) -> Decoded:
        return decode(processor(images))

    for batch in (1, 8, 64):
        read(lines[:batch])
    asked = {name: request[name] for name in ("seconds", "rate", "bound")}
    return drive(read, lines, request["scenario"], Path(request["logs"]), **asked)


if __name__ == "__main__":
    print(json.dumps(_test(json.loads(sys.argv[1]))))
