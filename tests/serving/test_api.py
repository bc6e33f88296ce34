"""The interface over HTTP: right answers, one clear error for what is wrong, nothing lost at the end."""

from __future__ import annotations

import asyncio
import base64
import io
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.exceptions import HTTPException

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi.testclient import TestClient

from seqocr import demo
from seqocr.decoding.constraints import build_constraint
from seqocr.inference.load import load_reader
from seqocr.inference.predict import Prediction, ReadOptions, predict
from seqocr.serving import routes
from seqocr.serving import service as service_module
from seqocr.serving.app import create_app
from seqocr.serving.bodies import SMALL, Limits, Memory
from seqocr.serving.queue import QueueFull
from seqocr.serving.service import Service

EXAMPLES = sorted((Path(demo.__file__).parent / "examples").glob("*.png"))
JSON = {"content-type": "application/json"}
GRID = next(path for path in EXAMPLES if path.name == "grid-77253.png")


@pytest.fixture(scope="module")
def service() -> Any:
    found = Service()
    yield found
    found.close()


@pytest.fixture(scope="module")
def client(service: Service) -> Any:
    with TestClient(create_app(service, Limits(megabytes=1, images=8, pixels=1_000_000))) as found:
        yield found


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int = 60, height: int = 30) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), 255).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("head", ["parallel", "ctc", "ar"])
@pytest.mark.parametrize("way", ["json", "form"])
def test_it_reads_what_the_library_reads(client: TestClient, head: str, way: str) -> None:
    reader = load_reader(None, head)
    asked, lines = ReadOptions(head, top=2, symbols=True), [Image.open(path).convert("L") for path in EXAMPLES]
    wanted = [predict(reader, [line], asked)[0] for line in lines]
    if way == "json":
        sent: Any = {"json": {"images": [b64(path.read_bytes()) for path in EXAMPLES], "head": head, "top": 2}}
    else:
        files = [("images", (path.name, path.read_bytes())) for path in EXAMPLES]
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
        (line,) = client.post("/v1/read", json={"images": [image], **form}).json()["lines"]
        assert line["fits"]
        assert line["text"] != "77253"
    (line,) = client.post("/v1/read", json={"images": [image], "charset": "017"}).json()["lines"]
    assert set(line["text"]) <= set("017")


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
        ({"json": {"images": [b64(png())], "pattern": r"\d{13}"}}, 422, "at most 10"),
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


def test_what_torch_reads_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(weights: Any, head: str | None, *_: Any) -> Any:
        if head in ("", "parallel", "ctc"):
            return load_reader(weights, head)
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(service_module, "load_reader", load)
    monkeypatch.setattr(service_module, "find_spec", lambda name: None)
    with TestClient(create_app(Service())) as client:
        sent = {"images": [b64(GRID.read_bytes())]}
        answer = client.post("/v1/read", json={**sent, "head": "ar"})
        assert answer.status_code == 422
        assert answer.json()["error"] == "torch is not installed, which this needs: pip install 'seqocr[train]'"
        answer = client.post("/v1/read", json={**sent, "head": "best"})
        assert answer.json()["error"] == "no head 'best': choose one of parallel, ctc"
        assert client.post("/v1/read", json=sent).json()["lines"][0]["text"] == "77253"


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


class Held:
    """Stands for a service that reads when it is let go."""

    def __init__(self, service: Service) -> None:
        self.busy, self.go, self.sizes, self._predict = (
            threading.Event(),
            threading.Event(),
            list[int](),
            partial(service._predict, ThreadPoolExecutor(1)),
        )
        for lane in service.lanes.values():
            lane._process = self

    def __call__(self, lines: list[Any]) -> Any:
        self.sizes.append(len(lines))
        self.busy.set()
        assert self.go.wait(30)
        return self._predict(lines)


def test_a_full_queue_says_when_to_come_back_and_what_was_accepted_is_answered() -> None:
    service = Service(max_waiting=4)
    held = Held(service)
    with TestClient(create_app(service)) as client:
        found: dict[str, Any] = {}
        waits = threading.Thread(
            target=lambda: found.update(four=client.post("/v1/read", json={"images": [b64(png())] * 4}))
        )
        waits.start()
        until(lambda: service.waiting == 4)
        answer = client.post("/v1/read", json={"images": [b64(png())]})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/readyz").status_code == 503
        held.go.set()
        waits.join(30)
        assert found["four"].status_code == 200
        assert len(found["four"].json()["lines"]) == 4
        until(lambda: service.waiting == 0)
        assert client.post("/v1/read", json={"images": [b64(png())]}).status_code == 200


def test_what_takes_too_long_is_given_up_and_makes_room() -> None:
    service = Service(max_waiting=4)
    held = Held(service)
    with TestClient(create_app(service, Limits(seconds=0.2))) as client:
        assert client.post("/v1/read", json={"images": [b64(png())]}).status_code == 504
        held.go.set()
        until(lambda: service.waiting == 0)


def test_the_end_waits_for_what_was_accepted() -> None:
    service = Service()
    held = Held(service)
    future = service.submit([Image.new("L", (60, 30), 255)], ReadOptions("parallel"))
    ending = threading.Thread(target=service.close)
    ending.start()
    time.sleep(0.05)
    assert not future.done()
    held.go.set()
    ending.join(30)
    assert future.done()


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


def test_an_error_of_one_kind_of_question_is_not_that_of_others(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_at_five(reader: Any, images: Any, options: ReadOptions) -> Any:
        if options.top == 5:
            raise KeyError("five")
        return predict(reader, images, options)

    monkeypatch.setattr(service_module, "predict", fail_at_five)
    line = Image.open(GRID).convert("L")
    bad, good = (service.submit([line], ReadOptions("parallel", top=top)) for top in (5, 2))
    assert good.result(30)[0][0].text == "77253"
    with pytest.raises(KeyError):
        bad.result(30)


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


def test_constrained_lines_hold_up_no_others(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def hold_constrained(reader: Any, images: Any, options: ReadOptions) -> Any:
        assert options.constraint is None or go.wait(30)
        return predict(reader, images, options)

    monkeypatch.setattr(service_module, "predict", hold_constrained)
    line, constraint = Image.open(GRID).convert("L"), build_constraint(service.charset, pattern=r"\d{5}")
    slow = service.submit([line] * 64, ReadOptions("parallel", constraint))
    for head in ("parallel", "ctc"):
        assert service.submit([line], ReadOptions(head)).result(30)[0][0].text == "77253"
    assert not slow.done()
    go.set()
    assert {prediction.text for prediction, _ in slow.result(30)} == {"77253"}


def test_an_answer_does_not_depend_on_who_else_asks(service: Service) -> None:
    """Shipped graphs are int8: read together, lines change each other's rounding."""
    lines = [Image.open(path).convert("L") for path in EXAMPLES] * 4
    for head in ("parallel", "ctc"):
        together = service.submit(lines, ReadOptions(head)).result(30)
        alone = [service.submit([line], ReadOptions(head)).result(30)[0] for line in lines]
        assert [prediction for prediction, _ in together] == [prediction for prediction, _ in alone]


def test_more_than_there_is_room_for_is_not_taken_in_part() -> None:
    service = Service(max_waiting=3)
    with pytest.raises(QueueFull):
        service.submit([Image.new("L", (60, 30), 255)] * 4, ReadOptions("parallel"))
    assert service.waiting == 0
    service.close()


def test_a_question_that_was_given_up_before_it_was_read_is_left_out() -> None:
    service = Service()
    held = Held(service)
    line = Image.new("L", (60, 30), 255)
    first = service.submit([line], ReadOptions("parallel"))
    assert held.busy.wait(30)  # its batch has begun
    given_up, last = (service.submit([line] * count, ReadOptions("parallel")) for count in (5, 2))
    assert given_up.cancel()
    held.go.set()
    assert [len(future.result(30)) for future in (first, last)] == [1, 2]
    service.close()
    assert service.waiting == 0
    assert held.sizes == [1, 2]


def until(true: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)
