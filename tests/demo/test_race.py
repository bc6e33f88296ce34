"""What the page shows of a race is what was measured and what is read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seqocr.demo.lanes import race_html
from seqocr.demo.length_cost import costs
from seqocr.demo.race import Event, Lane, attention, race
from seqocr.inference.predict import ReadOptions, predict
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from tests.serving.test_api import EXAMPLES

LANES = ("ar", "ar-speculative", "parallel", "ctc")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return load_recognizer(weights_path("strings")).eval()


def lines() -> list[Image.Image]:
    return [Image.open(path).convert("L") for path in EXAMPLES]


@pytest.fixture(scope="module")
def raced(recognizer: Recognizer) -> list[list[Lane]]:
    return [race(recognizer, line, rounds=1) for line in lines()]


def test_every_lane_ends_with_what_the_library_reads(recognizer: Recognizer, raced: list[list[Lane]]) -> None:
    for line, lanes in zip(lines(), raced, strict=True):
        assert tuple(lane.name for lane in lanes) == LANES
        for lane in lanes:
            (wanted,) = predict(recognizer, [line], ReadOptions(lane.name))
            assert lane.text == wanted.text
            assert lane.confidence == pytest.approx(wanted.confidence, abs=1e-5)


def test_events_are_in_order_and_make_up_the_text(raced: list[list[Lane]]) -> None:
    drafts = 0
    for lane in (lane for lanes in raced for lane in lanes):
        times = [event.seconds for event in lane.events]
        assert times == sorted(times)
        assert times[0] > 0
        assert [lane.events[0].kind, lane.events[-1].kind] == ["encoded", "end"]
        symbols = [""] * len(lane.text)
        for event in lane.events:
            if event.kind in ("written", "accepted", "read"):
                symbols[event.start : event.start + len(event.text)] = event.text
        assert "".join(symbols) == lane.text
        drafts += sum(event.kind == "draft" and event.text != lane.text for event in lane.events)
    assert drafts > 0  # so that what was written again is seen as well


def test_passes_are_counted(raced: list[list[Lane]]) -> None:
    for ar, speculative, parallel, ctc in raced:
        assert ar.passes == len(ar.text) + 1  # and the end
        assert sum(event.kind == "written" for event in ar.events) == len(ar.text)
        assert sum(event.kind == "accepted" for event in speculative.events) == speculative.passes <= ar.passes
        assert parallel.passes == ctc.passes == 1


def test_symbols_are_looked_for_from_left_to_right(recognizer: Recognizer) -> None:
    line = Image.open(next(path for path in EXAMPLES if "77253" in path.name)).convert("L")
    for name in recognizer.heads:
        found = attention(recognizer, line, name, "77253")
        assert found is not None
        assert found.sum(axis=1) == pytest.approx(1, abs=1e-4)
        # `ar` looks back at the symbol before as well.
        assert (np.diff(found.argmax(axis=1)) > 0).all()


def test_costs_are_of_n_symbols(recognizer: Recognizer) -> None:
    line = Image.new("L", (recognizer.processor.width, recognizer.processor.height), 255)
    found = {(c.lane, c.n): c for of_length in costs(recognizer, line, (1, 20), rounds=1) for c in of_length}
    assert {lane for lane, _ in found} == set(LANES)
    assert [found[name, 20].passes for name in LANES] == [21, 1, 1, 1]
    assert all(cost.milliseconds > 0 for cost in found.values())


def shown(lane: Lane, slower: float = 100, sure: Any = ()) -> str:
    looked = {lane.name: np.eye(len(lane.text), dtype=np.float32)}
    return race_html([lane], {lane.name: sure}, looked, Image.new("L", (20, 10)), slower)


def test_animation_is_of_the_measured_times() -> None:
    events = [
        Event(0.01, "encoded"),
        Event(0.02, "written", 0, "4"),
        Event(0.03, "written", 1, "<"),
        Event(0.04, "end"),
    ]
    text = shown(Lane("ar", "ar", "4<", 0.9, 3, events), 100, [0.25, 1.0])
    symbols = re.findall(r'<li class="(\w+)"[^>]*style="([^"]*)">(.*?)</li>', text)
    assert [(kind, symbol) for kind, _, symbol in symbols] == [("written", "4"), ("written", "&lt;")]
    delays = [float(re.findall(r"animation-delay:([\d.]+)s", style)[0]) for _, style, _ in symbols]
    assert delays == [2.0, 3.0]
    assert "0.56" in symbols[0][1]  # shaded: 0.75 of what is not sure
    assert "0.00" in symbols[1][1]
    assert "3 passes, 40.00 ms, of these 10.00 ms encoder" in text
    assert "<script" not in text


def test_drafts_are_told_from_what_was_accepted_and_written_again() -> None:
    events = [
        Event(0.01, "encoded"), Event(0.02, "draft", 0, "123"), Event(0.03, "accepted", 0, "1"),
        Event(0.03, "written", 1, "7"), Event(0.04, "accepted", 2, "3"), Event(0.05, "end"),
    ]  # fmt: skip
    text = shown(Lane("ar-speculative", "ar", "173", 0.9, 2, events))
    assert re.findall(r'<li class="(\w+)"[^>]*>(\d)</li>', text) == [
        ("draft", "1"), ("draft", "2"), ("draft", "3"), ("accepted", "1"), ("again", "7"), ("accepted", "3"),
    ]  # fmt: skip


def test_nothing_read_is_said() -> None:
    assert ">nothing</output>" in shown(Lane("ctc", "ctc", "", 0.9, 1, [Event(0.01, "encoded"), Event(0.02, "end")]))
