"""What it takes to add something: a toy head is one class and one line, a toy experiment one module."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import bench.experiments
import bench.runner as loop
import bench.workloads.held_out as strings
from bench import regression
from bench.core import strategies, timer
from bench.core.experiment import REPORT, Bench, Part
from bench.core.store import Store
from bench.experiments import accuracy, costs, latency
from bench.report.build import everything, pages, write_report
from bench.runner import run
from bench.workloads.timed_models import TINY
from seqocr.data.augment import Augmentation
from seqocr.data.mixture import DataMixture, mix_levels
from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.export import export
from seqocr.inference.load import load
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.heads.one_pass import FrameClassifier, OnePassHead
from seqocr.models.heads.registry import HEADS
from seqocr.models.recognizer import Recognizer
from seqocr.train.config import TrainConfig
from seqocr.train.loop import Trainer
from tests.bench.regression.gates import changed_counts
from tests.conftest import barred, small_recognizer
from tests.synthetic import finished_run


class ToyHead(OnePassHead):
    """Slot i reads the i-th stretch of the line: all that a new head's file holds."""

    name = "toy"
    output = "slots"

    def __init__(self, features, charset, max_length):
        super().__init__(features, charset, max_length)
        self.empty = len(charset)
        self.classify = FrameClassifier(features, max_length, self.empty + 1)

    def logits(self, features):
        frames = self.classify(features)
        return F.adaptive_avg_pool1d(frames.transpose(1, 2), self.max_length).transpose(1, 2)

    def loss(self, features, texts):
        rows = [self.encode_text(text) for text in texts]
        slots = torch.tensor([row + [self.empty] * (self.max_length - len(row)) for row in rows])
        return F.cross_entropy(self.logits(features).flatten(0, 1), slots.flatten())


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(HEADS, "toy", ToyHead)  # the one line


def test_a_toy_head_is_trained_read_with_and_exported(toy, tmp_path):
    recognizer = small_recognizer(("parallel", "toy"))
    digits = barred(120), barred(60, "validation")
    material = DataMixture(mix_levels("grid", 3, 0, Augmentation().with_strength(0), digits))
    config = TrainConfig(length=3, steps=60, batch_size=16, warmup=5, learning_rate=1e-2, validate_every=60)
    trained = Trainer(recognizer, material, config, tmp_path / "trained").fit()
    assert trained.provenance["validation"][-1]["exact"].keys() == {"parallel", "toy"}
    images = torch.stack(list(material.held_out(20).batch(range(20))[0]))
    expected = load_recognizer(tmp_path / "trained").decode(images, "toy")
    assert expected.passes == 1
    export(trained, tmp_path / "exported")
    assert load(tmp_path / "exported").decode(images, "toy").texts == expected.texts


def test_a_toy_head_is_measured_drawn_gated_and_reported(toy, tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    save(Recognizer.build("tiny"), weights)
    monkeypatch.setattr(timer, "AGAIN", 0)  # other tests run meanwhile
    monkeypatch.setattr(loop, "alone", contextlib.nullcontext)
    for module in (strings, accuracy):
        monkeypatch.setattr(module, "held_out_digits", embedded_digits)
    parts = {
        accuracy.EXPERIMENT: [Part("accuracy", accuracy.Settings(20), weights=(weights,))],
        latency.EXPERIMENT: [Part(f"latency-{TINY.name}", latency.Settings(TINY, (1, 5), rounds=2, warmup=0))],
        costs.EXPERIMENT: [
            Part(f"costs-{TINY.name}", costs.Settings(TINY, (1, 5), memory=True)),
            Part("costs-rates", costs.Rates(tries=1)),
        ],
    }
    for experiment, made in parts.items():
        monkeypatch.setattr(type(experiment), "parts", lambda self, preset, bench, made=made: made)
    monkeypatch.setattr(loop, "experiments", lambda: list(parts))
    bench = Bench(Store(tmp_path / "raw" / "smoke-1"), task=weights)
    facts = finished_run(tmp_path / "other").facts("run")
    bench.store.write_facts("run", {**facts, "finished": None})
    run("smoke", bench)
    path = write_report(bench.store, tmp_path)
    assert "| `toy` | 1 |" in path.read_text()
    assert "`toy`" in path.with_name("deployment.md").read_text().split("## Work, memory and passes")[1]
    assert set(pd.read_csv(tmp_path / "tables" / "latency.csv")["strategy"]) >= {"toy", "ar", "encoder"}
    assert "toy" in (tmp_path / "plots" / "latency.svg").read_text()
    assert len({strategies.by_name()[name].label for name in strategies.by_name()}) == len(strategies.by_name())
    found = regression.counts()
    assert found["passes"]["toy, n = 20"] == 1
    baseline = json.loads(regression.BASELINE.read_text(encoding="utf-8"))
    assert any("toy" in line for line in changed_counts(found, baseline))
    assert "toy" in regression.timed_ratios(rounds=2)["flatness"]


MODULE = '''
"""How many letters do the heads' names have?"""

from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from bench.core.experiment import Claim, Experiment, Part, Section
from seqocr.models.heads.registry import HEADS
from seqocr.statistics import Value


@dataclass(frozen=True)
class Settings:
    times: int


class Toy(Experiment):
    name = "toy"
    order = 45
    timed = False

    def parts(self, preset, bench):
        return [Part("toy", Settings(2))]

    def measure(self, part, bench, reporter):
        rows = [{"head": name, "letters": part.settings.times * len(name)} for name in HEADS]
        bench.store.write("toy", pd.DataFrame(rows))

    def results(self, store):
        return store.read("toy") if store.has("toy") else None

    def tables(self, results):
        return {"toy": results}

    def plots(self, results, everything):
        return {"toy": partial(picture, results)}

    def sections(self, results, everything):
        return [Section("Letters", "They differ.", "toy", results)]

    def claims(self, results):
        most = float(results["letters"].max())
        return [Claim("letters", "many", Value(most, most, most, len(results)), ratio=False)]


EXPERIMENT = Toy()


def picture(results):
    figure = Figure()
    figure.add_subplot().bar(results["head"], results["letters"])
    return figure
'''


def test_a_toy_experiment_is_one_module(tmp_path, monkeypatch):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "toy.py").write_text(MODULE)
    monkeypatch.setattr(bench.experiments, "__path__", [*bench.experiments.__path__, str(folder)])
    importlib.invalidate_caches()
    try:
        (experiment,) = (each for each in bench.experiments.experiments() if each.name == "toy")
        store = finished_run(tmp_path)
        monkeypatch.setattr(loop, "experiments", lambda: [experiment])
        monkeypatch.setattr(loop, "alone", contextlib.nullcontext)
        run("smoke", Bench(store))
        text = write_report(store, tmp_path).read_text()
        assert "## Letters\n\n![Letters](plots/toy.png)\n" in text
        assert text.index("## Cost against length") < text.index("## Letters")
        assert (tmp_path / "plots" / "toy.png").exists()
        assert pd.read_csv(tmp_path / "tables" / "toy.csv")["letters"].tolist() == [2 * len(name) for name in HEADS]
        assert pages(store, everything(store))[REPORT] == text
    finally:
        sys.modules.pop("bench.experiments.toy", None)
