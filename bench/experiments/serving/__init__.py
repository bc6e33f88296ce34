"""Serving: lines per second of `seqocr serve` beside the library, and a soak test with invalid requests."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
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
from bench.experiments.serving.samples import make_samples, save_samples
from bench.report.templating import prose
from bench.workloads.loadgen import MIN_QUERIES, highest_rate, run_test
from seqocr.progress import Reporter

RATES, SOAK = "serving-rates", "serving-soak"
_SETTLES = 60  # seconds until memory is what it stays
_USERS = 38  # of the locustfile, all kinds together


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
    SERVER: Subject("seqocr.cli serve --no-page --port {port}", "/v1/read", "/readyz"),
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
class Rates:
    """Attributes:
    bound: seconds that 99 % of requests may take. seconds: shortest duration of a test.
    """

    bound: float = 0.1
    seconds: float = 5.0


@dataclass(frozen=True)
class Soak:
    """Attributes:
    share: of the server's highest rate. invalid: invalid requests per second.
    """

    minutes: float
    share: float = 0.9
    invalid: float = 10_000 / 600


@dataclass(frozen=True)
class Results:
    """Attributes:
    rates: one row per subject, of the test at its highest rate, or at the slowest where none was valid.
    requests: one row per kind of request of the soak test. soak: minutes, lines per second, memory.
    environment: of the measurement.
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
        "locust": "locust",
        "mlperf_loadgen": "mlcommons-loadgen",
        "uvicorn": "uvicorn",
    }

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        soak = Soak(0.2 if preset == "smoke" else 10.0)
        return [Part(RATES, Rates(), len(SUBJECTS)), Part(SOAK, soak)]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        with TemporaryDirectory() as name:
            folder = Path(name)
            save_samples(make_samples("parallel"), folder)
            if part.name == RATES:
                bench.store.write(RATES, pd.DataFrame(_rates(part.settings, folder, reporter)))
            else:
                rates = _chosen(bench.store.read(RATES)).set_index("what")["lines_a_second"]
                requests, facts = _soak(part.settings, folder, part.settings.share * rates[SERVER])
                bench.store.write(SOAK, requests)
                bench.store.add_facts(SOAK, **facts)

    def results(self, store: Store) -> Results | None:
        facts, soak = store.facts(RATES), store.facts(SOAK)
        if not (facts.get("finished") and soak.get("finished")):
            return None
        bound = facts["depends"]["settings"]["bound"]
        return Results(bound, _chosen(store.read(RATES)), store.read(SOAK), soak, store.environment(RATES))

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"serving": results.rates, "serving_requests": results.requests}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        rates = pd.DataFrame(
            {
                "what": row["what"],
                "lines a second": f"{row['lines_a_second']:,.0f}",
                **{f"p{p}, ms": f"{row[f'p{p}_ms']:.1f}" for p in (50, 99)},
                "wrong answers": row["wrong"],
                "no answer": row["failed"],
            }
            for row in results.rates.to_dict("records")
        )
        requests = pd.DataFrame(
            {
                "what": row["what"],
                "requests": f"{row['requests']:,}",
                "not answered as they should be": row["failed"],
                **{f"p{p}, ms": f"{row[f'p{p}_ms']:.0f}" for p in (50, 99)},
            }
            for row in results.requests.to_dict("records")
        )
        text = prose("serving", **asdict(results))
        return [Section("The server under load", text, None, rates, {"Requests of the soak test": requests})]


EXPERIMENT = Serving()


def _chosen(rates: pd.DataFrame) -> pd.DataFrame:
    return rates[rates["chosen"]].drop(columns="chosen").reset_index(drop=True)


def _rates(settings: Rates, folder: Path, reporter: Reporter) -> Iterator[dict[str, Any]]:
    """A row per LoadGen test of every subject that is installed."""
    for what, subject in SUBJECTS.items():
        if find_spec(subject.package):
            with _running(subject) as server:
                request = {"samples": str(folder), "server": server, **asdict(settings)}

                def test(rate: float, request: dict[str, Any] = request) -> dict[str, Any]:
                    seconds = max(settings.seconds, MIN_QUERIES / rate)
                    return run_test("bench.experiments.serving.client", {**request, "rate": rate, "seconds": seconds})

                for row in highest_rate(test, subject.low, subject.high, subject.tests):
                    yield {"what": what, "lines_a_second": row["valid"] * row["requests_a_second"], **row}
        reporter.advance(what)


@contextmanager
def _running(subject: Subject) -> Iterator[dict[str, Any] | None]:
    """What the client needs to know of a server; None for the library."""
    with subject.serving() if subject.module else nullcontext(None) as server:
        yield server and {"port": server[0], "path": subject.path}


def _soak(settings: Soak, folder: Path, rate: float) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run locust against the server: requests by kind; and lines per second, memory, failures."""
    variables = {"SAMPLES": str(folder), "RATE": str(rate), "INVALID_RATE": str(settings.invalid)}
    seconds, memory = 60 * settings.minutes, list[tuple[float, float]]()
    with SUBJECTS[SERVER].serving() as (port, process), TemporaryDirectory() as logs:
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
        command += ["--users", str(_USERS), "--spawn-rate", str(_USERS), "-t", f"{seconds:.0f}s"]
        command += ["--host", url, "--csv", f"{logs}/soak", "--only-summary"]
        start, silent = time.monotonic(), subprocess.DEVNULL
        with subprocess.Popen(command, env={**os.environ, **variables}, stdout=silent, stderr=silent) as locust:
            while locust.poll() is None:
                memory.append((time.monotonic() - start, _megabytes(process)))
                time.sleep(2)
        rows, failures = (_read_csv(Path(f"{logs}/soak_{name}.csv")) for name in ("stats", "failures"))
        alive = urlopen(f"{url}/healthz", timeout=10).status == 200
    settled = [mb for second, mb in memory if second >= min(_SETTLES, seconds / 2)]
    requests = pd.DataFrame(
        {
            "what": row["Name"],
            "requests": int(row["Request Count"]),
            "failed": int(row["Failure Count"]),
            "p50_ms": float(row["50%"]),
            "p99_ms": float(row["99%"]),
        }
        for row in rows
        if row["Name"] != "Aggregated"
    )
    return requests, {
        "minutes": settings.minutes,
        "failures": [{"what": r["Name"], "error": r["Error"], "times": int(r["Occurrences"])} for r in failures],
        "lines_a_second": next(float(row["Requests/s"]) for row in rows if row["Name"] == "good"),
        "memory_mb": {"first": memory[0][1], "settled": settled[0], "end": settled[-1], "most": max(settled)},
        "alive": alive,
    }


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 1e6)
