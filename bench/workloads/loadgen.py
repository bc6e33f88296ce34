"""MLPerf Inference's load generator, LoadGen: one test, and the search for the highest rate that keeps a bound."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from bench.core.timer import Moment, disturbance, is_disturbed, quiet_within

# Queries of a Server test: LoadGen wants some 660 to be sure of a 99th percentile.
MIN_QUERIES = 700
_ATTEMPTS = 2  # at a disturbed test
_WAIT = 8.0  # seconds at most until nothing else runs; a machine that is still busy then is taken to stay so
_NS = 1e9


def run_test(module: str, request: dict[str, Any]) -> dict[str, Any]:
    """Run `python -m MODULE JSON`, which makes one LoadGen test and prints its summary as its last line. A process of
    its own, since LoadGen keeps state; a disturbed test is made again when nothing else runs.

    Args:
        request: what the module takes; `logs`, a folder for LoadGen's, is added.

    Returns:
        the summary, how many `attempts` were made, and the `disturbance` of the last.

    Raises:
        RuntimeError: the process failed.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        before = Moment.now()
        with TemporaryDirectory() as logs:
            command = [sys.executable, "-m", module, json.dumps({**request, "logs": logs})]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        state = disturbance(before, Moment.now())
        if done.returncode:
            raise RuntimeError(f"LoadGen's process failed: {done.stderr.strip()[-500:]}")
        if not is_disturbed(state) or attempt == _ATTEMPTS or not quiet_within(_WAIT):
            break
    return {**json.loads(done.stdout.splitlines()[-1]), "attempts": attempt, **state}


def highest_rate(test: Callable[[float], dict[str, Any]], low: float, high: float, tests: int) -> list[dict[str, Any]]:
    """Search the highest rate at which a test is valid: bisection, in equal ratios.

    Args:
        test: a row, with `valid`, of a test at a rate.
        low, high: rates that are taken to be valid and invalid.

    Returns:
        the rows, with their `rate`; `chosen` marks the fastest valid one, or the slowest if none is valid.
    """
    rows: list[dict[str, Any]] = []
    for _ in range(tests):
        rate = (low * high) ** 0.5
        rows.append({"rate": rate, **test(rate)})
        low, high = (rate, high) if rows[-1]["valid"] else (low, rate)
    best = max(rows, key=lambda row: (row["valid"], row["rate"] if row["valid"] else -row["rate"]))
    return [{**row, "chosen": row is best} for row in rows]


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Of stored tests, those that count."""
    return rows[rows["chosen"]].drop(columns="chosen").reset_index(drop=True)


def drive(
    issue: Callable[[Any, int], object],
    count: int,
    scenario: str,
    logs: Path,
    *,
    seconds: float,
    rate: float = 100.0,
    bound: float = 0.1,
) -> dict[str, Any]:
    """Make one LoadGen test.

    Args:
        issue: takes a query, to be given to `complete` when it is answered, and the index of a sample.
        count: of samples, which are asked for at random.
        scenario: "SingleStream", "Offline" or "Server".
        logs: folder for LoadGen's logs.
        seconds: shortest duration.
        rate: queries per second: issued (Server), or expected, better too many than too few (the others).
        bound: seconds that 99 % of Server's queries may take.

    Returns:
        LoadGen's summary: `valid`, and its figures by their names there.
    """
    import mlperf_loadgen as loadgen

    def issue_all(queries: list[Any]) -> None:
        for query in queries:
            issue(query.id, query.index)

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
    system = loadgen.ConstructSUT(issue_all, lambda: None)
    library = loadgen.ConstructQSL(count, count, lambda _: None, lambda _: None)
    try:
        loadgen.StartTestWithLogSettings(system, library, settings, output)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
    return parse_summary((logs / "mlperf_log_summary.txt").read_text(encoding="utf-8"))


def complete(*queries: Any) -> None:
    """Tell LoadGen that queries are answered."""
    import mlperf_loadgen as loadgen

    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query, 0, 0) for query in queries])


def parse_summary(text: str) -> dict[str, Any]:
    """LoadGen's summary as a dict; numbers as numbers, and `valid`."""
    summary: dict[str, Any] = {}
    for name, value in re.findall(r"^ *([^:\n]+?) *: *(\S.*?) *$", text, flags=re.MULTILINE):
        summary[name] = value
        with contextlib.suppress(ValueError):
            summary[name] = float(value)
    return {"valid": summary.get("Result is") == "VALID", **summary}


def percentiles(summary: dict[str, Any], *wanted: int) -> dict[str, float]:
    """Milliseconds that so many percent of queries took at most, as columns p50_ms, p99_ms ..."""
    return {f"p{p}_ms": summary[f"{p}.00 percentile latency (ns)"] / 1e6 for p in wanted}
