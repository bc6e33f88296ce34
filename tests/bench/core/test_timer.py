"""Rounds of samples: what disturbs them is noticed, kept and measured again, and a killed run goes on."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.core import timer
from bench.core.store import Store
from bench.core.timer import (
    ByRound,
    Moment,
    Rounds,
    clock,
    clock_each,
    counted,
    disturbance,
    effort,
    is_disturbed,
    measure_rounds,
)
from seqocr.progress import Silent

QUIET = {"others": 0.0, "stolen": 0.0, "core_seconds": 2.0}
BUSY = {**QUIET, "others": 1.0}
RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture
def noted(monkeypatch):
    """What each sample is said to have been disturbed by, in turn; quiet at the end."""
    states: list[dict] = []
    monkeypatch.setattr(timer, "disturbance", lambda before, after: states.pop(0) if states else QUIET)
    monkeypatch.setattr(timer, "quiet_within", lambda seconds: True)
    return states


def measure(store: Store, count: int = 4, warmup: int = 1, restart: int = 0) -> pd.DataFrame:
    samples: list[tuple] = []

    def sample(length, shuffle):
        samples.append(length)
        yield {"length": length, "seconds": float(len(samples))}

    settings = Rounds(rounds=count, warmup=warmup)
    measure_rounds(store, "some", settings, (1, 5), sample, Silent(), restart)
    return store.read("some") if store.has("some") else pd.DataFrame()


def test_a_disturbed_sample_is_kept_marked_and_made_again_in_its_round(tmp_path, noted):
    noted += [QUIET, QUIET, BUSY, QUIET, BUSY, QUIET]  # round 1: the first sample, and its second attempt
    rows = measure(Store(tmp_path))
    first = rows[(rows["round"] == 1) & (rows["sample"] == rows[is_disturbed(rows)]["sample"].iloc[0])]
    assert first["attempt"].tolist() == [0, 1, 2]
    assert is_disturbed(first).tolist() == [True, True, False]
    assert first["counts"].tolist() == [False, False, True]
    assert effort(rows) == {"samples": 12, "again": 2, "disturbed": 0}
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
    assert effort(rows) == {"samples": 11, "again": 1, "disturbed": 8}


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


def test_rounds_are_numbered_through_restarts_and_each_has_a_warm_up(tmp_path, noted):
    settings = Rounds(rounds=4, restarts=3)
    rows = measure(Store(tmp_path), restart=2)
    assert rows.groupby("round")["warmup"].first().to_dict() == {
        10: True,
        **dict.fromkeys(range(11, settings.steps), False),
    }
    assert len(measure(Store(tmp_path), restart=2)) == len(rows)


def test_rounds_of_an_earlier_version_are_not_continued(tmp_path, noted):
    store = Store(tmp_path)
    before = measure(store, count=2)
    store.write("some", before.drop(columns="core_seconds").assign(disturbed=True))
    after = measure(store, count=2)
    assert len(after) == len(before)
    assert not is_disturbed(after).any()


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
        assert is_disturbed(state)
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
    states = {
        "nothing": disturbance(start, moment(1, 102, 52)),
        "within 5 % of two cores": disturbance(start, moment(1, 102.09, 52)),
        "others": disturbance(start, moment(1, 102.2, 52)),
        "stolen": disturbance(start, moment(1, 102, 52, 0.2)),
        "within the kernel's ticks": disturbance(start, moment(0.05, 100.12, 50.1)),
    }
    assert states["nothing"] == QUIET
    assert states["others"] == {**QUIET, "others": 0.2}
    assert [why for why, state in states.items() if is_disturbed(state)] == ["others", "stolen"]
    assert is_disturbed(pd.DataFrame(states.values())).tolist() == [is_disturbed(state) for state in states.values()]


def test_thresholds_are_applied_to_rows_not_when_measuring(tmp_path, noted, monkeypatch):
    noted += [QUIET] * 4 + [BUSY] + [QUIET] * 20
    rows = measure(Store(tmp_path))
    assert "disturbed" not in rows
    assert is_disturbed(rows).sum() == 1
    monkeypatch.setattr(timer, "_SHARE", 0.6)
    assert not is_disturbed(rows).any()


def test_committed_rows_count_as_disturbed_as_they_did_when_measured():
    checked = 0
    for path in [*RESULTS.glob("raw/*/*.csv.gz"), *RESULTS.glob("study/*.csv.gz")]:
        rows = Store(path.parent).read(path.name.removesuffix(".csv.gz"))
        if not {"attempt", "attempts"} & set(rows.columns):
            continue
        checked += 1
        found = is_disturbed(rows)
        if "disturbed" in rows:
            pd.testing.assert_series_equal(found, rows["disturbed"])
        if {"disturbed", "others", "sample"} <= set(rows.columns):
            # A sample takes at least as long as its calls, on two cores: what was disturbed is by these, too.
            calls = rows.groupby(["round", "sample", "attempt"])["seconds"].transform("sum")
            assert is_disturbed(rows.assign(core_seconds=2 * calls))[found].all()
    assert checked > 10


def test_clock_counts_the_processors_seconds_of_the_work():
    result, timing = clock(lambda: sum(range(2_000_000)), torch.device("cpu"))
    assert result == sum(range(2_000_000))
    assert timing["seconds"] > 0
    assert timing["cpu"] > 0
    asleep = clock(lambda: time.sleep(0.2), torch.device("cpu"))[1]
    assert asleep["cpu"] < 0.5 * asleep["seconds"]


def test_strategies_are_clocked_in_random_order_with_their_passes():
    works = {"a": lambda: 1, "b": lambda: 6, "c": lambda: 2}
    turns = [list(clock_each(works, random.Random(seed))) for seed in range(6)]
    assert {tuple(sorted((row["strategy"], row["passes"]) for row in turn)) for turn in turns} == {
        (("a", 1), ("b", 6), ("c", 2))
    }
    assert len({tuple(row["strategy"] for row in turn) for turn in turns}) > 1
    assert all(row["seconds"] >= 0 for turn in turns for row in turn)


def rows(disturbed: list[int]) -> pd.DataFrame:
    """Eight rounds of a and b, seconds ten times as long in disturbed rounds."""
    table = []
    for number in range(8):
        for name, seconds in (("a", 1.0), ("b", 2.0)):
            bad = number in disturbed and name == "a"
            facts = {"round": number, "warmup": False, "counts": True, **(BUSY if bad else QUIET)}
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


def test_the_unit_is_the_restart_where_there_are_several():
    """Each takes twice as long as the one before; disturbed rounds are left out of a restart that has others."""
    slower = [rows(bad).assign(restart=number) for number, bad in enumerate([[], [0, 1, 2, 3, 4, 5, 6], range(8)])]
    for number, table in enumerate(slower):
        table["seconds"] *= 2.0**number
    by = ByRound(pd.concat(slower, ignore_index=True), ["name"])
    a, b = by("a", "b")
    assert a.tolist() == [1.0, 2.0, 40.0]
    assert b.tolist() == [2.0, 4.0, 8.0]
    assert by.units == "restarts"
    assert by.milliseconds("b").n == 3


def test_too_few_undisturbed_rounds_are_not_chosen_from():
    (a,) = ByRound(rows([0, 1, 2, 3, 4, 5]), ["name"])("a")
    assert len(a) == 8
    assert np.median(a) == 10
