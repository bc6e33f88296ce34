"""Decoders of several depths: what is trained and timed, and statistics on rows whose answer is known."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import bench.core.timer as timer
import bench.repeat as repeat
import bench.runner as loop
import bench.workloads.held_out as strings
from bench.core.experiment import DEPLOYMENT, Bench, Part
from bench.core.store import Store
from bench.experiments import decoder_depth
from bench.experiments.decoder_depth import EXPERIMENT, Timing, Training, with_layers
from bench.report.build import everything, pages, write_report
from bench.workloads.timed_models import TINY, count_passes
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.train import recipe
from tests.conftest import barred, lively, small_recognizer
from tests.synthetic import finished_run

LAYERS = (1, 2)
FIRST = 1e-3  # seconds of a pass with one layer, and of each layer more
MORE = 5e-4


class Silent:
    done = 0

    def advance(self, note: str = "", steps: int = 1) -> None: ...


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    recognizer = small_recognizer(max_length=5)
    lively(recognizer, scale=0.4)
    save(recognizer, tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits of every split that anyone can tell apart."""
    made = {split: barred(400, split=split) for split in ("train", "validation", "test")}
    monkeypatch.setattr(decoder_depth, "load_digits", made.__getitem__)
    monkeypatch.setattr(strings, "load_digits_or_validation", made.__getitem__)


def training(weights: Path, steps: int = 4) -> Part:
    return Part("depth-accuracy", Training(LAYERS, steps, 20), weights=(weights,))


def measure(part: Part, bench: Bench) -> None:
    EXPERIMENT.measure(part, bench, Silent())  # type: ignore[arg-type]


def rows() -> pd.DataFrame:
    """What is saved if a pass costs exactly `FIRST`, and `MORE` for each layer more. The first round is a warm-up."""
    found: list[dict[str, Any]] = []
    for number in range(5):
        slow = 10 if number == 0 else 1 + number / 10
        for layers in LAYERS:
            facts = {"round": number, "warmup": number == 0, "sample": str(layers), "attempt": 0, "counts": True}
            facts |= {"others": 0.0, "stolen": 0.0, "core_seconds": 2.0, "layers": layers, "cpu": 0.0, "switches": 0}
            for n in (1, 5, 50):
                seconds = slow * (n + 1) * (FIRST + MORE * (layers - 1))
                found.append({**facts, "length": n, "passes": n + 1, "seconds": seconds})
    return pd.DataFrame(found)


def readings(wrong: dict[int, set[int]]) -> pd.DataFrame:
    """Of 100 strings, those that a head of so many layers reads wrong."""
    tables = []
    for layers, misread in wrong.items():
        read = ["99999" if i in misread else f"{i:05}" for i in range(100)]
        truth = [f"{i:05}" for i in range(100)]
        tables.append(pd.DataFrame({"index": range(100), "layers": layers, "text": truth, "prediction": read}))
    return pd.concat(tables, ignore_index=True)


def saved(store: Store, part: str, table: pd.DataFrame, **facts: Any) -> None:
    store.write(part, table)
    store.write_facts(part, {"depends": {}, "commit": "abc", "finished": "2026-01-01T00:05:00+00:00", **facts})


def test_slopes_ratios_and_exact_match_of_each_depth(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert EXPERIMENT.results(store) is None
    saved(store, "depth-timing", rows())
    saved(store, "depth-accuracy", readings({1: {3, 4}, 2: {3}}))
    results = EXPERIMENT.results(store)
    assert results is not None
    table = EXPERIMENT.tables(results)["depth"].set_index("layers")
    assert table["ms_a_symbol"].tolist() == pytest.approx([1.25, 1.25 * 1.5], rel=0.01)  # drift of rounds 1 to 4
    assert table["over_shallowest"].tolist() == pytest.approx([1, 1.5])
    assert table["decode_ms"].tolist() == pytest.approx([6 * 1.25, 9 * 1.25], rel=0.01)
    assert table["exact"].tolist() == pytest.approx([0.98, 0.99])
    assert (table["exact_low"] < table["exact"]).all()
    assert table["strings"].tolist() == [100, 100]
    assert (results.gained.only_first, results.gained.only_second) == (1, 0)


def test_heads_of_each_depth_are_trained_and_read(tmp_path: Path, weights: Path, bars: None) -> None:
    before = (weights / "model.safetensors").read_bytes()
    bench = Bench(Store(tmp_path / "run"))
    measure(training(weights), bench)
    read = bench.store.read("depth-accuracy")
    assert read.groupby("layers")["index"].nunique().to_dict() == {1: 20, 2: 20}
    assert not [path for path in bench.store.folder.iterdir() if path.is_dir()], "weights are not measurements"
    assert (weights / "model.safetensors").read_bytes() == before


def test_only_the_head_is_trained(tmp_path: Path, weights: Path, bars: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    train = decoder_depth.train_on_digits

    def noted(recognizer: Any, *rest: Any) -> Any:
        untrained = {name: p.clone() for name, p in recognizer.heads["ar"].named_parameters()}
        trained = made[len(made)] = train(recognizer, *rest)
        after = dict(trained.heads["ar"].named_parameters())
        assert any(not torch.equal(after[name], p) for name, p in untrained.items())
        return trained

    monkeypatch.setattr(decoder_depth, "train_on_digits", noted)
    measure(training(weights), Bench(Store(tmp_path / "run")))
    start = load_recognizer(weights).encoder.state_dict()
    for place, layers in enumerate(LAYERS):
        assert len(made[place].heads["ar"].decoder.model.decoder.layers) == layers
        assert all(torch.equal(value, start[name]) for name, value in made[place].encoder.state_dict().items())


def test_a_training_that_ended_before_a_kill_is_not_made_again(
    tmp_path: Path, weights: Path, bars: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = Bench(Store(tmp_path / "whole")), Bench(Store(tmp_path / "killed"))
    measure(training(weights), whole)

    with monkeypatch.context() as patch:

        def dies_at_two(recognizer: Any, layers: int, *rest: Any) -> Any:
            if layers == 2:
                raise RuntimeError("killed")
            return with_layers(recognizer, layers, *rest)

        patch.setattr(decoder_depth, "with_layers", dies_at_two)
        with pytest.raises(RuntimeError, match="killed"):
            measure(training(weights), killed)
    trainer, trained = recipe.Trainer, []

    def noted(recognizer: Any, *rest: Any, **more: Any) -> Any:
        trained.append(recognizer.head_settings["ar"]["decoder_layers"])
        return trainer(recognizer, *rest, **more)

    monkeypatch.setattr(recipe, "Trainer", noted)
    measure(training(weights), killed)
    assert trained == [2]
    pd.testing.assert_frame_equal(killed.store.read("depth-accuracy"), whole.store.read("depth-accuracy"))
    monkeypatch.setattr(decoder_depth, "train_on_digits", lambda *_: pytest.fail("read already"))
    (killed.store.folder / "depth-accuracy.2").mkdir()  # as a kill would leave it while weights are deleted
    measure(training(weights), killed)
    assert not (killed.store.folder / "depth-accuracy.2").exists()


def test_every_depth_is_timed_at_every_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer, "AGAIN", 0)  # other tests run meanwhile
    bench = Bench(Store(tmp_path / "run"))
    part = Part("depth-timing", Timing(TINY, LAYERS, (1, 5, 9), rounds=2, repeats=2, warmup=1))
    measure(part, bench)
    timed = bench.store.read("depth-timing")
    assert (timed["passes"] == timed["length"] + 1).all()
    assert timed.groupby("layers")["length"].value_counts().unique().tolist() == [2 * 3]  # repeats, rounds
    assert timed.groupby("layers")["length"].unique().map(sorted).to_dict() == {1: [1, 5, 9], 2: [1, 5, 9]}
    assert timed.groupby("warmup")["round"].nunique().to_dict() == {True: 1, False: 2}
    monkeypatch.setattr(decoder_depth, "clock", lambda *_: pytest.fail("measured again"))
    measure(part, bench)


def test_confidences_count() -> None:
    asked = []

    class Late:
        passes = 3

        @property
        def confidences(self) -> torch.Tensor:
            asked.append(True)
            return torch.ones(1)

    class Head:
        def decode(self, features: torch.Tensor, length: int) -> Any:
            return Late()

    assert count_passes(Head().decode, torch.zeros(1), 5) == 3
    assert asked == [True]


def test_the_encoder_is_the_same_whatever_the_depth(weights: Path) -> None:
    recognizer = load_recognizer(weights)
    for layers in (1, 3):
        other = with_layers(recognizer, layers, 5)
        assert other.encoder is recognizer.encoder
        assert len(other.heads["ar"].decoder.model.decoder.layers) == layers


def nothing(split: str) -> Digits:
    raise InputError("no digits")


def test_without_training_digits_depth_is_timed_all_the_same(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_depth, "load_digits", nothing)
    bench = Bench(Store(tmp_path / "run"))
    measure(training(weights), bench)
    bench.store.add_facts("depth-accuracy", finished="2026")
    saved(bench.store, "depth-timing", rows())
    results = EXPERIMENT.results(bench.store)
    assert results is not None
    (section,) = EXPERIMENT.sections(results, {})
    assert "What a layer adds to accuracy is not measured here: no digits." in section.text
    assert section.table is not None
    assert section.table["exact match"].tolist() == ["not trained"] * 2
    table = EXPERIMENT.tables(results)["depth"]
    assert "exact" not in table
    assert (table["ms_a_symbol"] > 0).all()


def test_weights_without_such_a_head_are_said(tmp_path: Path, bars: None) -> None:
    save(small_recognizer(("ctc",), max_length=5), tmp_path / "weights")
    bench = Bench(Store(tmp_path / "run"))
    measure(training(tmp_path / "weights"), bench)
    said = "no head of these weights is TrOCR's decoder: they have ctc"
    assert bench.store.facts("depth-accuracy")["not_trained"] == said


def test_only_the_full_preset_measures_depth(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path))
    assert EXPERIMENT.parts("default", bench) == EXPERIMENT.parts("smoke", bench) == []
    accuracy, timing = EXPERIMENT.parts("full", bench)
    assert (EXPERIMENT.is_timed(accuracy), EXPERIMENT.is_timed(timing)) == (False, True)
    assert accuracy.settings.config.steps == 1500
    assert accuracy.settings.layers == timing.settings.layers == (1, 2, 6)


def test_what_is_not_timed_is_measured_before_anything_is_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def measured(self: Any, part: Part, bench: Bench, reporter: Any) -> None:
        made.append(part.name)
        bench.store.write(part.name, pd.DataFrame({"index": [1]}))

    accuracy, timing = EXPERIMENT.parts("full", Bench(Store(tmp_path)))
    timing = replace(timing, settings=replace(timing.settings, restarts=1))  # in this process
    monkeypatch.setattr(decoder_depth.Depth, "parts", lambda *_: [timing, accuracy])
    monkeypatch.setattr(decoder_depth.Depth, "measure", measured)
    for module in (loop, repeat):
        monkeypatch.setattr(module, "experiments", lambda: [EXPERIMENT])
    monkeypatch.setattr(loop, "alone", contextlib.nullcontext)
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    for store in (first, second):
        store.write_facts("run", {"preset": "full"})
    loop.run("full", Bench(first))
    assert made == ["depth-accuracy", "depth-timing"]
    repeat._untimed(first, second, repeat._timed_parts("full", Bench(second)))
    assert second.parts() == ["depth-accuracy"]
    loop.run("full", Bench(second))
    assert made[2:] == ["depth-timing"]


def test_the_report_says_what_a_layer_costs_and_buys(tmp_path: Path) -> None:
    store = finished_run(tmp_path)
    assert "## Decoder depth" not in pages(store, everything(store))[DEPLOYMENT]
    saved(store, "depth-timing", rows())
    saved(store, "depth-accuracy", readings({1: {3}, 2: {4}}))
    text = (
        write_report(store, tmp_path)
        .with_name("deployment.md")
        .read_text()
        .split("## Decoder depth")[1]
        .split("\n## ")[0]
    )
    assert "With 2 layers, a symbol costs 1.50 (1.50 to 1.50) times what it costs with 1." in text
    assert "Exact match with 2 layers minus that with 1 is +0.00 (" in text
    assert "points: undecided." in text
    assert "| 2 | 99.00 % (" in text
    assert (tmp_path / "tables" / "depth.csv").exists()
    saved(store, "depth-accuracy", readings({1: set(range(20)), 2: {4}}))
    assert "points: better." in pages(store, everything(store))[DEPLOYMENT].split("## Decoder depth")[1]
    saved(store, "depth-accuracy", readings({2: set(range(20)), 1: {4}}))
    assert "points: worse." in pages(store, everything(store))[DEPLOYMENT].split("## Decoder depth")[1]
