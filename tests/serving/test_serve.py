"""`seqocr serve` as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from bench.experiments.serving.client import HTTPClient
from bench.experiments.serving.samples import Sample, form
from tests.serving.test_api import EXAMPLES

COMMAND = [sys.executable, "-m", "seqocr", "serve"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(*options: str, port: int | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = port or free_port()
    command = [*COMMAND, "--no-page", "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"http://127.0.0.1:{port}/docs: the interface\n"
            yield process, port
        finally:
            process.kill()


def ask(port: int, lines: list[Sample]) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body, kind = form(lines)
    connection.request("POST", "/v1/read", body, {"Content-Type": kind})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def examples(count: int) -> list[Sample]:
    return [Sample(EXAMPLES[i % len(EXAMPLES)].read_bytes(), "") for i in range(count)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_answers_what_it_has_accepted(number: int) -> None:
    with serving() as (process, port):
        assert ask(port, examples(1))[0] == 200
        found: dict[str, Any] = {}
        asking = threading.Thread(target=lambda: found.update(answer=ask(port, examples(64))))
        asking.start()
        deadline = time.monotonic() + 30
        while waiting(port) == 0 and asking.is_alive():
            assert time.monotonic() < deadline
        process.send_signal(number)
        asking.join(60)
        status, answer = found["answer"]
        assert status == 200
        assert len(answer["lines"]) == 64
        assert all(line["error"] is None for line in answer["lines"])
        # What is started in the background may be told to ignore Ctrl-C.
        assert process.wait(60) == (0 if signal.getsignal(number) == signal.SIG_IGN else 128 + number)
        assert "Traceback" not in process.communicate()[1]


def waiting(port: int) -> float:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return float(next(line for line in text.splitlines() if line.startswith("seqocr_queue_lines ")).split()[1])


def test_half_a_request_and_those_who_leave_harm_nobody() -> None:
    body, kind = form(examples(8))
    head = (
        f"POST /v1/read HTTP/1.1\r\nHost: here\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    with serving() as (process, port):
        wanted = [line["text"] for line in ask(port, examples(8))[1]["lines"]]
        for sent in (head[:20], head, head + body[:1000], head + body):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.sendall(sent)
        assert [line["text"] for line in ask(port, examples(8))[1]["lines"]] == wanted
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=60)[1]


def test_the_load_drivers_client_checks_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What LoadGen counts as wrong is wrong."""
    answered: list[Any] = []
    monkeypatch.setattr("bench.experiments.serving.client.complete", answered.append)
    right = next(Sample(path.read_bytes(), "77253") for path in EXAMPLES if "77253" in path.name)
    samples = [right, Sample(right.png, "77254"), Sample(b"no image", "")]
    with serving() as (_, port):
        client = HTTPClient(samples, port, "/v1/read")
        for number in (0, 0, 1, 2):
            client.issue(number, number)
        client.close()
        lost = HTTPClient(samples, free_port(), "/v1/read")
        lost.issue(9, 0)
        lost.close()
    assert (client.wrong, client.failed) == (1, 0)
    assert lost.failed == 1
    assert sorted(answered) == [0, 0, 1, 2, 9]


def test_a_port_that_is_taken_is_one_error(run_cli: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run_cli("serve", "--no-page", "--port", port)
    assert code == 2
    assert err.startswith(f"error: cannot listen at 127.0.0.1, port {port} (")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "0"], "--port"),
        (["--max-batch", "0"], "--max-batch"),
        (["--max-waiting", "0"], "--max-waiting"),
        (["--host", ""], "--host '': give an address"),
        (["--grace", "-1"], "--grace"),
        (["--token", ""], "the token is empty"),
        (["--token", "a\nb"], "the token begins or ends with a space"),
        (["--host", "nowhere.invalid"], "cannot listen at nowhere.invalid"),
        (["--weights", "nothing-here"], "nothing-here"),
    ],
)
def test_wrong_options_are_one_error(run_cli: Any, options: list[str], said: str) -> None:
    code, _, err = run_cli("serve", "--no-page", "--port", free_port(), *options)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_an_empty_variable_does_not_open_the_server(run_cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQOCR_TOKEN", "")
    code, _, err = run_cli("serve", "--no-page", "--port", free_port())
    assert (code, err.count("\n")) == (2, 1)
    assert "the token is empty" in err


def test_programs_are_served_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from seqocr.serving.app import create_app\n"
        "from seqocr.serving.service import Service\n"
        "create_app(Service()).routes\n"
        "print([name for name in ('torch', 'pandas', 'gradio', 'transformers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
