"""Learning from lines without texts: what is learned, what is watched, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seqocr.data.augment import LineAugmentation
from seqocr.data.folder import LineFolder, ShuffledLines
from seqocr.data.mixture import MixtureSource
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.train import self_training
from seqocr.train.config import TrainConfig
from seqocr.train.recipe import fine_tune
from seqocr.train.self_training import Round, pseudo_labels, rehearsal_lines, self_train
from tests.cli.test_cli import is_one_clear_error
from tests.conftest import barred, own_lines, small_recognizer

QUICK = TrainConfig(level="data", batch_size=16, learning_rate=3e-3, warmup=5, augment=0.0, validation_strings=20)


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> Path:
    return own_lines(tmp_path_factory.mktemp("own") / "lines", 160, longest=2)


@pytest.fixture(scope="module")
def trained(lines, tmp_path_factory) -> Recognizer:
    """A recognizer that has begun to learn such lines from labels: right of many, not of all."""
    start = small_recognizer(max_length=2, patch_size=[28, 14])
    config = replace(QUICK, steps=320, validate_every=320, patience=0)
    return fine_tune(start, LineFolder(lines), tmp_path_factory.mktemp("run") / "run", config=config)


def rehearsal() -> list[MixtureSource]:
    some = (SequenceMNIST(barred(300, split), 2, seed=1) for split in ("train", "validation"))
    return [MixtureSource(*some)]


def exact(recognizer: Recognizer, folder: Path) -> float:
    images, texts = LineFolder(folder).batch(range(160))
    return sum(a == b for a, b in zip(recognizer.decode(images, "ar").texts, texts, strict=True)) / 160


def test_heads_agree_where_all_read_the_same(trained, lines):
    images, _ = LineFolder(lines).batch(range(60))
    with torch.inference_mode():
        features = trained.encode(images)
        read = [head.decode(features) for head in trained.heads.values()]
    for i, found in enumerate(pseudo_labels(trained, images)):
        texts = {each.texts[i] for each in read}
        assert (found is not None) == (len(texts) == 1 and texts != {""})
        if found:
            assert found[0] in texts
            assert found[1] == pytest.approx(min(float(each.confidences[i]) for each in read), abs=1e-5)
    assert any(pseudo_labels(trained, images))
    assert not all(pseudo_labels(trained, images))


def test_it_learns_and_says_what_it_watched(trained, lines, tmp_path):
    """Beside lines of the same kind: so small a recognizer cannot learn two kinds."""
    folder = LineFolder(own_lines(tmp_path / "known", 400, longest=2))
    known = [
        LineFolder.from_lines(folder.directory, each, "0123456789")
        for each in (folder.lines[160:300], folder.lines[300:])
    ]
    beside = [MixtureSource(ShuffledLines(known[0], LineAugmentation().with_strength(0)), known[1])]
    before = exact(trained, lines)
    config = replace(QUICK, steps=60)
    adapted, rounds = self_train(trained, lines, beside, tmp_path / "run", rounds=2, min_confidence=0.1, config=config)
    assert 0.2 < before < 1
    assert exact(adapted, lines) > before
    assert [each.number for each in rounds] == [0, 1, 2]
    assert rounds[0].learned == 0
    assert rounds[1].learned >= 32
    assert all(0 <= each.agreement <= 1 and each.kept for each in rounds)
    assert [Round(**row) for row in json.loads((tmp_path / "run" / "rounds.json").read_text())] == rounds
    again = load_recognizer(tmp_path / "run")
    assert exact(again, lines) == exact(adapted, lines)
    assert again.provenance["self_training"][1]["learned"] == rounds[1].learned


def test_no_label_is_looked_at(trained, lines, tmp_path, monkeypatch):
    """Images alone, in a folder without texts, give the same."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in lines.glob("*.png"):
        (bare / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(self_training, "_AGREEMENT_LOSS", 1.0)
    monkeypatch.setattr(self_training, "_SYNTHETIC_LOSS", 1.0)
    arguments = {"rounds": 1, "min_confidence": 0.1, "config": replace(QUICK, steps=5)}
    found = [
        self_train(trained, f, rehearsal(), tmp_path / f"run-{i}", **arguments) for i, f in enumerate((lines, bare))
    ]
    assert found[0][1] == found[1][1]
    for a, b in zip(found[0][0].parameters(), found[1][0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_round_that_does_harm_is_undone(trained, lines, tmp_path, capsys):
    """The rate is so high that weights forget what they knew."""
    config = replace(QUICK, learning_rate=0.5, steps=30)
    kept, rounds = self_train(trained, lines, rehearsal(), tmp_path / "run", min_confidence=0.1, config=config)
    assert [each.kept for each in rounds] == [True, False]
    assert rounds[1].agreement < rounds[0].agreement or rounds[1].synthetic < rounds[0].synthetic
    assert exact(kept, lines) == exact(trained, lines)
    assert "this does harm, and is undone" in capsys.readouterr().out


def test_it_goes_on_after_a_round_that_was_finished(trained, lines, tmp_path, monkeypatch):
    monkeypatch.setattr(self_training, "_AGREEMENT_LOSS", 1.0)
    monkeypatch.setattr(self_training, "_SYNTHETIC_LOSS", 1.0)
    monkeypatch.setattr(self_training, "_MIN_LABELS", 8)  # how many are read alike depends on how a processor rounds
    arguments = {"rounds": 2, "min_confidence": 0.1, "config": replace(QUICK, steps=10)}
    whole, _ = self_train(trained, lines, rehearsal(), tmp_path / "whole", **arguments)
    fit, calls = self_training.Trainer.fit, []

    def cut_short(trainer, *given):
        calls.append(trainer.out.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(trainer, *given)

    monkeypatch.setattr(self_training.Trainer, "fit", cut_short)
    with pytest.raises(KeyboardInterrupt):
        self_train(trained, lines, rehearsal(), tmp_path / "cut", **arguments)
    again, _ = self_train(trained, lines, rehearsal(), tmp_path / "cut", **arguments)
    assert calls == ["round-1", "round-2", "round-2"]
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    (tmp_path / "cut" / "config.json").unlink()
    with pytest.raises(InputError, match="round-1 holds weights of a run with other settings: "):
        self_train(trained, lines, rehearsal(), tmp_path / "cut", **arguments | {"config": replace(QUICK, steps=11)})


def test_where_heads_agree_on_too_little_the_start_is_kept(trained, lines, tmp_path, capsys):
    kept, rounds = self_train(trained, lines, rehearsal(), tmp_path / "run", min_confidence=1.0, config=QUICK)
    assert len(rounds) == 1
    assert exact(kept, lines) == exact(trained, lines)
    assert "are needed" in capsys.readouterr().out


def test_what_cannot_be_learned_from_says_so(trained, lines, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for i, path in enumerate(sorted(lines.glob("*.png"))[:70]):
        (few / path.name).write_bytes(path.read_bytes() if i > 9 else b"broken")
    with pytest.raises(InputError, match=r"60 line images to learn from: give at least 64; the first .*line-000.png"):
        self_train(trained, few, rehearsal(), tmp_path / "run", config=QUICK)
    with pytest.raises(InputError, match="two heads or more"):
        self_train(small_recognizer(heads=("ctc",)), lines, rehearsal(), tmp_path / "run", config=QUICK)
    letters = small_recognizer(charset="abc")
    with pytest.raises(InputError, match="these weights read 'abc'"):
        rehearsal_lines(letters, (barred(300), barred(300, "validation")))


def test_rehearsal_lines_are_of_the_lengths_that_can_be_read():
    parts = rehearsal_lines(small_recognizer(max_length=4), (barred(3000), barred(3000, "validation")))
    assert [part.weight for part in parts] == [2, 1]
    for part in parts:
        for lines in (part.train, part.held_out):
            assert {len(text) for text in lines.batch(range(60))[1]} == {1, 2, 3, 4}


def test_on_the_command_line(
    run_cli: Callable[..., tuple[int, str, str]], trained, lines, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    def load(split: str, dataset: str = "mnist", root: Path | None = None) -> Digits:
        return barred({"train": 3000, "validation": 2000, "test": 90}[split], split)

    monkeypatch.setattr(sources, "load_digits", load)
    save(trained, tmp_path / "start")
    command = ("train", "--init", tmp_path / "start", "--pseudo-label", lines, "--out", tmp_path / "mine")
    code, said, _ = run_cli(*command, "--steps", 2, "--batch-size", 12)
    assert code == 0
    assert f"trained: {tmp_path / 'mine'}" in said
    assert json.loads((tmp_path / "mine" / "rounds.json").read_text())[0]["number"] == 0
    assert is_one_clear_error(run_cli(*command), "holds a finished recognizer")
    other = (*command[:-1], tmp_path / "other")
    assert is_one_clear_error(run_cli(*other, "--data", lines), "--pseudo-label", "--init")
    code, _, err = run_cli("train", "--unlabelled", lines, "--out", tmp_path / "x")
    assert (code, err.splitlines()[0]) == (2, "--unlabelled is now called --pseudo-label")
    assert "--init" in err
