"""The report: from saved rows alone, its words following its numbers."""

from __future__ import annotations

import pytest
from PIL import Image

from bench.core.experiment import DETAILS, LONGEST_TABLE, REPORT, Section
from bench.core.store import Store
from bench.experiments import latency
from bench.report import build as report
from bench.report.build import everything, measured, pages, with_numbers, write_report
from bench.workloads.timed_models import TINY
from seqocr.errors import InputError
from tests.synthetic import CONFIDENCE, ENCODE, INTERCEPT, finished_run, timed_rows


@pytest.fixture
def store(tmp_path):
    return finished_run(tmp_path)


@pytest.fixture
def timed(store):
    return everything(store)["latency"].subjects[TINY.name]


def page(store):
    return pages(store, everything(store))[REPORT]


def test_slopes_are_recovered_and_neither_warm_up_nor_disturbance_moves_them(timed):
    for strategy, slope in {"ar-generate": 4, "ar": 2, "ar-nocache": 6, "parallel": 0, "ctc": 0}.items():
        found = timed.slope(strategy)
        assert found.estimate == pytest.approx(slope, rel=0.02, abs=2e-3)
        assert found.low <= found.estimate <= found.high
        assert found.n == 8
    assert timed.slope("ar").low > 0


def test_totals_hold_encoder_decoding_and_confidence(timed):
    whole = (ENCODE + INTERCEPT + CONFIDENCE) * 1e3
    assert timed.total("ctc", 5).estimate == pytest.approx(whole, rel=0.01)
    assert timed.total("encoder", 5).estimate == pytest.approx(ENCODE * 1e3, rel=0.01)
    assert timed.over_encoder("ctc", 5).estimate == pytest.approx(whole / ENCODE / 1e3, rel=0.01)


def test_growth_and_speedups_are_paired_ratios(timed):
    assert timed.flatness("parallel").estimate == pytest.approx(1, rel=0.02)
    assert timed.flatness("ar").estimate == pytest.approx((INTERCEPT + 0.1) / (INTERCEPT + 0.002), rel=0.02)
    whole = ENCODE + INTERCEPT + CONFIDENCE
    assert timed.speedup("ctc", "ar-generate", 5).estimate == pytest.approx((whole + 0.02) / whole, rel=0.02)


def test_report_is_made_from_saved_rows_alone_and_twice_the_same(store, tmp_path, monkeypatch):
    monkeypatch.setattr(latency.Latency, "measure", lambda *_: pytest.fail("the report measured"))
    first = write_report(store, tmp_path).read_text()
    tables = {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()}
    assert write_report(Store.latest(tmp_path), tmp_path).read_text() == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()} == tables
    text = first + (tmp_path / "details.md").read_text()
    for name in ("latency", "breakdown", "accuracy", "samples"):
        assert Image.open(tmp_path / "plots" / f"{name}.png").size[0] > 500
        assert f"plots/{name}.png" in text
    assert {"latency.csv", "slopes.csv", "flatness.csv", "speedups.csv", "accuracy.csv"} <= tables.keys()
    assert "No test shows a difference to `ar`" in first
    assert "MNIST's test half was not available" in text  # the split is validation, and that must be said


def test_first_screen_fits_and_comes_first(store):
    lines = page(store).splitlines()
    assert lines[0].startswith("# ")
    assert next(i for i, line in enumerate(lines) if line.startswith("## ")) <= 40
    assert len(lines) <= 150


def test_the_verdict_follows_the_numbers(store):
    text = page(store)
    assert "**Use `parallel` or `ctc`, which read a line in one pass.**" in text
    assert "No test shows a difference to `ar` in exact match" in text
    assert "decodes in at most 1.0" in text
    predictions = store.read("accuracy")
    wrong = predictions["head"].isin(["parallel", "ctc", "ctc-beam"]) & (predictions["index"] < 20)
    predictions.loc[wrong, "prediction"] = "99999"
    store.write("accuracy", predictions)
    rows = timed_rows()
    slow = rows["strategy"].isin(["ctc", "parallel"]) & (rows["length"] == 50)
    rows.loc[slow, "seconds"] *= 3
    store.write(f"latency-{TINY.name}", rows)
    text = page(store)
    assert "in one pass; `ar-speculative` where a point matters more than time.**" in text
    assert "`ar` reads more than `parallel`: five clean digits, +" in text
    assert "decodes in at most 3.0" in text


def test_an_unsteady_number_is_marked_where_it_stands_and_no_other(store):
    assert "≈" not in page(store).split("Measured")[0]
    rows = timed_rows()
    shaken = (rows["strategy"] == "ar-generate") & (rows["length"] == 5)
    rows.loc[shaken, "seconds"] *= 1 + (rows.loc[shaken, "round"] % 3) * 0.4
    store.write(f"latency-{TINY.name}", rows)
    marked = [line for line in page(store).split("Measured")[0].splitlines() if "≈" in line]
    assert [line.split("`")[1] for line in marked] == ["ar-generate"]


def test_what_was_repeated_is_said(store):
    assert "commit abc" in measured(store)
    said = pages(store, everything(store))[DETAILS].split("## Repeatability")[1]
    assert f"6 of {9 * 6 + 6} timed samples were disturbed and repeated." in said


def test_sections_of_another_machine_name_it(store):
    other = {"cpu": "Another", "threads": 3, "vector_instructions": "none"}
    assert "Another" not in page(store)
    store.add_facts("accuracy", environment=other, commit="def")
    details = pages(store, everything(store))[DETAILS].split("## Accuracy on five digits")[1].split("\n## ")[0]
    assert "*Measured on Another, 3 threads (none), at commit def.*" in details


def test_a_long_table_is_cut_and_folded_below(store, monkeypatch):
    table = report.pd.DataFrame({"row": [f"row {i}" for i in range(LONGEST_TABLE + 1)]})
    monkeypatch.setattr(latency.Latency, "sections", lambda *_: [Section("Long", "", None, table)])
    made = pages(store, everything(store))
    last = f"| row {LONGEST_TABLE} |"
    assert f"| row {LONGEST_TABLE - 1} |" in made[REPORT]
    assert last not in made[REPORT]
    assert "[More](details.md#long)" in made[REPORT]
    assert last in made[DETAILS].split("## Long\n")[1].split("<details><summary>All rows</summary>")[1]


def test_nothing_measured_is_said(tmp_path, store):
    with pytest.raises(InputError, match="no finished run"):
        Store.latest(tmp_path / "elsewhere")
    store.delete("accuracy")
    with pytest.raises(InputError, match="has nothing of accuracy"):
        everything(store)


def test_readmes_numbers_stand_between_its_marks(store, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n\n{report._BEGIN}\nold\n{report._END}\n\nafter\n")
    found = everything(store)
    text = with_numbers(path.read_text(), found, "a line", path)
    assert text.startswith("before\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert "| `ctc` | 1 |" in text
    assert with_numbers(text, found, "a line", path) == text
    with pytest.raises(InputError, match="has no place for the numbers"):
        with_numbers("no marks", found, "a line", path)
