"""Serving: lines per second of `seqocr serve` beside the library, and a soak test with invalid requests."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from urllib.request import urlopen

import pandas as pd
import psutil

from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.server import serving
from bench.core.store import Store
from bench.core.templating import prose
from bench.experiments.serving.samples import make_samples, save_samples
from bench.workloads.loadgen import MIN_QUERIES, chosen, highest_rate, run_test
from seqocr.progress import Reporter

_SOAK = "serving.soak"  # table of the soak test
_SETTLES = 60  # seconds until memory is what it stays
_USERS = 38  # of the locustfile, all kinds together
# Columns of locust's tables, and of ours.
_STATS = {"Name": "what", "Request Count": "requests", "Failure Count": "failed", "50%": "p50_ms", "99%": "p99_ms"}
_FAILURES = {"Name": "what", "Error": "error", "Occurrences": "times"}


@dataclass(frozen=True)
class Subject:
    """What answers requests.

    Attributes:
        module: of the server, with its arguments; {port} stands for its port. None for the library.
        path: that images are posted to. ready: that answers once the server is ready.
        package: that it needs.
        low, high: lines per second that it is expected to read, and not to read.
        tests: that close in on the highest rate.
    """

    module: str = ""
    path: str = ""
    ready: str = "/"
    package: str = "seqocr"
    low: float = 50.0
    high: float = 1500.0
    tests: int = 7

    def serving(self) -> AbstractContextManager[tuple[int, psutil.Process]]:
        """Its port and process, within the block."""
        return serving([sys.executable, "-m", *self.module.split()], self.ready)


SERVER = "seqocr serve"
SUBJECTS = {
    "library": Subject(),
    SERVER: Subject("seqocr serve --no-page --port {port}", "/v1/read", "/readyz"),
    "RapidOCR behind FastAPI": Subject(
        "uvicorn bench.experiments.serving.rapidocr_server:app --port {port} --log-level error",
        "/ocr",
        package="rapidocr_onnxruntime",
        low=4.0,
        high=60.0,
        tests=4,
    ),
}


@dataclass(frozen=True)
class Settings:
    """Attributes:
    minutes: of the soak test. share: of the server's highest rate there. invalid: invalid requests per second there.
    bound: seconds that 99 % of requests may take. seconds: shortest duration of a LoadGen test.
    """

    minutes: float
    share: float = 0.9
    invalid: float = 10_000 / 600
    bound: float = 0.1
    seconds: float = 5.0


@dataclass(frozen=True)
class Results:
    """Attributes:
    rates: one row per subject, of the test at its highest rate, or at the slowest where none was valid.
    requests: one row per kind of request of the soak test. soak: minutes, lines per second, memory.
    """

    bound: float
    rates: pd.DataFrame
    requests: pd.DataFrame
    soak: dict[str, Any]
    environment: dict[str, Any]


class Serving(Experiment):
    name = "serving"
    page, order = DEPLOYMENT, 76
    on_request = True
    packages: ClassVar[Mapping[str, str]] = {
        **{name: name for name in ("locust", "uvicorn")},
        "mlperf_loadgen": "mlcommons-loadgen",
    }

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(self.name, Settings(minutes=0.2 if preset == "smoke" else 10.0), len(SUBJECTS) + 1)]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        store, settings = bench.store, part.settings
        with TemporaryDirectory() as folder:
            save_samples(make_samples(), Path(folder))
            if not store.has(part.name):
                store.write(part.name, pd.DataFrame(_rates(settings, folder, reporter)))
            rates = chosen(store.read(part.name)).set_index("what")["lines_a_second"]
            requests, soak = _soak(settings, folder, settings.share * rates[SERVER])
        store.write(_SOAK, requests)
        store.add_facts(part.name, soak=soak)

    def results(self, store: Store) -> Results | None:
        if not (rows := self.rows(store)):
            return None
        facts, rates = store.facts(self.name), chosen(rows[self.name])
        bound, environment = facts["depends"]["settings"]["bound"], store.environment(self.name)
        return Results(bound, rates, store.read(_SOAK), facts["soak"], environment)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"serving": results.rates, "serving_requests": results.requests}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        rates = results.rates.assign(lines_a_second=[_rate(row) for row in results.rates.to_dict("records")]).round(1)
        details = {
            "Requests of the soak test": _shown(results.requests.round(0).astype({"p50_ms": int, "p99_ms": int}))
        }
        return [Section("The server under load", prose("serving", **vars(results)), None, _shown(rates), details)]


EXPERIMENT = Serving()
_SHOWN = {"what": "what", "lines_a_second": "lines a second", "requests": "requests", "failed": "failed"}
_SHOWN |= {"wrong": "wrong answers", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}


def _rate(row: Mapping[str, Any]) -> str:
    return f"{row['lines_a_second']:,.0f}" if row["valid"] else f"none (slowest tested: {row['requests_a_second']:.1f})"


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[[name for name in _SHOWN if name in rows]].rename(columns=_SHOWN)


def _rates(settings: Settings, samples: str, reporter: Reporter) -> Iterator[dict[str, Any]]:
    """A row per LoadGen test of every subject that is installed."""
    for what, subject in SUBJECTS.items():
        if find_spec(subject.package):
            with subject.serving() if subject.module else nullcontext(None) as server:
                client = server and {"port": server[0], "path": subject.path}

                def test(rate: float, client: dict[str, Any] | None = client) -> dict[str, Any]:
                    timing = {"rate": rate, "seconds": max(settings.seconds, MIN_QUERIES / rate)}
                    request = {"samples": samples, "server": client, "bound": settings.bound, **timing}
                    return run_test("bench.experiments.serving.client", request)

                for row in highest_rate(test, subject.low, subject.high, subject.tests):
                    yield {"what": what, "lines_a_second": row["valid"] * row["requests_a_second"], **row}
        reporter.advance(what)


def _soak(settings: Settings, samples: str, rate: float) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run locust against the server: requests by kind; and lines per second, memory in MB, failures."""
    variables = {"SAMPLES": samples, "RATE": str(rate), "INVALID_RATE": str(settings.invalid)}
    seconds, memory = 60 * settings.minutes, list[tuple[float, float]]()
    with SUBJECTS[SERVER].serving() as (port, process), TemporaryDirectory() as logs:
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
        command += ["--users", str(_USERS), "--spawn-rate", str(_USERS), "-t", f"{seconds:.0f}s"]
        command += ["--host", url, "--csv", f"{logs}/soak", "--only-summary"]
        start, silent = time.monotonic(), subprocess.DEVNULL
        with subprocess.Popen(command, env={**os.environ, **variables}, stdout=silent, stderr=silent) as locust:
            while locust.poll() is None:
                memory.append((time.monotonic() - start, process.memory_info().rss / 1e6))
                time.sleep(2)
        stats, failures = (pd.read_csv(f"{logs}/soak_{name}.csv") for name in ("stats", "failures"))
        alive = urlopen(f"{url}/healthz", timeout=10).status == 200
    settled = [mb for second, mb in memory if second >= min(_SETTLES, seconds / 2)]
    requests = stats.loc[stats["Name"] != "Aggregated", list(_STATS)].rename(columns=_STATS)
    return requests, {
        "minutes": settings.minutes,
        "failures": failures[list(_FAILURES)].rename(columns=_FAILURES).to_dict("records"),
        "lines_a_second": float(stats.set_index("Name").loc["good", "Requests/s"]),
        "memory_mb": {"first": memory[0][1], "settled": settled[0], "end": settled[-1], "most": max(settled)},
        "alive": alive,
    }
