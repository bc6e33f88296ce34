"""Who asks a server during the long run (locust): good questions, bad ones, and people who leave.

Answers to good questions are checked. Environment: LINES (folder, see `requests`), RATE (good requests a
second), BAD (bad requests a second).
"""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from locust import FastHttpUser, User, constant_throughput, task

from bench.experiments.serving.requests import form, load

_LINES = load(Path(os.environ["LINES"]))
_BODIES: list[tuple[Any, str]] = [form([line]) for line in _LINES]
ASKING, SPOILING, LEAVING = 32, 4, 2  # users
_JSON = {"Content-Type": "application/json"}
# What is wrong, the status that it should get, and the request.
_BAD: list[tuple[str, int, dict[str, Any]]] = [
    ("no JSON", 422, {"data": b"{", "headers": _JSON}),
    ("nothing", 415, {"data": b""}),
    ("no images", 422, {"data": b"{}", "headers": _JSON}),
    ("no base64", 422, {"data": b'{"images": ["@@"]}', "headers": _JSON}),
    ("no such head", 422, {"data": b'{"images": ["AAAA"], "head": "best"}', "headers": _JSON}),
    ("no such pattern", 422, {"data": b'{"images": ["AAAA"], "pattern": "("}', "headers": _JSON}),
    ("too many images", 413, {"data": b'{"images": [' + b",".join([b'"AAAA"'] * 65) + b"]}", "headers": _JSON}),
    ("random bytes", 400, {"data": random.Random(0).randbytes(3000), "headers": {"Content-Type": _BODIES[0][1]}}),
    ("too large", 413, {"data": b"x" * 17_000_000, "headers": _JSON}),
]
_WEIGHTS = [10] * (len(_BAD) - 1) + [1]


class Asks(FastHttpUser):
    fixed_count = ASKING
    wait_time = constant_throughput(float(os.environ["RATE"]) / ASKING)

    def on_start(self) -> None:
        # Locust starts users together; without this they would also ask together, ever after.
        time.sleep(random.uniform(0, ASKING / float(os.environ["RATE"])))

    @task
    def read(self) -> None:
        number = random.randrange(len(_LINES))
        body, kind = _BODIES[number]
        with self.client.post(
            "/v1/read",
            body,
            headers={"Content-Type": kind},
            name="good",
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif [line["text"] for line in answer.json()["lines"]] != [_LINES[number].text]:
                answer.failure("wrong answer")


class Spoils(FastHttpUser):
    fixed_count = SPOILING
    wait_time = constant_throughput(float(os.environ["BAD"]) / SPOILING)

    @task
    def spoil(self) -> None:
        name, status, sent = random.choices(_BAD, _WEIGHTS)[0]
        with self.client.post("/v1/read", **sent, name=f"bad: {name}", catch_response=True) as answer:
            # Where a request is refused before it was sent whole, some see only that the connection is closed.
            if answer.status_code == status or (name == "too large" and answer.status_code == 0):
                answer.success()
            else:
                answer.failure(f"status {answer.status_code} in place of {status}")


class Leaves(User):
    fixed_count = LEAVING
    wait_time = constant_throughput(1)

    @task(3)
    def hang_up(self) -> None:
        self._send("hung up", 1.0, 0.0)

    @task(1)
    def send_half(self) -> None:
        self._send("half a request", 0.5, 2.0)

    def _send(self, name: str, share: float, seconds: float) -> None:
        at, start = urlsplit(str(self.host)), time.perf_counter()
        body, kind = random.choice(_BODIES)
        head = f"POST /v1/read HTTP/1.1\r\nHost: {at.hostname}\r\nContent-Type: {kind}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((at.hostname, at.port), timeout=10) as connection:
            connection.sendall(head.encode() + body[: int(share * len(body))])
            time.sleep(seconds)
        self.environment.events.request.fire(
            request_type="raw", name=name, response_time=1e3 * (time.perf_counter() - start), response_length=0,
            exception=None, context={},
        )  # fmt: skip
