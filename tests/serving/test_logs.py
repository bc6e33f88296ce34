"""Structured logs of the server."""

from __future__ import annotations

import json
import signal
from datetime import datetime
from http.client import HTTPConnection
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from tests.serving.test_serve import ask, examples, serving


def logged(*options: str) -> list[str]:
    """Lines on standard error of a server that got three requests."""
    with serving(*options) as (process, port):
        assert ask(port, examples(3))[0] == 200
        for path, headers in (("/nowhere", {"X-Request-ID": "abc"}), ("/healthz", {"Host": "stranger.example"})):
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", path, headers=headers)
            connection.getresponse().read()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert process.stderr is not None
        return process.stderr.read().splitlines()


def test_every_line_is_an_object_and_every_request_a_line() -> None:
    found: list[dict[str, Any]] = [json.loads(line) for line in logged("--log", "json") if line != "terminated"]
    for each in found:
        assert datetime.fromisoformat(each["time"]).tzinfo is not None
        assert {"level", "logger", "message"} <= each.keys()
    requests = [each for each in found if each["logger"] == "seqocr.requests"]
    assert [(each["method"], each["path"], each["status"]) for each in requests] == [
        ("POST", "/v1/read", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/healthz", 403),
    ]
    assert [each.get("lines") for each in requests] == [3, None, None]
    assert [each.get("request_id") for each in requests] == [None, "abc", None]
    assert all(0 < each["seconds"] < 60 for each in requests)


def test_as_text_requests_are_not_logged() -> None:
    assert logged() == ["terminated"]
