"""The server below the interface: connections without a request, headers without an end, and its own end."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from seqocr.serving import server
from seqocr.serving.server import Server

_HALF = b"GET / HTTP/1.1\r\nHost: here\r\nX-Half: "
_WHOLE = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


class Application:
    """Answers each request, or holds it until `stop` is called, as a service's."""

    def __init__(self) -> None:
        self.held, self.go = threading.Event(), threading.Event()

    def stop(self) -> None:
        self.go.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["path"] == "/held":
            self.held.set()
            await asyncio.to_thread(self.go.wait, 30)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Server, Application, int]]]:
    """Starts a server in a thread: it, its application, and its port."""
    running = list[tuple[Server, threading.Thread]]()

    def start(grace: float = 0.2) -> tuple[Server, Application, int]:
        application = Application()
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        found = Server(application, application, grace)  # type: ignore[arg-type]
        thread = threading.Thread(target=found.run, args=([listening],), daemon=True)
        thread.start()
        running.append((found, thread))
        return found, application, port

    yield start
    for each, thread in running:
        each.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket) -> bytes:
    """What comes until the connection is closed, or nothing more is said to come."""
    received = b""
    try:
        while not received.endswith(b"\r\n\r\nok") and (more := connection.recv(65536)):
            received += more
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize("sent", [b"", _HALF, _WHOLE + _HALF])
def test_a_connection_that_sends_no_whole_header_is_closed(
    sent: bytes, start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "_HEADER_SECONDS", 0.3)
    _, _, port = start()
    with connect(port, sent) as connection:
        begin = time.monotonic()
        if sent.startswith(_WHOLE):
            assert answer(connection).endswith(b"ok")
        assert answer(connection) == b""
        assert time.monotonic() - begin < 3  # sooner than an idle connection
    assert "it sent no whole header in 0.3 s" in caplog.text


def test_a_request_that_takes_long_is_not_closed_for_it(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HEADER_SECONDS", 0.2)
    _, application, port = start()
    with connect(port, _WHOLE.replace(b"/", b"/held", 1)) as connection:
        assert application.held.wait(30)
        time.sleep(0.5)
        application.go.set()
        assert answer(connection).endswith(b"ok")


@pytest.mark.parametrize("sent", [b"", _HALF])
def test_silent_connections_keep_nobody_out(
    sent: bytes, start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 10)
    running, _, port = start()
    silent = [connect(port, sent) for _ in range(50)]
    for _ in range(5):
        with connect(port, _WHOLE) as connection:
            assert answer(connection).endswith(b"ok")
    assert len(running.server_state.connections) <= 11
    for connection in silent:
        connection.close()
    assert caplog.text.count("there are more than 10 connections") == 1


def test_a_header_has_an_end(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    _, _, port = start()
    with connect(port, _HALF) as connection, pytest.raises(ConnectionError):
        connection.sendall(b"x" * 10_000_000)
    with connect(port, b"no HTTP\r\n\r\n") as connection:
        assert answer(connection).startswith(b"HTTP/1.1 400 ")
    with connect(port, _WHOLE) as connection:
        assert answer(connection).endswith(b"ok")
    assert caplog.text.count("its header has more than 32,000 bytes") == 1  # a flood does not fill the log


def test_after_the_grace_it_does_not_wait(start: Any) -> None:
    running, application, port = start(grace=0.3)
    with connect(port, _WHOLE.replace(b"/", b"/held", 1)) as connection:
        assert application.held.wait(30)
        running.should_exit = True
        begin = time.monotonic()
        assert answer(connection).endswith(b"ok")  # `stop` was called
        assert 0.3 <= time.monotonic() - begin < 3


def test_a_second_signal_ends_the_process_and_so_does_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, timers = list[int](), list[Any]()
    monkeypatch.setattr(server.os, "_exit", ended.append)

    class Timer:
        def __init__(self, seconds: float, function: Any, arguments: Any) -> None:
            timers.append((seconds, function, arguments))

        def start(self) -> None:
            pass

    monkeypatch.setattr(server.threading, "Timer", Timer)
    stopping = Server(Application(), Application(), 5.0)  # type: ignore[arg-type]
    stopping.handle_exit(signal.SIGTERM, None)
    ((seconds, function, arguments),) = timers
    assert (ended, seconds) == ([], 7.0)
    stopping.handle_exit(signal.SIGTERM, None)
    function(*arguments)
    assert ended == [143, 143]


def test_half_of_the_file_descriptors_are_for_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for allowed, most in ((256, 128), (10, 8), (1_000_000, 1000), (resource.RLIM_INFINITY, 1000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        assert server.most_connections() == most
