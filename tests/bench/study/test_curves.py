"""Learning curves in small: what is read when, that a killed run goes on, and that forms are kept to."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench.core.store import Store
from bench.study import curves, training
from bench.study.curves import COUNTED, KNOWN, ORACLES, Curves
from bench.study.design import LENGTH, Training
from bench.study.label_distributions import Lexicon, Placed, count_form
from bench.study.pipeline import depends
from bench.study.predictions import read_under_forms, unread_lines
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.train.loop import Trainer
from tests.conftest import lively

SIZE = Curves(
    {"lexicon-100": 3}, 2, (1, 2, 3), 1, ("clean", "erased 60%"), strings=12, batch=8, base_steps=1, base_batch=8
)
GROUPS = (("ar",), ("ar", "parallel"))


@pytest.fixture(autouse=True)
def _short_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_HELD_OUT", 8)


class OneThread:
    """Where a real engine has processes."""

    @contextlib.contextmanager
    def workers(self, folder: Path) -> Iterator[Executor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setitem(curves.SIZES, "small", SIZE)
    monkeypatch.setattr(curves, "GROUPS", GROUPS)
    engine: Any = OneThread()
    return lambda: curves.run("small", tmp_path / "results", tmp_path / "runs", engine)


def test_heads_are_read_on_the_way_and_nothing_is_done_twice(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = Store(run())
    rows = study.read("curves")
    read = rows[rows["training"] != ORACLES]
    assert set(read.groupby(["heads", "steps", "damage"]).groups) == {
        ("+".join(heads), steps, damage) for heads in GROUPS for steps in (1, 2, 3) for damage in SIZE.damages
    }
    clean = read[read["damage"] == "clean"].groupby(["heads", "steps"])["strategy"].agg(set)
    forms = {f"ar + {form}" for form in (KNOWN, COUNTED)}
    assert clean["ar", 3] == clean["ar", 2] == clean["ar", 1] | forms
    assert not clean["ar", 1] & forms
    assert clean["ar+parallel", 1] == clean["ar+parallel", 3]
    assert set(rows.loc[rows["training"] == ORACLES, "strategy"]) == {"oracle local", "oracle marginal", "oracle joint"}
    assert study.facts("curves")["trainings"] == study.facts("curves")["of"] == len(GROUPS)
    monkeypatch.setattr(Trainer, "fit", lambda *_: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(Store(run()).read("curves"), rows)
    shutil.rmtree(tmp_path / "runs")  # results are enough
    pd.testing.assert_frame_equal(Store(run()).read("curves"), rows)


def test_what_is_added_later_starts_from_the_same_base(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(curves, "GROUPS", GROUPS[:1])
    first = Store(run()).read("curves")
    before = load_recognizer(tmp_path / "runs" / training.BASE).encoder.state_dict()
    shutil.rmtree(tmp_path / "runs")
    monkeypatch.setattr(curves, "GROUPS", GROUPS)
    both = Store(run()).read("curves")
    after = load_recognizer(tmp_path / "runs" / training.BASE).encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(both) > len(first)
    pd.testing.assert_frame_equal(both[both["heads"] != "ar+parallel"].reset_index(drop=True), first, check_dtype=False)


def test_a_training_that_is_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = Training("lexicon-100", 0, ("parallel",))
    whole, killed, read = tmp_path / "whole", tmp_path / "killed", curves._readings
    for folder in (whole, killed):
        training.train_base(SIZE.base, folder, ("parallel",))
    curves.learn(each, SIZE, whole, until=3)

    def kill_at_two(recognizer: Recognizer, each: Training, after: int, size: Curves) -> Any:
        if after == 2:
            raise KeyboardInterrupt
        return read(recognizer, each, after, size)

    monkeypatch.setattr(curves, "_readings", kill_at_two)
    with pytest.raises(KeyboardInterrupt):
        curves.learn(each, SIZE, killed, until=3)
    monkeypatch.setattr(curves, "_readings", read)
    assert Store(killed).read(curves._table(each))["steps"].unique().tolist() == [1]
    assert not curves.is_read(each, SIZE, Store(killed), until=3)
    curves.learn(each, SIZE, killed, until=3)
    assert curves.is_read(each, SIZE, Store(killed), until=3)
    pd.testing.assert_frame_equal(*(Store(folder).read(curves._table(each)) for folder in (whole, killed)))


def test_a_training_may_stop_on_the_way_and_go_on(tmp_path: Path) -> None:
    each, whole, halted = Training("lexicon-100", 0, ("parallel",)), tmp_path / "whole", tmp_path / "halted"
    for folder in (whole, halted):
        training.train_base(SIZE.base, folder, ("parallel",))
    curves.learn(each, SIZE, whole, until=3)
    curves.learn(each, SIZE, halted, until=2)
    assert Store(halted).read(curves._table(each))["steps"].unique().tolist() == [1, 2]
    assert curves.is_read(each, SIZE, Store(halted), until=2)
    shutil.rmtree(halted / each.name)  # readings stay until there are new ones
    curves.learn(each, SIZE, halted, until=3)
    pd.testing.assert_frame_equal(*(Store(folder).read(curves._table(each)) for folder in (whole, halted)))


def test_recognizers_of_other_curves_are_refused(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Store(tmp_path / "runs").write_facts("curves", {"depends": depends(replace(SIZE, strings=13))})
    with pytest.raises(InputError, match="recognizers of other curves"):
        run()
    with pytest.raises(InputError, match="unknown preset 'huge'"):
        curves.run("huge", tmp_path, tmp_path)


@torch.inference_mode()
def test_what_is_read_under_a_form_has_that_form() -> None:
    torch.manual_seed(0)
    own = lively(Recognizer.build("tiny", ("ar", "parallel"), max_length=LENGTH), scale=0.1)
    assert isinstance(own, Recognizer)
    listed, chain = Lexicon.sampled(LENGTH, 7), Placed.amounts()
    lines = unread_lines("uniform", "clean", 0, 20)
    found = {row["strategy"]: row for row in read_under_forms(own, lines, {"list": listed, "chain": chain})}
    assert set(found) == {f"{head} + {form}" for head in ("ar", "parallel") for form in ("list", "chain")}
    # Of seven strings, none may be among the lines; so what is right is right at the places that the list allows.
    assert all(row["strings"] == 20 for row in found.values())
    only = Lexicon(np.array([list(map(int, lines.batch([3])[1][0]))]))
    (right, _) = read_under_forms(own, lines, {"one": only})
    assert right["exact"] == pytest.approx(
        np.mean([text == lines.batch([3])[1][0] for text in lines.batch(range(20))[1]])
    )


def test_forms_are_counted_from_what_a_training_learned() -> None:
    each = Training("lexicon-100", 0, ("ar",))
    forms = curves._forms(each, 500)
    learned = training.learned_lines(each).strings[:500]
    counted, again = forms[COUNTED], count_form(learned)
    assert isinstance(counted, Lexicon)
    assert isinstance(again, Lexicon)
    assert np.array_equal(counted.strings, again.strings)
    assert forms[KNOWN].total_correlation == pytest.approx(Lexicon.sampled(LENGTH, 100).total_correlation)


def test_the_full_curves_are_those_of_the_plan() -> None:
    plan = (Path(curves.__file__).with_name("plan.md")).read_text(encoding="utf-8")
    size = curves.SIZES["full"]
    assert len(size.trainings()) == 3 * 3 * 9
    for said in (*size.steps, *curves.HEADS):
        assert f"`{said}`" in plan
    for damage in size.damages:
        assert damage in plan


def test_recognizers_of_another_base_are_not_mixed_with_those_of_the_results(run: Any, tmp_path: Path) -> None:
    run()
    base = tmp_path / "runs" / training.BASE
    other = load_recognizer(base)
    with torch.no_grad():
        next(other.encoder.parameters()).add_(1)
    save(other, base)
    with pytest.raises(InputError, match="is another base than"):
        run()
