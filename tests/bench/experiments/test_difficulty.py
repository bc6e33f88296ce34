"""Every length at every level: what is read, that a killed run goes on, and results whose answer is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.core import strategies
from bench.core.experiment import Bench
from bench.core.store import Store
from bench.experiments import difficulty
from bench.report.build import write_report
from bench.workloads import accuracy_tables, held_out
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.data.synthetic.layouts.jitter import JitterLayout
from seqocr.models.checkpoint import save
from seqocr.statistics import BETTER, UNDECIDED, WORSE
from tests.conftest import barred, lively, small_recognizer
from tests.measured import measured
from tests.synthetic import finished_run

EACH = 3
EXPERIMENT = difficulty.EXPERIMENT


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A reader of up to three digits; few digits to read."""
    save(lively(small_recognizer(max_length=3), scale=0.4), tmp_path / "weights")  # type: ignore[arg-type]
    monkeypatch.setattr(difficulty, "held_out_digits", lambda: barred(120, split="test"))
    monkeypatch.setitem(difficulty._EACH, "smoke", EACH)
    monkeypatch.setattr(difficulty, "_AT_ONCE", 2)
    return Bench(Store(tmp_path / "raw" / "run"), reader=tmp_path / "weights")


def all_measured(bench: Bench) -> difficulty.Results:
    for part in EXPERIMENT.parts("smoke", bench):
        measured(EXPERIMENT, part, bench)
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    return found


def test_every_length_of_every_level_is_read_by_every_head(bench: Bench) -> None:
    assert EXPERIMENT.results(bench.store) is None
    found = all_measured(bench)
    assert (found.levels, found.lengths, found.heads) == (list(LEVELS), [1, 2, 3], list(strategies.heads()))
    sizes = found.read.groupby(["level", "length", "head"]).size()
    assert len(sizes) == len(LEVELS) * 3 * len(strategies.heads())
    assert set(sizes) == {EACH}
    assert (found.read["text"].str.len() == found.read["length"]).all()
    # The same digits at every level.
    assert found.read.groupby(["length", "index"])["text"].nunique().max() == 1
    assert EXPERIMENT.pictures(bench.store).keys() == LEVELS.keys()
    assert all(path.stat().st_size > 100 for path in EXPERIMENT.pictures(bench.store).values())


def test_a_killed_run_goes_on_with_the_next_piece(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    part = EXPERIMENT.parts("smoke", bench)[0]
    read, pieces = held_out.read_some, []

    def killed(folder, lines, indices, heads, device, **facts):
        pieces.append((facts["length"], indices.start))
        if len(pieces) == 4:
            raise KeyboardInterrupt
        return read(folder, lines, indices, heads, device, **facts)

    monkeypatch.setattr(held_out, "read_some", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(EXPERIMENT, part, bench)
    kept = bench.store.unfinished(part.name).read(part.name)
    assert set(zip(kept["length"], kept["index"], strict=True)) == {(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)}
    assert not bench.store.finished(part.name, EXPERIMENT.depends(part))
    measured(EXPERIMENT, part, bench)
    assert pieces == [(1, 0), (1, 2), (2, 0), (2, 2), (2, 2), (3, 0), (3, 2)]
    ordered = kept.sort_values(["length", "index"], kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(bench.store.read(part.name).head(len(kept)), ordered)


def test_several_workers_read_the_same(bench: Bench, tmp_path: Path) -> None:
    alone = all_measured(bench).read
    with ThreadPoolExecutor(2) as pool:
        together = all_measured(replace(bench, store=Store(tmp_path / "other"), workers=pool)).read
    pd.testing.assert_frame_equal(together, alone, check_exact=False, rtol=1e-4)


def test_a_toy_level_is_one_entry(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("toy", "toyer"):
        monkeypatch.setitem(LEVELS, name, JitterLayout(height=32))
    found = all_measured(bench)
    assert found.levels == list(LEVELS)
    assert {claim.name.split(":")[0] for claim in EXPERIMENT.claims(found)} >= {"`toy`", "`toyer`"}
    (section,) = EXPERIMENT.sections(found, {})
    assert section.table is not None
    assert section.table["exact match"].tolist() == [f"`{level}`" for level in LEVELS]
    assert len(EXPERIMENT.tables(found)["levels"]) == len(LEVELS) * len(strategies.heads())
    *_, pictures = section.details.values()
    assert "![toy](plots/toy.png)" in pictures
    assert "toy" in EXPERIMENT.pictures(bench.store)
    axes = EXPERIMENT.plots(found, {})["lengths"]().axes
    titles = [axis.get_title() for axis in axes]
    assert titles == ["ar, by level", *(f"{level}: one pass minus ar" for level in LEVELS), "all lengths"]


def rows(wrong: dict[str, int], level: str, of: int = 400) -> pd.DataFrame:
    """Of so many strings of two digits and as many of one, each head reads its first ones wrong."""
    found = [
        (length, index, head, "12"[:length], "9" if index < count else "12"[:length], 0.9)
        for head, count in wrong.items()
        for length in (1, 2)
        for index in range(of // 2)
    ]
    columns = ["length", "index", "head", "text", "prediction", "confidence"]
    return pd.DataFrame(found, columns=columns).assign(level=level)


@pytest.fixture
def known() -> difficulty.Results:
    read = [
        rows({"ar": 0, "parallel": 20, "ctc": 10}, "grid"),
        rows({"ar": 20, "parallel": 0, "ctc": 10}, "jitter"),
        rows({"ar": 10, "parallel": 12, "ctc": 10}, "wild"),
    ]
    about = {"source": "made up", "split": "test", "each": 200, "reader": "toy"}
    return difficulty.Results(about, pd.concat(read, ignore_index=True))


def test_results_pair_heads_by_string(known: difficulty.Results) -> None:
    assert known.exact("grid", "parallel").estimate == pytest.approx(1 - 40 / 400)
    assert known.exact("grid", "parallel", 2).estimate == pytest.approx(1 - 20 / 200)
    assert known.exact("grid", "parallel").n == 400
    assert known.exact("grid", "ar").estimate == 1
    assert [(each.where, each.other) for each in known.comparisons] == [
        (f"`{level}`", other) for level in ("grid", "jitter", "wild") for other in ("parallel", "ctc")
    ]
    gap = known.comparisons[1].gap
    assert (gap.only_first, gap.only_second, gap.difference.estimate) == (20, 0, pytest.approx(0.05))
    words = [BETTER, BETTER, WORSE, WORSE, UNDECIDED, UNDECIDED]
    assert [each.verdict.word for each in known.comparisons] == words
    claims = EXPERIMENT.claims(known)
    assert [claim.verdict for claim in claims] == words
    assert claims[1].value == gap.difference
    # Alike on every string, and still no interval without width.
    assert claims[5].value.low < 0 < claims[5].value.high


def test_words_follow_the_numbers(known: difficulty.Results) -> None:
    (section,) = EXPERIMENT.sections(known, {})
    assert "`ar` reads more than `ctc`: `grid`, +5.00" in section.text
    assert "`ar` reads less than `parallel`: `jitter`, -10.00" in section.text
    assert "on `wild`" not in section.text
    assert "than `ctc`: `wild`" not in section.text
    assert "at `wild`, exact match of `ar` falls from 95 % to 95 %" in section.text
    assert section.table is not None
    pairs = section.details["`ar` beside one pass"]
    assert pairs["heads"].tolist() == ["`ar` minus `parallel`", "`ar` minus `ctc`"] * 3
    assert pairs["points"].str.split().str[0].tolist() == ["+10.00", "+5.00", "-10.00", "-5.00", "+1.00", "+0.00"]
    grid = section.table.iloc[0]
    assert [grid[f"`{head}`"] for head in ("ar", "parallel", "ctc")] == [
        "100.0 % (99.0 to 100.0)",
        "90.0 % (86.7 to 92.6)",
        "95.0 % (92.4 to 96.7)",
    ]
    tables = EXPERIMENT.tables(known)
    assert {name: len(table) for name, table in tables.items()} == {
        "levels": 9,
        "lengths": 18,
        "pairs": 9,
        "beside_one_pass": 6,
    }
    # Of three digits in two strings, one is substituted and one missed where "12" is read as "9".
    row = tables["levels"].set_index(["level", "head"]).loc[("grid", "parallel")]
    assert (row["substituted"], row["missed"], row["invented"]) == pytest.approx((40 / 600, 20 / 600, 0))
    assert row["cer"] == pytest.approx(0.1)


def test_the_report_has_them_and_its_first_screen_too(bench: Bench, tmp_path: Path) -> None:
    store = finished_run(tmp_path)
    all_measured(replace(bench, store=store))
    text = write_report(store, tmp_path).read_text()
    first, *_ = text.split("\n## ")
    assert "| `ctc` |" in first
    assert "`wild`" in first
    assert "## Any length, any spacing\n\n![Any length, any spacing](plots/lengths.png)" in text
    assert "## Calibrated confidence" in (tmp_path / "details.md").read_text()
    for name in ("lengths", *LEVELS):
        assert (tmp_path / "plots" / f"{name}.png").stat().st_size > 1000
    assert len(pd.read_csv(tmp_path / "tables" / "lengths.csv")) == 36


def test_edits_are_counted_by_kind() -> None:
    read = pd.DataFrame(
        {"text": ["123", "55", "90", "4"], "prediction": ["128", "5", "9901", "4"]}
    )  # one substituted, one missed, two invented, of eight
    assert accuracy_tables.edit_rates(read) == {"substituted": 1 / 8, "missed": 1 / 8, "invented": 2 / 8}
