"""What `python -m bench serving` does, and the page that it writes."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from bench.experiments.serving.requests import made, save
from bench.report.formatting import markdown_table
from seqocr.environment import describe
from seqocr.errors import InputError
from seqocr.files import write_json, write_text

BOUND = 0.1  # seconds that 99 % of requests may take
_BAD_REQUESTS = 10_000
_SETTLES = 60  # seconds until memory is what it stays
_USERS = 38  # of the locustfile, all kinds together


@dataclass(frozen=True)
class Server:
    """Something that answers over HTTP.

    Attributes:
        command: with {port}.
        path: that images are posted to.
        alive: that is asked until it answers.
        quiet: whether what it says of every request is left out.
    """

    name: str
    command: list[str]
    path: str
    alive: str
    quiet: bool = False


_OURS = [sys.executable, "-m", "seqocr.cli", "serve", "--no-page", "--port", "{port}"]
_RAPIDOCR = [
    sys.executable,
    "-m",
    "uvicorn",
    "bench.experiments.serving.rapidocr_server:app",
    "--port",
    "{port}",
    "--log-level",
    "error",
]
OURS = Server("seqocr serve", _OURS, "/v1/read", "/readyz")
RAPIDOCR = Server("RapidOCR behind FastAPI", _RAPIDOCR, "/ocr", "/")


def missing() -> str:
    """What is to be installed, or nothing."""
    return ", ".join(name for name in ("locust", "mlperf_loadgen", "uvicorn") if not find_spec(name))


def run(out: Path, minutes: float, seconds: float = 5.0) -> Path:
    """Measure, write serving.json and serving.md; returns the page's path.

    Args:
        minutes: of the long run.
        seconds: of each test that looks for the highest rate.

    Raises:
        InputError: something is not installed.
    """
    if names := missing():
        raise InputError(f"{names} not installed: make extras")
    with TemporaryDirectory() as name:
        folder = Path(name)
        save(made(), folder)
        rates = [_highest("library", None, folder, seconds)]
        with serving(OURS) as (port, _):
            rates.append(_highest(OURS.name, _asked(OURS, port), folder, seconds))
        if find_spec("rapidocr_onnxruntime"):
            with serving(RAPIDOCR) as (port, _):
                rates.append(_highest(RAPIDOCR.name, _asked(RAPIDOCR, port), folder, seconds, 4.0, 60.0, 4))
        with serving(OURS) as (port, process):
            long = _long_run(port, process, folder, rates[1]["lines_a_second"], minutes)
    found = {"environment": describe(), "bound_ms": 1e3 * BOUND, "rates": rates, "long": long}
    write_json(out / "serving.json", found)
    write_text(out / "serving.md", page(found))
    return out / "serving.md"


def _asked(server: Server, port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "path": server.path}


@contextmanager
def serving(server: Server) -> Iterator[tuple[int, psutil.Process]]:
    """Within the block, it runs and answers.

    Yields:
        its port, and its process.

    Raises:
        RuntimeError: it ends before it answers.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [part.format(port=port) for part in server.command]
    said = subprocess.DEVNULL if server.quiet else None
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as process:
        try:
            for _ in range(600):
                try:
                    urlopen(f"http://127.0.0.1:{port}{server.alive}", timeout=5).close()
                    break
                except (URLError, OSError):
                    if process.poll() is not None:
                        raise RuntimeError(f"{server.name} ended with {process.returncode}") from None
                    time.sleep(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _highest(
    what: str,
    server: dict[str, Any] | None,
    folder: Path,
    seconds: float,
    slowest: float = 50.0,
    fastest: float = 1500.0,
    tests: int = 7,
) -> dict[str, Any]:
    """The highest rate at which 99 % of requests are answered within the bound: bisection, in equal ratios.

    Args:
        slowest: lines a second that it is thought to read.
        fastest: lines a second that it is thought not to read.
        tests: that close in on it.
    """
    low, high = slowest, fastest
    best: dict[str, Any] | None = None
    found: dict[str, Any] = {}
    for _ in range(tests):
        rate = (low * high) ** 0.5
        found = _tested(server, folder, rate, seconds)
        print(f"{what}, {rate:,.0f} lines/s: {found}", file=sys.stderr, flush=True)
        good = found["valid"]
        low, high = (rate, high) if good else (low, rate)
        if good:
            best = found
    if best is None:  # at none of them
        return {"what": what, "lines_a_second": 0.0, **found, "valid": False}
    return {"what": what, "lines_a_second": best["requests_a_second"], **best}


def _tested(server: dict[str, Any] | None, folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    with TemporaryDirectory() as logs:
        request = {"server": server, "lines": str(folder), "logs": logs, "rate": rate}
        # LoadGen wants some 660 queries to be sure of a 99th percentile.
        request |= {"seconds": max(seconds, 750 / rate), "bound": BOUND}
        command = [sys.executable, "-m", "bench.experiments.serving.loadgen", json.dumps(request)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the driver failed: {done.stderr.strip()[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _long_run(port: int, process: psutil.Process, folder: Path, highest: float, minutes: float) -> dict[str, Any]:
    """Locust at the rate that was found, less a tenth for what is mixed in: bad requests, people who leave."""
    seconds, rate = 60 * minutes, 0.9 * highest
    settings = {"LINES": str(folder), "RATE": str(rate)}
    settings["BAD"] = str(_BAD_REQUESTS / 600)
    at = f"http://127.0.0.1:{port}"
    memory: list[tuple[float, float]] = []
    with TemporaryDirectory() as logs:
        command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
        command += ["--users", str(_USERS), "--spawn-rate", str(_USERS), "-t", f"{seconds:.0f}s"]
        command += ["--host", at, "--csv", f"{logs}/long", "--only-summary"]
        start = time.monotonic()
        with subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as locust:
            while locust.poll() is None:
                memory.append((time.monotonic() - start, process.memory_info().rss / 1e6))
                time.sleep(2)
        rows = list(csv.DictReader((Path(logs) / "long_stats.csv").open(encoding="utf-8")))
        failures = list(csv.DictReader((Path(logs) / "long_failures.csv").open(encoding="utf-8")))
    alive = urlopen(f"{at}/healthz", timeout=10).status == 200
    settled = [mb for at_second, mb in memory if at_second >= min(_SETTLES, seconds / 2)]
    return {
        "minutes": minutes,
        "asked": [
            {
                "what": row["Name"],
                "requests": int(row["Request Count"]),
                "failed": int(row["Failure Count"]),
                "p50_ms": float(row["50%"]),
                "p99_ms": float(row["99%"]),
            }
            for row in rows
            if row["Name"] != "Aggregated"
        ],
        "failures": [
            {"what": row["Name"], "error": row["Error"], "times": int(row["Occurrences"])} for row in failures
        ],
        "lines_a_second": next(float(r["Requests/s"]) for r in rows if r["Name"] == "good"),
        "memory_mb": {"first": memory[0][1], "settled": settled[0], "end": settled[-1], "most": max(settled)},
        "alive": alive,
    }


def page(found: dict[str, Any]) -> str:
    """As Markdown."""
    import pandas as pd

    rates = pd.DataFrame(
        {
            "what": row["what"],
            "lines a second": f"{row['lines_a_second']:,.0f}",
            **{f"p{p}, ms": f"{row[f'p{p}_ms']:.1f}" for p in (50, 99)},
            "wrong answers": row["wrong"],
            "no answer": row["failed"],
        }
        for row in found["rates"]
    )
    long = found["long"]
    asked = pd.DataFrame(
        {
            "what": row["what"],
            "requests": f"{row['requests']:,}",
            "not answered as they should be": row["failed"],
            **{f"p{p}, ms": f"{row[f'p{p}_ms']:.0f}" for p in (50, 99)},
        }
        for row in long["asked"]
    )
    memory = long["memory_mb"]
    return f"""# The server under load

{found["environment"]["cpu"]}, {found["environment"]["threads"]} threads, which server and clients share.

The highest rate at which 99 % of requests are answered within {found["bound_ms"]:g} ms (LoadGen's Server scenario:
requests of one line, at random moments). "library" reads the same PNGs through the same queue, without HTTP, in the
process that asks.

{markdown_table(rates)}

{long["minutes"]:g} minutes at nine tenths of the highest rate, beside bad
requests and people who leave (locust): {long["lines_a_second"]:,.0f} lines a second. Memory:
{memory["settled"]:.0f} MB after a minute, {memory["end"]:.0f} MB at the end, {memory["most"]:.0f} MB at most.

{markdown_table(asked)}
"""
