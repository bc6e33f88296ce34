"""What reads for many at once: nobody waits for work of another kind, and errors reach those they concern."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi.testclient import TestClient

from seqocr.decoding.constraints import build_constraint
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.inference.shipped import weights_path
from seqocr.serving import service as service_module
from seqocr.serving.app import create_app
from seqocr.serving.bodies import Limits
from seqocr.serving.queue import QueueFull
from seqocr.serving.service import Service
from tests.serving.test_api import EXAMPLES, GRID, b64, png


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


def test_one_thread_alone_uses_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set[int]()

    def note_thread(work: Any, *given: Any) -> Any:
        threads.add(threading.get_ident())
        return work(*given)

    for name in ("load", "predict"):
        monkeypatch.setattr(service_module, name, partial(note_thread, getattr(service_module, name)))
    service, line = Service(str(weights_path("strings").absolute())), Image.open(GRID).convert("L")
    for head in ("parallel", "ctc", "ar"):
        assert service.submit([line], ReadOptions(head)).result(30)[0][0].text == "77253"
    service.close()
    assert len(threads - {threading.get_ident()}) == len(threads) == 1


def test_an_answer_does_not_depend_on_who_else_asks(service: Service) -> None:
    lines = [Image.open(path).convert("L") for path in EXAMPLES] * 4
    for head in ("parallel", "ctc"):
        together = service.submit(lines, ReadOptions(head)).result(30)
        alone = [service.submit([line], ReadOptions(head)).result(30)[0] for line in lines]
        assert [prediction for prediction, _ in together] == [prediction for prediction, _ in alone]


@pytest.mark.parametrize("rounds_by_batch", [False, True])
def test_lines_are_read_together_unless_that_changes_their_numbers(
    monkeypatch: pytest.MonkeyPatch, rounds_by_batch: bool
) -> None:
    service, sizes = Service(), list[int]()
    service.reader("parallel").rounds_by_batch = rounds_by_batch

    def count_lines(reader: Any, images: Any, options: ReadOptions) -> Any:
        sizes.append(len(images))
        return predict(reader, images, options)

    monkeypatch.setattr(service_module, "predict", count_lines)
    monkeypatch.setattr(service_module, "core_count", lambda: 2)
    lines = [Image.open(path).convert("L") for path in EXAMPLES][:2] * 20
    assert len(service.submit(lines, ReadOptions("parallel")).result(30)) == 40
    assert sorted(sizes) == ([1] * 40 if rounds_by_batch else [8, 16, 16])
    searched = service.submit(lines[:4], ReadOptions("parallel", top=2)).result(30)
    assert len(searched) == 4
    assert sizes[-4:] == [1] * 4
    service.close()


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


def test_what_torch_reads_is_refused_without_it(without_torch: None) -> None:
    with TestClient(create_app(Service())) as client:
        sent = {"images": [b64(GRID.read_bytes())]}
        answer = client.post("/v1/read", json={**sent, "head": "ar"})
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(
            "torch is not installed, which this needs: pip install 'seqocr[train]'"
        )
        answer = client.post("/v1/read", json={**sent, "head": "best"})
        assert answer.json()["error"] == "no head 'best': choose one of parallel, ctc"
        assert client.post("/v1/read", json=sent).json()["lines"][0]["text"] == "77253"
