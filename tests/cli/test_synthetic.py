"""Training on lines by one writer each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seqocr.data.folder import LineFolder
from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import Digits
from seqocr.models.checkpoint import save
from seqocr.train.config import TrainConfig
from seqocr.train.recipe import synthetic_sources
from tests.cli.test_cli import is_one_clear_error
from tests.conftest import barred, own_lines, small_recognizer
from tests.data.test_strokes import written

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def strokes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("strokes")
    written(folder / "digits.jsonl", writers=120)
    return folder


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(split: str, dataset: str = "mnist", root: Path | None = None) -> Digits:
        return barred({"train": 160, "validation": 100, "test": 90}[split], split)

    monkeypatch.setattr(sources, "load_digits", load)


def test_sources_are_parts_and_no_writer_is_learned_from_and_held_out(strokes):
    config = TrainConfig(length=(1, 3))
    (part,) = synthetic_sources(config, [str(strokes), str(strokes)])
    assert part.weight == 2
    assert part.train.about["split"] == "train"
    assert part.held_out.about["split"] == "validation"
    assert {len(text) for text in part.train.batch(range(60))[1]} == {1, 2, 3}


def test_training_on_the_command_line_goes_on(run_cli: Run, digits, strokes, tmp_path):
    start = tmp_path / "start"
    save(small_recognizer(max_length=3), start)
    command = ("train", "--init", start, "--glyphs", f"{strokes},{strokes}", "--length", "1-3", "--level", "jitter")
    steps = ("--steps", 4, "--batch-size", 6, "--validate-every", 2, "--validation-strings", 12)
    code, out, _ = run_cli(*command, *steps, "--out", tmp_path / "run")
    assert code == 0
    assert f"trained: {tmp_path / 'run'}" in out
    provenance = json.loads((tmp_path / "run/config.json").read_text())["provenance"]
    assert [part["weight"] for part in provenance["data"]] == [1, 2]
    assert provenance["data"][1]["writers"] > 50
    assert is_one_clear_error(run_cli(*command, *steps, "--out", tmp_path / "run"), "finished")


def test_digits_at_levels_are_learned_from_teachers(run_cli: Run, strokes, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "load_digits", lambda split, *_: barred(60, split))
    save(small_recognizer(max_length=3), tmp_path / "start")
    command = ("train", "--init", tmp_path / "start", "--glyphs", strokes, "--length", "1-3", "--level", "jitter")
    steps = ("--steps", 4, "--batch-size", 6, "--validate-every", 2, "--validation-strings", 12)
    code, _, err = run_cli(*command, *steps, "--teachers", tmp_path / "teachers", "--out", tmp_path / "run")
    assert code == 0, err
    provenance = json.loads((tmp_path / "run/config.json").read_text())["provenance"]
    assert [part.get("soft_labels") for part in provenance["data"]] == [True, None]
    assert min(path.name for path in (tmp_path / "teachers").iterdir()) == "soft-labels.safetensors"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--glyphs", "nowhere"], ["nowhere", "qmnist"]),
        (["--glyphs", ""], ["--glyphs ''"]),
        (["--glyphs", "mnist", "--dataset", "usps"], ["--glyphs", "--dataset"]),
    ],
)
def test_what_is_no_source_is_refused_in_one_line(run_cli: Run, digits, tmp_path, arguments, words):
    assert is_one_clear_error(run_cli("train", "--out", tmp_path / "run", *arguments), *words)


def test_weights_of_other_symbols_are_refused(run_cli: Run, digits, strokes, tmp_path):
    save(small_recognizer(charset="abc"), tmp_path / "letters")
    lines = own_lines(tmp_path / "lines", 60, charset="abc")
    command = ("train", "--init", tmp_path / "letters", "--glyphs", strokes, "--data", lines, "--out", tmp_path / "run")
    assert is_one_clear_error(run_cli(*command), "0 to 9", "'abc'")


def test_lines_of_ones_own_are_mixed_with_written_ones(run_cli: Run, strokes, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "load_digits", lambda *_: pytest.fail("no level is drawn"))
    save(small_recognizer(max_length=3), tmp_path / "start")
    lines = own_lines(tmp_path / "lines", 60)
    command = ("train", "--init", tmp_path / "start", "--glyphs", strokes, "--data", lines, "--out", tmp_path / "run")
    code, said, err = run_cli(*command, "--steps", 4, "--validate-every", 2, "--batch-size", 6, "--level", "data,data")
    assert code == 0, err
    assert "before" in said
    provenance = json.loads((tmp_path / "run/config.json").read_text())["provenance"]
    assert [part["weight"] for part in provenance["data"]] == [2, 1]
    learned, held_out = LineFolder(lines).split(0.1, "validation")
    assert (provenance["data"][0]["lines"], provenance["held_out"]) == (len(learned), len(held_out))
