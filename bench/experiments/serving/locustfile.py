"""Users of a server during the soak test (locust): valid requests, invalid ones, and clients that disconnect.

Responses to valid requests are checked. Environment: SAMPLES (a folder, see `samples`), RATE and INVALID_RATE (requests
per second of each kind).
"""

import os
import random
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from locust import FastHttpUser, User, constant_throughput, task

from bench.experiments.serving.samples import form, load_samples

_SAMPLES = load_samples(Path(os.environ["SAMPLES"]))
_BODIES: list[tuple[Any, str]] = [form([sample]) for sample in _SAMPLES]
_RATE, _INVALID_RATE = (float(os.environ[name]) for name in ("RATE", "INVALID_RATE"))
VALID, INVALID, DISCONNECTING = 32, 4, 2  # users
_JSON = {"Content-Type": "application/json"}
# What is wrong, the expected status, and the request.
_REQUESTS: list[tuple[str, int, dict[str, Any]]] = [
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
_WEIGHTS = [10] * (len(_REQUESTS) - 1) + [1]


class ValidUser(FastHttpUser):
    fixed_count = VALID
    wait_time = constant_throughput(_RATE / VALID)

    def on_start(self) -> None:
        # Locust starts users together; without this, they would also send requests together ever after.
        time.sleep(random.uniform(0, VALID / _RATE))

    @task
    def read(self) -> None:
        index = random.randrange(len(_SAMPLES))
        body, kind = _BODIES[index]
        headers = {"Content-Type": kind}
        with self.client.post("/v1/read", body, headers=headers, name="good", catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif [line["text"] for line in response.json()["lines"]] != [_SAMPLES[index].text]:
                response.failure("wrong answer")


class InvalidUser(FastHttpUser):
    fixed_count = INVALID
    wait_time = constant_throughput(_INVALID_RATE / INVALID)

    @task
    def send(self) -> None:
        name, status, request = random.choices(_REQUESTS, _WEIGHTS)[0]
        with self.client.post("/v1/read", **request, name=f"bad: {name}", catch_response=True) as response:
            # Where a request is refused before it was sent whole, some see only that the connection is closed.
            if response.status_code == status or (name == "too large" and response.status_code == 0):
                response.success()
            else:
                response.failure(f"status {response.status_code} in place of {status}")


class DisconnectingUser(User):
    fixed_count = DISCONNECTING
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
