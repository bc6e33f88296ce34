"""What the page shows of a race is what was measured and what is read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.core import strategies
from bench.core.plotting import style_of
from seqocr.demo.lanes import race_html
from seqocr.demo.length_cost import costs
from seqocr.demo.race import Event, Lane, Race, lanes_of, race
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.parallel import ParallelHead
from seqocr.models.recognizer import Recognizer
from seqocr.palette import colours_of
from tests.conftest import lively, small_recognizer
from tests.serving.test_api import EXAMPLES

LANES = ("ar", "ar-speculative", "parallel", "ctc")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return load_recognizer(weights_path("strings")).eval()


def lines() -> list[Image.Image]:
    return [Image.open(path).convert("L") for path in EXAMPLES]


@pytest.fixture(scope="module")
def raced(recognizer: Recognizer) -> list[Race]:
    return [race(recognizer, line, rounds=1) for line in lines()]


def test_every_lane_ends_with_what_the_library_reads(recognizer: Recognizer, raced: list[Race]) -> None:
    for line, found in zip(lines(), raced, strict=True):
        assert tuple(lane.name for lane in found.lanes) == LANES
        for lane in found.lanes:
            (wanted,) = predict(recognizer, [line], ReadOptions(lane.name))
            assert (lane.text, lane.passes) == (wanted.text, wanted.passes)
            assert lane.confidence == pytest.approx(wanted.confidence, abs=1e-5)


def test_events_are_in_order_and_make_up_the_text(raced: list[Race]) -> None:
    drafts = 0
    for lane in (lane for found in raced for lane in found.lanes):
        times = [*(event.seconds for event in lane.events), lane.seconds]
        assert times == sorted(times)
        assert times[0] > 0
        final = [event for event in lane.events if event.kind != "draft"]
        assert {event.kind for event in final} <= {"accepted", "decoded"}
        assert "".join(event.text for event in final) == lane.text
        for event in final:
            assert lane.text[event.start :].startswith(event.text)
        drafts += sum(event.kind == "draft" and event.text != lane.text for event in lane.events)
    assert drafts > 0  # so that corrections are seen as well


def test_each_pass_is_seen(raced: list[Race]) -> None:
    for ar, speculative, parallel, ctc in (found.lanes for found in raced):
        assert ar.passes == len(ar.text) + 1  # and the end
        assert [event.text for event in ar.events] == list(ar.text)
        assert (
            1 <= len({event.seconds for event in speculative.events if event.kind == "accepted"}) <= speculative.passes
        )
        assert speculative.passes <= ar.passes
        assert speculative.events[0].kind == "draft"
        assert parallel.passes == ctc.passes == 1
        for lane in (parallel, ctc):
            assert [event.kind for event in lane.events] == ["decoded"] * bool(lane.text)


def test_symbols_have_confidences_and_are_read_from_left_to_right(recognizer: Recognizer) -> None:
    line = Image.open(next(path for path in EXAMPLES if "77253" in path.name)).convert("L")
    for lane in race(recognizer, line, rounds=1).lanes:
        assert lane.text == "77253"
        assert len(lane.symbol_confidences) == 5
        assert all(0.5 < p <= 1 for p in lane.symbol_confidences)
        assert lane.attention is not None
        assert lane.attention.sum(axis=1) == pytest.approx(1, abs=1e-4)
        # `ar` attends to the symbol before as well.
        assert (np.diff(lane.attention.argmax(axis=1)) > 0).all()


def test_a_head_of_another_package_has_a_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """It declares its output, and nothing else of it is known: no attention, no trace of its own."""
    from seqocr.models.heads import registry

    class Other(ParallelHead):
        name = "other"

        def attention(self, features: Any, ids: list[int]) -> None:
            return None

    monkeypatch.setitem(registry.HEADS, "other", Other)
    made = small_recognizer(("other", "ctc"))
    lively(made)
    line = Image.linear_gradient("L").resize((84, 28))
    assert list(lanes_of(made)) == ["other", "ctc"]
    found = race(made, line, rounds=1)
    other, _ = found.lanes
    assert (other.text, other.description) == (made.decode([line], "other").texts[0], "one pass")
    assert other.attention is None
    assert f'<output data-lane="other">{other.text or "nothing"}</output>' in race_html(found, line, 100)
    assert {cost.lane for cost in next(costs(made, line, (2,), rounds=1))} == {"other", "ctc"}


def test_costs_are_of_n_symbols(recognizer: Recognizer) -> None:
    line = Image.new("L", (recognizer.processor.width, recognizer.processor.height), 255)
    found = {(c.lane, c.n): c for of_length in costs(recognizer, line, (1, 20), rounds=1) for c in of_length}
    assert {lane for lane, _ in found} == set(LANES)
    assert [found[name, 20].passes for name in LANES] == [21, 1, 1, 1]
    assert all(cost.milliseconds > 0 for cost in found.values())


def shown(events: list[Event], text: str, slowdown: float = 100, **more: Any) -> str:
    lane = Lane("ar", "one decoder pass per symbol", text, 0.9, 3, 0.03, events, **more)
    return race_html(Race(0.01, [lane]), Image.new("L", (20, 10)), slowdown)


def test_animation_is_of_the_measured_times() -> None:
    events = [Event(0.01, "decoded", 0, "4"), Event(0.02, "decoded", 1, "<")]
    text = shown(events, "4<", 100, symbol_confidences=(0.25, 1.0), attention=np.eye(2, dtype=np.float32))
    symbols = re.findall(r'<li class="(\w+)"[^>]*style="([^"]*)">(.*?)</li>', text)
    assert [(kind, symbol) for kind, _, symbol in symbols] == [("decoded", "4"), ("decoded", "&lt;")]
    delays = [float(re.findall(r"animation-delay:([\d.]+)s", style)[0]) for _, style, _ in symbols]
    assert delays == [2.0, 3.0]
    assert "0.56" in symbols[0][1]  # shaded: 0.75 of what is missing of full confidence
    assert "0.00" in symbols[1][1]
    assert "encoder, once for all heads: 10.00 ms" in text
    assert "one decoder pass per symbol: 3 passes, 30.00 ms after the encoder" in text
    assert "where ar reads each symbol of 4&lt;" in text
    # A position is coloured when its symbol is read.
    assert re.findall(r"opacity:0.80;animation-delay:([\d.]+)s", text) == ["2.000", "3.000"]
    assert "<script" not in text


def test_drafts_accepted_and_corrected_symbols_differ() -> None:
    events = [
        Event(0.02, "draft", 0, "123"), Event(0.03, "accepted", 0, "1"), Event(0.03, "decoded", 1, "7"),
        Event(0.04, "accepted", 2, "3"),
    ]  # fmt: skip
    assert re.findall(r'<li class="(\w+)"[^>]*>(\d)</li>', shown(events, "173")) == [
        ("draft", "1"), ("draft", "2"), ("draft", "3"), ("accepted", "1"), ("corrected", "7"), ("accepted", "3"),
    ]  # fmt: skip


def test_an_empty_text_is_said() -> None:
    assert ">nothing</output>" in shown([], "")


def lane(name: str, seconds: float, text: str = "12") -> Lane:
    return Lane(name, "one pass", text, 0.9, 1, seconds)


def test_places_are_of_times_and_lanes_that_are_level_share_them() -> None:
    found = Race(0.010, [lane("ar", 0.010), lane("parallel", 0.0010), lane("ctc", 0.0006), lane("other", 0.005)])
    assert {each.name: found.place(each) for each in found.lanes} == {"ar": 4, "parallel": 1, "ctc": 1, "other": 3}
    assert found.faster(found.lanes[1]) == (pytest.approx(20 / 11), "ar")
    assert found.seconds == pytest.approx(0.02)
    text = race_html(found, Image.new("L", (20, 10)), 1)
    assert "<strong>parallel and ctc</strong> read it first" in text
    assert re.findall(r'data-lane="(\w+)" style', text) == ["ctc", "parallel", "other", "ar"]
    assert re.findall(r'class="faster">([^<]+)<', text) == [
        "1.9× faster than ar", "1.8× faster than ar", "1.3× faster than ar", "the slowest",
    ]  # fmt: skip


def test_examples_are_marked_right_or_wrong_and_other_lines_are_not() -> None:
    found = Race(0.01, [lane("ar", 0.02, "13"), lane("ctc", 0.01, "12")])
    line = Image.new("L", (20, 10))
    marked = race_html(found, line, 1, "12")
    assert re.findall(r'class="(right|wrong)"', marked) == ["right", "wrong"]
    assert "The line says <b>12</b>" in marked
    assert not re.findall(r'class="(right|wrong)"', race_html(found, line, 1))


def test_strategies_have_the_colours_of_the_plots() -> None:
    found = Race(0.01, [lane(name, 0.01) for name in LANES])
    text = race_html(found, Image.new("L", (20, 10)), 1)
    for name in LANES:
        assert f'data-lane="{name}" style="border-left-color:{style_of(name).colour}"' in text


def test_strategies_of_other_packages_have_colours_of_their_own() -> None:
    named = ["other", *strategies.by_name(), "another"]
    assert len(set(colours_of(named).values())) == len(named)
