"""What the bench reads beyond the task: levels, lengths and real lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import barred, lively, own_lines, small_recognizer
from test_bench import store as finished  # noqa: F401, a finished run

from bench import line_report, lines, peers
from bench.line_report import LineResults, edit_rates
from bench.report import write_report
from bench.store import Store
from seqocr import evaluation
from seqocr.checkpoints import load_recognizer, save
from seqocr.data.folder import LineFolder
from seqocr.data.levels import LEVELS
from seqocr.models.recognizer import Recognizer

COUNT = 3
SCHEDULE = {"steps": 2, "learning_rate": 1e-3, "warmup": 1, "validate_every": 1, "patience": 0, "batch_size": 4}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save(lively(small_recognizer(max_length=3), scale=0.4), tmp_path / "weights")  # type: ignore[arg-type]
    return tmp_path / "weights"


@pytest.fixture
def folder(tmp_path: Path) -> LineFolder:
    return LineFolder(own_lines(tmp_path / "cheques", 40))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few digits, short training, and one other reader, which reads whatever has light paper as 7."""
    monkeypatch.setattr(lines, "load_digits_or_validation", lambda split: barred(120, split="test"))
    monkeypatch.setattr(lines, "FINE_TUNING", SCHEDULE)

    def read(images: Any) -> list[str]:
        return ["7" if image.float().median() > 128 else "?" for image in images]

    def load(name: str, recognizer: Recognizer, scratch: Path, inverted: bool) -> peers.Peer:
        assert not inverted
        return peers.Peer(read, True, "made for the test")

    monkeypatch.setattr(peers, "load", load)
    monkeypatch.setattr(peers, "missing", lambda name: "not here" if name == "Tesseract" else "")


def measured(tmp_path: Path, weights: Path, folder: LineFolder | None) -> Store:
    store = Store.for_lines(tmp_path / "results", COUNT, folder, "cpu", weights)
    lines.measure(load_recognizer(weights), COUNT, folder, store)
    return store


def test_every_length_of_every_level_is_read_by_every_head(tmp_path: Path, weights: Path) -> None:
    store = measured(tmp_path, weights, None)
    read = store.read("levels")
    sizes = read.groupby(["level", "length", "head"]).size()
    assert len(sizes) == 3 * 3 * 3
    assert set(sizes) == {COUNT}
    assert (read["text"].str.len() == read["length"]).all()
    # The same digits at every level.
    assert read.groupby(["length", "index"])["text"].nunique().max() == 1
    assert all(store.path(f"{level}.png").exists() for level in LEVELS)
    assert not store.has("real")
    assert store.facts()["finished"]


def test_real_lines_held_out_are_read_by_all_and_learned_from_by_none(
    tmp_path: Path, weights: Path, folder: LineFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned_from: list[LineFolder] = []
    tuned = lines.fine_tuned
    monkeypatch.setattr(lines, "fine_tuned", lambda part, *rest: (learned_from.append(part), tuned(part, *rest))[1])
    store = measured(tmp_path, weights, folder)
    read, about = store.read("real"), store.facts()["real"]
    learned, held_out = folder.split(lines.HELD_OUT, "test")
    assert {line.name for line in learned_from[0].lines} == {line.name for line in learned.lines}
    assert not {line.name for line in learned.lines} & {line.name for line in held_out.lines}
    own = {(head, phase) for head in ("ar", "parallel", "ctc") for phase in ("zero-shot", "fine-tuned")}
    assert set(read.groupby(["reader", "phase"]).groups) == own | {("RapidOCR", "as it comes")}
    for _, part in read.groupby(["reader", "phase"]):
        assert part["text"].tolist() == [line.text for line in held_out.lines]
    assert (read["seconds"] > 0).all()
    assert (read[read["reader"] == "RapidOCR"]["prediction"] == "7").all()
    assert (about["learned"], about["held_out"], about["not_run"]) == (
        len(learned),
        len(held_out),
        {"Tesseract": "not here"},
    )
    assert about["fine_tuning"]["step"] <= 2
    assert not store.path("tuned").exists()


def test_nothing_is_measured_twice_and_another_folder_is_another_run(
    tmp_path: Path, weights: Path, folder: LineFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = measured(tmp_path, weights, folder)
    assert Store.for_lines(tmp_path / "results", COUNT, None, "cpu", weights).folder != store.folder
    assert (
        Store.latest_lines(tmp_path / "results") == store
        or Store.latest_lines(tmp_path / "results").folder == store.folder
    )  # type: ignore[union-attr]
    for name in ("measure_levels", "measure_real"):
        monkeypatch.setattr(lines, name, lambda *_: pytest.fail("measured again"))
    assert measured(tmp_path, weights, folder).folder == store.folder


def test_the_report_shows_levels_and_real_lines(
    tmp_path: Path,
    weights: Path,
    folder: LineFolder,
    finished: Store,  # noqa: F811
) -> None:
    of_lines = measured(tmp_path, weights, folder)
    text = write_report(finished, tmp_path / "out", of_lines).read_text()
    assert "## Any length, any spacing" in text
    assert "`cheques`" in text
    assert "Tesseract was not run: not here" in text
    trusted = text.split("## How far to trust the confidence")[1].split("\n\n## ")[0]
    assert trusted.count("\n| real, ") == 6  # ours, which say how sure they are
    assert "RapidOCR" not in trusted
    for name in ("lengths", "grid", "jitter", "wild"):
        assert (tmp_path / "out" / "plots" / f"{name}.png").stat().st_size > 1000
    lengths = pd.read_csv(tmp_path / "out" / "tables" / "lengths.csv")
    assert len(lengths) == 27
    without = write_report(finished, tmp_path / "without").read_text()
    assert "Any length" not in without


def test_edits_are_counted_by_kind() -> None:
    read = pd.DataFrame(
        {"text": ["123", "55", "90", "4"], "prediction": ["128", "5", "9901", "4"]}
    )  # one substituted, one missed, two invented, of eight
    assert edit_rates(read) == {"substituted": 1 / 8, "missed": 1 / 8, "invented": 2 / 8}


def test_trust_is_what_keeping_only_the_sure_gains() -> None:
    rows = [
        ("wild", "ctc", "1", "1", 0.95),
        ("wild", "ctc", "4", "9", 0.99),  # in the same of fifteen bins as the one above
        ("wild", "ctc", "2", "2", 0.9),
        ("wild", "ctc", "3", "8", 0.5),
        ("real", "ar", "5", "5", 0.5),
        ("real", "RapidOCR", "6", "6", None),
    ]
    read = pd.DataFrame(rows, columns=["lines", "head", "text", "prediction", "confidence"])
    found = line_report.trust(read).set_index(["lines", "head"])
    assert set(found.index) == {("wild", "ctc"), ("real", "ar")}
    ctc, ar = found.loc[("wild", "ctc")], found.loc[("real", "ar")]
    assert (ctc["exact"], ctc["sure"], ctc["sure_exact"]) == (0.5, 0.75, pytest.approx(2 / 3))
    assert (ctc["sure_exact_low"], ctc["sure_exact_high"]) == pytest.approx(evaluation.wilson(2, 3))
    assert ctc["ece"] == pytest.approx((2 * (0.97 - 0.5) + (1 - 0.9) + 0.5) / 4)
    assert (ar["sure"], ar["ece"]) == (0, 0.5)
    assert pd.isna(ar["sure_exact"])


def test_rows_are_what_they_say(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_facts({})
    rows = [
        {"level": "grid", "length": 2, "head": "ar", "index": i, "text": "12", "prediction": "12" if i else "13"}
        for i in range(10)
    ]
    store.write("levels", pd.DataFrame(rows))
    timed = [
        {"phase": "zero-shot", "reader": "ar", "index": i, "text": "1", "prediction": "1", "seconds": i / 1e3}
        for i in range(1, 102)
    ]
    store.write("real", pd.DataFrame(timed))
    results = LineResults(store)
    row = results.levels.iloc[0]
    assert (row["strings"], row["exact"], row["substituted"]) == (10, 0.9, 1 / 20)
    assert row["exact_low"] < 0.9 < row["exact_high"]
    real = results.real.iloc[0]
    assert (real["exact"], real["ms"]) == (1.0, pytest.approx(51))
    assert 40 <= real["ms_low"] < 45 < 57 < real["ms_high"] <= 62
    assert line_report.milliseconds(real["ms"]) == "51"
