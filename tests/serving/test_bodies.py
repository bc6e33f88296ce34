"""Bodies of requests: what cannot be used is one clear error, and memory has limits."""

from __future__ import annotations

import base64
import tempfile
from typing import Any

import pytest
from starlette.exceptions import HTTPException

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi.testclient import TestClient

from seqocr.serving.app import create_app
from seqocr.serving.bodies import SMALL, Memory
from seqocr.serving.service import Service
from tests.serving.test_api import GRID, JSON, b64, png


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"json": {}}, 422, "images: Field required"),
        ({"json": {"images": []}}, 422, "images"),
        ({"json": {"images": ["@@"]}}, 422, "image 0 is not base64"),
        ({"json": {"images": [b64(png())[:-1]]}}, 422, "are no multiple of 4"),
        ({"json": {"images": [b64(png())[:-5] + "-_=="]}}, 422, "it has - or _, as base64 for URLs has"),
        ({"json": {"images": [""] * 2000}}, 413, "more values than a request for 8 images has"),
        ({"content": b'{"images": [' + b"0," * 5000 + b"0]}", "headers": JSON}, 413, "more values"),
        ({"json": {"images": [b64(png())], "head": "x" * 10_000}}, 422, "head: String should have at most 100"),
        ({"json": {"images": [b64(png())], "x" * 1000: 1}}, 422, "x" * 300 + "…"),
        ({"files": [("images", png())] * 9}, 413, "Too many files"),
        ({"json": {"images": [b64(png())], "head": "best"}}, 422, "no head 'best': choose one of"),
        ({"json": {"images": [b64(png())], "pattern": "("}}, 422, "("),
        ({"json": {"images": [b64(png())], "pattern": r"\d{25}"}}, 422, "at most 24"),
        ({"json": {"images": [b64(png())], "pattern": "1+", "charset": "1"}}, 422, "charset beside pattern"),
        ({"json": {"images": [b64(png())], "charset": "1x"}}, 422, "charset '1x'"),
        ({"json": {"images": [b64(png())], "check": "nothing"}}, 422, "nothing"),
        ({"json": {"images": [b64(png())], "top": 0}}, 422, "top: "),
        ({"json": {"images": [b64(png())], "min_confidence": "high"}}, 422, "min_confidence: "),
        ({"json": {"images": [b64(png())], "path": "/etc/passwd"}}, 422, "path: Extra inputs"),
        ({"json": {"images": [b64(png())] * 9}}, 413, "9 images: give at most 8"),
        ({"json": {"images": ["A" * 2_000_000]}}, 413, "more than 1 MB"),
        ({"content": b"{", "headers": JSON}, 422, "Invalid JSON"),
        ({"content": b"x"}, 415, "content type 'unknown'"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "'text/plain'"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, ""),
        ({"data": {"images": "text"}, "files": {"other": b""}}, 422, "other is a file"),
        ({"files": {"images": png()}, "data": {"top": "many"}}, 422, "top: "),
    ],
)
def test_a_request_that_cannot_be_used_gets_one_clear_error(
    client: TestClient, sent: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/v1/read", **sent)
    assert answer.status_code == status
    assert said.lower() in answer.json()["error"].lower()
    assert "Traceback" not in answer.text


def test_bytes_are_counted_where_no_length_is_said(client: TestClient) -> None:
    answer = client.post("/v1/read", content=iter([b"x" * 500_000] * 3), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("data", [base64.encodebytes(GRID.read_bytes()).decode(), f" {b64(GRID.read_bytes())}\r\n\t"])
def test_base64_may_have_line_breaks(client: TestClient, data: str) -> None:
    for text in (data, f"data:image/png;base64,{data}"):
        (line,) = client.post("/v1/read", json={"images": [text]}).json()["lines"]
        assert line["text"] == "77253"


def test_forms_take_no_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no reason not to read."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [])
    monkeypatch.setattr(tempfile, "tempdir", None)
    large = GRID.read_bytes() + bytes(2_000_000)
    with TestClient(create_app(Service())) as client:
        (line,) = client.post("/v1/read", files=[("images", large)]).json()["lines"]
    assert line["text"] == "77253"


def test_all_requests_together_are_bounded_but_small_ones_always_pass() -> None:
    memory = Memory(100_000)
    with memory.share() as large, memory.share() as small:
        large.add(SMALL + 100_000)
        with pytest.raises(HTTPException) as refused:
            large.add(1)
        assert refused.value.status_code == 503
        small.add(SMALL)
        with pytest.raises(HTTPException):
            small.add(1)
        assert memory.held == 100_000
    assert memory.held == 0
