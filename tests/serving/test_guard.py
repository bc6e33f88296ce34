"""Checks against web pages of strangers, headers of all responses, tokens that cannot be meant, and errors."""

from __future__ import annotations

import logging
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi import FastAPI
from fastapi.testclient import TestClient

from seqocr.errors import InputError
from seqocr.serving.guard import Guard, check_token


def client(hosts: list[str] | None) -> TestClient:
    app = FastAPI()
    app.add_middleware(Guard, hosts=hosts)

    @app.api_route("/", methods=["GET", "POST"])
    def root() -> str:
        return "fine"

    @app.get("/fails")
    def fails() -> str:
        raise KeyError("nothing\n" * 1000)

    return TestClient(app)


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("127.0.0.1:7860", True),
        ("192.168.0.7", True),
        ("[::1]:7860", True),
        ("localhost:7860", True),
        ("seqocr:7860", True),
        ("here.localhost", True),
        ("Machine.example.org:80", True),
        ("rebound.example.com", False),
        ("127.0.0.1.example.com:7860", False),
        ("a@b.example.com", False),
        ("[::1", False),
    ],
)
def test_an_open_server_is_asked_by_names_that_are_expected(host: str, accepted: bool) -> None:
    answer = client(["machine.example.org"]).get("/", headers={"host": host})
    assert answer.status_code == (200 if accepted else 403)
    assert accepted or "--allow-host" in answer.json()["error"]
    assert client(None).get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        (None, True),
        ("http://localhost:7860", True),
        ("http://localhost", False),
        ("http://evil.example.com", False),
        ("null", False),
    ],
)
def test_pages_of_other_sites_send_nothing_to_an_open_server(origin: str | None, accepted: bool) -> None:
    headers = {"host": "localhost:7860"} | ({} if origin is None else {"origin": origin})
    for hosts in ([], None):
        assert client(hosts).get("/", headers=headers).status_code == 200
    assert client([]).post("/", headers=headers).status_code == (200 if accepted else 403)
    assert client(None).post("/", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/fails", "/nowhere"])
def test_all_responses_carry_the_headers(path: str) -> None:
    headers = client([]).get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]


def test_an_error_of_ours_is_one_line_in_the_log_without_folders(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = client([]).get("/fails")
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed at this request: its log says more"}
    (record,) = [record for record in caplog.records if record.name == "seqocr.serving.guard"]
    said = record.getMessage()
    assert said.startswith("GET /fails failed: KeyError: ")
    assert "test_guard.py, line " in said
    assert "/tests/" not in said
    assert len(said) < 500


@pytest.mark.parametrize("token", ["", "\n", " ", "a\nb", " a", "a\n\n", "a\x00"])
def test_tokens_that_cannot_be_meant_are_refused(token: str) -> None:
    with pytest.raises(InputError, match="the token"):
        check_token(token)


def test_one_line_break_at_the_end_of_a_token_does_not_count() -> None:
    given: list[Any] = [None, "a", "a\n", "a\r\n", "ü b"]
    assert [check_token(token) for token in given] == [None, "a", "a", "a", "ü b"]
