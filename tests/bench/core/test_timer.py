"""Rounds of visits: what disturbs them is noticed, marked and made again, and a killed run goes on."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pandas as pd
import pytest
import torch

from bench.core import timer
from bench.core.store import Store
from bench.core.timer import ByRound, Moment, Rounds, clock, counted, disturbance, effort

QUIET = {"others": 0.0, "stolen": 0.0, "disturbed": False}
BUSY = {"others": 1.0, "stolen": 0.0, "disturbed": True}


class Reporter:
    def advance(self, note: str = "", steps: int = 1) -> None: ...


@pytest.fixture
def noted(monkeypatch):
    """What each visit is said to have been disturbed by, in turn; quiet at the end."""
    states: list[dict] = []
    monkeypatch.setattr(timer, "disturbance", lambda before, after: states.pop(0) if states else QUIET)
    monkeypatch.setattr(timer, "quiet_within", lambda seconds: True)
    return states


def measure(store: Store, count: int = 4, warmup: int = 1) -> pd.DataFrame:
    visits: list[tuple] = []

    def visit(length, shuffle):
        visits.append(length)
        yield {"length": length, "seconds": float(len(visits))}

    Rounds(store, "some", count, warmup).measure((1, 5), visit, Reporter(), "some")
    return store.read("some") if store.has("some") else pd.DataFrame()


def test_a_disturbed_visit_is_kept_marked_and_made_again_in_its_round(tmp_path, noted):
    noted += [QUIET, QUIET, BUSY, QUIET, BUSY, QUIET]  # round 1: the first visit, and its second attempt
    rows = measure(Store(tmp_path))
    first = rows[(rows["round"] == 1) & (rows["visit"] == rows[rows["disturbed"]]["visit"].iloc[0])]
    assert first["attempt"].tolist() == [0, 1, 2]
    assert first["disturbed"].tolist() == [True, True, False]
    assert first["counts"].tolist() == [False, False, True]
    assert effort(rows) == {"visits": 12, "again": 2, "disturbed": 0}
    assert counted(rows).groupby("round").size().tolist() == [2] * 4  # the warm-up is left out


def test_the_budget_ends_and_what_is_left_counts_as_disturbed(tmp_path, noted):
    noted += [BUSY] * 100
    rows = measure(Store(tmp_path))
    found = effort(rows)
    assert found["again"] == timer.AGAIN * 5 * 2
    assert found["disturbed"] == 8
    assert len(counted(rows)) == 8


def test_a_machine_that_stays_busy_is_not_waited_for(tmp_path, noted, monkeypatch):
    noted += [BUSY] * 100
    monkeypatch.setattr(timer, "quiet_within", lambda seconds: False)
    rows = measure(Store(tmp_path))
    assert effort(rows) == {"visits": 11, "again": 1, "disturbed": 8}


def test_a_warm_up_is_not_made_again(tmp_path, noted):
    noted += [BUSY, BUSY]
    rows = measure(Store(tmp_path))
    assert effort(rows)["again"] == 0


def test_rounds_go_on_where_they_were(tmp_path, noted):
    store = Store(tmp_path)
    before = measure(store, count=2)
    after = measure(store, count=4)
    pd.testing.assert_frame_equal(after.head(len(before)), before)
    assert sorted(after["round"].unique()) == [0, 1, 2, 3, 4]
    assert len(measure(store, count=4)) == len(after)


def test_another_process_is_noticed_and_stands_beside_the_row():
    other = multiprocessing.get_context("spawn").Process(target=spin, args=(time.monotonic() + 60,))
    other.start()
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            before = Moment.now()
            time.sleep(0.5)
            state = disturbance(before, Moment.now())
            if state["others"] > 0.3:
                break
        assert state["disturbed"]
    finally:
        other.kill()
        other.join()


def spin(until: float) -> None:
    while time.monotonic() < until:
        pass


def moment(wall: float, busy: float, own: float, stolen: float = 0.0) -> Moment:
    return Moment(wall, busy, own, stolen)


def test_own_work_is_no_disturbance_others_and_stolen_time_are(monkeypatch):
    monkeypatch.setattr(timer.psutil, "cpu_count", lambda: 2)
    start = moment(0, 100, 50)
    assert disturbance(start, moment(1, 102, 52)) == QUIET
    assert disturbance(start, moment(1, 102.09, 52))["disturbed"] is False  # within 5 % of two cores
    assert disturbance(start, moment(1, 102.2, 52)) == {"others": 0.2, "stolen": 0.0, "disturbed": True}
    assert disturbance(start, moment(1, 102, 52, 0.2))["disturbed"] is True
    # In a short visit, the kernel's ticks are too coarse to tell.
    assert disturbance(start, moment(0.05, 100.12, 50.1))["disturbed"] is False


def test_clock_counts_the_processors_seconds_of_the_work():
    result, sample = clock(lambda: sum(range(2_000_000)), torch.device("cpu"))
    assert result == sum(range(2_000_000))
    assert sample["seconds"] > 0
    assert sample["cpu"] > 0
    asleep = clock(lambda: time.sleep(0.2), torch.device("cpu"))[1]
    assert asleep["cpu"] < 0.5 * asleep["seconds"]


def rows(disturbed: list[int]) -> pd.DataFrame:
    """Eight rounds of a and b, seconds ten times as long in disturbed rounds."""
    table = []
    for number in range(8):
        for name, seconds in (("a", 1.0), ("b", 2.0)):
            bad = number in disturbed and name == "a"
            facts = {"round": number, "warmup": False, "counts": True, "disturbed": bad}
            table.append({**facts, "name": name, "seconds": seconds * (10 if bad else 1)})
    return pd.DataFrame(table)


def test_pairs_are_of_rounds_that_have_both_undisturbed():
    by = ByRound(rows([0, 5]), ["name"])
    (a,) = by("a")
    assert a.tolist() == [1.0] * 6
    a, b = by("a", "b")
    assert (b / a).tolist() == [2.0] * 6
    (b,) = by("b")
    assert len(b) == 8


def test_too_few_undisturbed_rounds_are_not_chosen_from():
    (a,) = ByRound(rows([0, 1, 2, 3, 4, 5]), ["name"])("a")
    assert len(a) == 8
    assert np.median(a) == 10
