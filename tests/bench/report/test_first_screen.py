"""The first screen's times: over restarts where there are any, else over rounds of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.core.plotting import numbered_style
from bench.experiments.baselines import Results
from bench.report.answer_picture import Point, answer_plot, picture
from bench.report.build import everything
from bench.report.first_screen import beyond_heads, first_screen, from_scratch, heads_table
from bench.report.screen_times import screen_times
from bench.study.family_estimates import FamilyResults
from bench.workloads.timed_models import TINY
from seqocr.statistics import Value
from tests.bench.experiments.test_baselines import planted
from tests.bench.study import test_family_estimates as family
from tests.synthetic import finished_run


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Any]:
    return everything(finished_run(tmp_path))


def restarted(*left_out: str) -> Results:
    rows = pd.DataFrame({**row, "restart": restart} for restart in range(8) for row in planted(restart))
    return Results(
        {TINY.name: rows[~rows["strategy"].isin(left_out)].assign(warmup=False, counts=True)}, elsewhere=True
    )


def test_times_of_one_process_stand_where_no_restart_was_timed(found: dict[str, Any]) -> None:
    times = screen_times(found)
    assert times.restarts == 0
    assert "ar-1layer" not in times.names
    assert "restarts" not in first_screen(found)


def test_times_of_restarts_come_with_a_decoder_of_one_layer(found: dict[str, Any]) -> None:
    found["baselines"] = restarted()
    times = screen_times(found)
    assert (times.restarts, times.elsewhere) == (8, True)
    assert times.over("ar", times.fastest).estimate == pytest.approx(2)
    table = heads_table(found, times).set_index("strategy")
    assert len(table) == 6
    assert list(table.index)[1:3] == ["`ar`", "`ar-1layer`"]
    assert table.loc["`ar-1layer`", "decoder passes"] == "n + 1"
    screen = first_screen(found)
    assert "over 8 restarts of the process on another machine" in screen
    assert "is 2.0 times as fast as `ar`" in screen
    assert "With a decoder of one layer, `ar` takes 1.00 (1.00 to 1.00) times" in screen


def test_restarts_that_lack_a_strategy_are_left_out(found: dict[str, Any]) -> None:
    found["baselines"] = restarted("ctc")
    assert screen_times(found).restarts == 0


def test_the_picture_has_errors_on_a_logarithmic_axis() -> None:
    style, ms = numbered_style(0), Value(2.0, 1.9, 2.1, 8)
    exact = {"some": Value(0.9, 0.8, 0.95, 100), "none wrong": Value(1.0, 0.9, 1.0, 30)}
    figure = answer_plot({title: [Point(style, ms, value)] for title, value in exact.items()})
    assert [axis.get_yscale() for axis in figure.axes] == ["log", "log"]
    assert "not read right" in figure.axes[0].get_ylabel()
    errors = [float(axis.containers[0].lines[0].get_ydata()[0]) for axis in figure.axes]
    assert errors == pytest.approx([10, 0.1])  # nothing wrong has a place, too


def test_trained_encoders_that_were_timed_come_first(found: dict[str, Any]) -> None:
    results = FamilyResults(family.rows(), {"trainings": {}, "of": 10}, family.times(), {})
    found |= {"baselines": restarted(), "family": results}
    times = screen_times(found)
    assert (times.label, times.restarts, times.trained) == ("small", 8, True)
    table = heads_table(found, times).set_index("strategy")
    assert len(table) == 6
    assert table.loc["`parallel`", "`wild`, any length"].startswith("40.0 %")
    assert table.loc["`ar`", "over one pass"] == "2.00 (2.00 to 2.00)"
    screen = first_screen(found)
    said = from_scratch(found)
    assert said is not None
    assert said["lead"] == pytest.approx((0, 50))
    assert (said["alone"], said["better"], said["worse"], said["compared"]) == (None, 1, 0, 2)
    assert "of weights that were trained and timed" in screen
    drawn = picture(found)
    assert drawn is not None
    assert len(drawn().axes) == 2


def test_what_matters_more_than_the_head_is_said_of_what_was_measured(found: dict[str, Any]) -> None:
    assert beyond_heads({}) == {}
    counts = {"strings": 400, "parallel": 160, "ctc": 372}
    results = FamilyResults(
        pd.concat([family.rows(), family.rows(encoders=("160x4",), more=0.05)], ignore_index=True),
        {"trainings": {"160x4-seed0": {"graphs_exact": {"wild": counts}}}, "of": 10},
        pd.concat([family.times(), family.times().assign(encoder="160x4")]),
        {},
    )
    said = beyond_heads({"family": results})
    assert said["encoders"] == ("96x2", "160x4")
    assert said["gained"] == pytest.approx((5, 5))
    assert said["faster"] == pytest.approx((2.5, 2.5))  # of `ctc`, whose graph alone was timed
    assert said["lost"] == pytest.approx((2.25, 2.25))
    assert said["named"] == ["the encoder", "the runtime"]
