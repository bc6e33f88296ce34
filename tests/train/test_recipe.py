"""Trainings as the command line and the bench put them together."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seqocr.data.folder import LineFolder
from seqocr.data.mixture import CUSTOM_DATA
from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError
from seqocr.models.checkpoint import save
from seqocr.models.recognizer import Recognizer
from seqocr.train import loop, recipe
from seqocr.train.config import FINE_TUNING, Source, Start, TrainConfig
from tests.conftest import barred, own_lines, small_recognizer

FEW = {"steps": 4, "batch_size": 6, "warmup": 1, "validate_every": 2, "save_every": 1, "precision": "float32"}
TUNING = TrainConfig(**{**FINE_TUNING, **FEW})


@pytest.fixture(autouse=True)
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(split: str, dataset: str = "mnist", root: Path | None = None) -> Digits:
        return barred({"train": 400, "validation": 200, "test": 90}[split], split)

    monkeypatch.setattr(sources, "load_digits", load)


def same_weights(a: Recognizer, b: Recognizer) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_fine_tuning_is_what_the_command_line_does(tmp_path: Path) -> None:
    start, lines = small_recognizer(), own_lines(tmp_path / "lines", 30)
    save(start, tmp_path / "start")
    before = copy.deepcopy(start)
    folder = LineFolder(lines, charset=start.charset, max_length=start.max_length)
    ours = recipe.fine_tune(start, folder, tmp_path / "ours", config=TUNING)
    [(out, theirs)] = recipe.train(TUNING, Start(init=str(tmp_path / "start")), Source(data=lines), tmp_path / "theirs")
    assert out == tmp_path / "theirs"
    assert same_weights(ours, theirs)
    assert not same_weights(ours, before)
    assert same_weights(start, before)
    assert ours.provenance["validation"][0]["step"] == 0  # what it started from counts


def test_a_third_is_synthetic_where_digits_are_read_and_your_data_alone_chooses_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "MIN_LINES", 1)
    folder = LineFolder(own_lines(tmp_path / "lines", 30), charset="0123456789")
    tuned = recipe.fine_tune(small_recognizer(), folder, tmp_path / "out", config=TUNING)
    assert [part["weight"] for part in tuned.provenance["data"]] == [2, 1]
    assert tuned.provenance["config"]["length"] == [1, folder.longest]
    assert tuned.provenance["held_out"] == len(folder.split(0.1, "validation")[1])
    assert set(json.loads((tmp_path / "out/config.json").read_text())["provenance"]["calibration"]) == set(tuned.heads)
    assert recipe.fine_tuning("0123456789") == FINE_TUNING
    assert recipe.fine_tuning("abc") == recipe.fine_tuning(None) == {**FINE_TUNING, "level": CUSTOM_DATA}


def test_fine_tuning_takes_the_heads_asked_for(tmp_path: Path) -> None:
    folder = LineFolder(own_lines(tmp_path / "lines", 30), charset="0123456789")
    tuned = recipe.fine_tune(small_recognizer(), folder, tmp_path / "out", heads=("ctc",), config=TUNING)
    assert list(tuned.heads) == ["ctc"]


@pytest.mark.parametrize("of", ["lines", "digits"])
def test_what_was_finished_is_loaded_and_what_was_not_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    folder = LineFolder(own_lines(tmp_path / "lines", 30), charset="0123456789")

    def run(out: Path) -> Recognizer:
        if of == "lines":
            return recipe.fine_tune(small_recognizer(), folder, out, config=TUNING)
        digits = barred(60), barred(30, "validation")
        return recipe.train_on_digits(small_recognizer(), digits, TrainConfig(length=2, **FEW), out)

    whole = run(tmp_path / "whole")
    save_state, calls = loop.save_state, iter(range(100))

    def save_and_die(*arguments: Any) -> None:
        save_state(*arguments)
        if next(calls) == 2:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", save_and_die)
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / "killed")
    assert same_weights(run(tmp_path / "killed"), whole)
    monkeypatch.setattr(recipe.Trainer, "fit", lambda *_, **__: pytest.fail("it was finished"))
    assert same_weights(run(tmp_path / "killed"), whole)


def test_what_reads_long_lines_stays_able_to_unless_told_otherwise(tmp_path: Path) -> None:
    save(small_recognizer(max_length=3), tmp_path / "start")
    lines = own_lines(tmp_path / "lines", 30, longest=2)
    start, source = Start(init=str(tmp_path / "start"), heads=("ctc",)), Source(data=lines)
    for max_length, expected in ((None, 3), (1, 2), (5, 5)):
        out = tmp_path / f"out-{max_length}"
        tuning = replace(TUNING, length=max_length or TUNING.length)
        [(_, trained)] = recipe.train(tuning, start, source, out, max_length=max_length)
        assert trained.max_length == expected


@pytest.mark.parametrize(
    ("start", "source", "config", "message"),
    [
        ({"layers": 4}, {}, {}, "--layers changes what --init has"),
        ({}, {"charset": ""}, {}, "charset ''"),
        ({}, {}, {"protocol": "frozen"}, "would freeze random weights"),
        ({}, {}, {"level": "data,grid"}, "level 'data' is your data"),
        ({}, {}, {"level": "misty"}, "unknown level 'misty'"),
        ({}, {"dataset": "svhn"}, {}, "unknown data set 'svhn'"),
        ({"heads": ("lstm",)}, {}, {}, "unknown head 'lstm'"),
        ({"init": "nowhere"}, {}, {}, "nowhere"),
    ],
)
def test_what_cannot_be_is_said_before_digits_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: dict, source: dict, config: dict, message: str
) -> None:
    monkeypatch.setattr("seqocr.data.sources.datasets.load_digits", lambda *_: pytest.fail("digits were fetched"))
    with pytest.raises(InputError, match=message):
        list(recipe.train(replace(TrainConfig(), **config), Start(**start), Source(**source), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("level", "batch", "own", "sources", "shards", "expected"),
    [
        ("data,data,wild", 64, 700, 0, 1, 63),
        ("data,data,wild", 64, 24, 0, 1, 36),  # two thirds of which are the 24
        ("data,wild", 64, 700, 0, 1, 64),
        ("data,data,wild", 64, 700, 2, 1, 60),
        ("data", 64, 30, 0, 1, 30),
        ("grid", 64, 0, 0, 1, 64),
        ("data,data,wild", 64, 1, 0, 1, 3),
        ("data,data,wild", 64, 700, 0, 4, 60),
        ("grid", 2, 0, 0, 4, 4),
    ],
)
def test_a_batch_fits_its_parts_shards_and_lines(level, batch, own, sources, shards, expected) -> None:
    config = TrainConfig(level=level, batch_size=batch)
    assert recipe.reduce_batch(config, own, sources, shards).batch_size == expected


def test_few_lines_do_not_calibrate_and_the_log_says_what_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = LineFolder(own_lines(tmp_path / "lines", 30), charset="0123456789")
    tuned = recipe.fine_tune(small_recognizer(), folder, tmp_path / "out", config=TUNING)
    assert "calibration" not in tuned.provenance
    held_out = tuned.provenance["held_out"]
    assert f"not calibrated: {held_out} held-out lines, at least 50 are needed" in caplog.text
    assert f"seqocr calibrate --weights {tmp_path / 'out'} --data" in caplog.text


def test_a_training_killed_while_it_calibrates_is_calibrated_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "MIN_LINES", 1)
    lines = own_lines(tmp_path / "lines", 30)

    def run() -> Recognizer:
        [(_, trained)] = recipe.train(TUNING, Start(heads=("ctc",)), Source(data=lines), tmp_path / "out")
        return trained

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "fit_calibrations", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    assert set(run().provenance["calibration"]) == {"ctc"}
    with pytest.raises(InputError, match="holds a finished recognizer"):
        run()


def test_weights_know_the_lines_that_they_learned_from(tmp_path: Path) -> None:
    folder = LineFolder(own_lines(tmp_path / "lines", 30), charset="0123456789")
    learned, held_out = folder.split(0.1, "validation")
    tuned = recipe.fine_tune(small_recognizer(), folder, tmp_path / "tuned", config=TUNING)
    later = {"data": [], "init": tuned.provenance}
    for provenance in (tuned.provenance, later):
        assert learned.count_learned(provenance) == len(learned)
        assert held_out.count_learned(provenance) == 0
    assert folder.count_learned(small_recognizer().provenance) == 0
