"""Attacks on a real server while plain requests go on: python -m tests.serving.attack [SECONDS]

Not part of the tests: it takes minutes. Prints a table: for each attack the times of plain requests, how many were
answered wrong or not at all, and the server's memory. In the end the server is told to stop in the middle of work.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import multiprocessing
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

import psutil
from PIL import Image

from tests.serving.test_api import GRID
from tests.serving.test_serve import serving

_DESCRIPTORS = 256  # that the server may open
_PLAIN_CLIENTS = 4
_PLAIN_PAUSE = 0.05  # seconds between two requests of one client
_ATTACKERS = 24


def post(port: int, request: Any) -> tuple[int, Any]:
    """Status and JSON, on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        body = request if isinstance(request, bytes) else json.dumps(request)
        connection.request("POST", "/v1/read", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _noise() -> str:
    file = io.BytesIO()
    Image.effect_noise((300, 32), 90).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


_HARD = {"images": [_noise()] * 64, "head": "ctc", "pattern": r"\d*1\d{9}", "top": 20}
_HARD_WITHOUT_PATTERN = {"images": [_noise()] * 64, "head": "ctc", "top": 20}
_STRINGS = b'{"images": [' + b'"",' * 5_000_000 + b'""]}'
_BLOCK, _BODY = b"x" * 100_000, bytes(15_900_000)
_number = itertools.count()


def _slow_pattern(port: int) -> None:
    post(port, {"images": _HARD["images"][:1], "pattern": rf"((\d{{1,20}}){{1,20}}){{1,{20 + next(_number)}}}"})


def _sent(port: int, data: bytes, hold: float) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        time.sleep(hold)


def _silent(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(20)]
    for connection in held:
        connection.sendall(b"POST /v1/read HTTP/1.1\r\nHost: here\r\nX-Half: ")
    time.sleep(2)
    for connection in held:
        connection.close()


def _endless_header(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        while True:
            connection.sendall(_BLOCK)


def _held_body(port: int) -> None:
    head = b"POST /v1/read HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 16000000\r\n\r\n"
    _sent(port, head + _BODY, 5)


_ATTACKS: dict[str, Callable[[int], Any] | None] = {
    "none": None,
    "hard searches": lambda port: post(port, _HARD),
    "hard, no pattern": lambda port: post(port, _HARD_WITHOUT_PATTERN),
    "slow patterns": _slow_pattern,
    "half headers": _silent,
    "endless header": _endless_header,
    "16 MB of strings": lambda port: post(port, _STRINGS),
    "held bodies": _held_body,
}


class _Plain:
    """Clients that ask for one line again and again.

    Attributes:
        seconds: of each answer; wrong, lost: answers.
    """

    def __init__(self, port: int, stop: threading.Event) -> None:
        self.seconds, self.wrong, self.lost = list[float](), 0, 0
        self._port, self._stop, self._body = port, stop, {"images": [base64.b64encode(GRID.read_bytes()).decode()]}
        self.threads = [threading.Thread(target=self._run) for _ in range(_PLAIN_CLIENTS)]

    def _run(self) -> None:
        while not self._stop.wait(_PLAIN_PAUSE):
            start = time.perf_counter()
            try:
                status, answer = post(self._port, self._body)
            except (OSError, HTTPException, ValueError):
                self.lost += 1
                continue
            self.seconds.append(time.perf_counter() - start)
            self.lost += status != 200
            self.wrong += status == 200 and answer["lines"][0]["text"] != "77253"


def _attack(port: int, name: str, attackers: int, begun: Any) -> None:
    """In a process of its own, until it is ended."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    attack = _ATTACKS[name]
    assert attack is not None

    def repeat() -> None:
        while True:
            with suppress(OSError, HTTPException, ValueError):  # it was refused
                attack(port)
            time.sleep(0.05)

    threads = [threading.Thread(target=repeat) for _ in range(attackers)]
    for thread in threads:
        thread.start()
    begun.set()
    threads[0].join()


@contextmanager
def _attacking(port: int, name: str, attackers: int = _ATTACKERS) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=_attack, args=(port, name, attackers, begun))
    if _ATTACKS[name] is not None:
        process.start()
        begun.wait(60)
        time.sleep(1)
    yield
    if process.pid is not None:
        process.kill()
        process.join()


def _measure(port: int, process: psutil.Process, name: str, seconds: float) -> str:
    stop, before = threading.Event(), _megabytes(process)
    plain, peak = _Plain(port, stop), before
    with _attacking(port, name):
        for thread in plain.threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            peak = max(peak, _megabytes(process))
            time.sleep(0.1)
        stop.set()
        for thread in plain.threads:
            thread.join(90)
    times = sorted(plain.seconds) or [float("nan")]
    p50, p99 = (1e3 * times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    return f"{len(plain.seconds):6} {p50:8.0f} {p99:8.0f} {plain.wrong:6} {plain.lost:6} {before:7.0f} {peak:7.0f}"


def _megabytes(process: psutil.Process) -> float:
    """Of the server and the process that compiles patterns for it."""
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 1e6


def main(seconds: float) -> None:
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, most))  # the server inherits it
    with serving() as (started, port):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
        process = psutil.Process(started.pid)
        post(port, {"images": [_noise()], "head": "ctc", "pattern": r"\d{5}"})
        print(f"{'attack':<18}{'plain':>6} {'p50 ms':>8} {'p99 ms':>8} {'wrong':>6} {'lost':>6} {'MB':>7} {'peak':>7}")
        for name in _ATTACKS:
            print(f"{name:<18}{_measure(port, process, name, seconds)}", flush=True)
        with _attacking(port, "hard searches", 1):
            start = time.monotonic()
            started.send_signal(signal.SIGTERM)
            code = started.wait(90)
        print(f"told to stop in the middle of it: exit code {code} after {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 15)
