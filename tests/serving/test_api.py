"""The interface over HTTP: right answers, one clear error for what is wrong, nothing lost at the end."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi.testclient import TestClient

from seqocr import demo
from seqocr.data.sources.datasets import DIGITS
from seqocr.inference.load import load
from seqocr.inference.predict import predict
from seqocr.inference.prediction import Prediction, ReadOptions
from seqocr.serving import routes
from seqocr.serving import service as service_module
from seqocr.serving.app import create_app
from seqocr.serving.service import Service

EXAMPLES = sorted((Path(demo.__file__).parent / "examples").glob("*.png"))
JSON = {"content-type": "application/json"}
GRID = next(path for path in EXAMPLES if path.name == "grid-77253.png")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int = 60, height: int = 30) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), 255).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("head", ["parallel", "ctc", "ar"])
@pytest.mark.parametrize("way", ["json", "form"])
def test_it_reads_what_the_library_reads(client: TestClient, head: str, way: str) -> None:
    reader, paths = load(None, head), EXAMPLES[:8]  # as many as a request may have
    asked, lines = ReadOptions(head, top=2, symbols=True), [Image.open(path).convert("L") for path in paths]
    wanted = [predict(reader, [line], asked)[0] for line in lines]
    if way == "json":
        sent: Any = {"json": {"images": [b64(path.read_bytes()) for path in paths], "head": head, "top": 2}}
    else:
        files = [("images", (path.name, path.read_bytes())) for path in paths]
        sent = {"files": files, "data": {"head": head, "top": "2"}}
    answer = client.post("/v1/read", **sent)
    assert answer.status_code == 200
    lines = answer.json()["lines"]
    assert [line["text"] for line in lines] == [each.text for each in wanted]
    assert "77253" in [line["text"] for line in lines]
    for line, want in zip(lines, wanted, strict=True):
        assert line["confidence"] == pytest.approx(want.confidence, abs=1e-3)
        assert [each["text"] for each in line["symbols"]] == list(line["text"])
        assert line["passes"] == want.passes
        assert [each["text"] for each in line["others"]] == [text for text, _ in want.alternatives]
        assert 0 < line["milliseconds"] <= answer.json()["milliseconds"]


def test_places_are_told_where_they_are_asked_for(client: TestClient) -> None:
    image = b64(GRID.read_bytes())
    for asked in (False, True):
        (line,) = client.post("/v1/read", json={"images": [image], "places": asked}).json()["lines"]
        places = [x for each in line["symbols"] for x in (each["left"], each["right"])]
        assert places == sorted(places) if asked else set(places) == {None}
        assert len(line["symbols"]) == 5


def test_only_texts_of_the_form_are_read(client: TestClient) -> None:
    image = b64(GRID.read_bytes())
    for form in ({"pattern": r"\d{3}"}, {"charset": "017"}, {"check": "luhn"}):
        (line,) = client.post("/v1/read", json={"images": [image], "min_fit": 0, **form}).json()["lines"]
        assert line["fits"]
        assert line["text"] != "77253"
    (line,) = client.post("/v1/read", json={"images": [image], "charset": "017"}).json()["lines"]
    assert set(line["text"]) <= set("017")


def test_marks_are_read_where_they_are_asked_for(client: TestClient) -> None:
    line, charset = Image.new("L", (200, 48), 255), "0123456789.-"
    draw = ImageDraw.Draw(line)
    draw.text((24, 6), "-57", fill=0, font=ImageFont.load_default(36))
    file = io.BytesIO()
    line.save(file, "PNG")
    image = b64(file.getvalue())
    (want,) = predict(load(None, ""), [line], ReadOptions(charset=charset, symbols=True))
    answer = client.post("/v1/read", json={"images": [image], "charset": charset}).json()
    assert (answer["head"], answer["lines"][0]["text"]) == ("marks", want.text)
    assert [each["text"] for each in answer["lines"][0]["symbols"]] == list(want.text)
    assert set(want.text) - set(DIGITS), "the test would show nothing"
    (without,) = client.post("/v1/read", json={"images": [image]}).json()["lines"]
    assert set(without["text"]) <= set(DIGITS)
    assert "shows more" in " ".join(without["notes"])
    refused = client.post("/v1/read", json={"images": [image], "charset": charset, "head": "ctc"})
    assert refused.status_code == 422
    assert "leave out head" in refused.json()["error"]


def test_a_pattern_made_to_take_minutes_is_refused_and_others_are_answered_meanwhile(client: TestClient) -> None:
    image, found = b64(png()), dict[str, Any]()
    nasty = {"images": [image], "pattern": r"((\d{1,20}){1,20}){1,20}"}
    asking = threading.Thread(target=lambda: found.update(answer=client.post("/v1/read", json=nasty)))
    asking.start()
    answered = 0
    while asking.is_alive():
        assert client.post("/v1/read", json={"images": [image]}).status_code == 200
        answered += 1
    assert found["answer"].status_code == 422
    assert "takes too long to compile" in found["answer"].json()["error"]
    assert answered >= 2  # the first may have been asked before the pattern was


def test_what_is_read_without_confidence_is_left_empty(client: TestClient) -> None:
    image = b64(GRID.read_bytes())
    for least, text in ((0.5, "77253"), (1.0, "")):
        (line,) = client.post("/v1/read", json={"images": [image], "min_confidence": least}).json()["lines"]
        assert line["text"] == text
        assert line["confidence"] > 0.5


def test_an_image_that_cannot_be_used_says_so_and_the_others_are_read(client: TestClient) -> None:
    good = GRID.read_bytes()
    files = [("images", ("a.png", good)), ("images", ("b.png", good[:200])), ("images", ("c.png", png(2000, 1000)))]
    first, broken, large = client.post("/v1/read", files=files).json()["lines"]
    assert (first["text"], first["error"]) == ("77253", None)
    assert (broken["text"], large["text"]) == ("", "")
    assert broken["error"].startswith("image 1 (b.png) ")
    assert "1,000,000" in large["error"]


def test_every_decoding_strategy_can_be_asked_for(client: TestClient) -> None:
    sent = {"images": [b64(GRID.read_bytes())], "head": "ar-speculative"}
    (line,) = client.post("/v1/read", json=sent).json()["lines"]
    assert (line["text"], line["symbols"], line["error"]) == ("77253", [], None)
    answer = client.post("/v1/read", json={**sent, "top": 2})
    assert answer.status_code == 422
    assert "gives no constrained texts, alternatives or places" in answer.json()["error"]


def test_the_token_is_asked_for() -> None:
    client = TestClient(create_app(Service(), token="secret"))
    sent = {"images": [b64(png())]}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
        answer = client.post("/v1/read", json=sent, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    for right in ("Bearer secret", "bearer  secret"):
        assert client.post("/v1/read", json=sent, headers={"authorization": right}).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_a_token_may_be_utf8_and_end_in_a_line_break() -> None:
    client = TestClient(create_app(Service(), token="Schlüssel\r\n"))
    for token, status in (("Schlüssel", 200), ("Schluessel", 401), ("", 401)):
        headers = {"authorization": f"Bearer {token}".encode()}
        assert client.post("/v1/read", json={"images": [b64(png())]}, headers=headers).status_code == status


def test_health_readiness_and_metrics(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    before = metrics(client)
    client.post("/v1/read", json={"images": [b64(png())] * 3})
    client.post("/v1/read", json={})
    after = metrics(client)

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more('seqocr_requests_total{status="200"}') == 1
    assert more('seqocr_requests_total{status="422"}') == 1
    assert more('seqocr_lines_total{head="parallel"}') == 3
    assert more("seqocr_request_seconds_count") == 2
    assert more("seqocr_batch_lines_sum") == 3
    assert after["seqocr_queue_lines"] == 0


def metrics(client: TestClient) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_description_has_an_example_that_can_be_read(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    example = described["paths"]["/v1/read"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/v1/read", json=example).json()["lines"][0]["text"] == "174"
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page


def test_whoever_hangs_up_is_counted_and_harms_nobody(client: TestClient) -> None:
    async def hang_up() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/read", "raw_path": b"/v1/read", "query_string": b"",
            "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        await client.app(scope, receive, send)
        return sent

    before = metrics(client).get('seqocr_requests_total{status="499"}', 0)
    asyncio.run(hang_up())
    assert metrics(client)['seqocr_requests_total{status="499"}'] == before + 1


def test_a_line_that_is_too_hard_has_an_error_of_its_own(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_at_white(reader: Any, images: Any, options: ReadOptions) -> Any:
        hard = Prediction(problem="is too hard")
        return [hard if each.getextrema() == (255, 255) else predict(reader, [each], options)[0] for each in images]

    monkeypatch.setattr(service_module, "predict", fail_at_white)
    answer = client.post("/v1/read", json={"images": [b64(GRID.read_bytes()), b64(png())]})
    assert answer.status_code == 200
    easy, hard = answer.json()["lines"]
    assert (easy["text"], easy["error"]) == ("77253", None)
    assert (hard["text"], hard["error"]) == ("", "image 1 is too hard")


def test_a_search_that_takes_too_long_is_that_lines_error(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_LONGEST_SEARCH", 0.1)
    noise = io.BytesIO()
    Image.effect_noise((300, 32), 90).save(noise, "PNG")
    sent = {"images": [b64(noise.getvalue())], "head": "ctc", "pattern": r"\d*1\d{7}", "top": 20}
    (line,) = client.post("/v1/read", json=sent).json()["lines"]
    assert line["error"].startswith("image 0 is not read within 0.1 s of search")
