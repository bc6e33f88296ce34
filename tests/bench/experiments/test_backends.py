"""Runtimes: what is measured in them, and statistics on rows whose answer is known."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import bench.backends
import bench.backends.base
import bench.core.timer as timer
import bench.workloads.held_out as strings
from bench.backends import backends, prepare
from bench.backends import compile as compiling
from bench.backends.base import BackendModel, exportable
from bench.core import plugins, strategies
from bench.core.experiment import DEPLOYMENT, LONGEST_TABLE, Bench, Part
from bench.core.store import Store
from bench.experiments.backends import EXPERIMENT, agreement, timing
from bench.experiments.backends.estimates import Results, agreement_table
from bench.experiments.backends.timing import BATCH, LENGTHS, SINGLE
from bench.report.build import everything, pages, write_report
from bench.workloads.timed_models import SMALL_NATIVE, TINY, BoundModel
from seqocr import environment
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.shipped import SHIPPED
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.heads.base import Head
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.heads.registry import HEADS
from seqocr.models.recognizer import Recognizer
from tests.conftest import barred, lively, small_recognizer
from tests.synthetic import finished_run

CPU = torch.device("cpu")
MANY = 8  # strings of a batch
FAST = "onnxruntime"
SLOPE = {("eager", "ar-generate"): 4e-3, ("eager", "ar"): 3e-3, (FAST, "ar"): 1e-3}  # seconds a symbol
ENCODE = {"eager": 5e-3, FAST: 1e-3}


class Silent:
    done = 0

    def advance(self, note: str = "", steps: int = 1) -> None: ...


def rows(fast: str = FAST) -> pd.DataFrame:
    """What a part of the experiment saves, if a symbol costs exactly `SLOPE` and the encoder `ENCODE`.

    The first round is a warm-up. The machine slows down from round to round. In round 2 every sample is disturbed at
    first, takes ten times as long, and is made again.
    """
    found: list[dict[str, Any]] = []
    for number in range(5):
        for attempt in range(2 if number == 2 else 1):
            disturbed = number == 2 and attempt == 0
            slow = 10 if number == 0 or disturbed else 1 + number / 10
            facts = {"round": number, "warmup": number == 0, "attempt": attempt, "counts": not disturbed}
            facts |= {"others": 0.5 * disturbed, "stolen": 0.0, "core_seconds": 2.0, "cpu": 0.0, "switches": 0}

            def add(
                runtime: str,
                what: str,
                strategy: str,
                n: int,
                seconds: float,
                facts: dict[str, Any] = facts,
                slow: float = slow,
            ) -> None:
                runtime = fast if runtime == FAST else runtime
                of = {"runtime": runtime, "what": what, "strategy": strategy, "length": n, "passes": 1}
                batch = MANY if what == BATCH else 1
                found.append({**facts, "sample": f"{runtime}, {what}", **of, "batch": batch, "seconds": seconds * slow})

            for (runtime, strategy), slope in SLOPE.items():
                for n in (1, 5, 50):
                    add(runtime, LENGTHS, strategy, n, ENCODE[runtime] + slope * (n + 1))
                add(runtime, SINGLE, strategy, 5, ENCODE[runtime] + slope * 6)
                add(runtime, BATCH, strategy, 5, MANY * ENCODE[runtime] + slope * 6)
            for runtime, seconds in ENCODE.items():
                for what, batch in ((SINGLE, 1), (BATCH, MANY)):
                    add(runtime, what, "encoder", 5, seconds * batch)
                    for head, over in (("parallel", 1.1), ("ctc", 1.2)):
                        add(runtime, what, head, 5, over * seconds * batch)
    return pd.DataFrame(found)


def readings(wrong: dict[str, set[int]]) -> pd.DataFrame:
    """Of 100 strings, those that each runtime reads wrong with `ctc`; with `parallel` it reads as eager mode does."""
    truth, tables = [f"{i:05}" for i in range(100)], []
    for runtime, at in wrong.items():
        for head, misread in (("ctc", at), ("parallel", {3})):
            read = ["99999" if i in misread else text for i, text in enumerate(truth)]
            of = {"index": range(100), "runtime": runtime, "head": head}
            tables.append(pd.DataFrame({**of, "text": truth, "prediction": read}))
    return pd.concat(tables, ignore_index=True)


def saved(store: Store, part: str, table: pd.DataFrame, **facts: Any) -> None:
    store.write(part, table)
    finished = {"depends": {}, "commit": "abc", "finished": "2026-01-01T00:05:00+00:00"}
    store.write_facts(part, {**finished, "not_run": {}, **facts})


@pytest.fixture
def results(tmp_path: Path) -> Results:
    store = Store(tmp_path / "run")
    saved(store, f"runtimes-{TINY.name}", rows(), not_run={"openvino": "openvino is not installed"})
    found = EXPERIMENT.results(store)
    assert found is not None
    return found


def test_slopes_and_their_ratios_to_generate(results: Results) -> None:
    table = EXPERIMENT.tables(results)["runtime_slopes"].set_index(["runtime", "strategy"])
    assert set(table.index) == set(SLOPE)
    for key, slope in SLOPE.items():
        assert table.loc[key, "ms_a_symbol"] == pytest.approx(slope * 1e3 * 1.25, rel=0.01)  # drift of rounds 1 to 4
        assert table.loc[key, "over_generate"] == pytest.approx(slope / 4e-3)
        assert table.loc[key, "rounds"] == 4
        assert table.loc[key, "ms_a_symbol_low"] <= table.loc[key, "ms_a_symbol"] <= table.loc[key, "ms_a_symbol_high"]


def test_overhead_is_over_the_same_runtimes_encoder(results: Results) -> None:
    table = EXPERIMENT.tables(results)["runtime_overhead"].set_index(["runtime", "strategy"])
    for runtime in ENCODE:
        assert table.loc[(runtime, "parallel"), "over_encoder"] == pytest.approx(1.1)
        assert table.loc[(runtime, "ctc"), "over_encoder"] == pytest.approx(1.2)
    assert table.loc[("eager", "ar"), "over_encoder"] == pytest.approx((5 + 18) / 5)
    assert (table["over_encoder_low"] <= table["over_encoder"]).all()


def test_speed_is_over_eager_alone_and_in_batches(results: Results) -> None:
    table = EXPERIMENT.tables(results)["runtime_speed"].set_index(["runtime", "strategy", "batch"])
    assert table.loc[(FAST, "parallel", MANY), "times_as_fast"] == pytest.approx(5)
    assert table.loc[(FAST, "ar", 1), "times_as_fast"] == pytest.approx(23 / 7)
    for key in (("eager", "parallel", 1), ("eager", "ar-generate", MANY)):
        assert table.loc[key, "times_as_fast"] == pytest.approx(1)
    timed = results.subjects[TINY.name]
    assert timed.rate(FAST, "encoder").estimate == pytest.approx(1e3 / 1.25, rel=0.01)


def test_agreement_counts_strings_read_otherwise() -> None:
    table = agreement_table(readings({"eager": {3}, FAST: {3, 4, 5}})).set_index(["runtime", "head"])
    row = table.loc[(FAST, "ctc")]
    assert (row["strings"], row["disagreements"]) == (100, 2)
    assert row["rate_low"] < 0.02 < row["rate_high"]
    assert (row["exact"], row["difference"]) == (pytest.approx(0.97), pytest.approx(-0.02))
    assert row["difference_low"] < -0.02 < row["difference_high"]
    assert (table.drop((FAST, "ctc"))["disagreements"] == 0).all()
    assert agreement_table(None).empty


def test_where_nothing_was_timed_there_is_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert EXPERIMENT.results(store) is None
    saved(store, "runtimes-agreement", readings({"eager": {3}}))
    assert EXPERIMENT.results(store) is None


def test_the_section_says_how_far_the_gap_narrows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for subject in (TINY, SMALL_NATIVE):
        saved(store, f"runtimes-{subject.name}", rows(), not_run={"openvino": "openvino is not installed"})
    wrong = {"eager": {3}, "eager-bfloat16": {3}, FAST: {3}, "onnxruntime-int8": {4, 5}}
    saved(store, "runtimes-agreement", readings(wrong))
    results = EXPERIMENT.results(store)
    (section,) = EXPERIMENT.sections(results, {})
    assert "confidence included (small 32×160)" in section.text  # of the larger model
    assert "a symbol costs `ar` 0.75 (0.75 to 0.75) of what it costs `ar-generate`" in section.text
    assert f"In `{FAST}`, the best runtime, it costs 0.25 (0.25 to 0.25)" in section.text
    assert f"{7 / 1.1:.2f} times in `{FAST}`" in section.text
    assert "`eager-bfloat16` and `onnxruntime` read them as eager mode does" in section.text
    assert "`onnxruntime-int8` reads 3 differently with `ctc`" in section.text
    assert "exact match by -1.00 points" in section.text
    assert section.details == {"Runtimes that are not here": "Not run: `openvino` (openvino is not installed)."}
    assert section.table is not None
    assert section.table["runtime"].tolist() == ["eager, `ar-generate`", "eager, `ar`", f"{FAST}, `ar`"]
    assert section.table["over eager `ar-generate`"].str[:4].tolist() == ["1.00", "0.75", "0.25"]
    assert section.table["one pass over encoder"].str[:4].tolist() == ["1.10"] * 3
    assert set(EXPERIMENT.tables(results)["runtime_speed"]["subject"]) == {TINY.name, SMALL_NATIVE.name}


def test_the_report_shows_runtimes_where_they_were_timed(tmp_path: Path) -> None:
    store = finished_run(tmp_path)
    assert "## Runtimes" not in pages(store, everything(store))[DEPLOYMENT]
    saved(store, f"runtimes-{TINY.name}", rows())
    text = write_report(store, tmp_path).with_name("deployment.md").read_text()
    assert "## Runtimes\n\n![Runtimes](plots/runtimes.png)" in text
    assert (tmp_path / "plots" / "runtimes.png").stat().st_size > 10_000
    for name in ("slopes", "overhead", "speed", "agreement"):
        assert (tmp_path / "tables" / f"runtime_{name}.csv").exists()


TOY = """
from bench.backends.base import Backend, BackendModel


def prepare(recognizer, folder):
    decoders, encoder = recognizer.decode_functions(), recognizer.encoder
    return BackendModel(encoder, {"ctc": lambda pixels, length=None: decoders["ctc"](encoder(pixels))})


BACKENDS = [Backend("toy", prepare, order=2.5)]
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A runtime's file, dropped into the package."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(bench.backends, "__path__", [*bench.backends.__path__, str(folder)])
    importlib.invalidate_caches()
    yield
    sys.modules.pop("bench.backends.toy", None)


def test_a_toy_runtime_is_one_file(tmp_path: Path, toy: None) -> None:
    names = list(backends())
    assert names.index("toy") == names.index("compile") + 1
    parts = EXPERIMENT.parts("full", Bench(Store(tmp_path)))
    assert all("toy" in part.settings.runtimes for part in parts)
    recognizer = small_recognizer()
    pixel_values = torch.rand(2, 3, 28, 84)
    assert list(prepare("toy", recognizer, tmp_path).strategies) == ["ctc"]
    own = prepare("eager", recognizer, tmp_path).strategies["ctc"](pixel_values)
    assert prepare("toy", recognizer, tmp_path).strategies["ctc"](pixel_values).texts == own.texts

    store = Store(tmp_path / "run")
    saved(store, f"runtimes-{TINY.name}", rows(fast="toy"))
    saved(store, "runtimes-agreement", readings({"eager": {3}, "toy": {3}}))
    results = EXPERIMENT.results(store)
    assert results is not None
    assert results.subjects[TINY.name].runtimes == ("eager", "toy")
    assert set(EXPERIMENT.tables(results)["runtime_slopes"]["runtime"]) == {"eager", "toy"}
    (section,) = EXPERIMENT.sections(results, {})
    assert "In `toy`, the best runtime" in section.text
    assert "`toy` reads them as eager mode does" in section.text
    assert section.table is not None
    assert section.table["runtime"].iloc[-1] == "toy, `ar`"
    (figure,) = (draw() for draw in EXPERIMENT.plots(results, {}).values())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["eager", "toy"]


def test_the_runtimes_are_in_order_and_say_what_they_run() -> None:
    names = list(backends())
    assert names[0] == bench.backends.EAGER
    assert names == ["eager", "eager-bfloat16", "compile", "onnxruntime", "onnxruntime-int8", "openvino"]
    for name, runtime in backends().items():
        assert runtime.name == name
        assert isinstance(runtime.missing(), str)
    assert len(backends()) + 1 <= LONGEST_TABLE


def test_only_the_full_preset_measures_them_and_on_the_cpu(tmp_path: Path) -> None:
    on_cpu = Bench(Store(tmp_path))
    for preset in ("smoke", "default"):
        assert EXPERIMENT.parts(preset, on_cpu) == []
    assert EXPERIMENT.parts("full", Bench(Store(tmp_path), torch.device("cuda"))) == []
    tiny, small, agreed = EXPERIMENT.parts("full", on_cpu)
    assert tiny.settings.runtimes == agreed.settings.runtimes == tuple(backends())
    assert set(backends()) - set(small.settings.runtimes) == {"compile"}
    assert [EXPERIMENT.is_timed(part) for part in (tiny, small, agreed)] == [True, True, False]


def test_what_is_not_installed_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find_spec", lambda name: None if name == "openvino" else object())
    assert bench.backends.unavailable(("eager", "onnxruntime")) == {}
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    assert bench.backends.unavailable(("eager", "openvino", "compile")) == {
        "openvino": "openvino is not installed",
        "compile": "no C++ compiler",
    }
    for has, why in ((True, ""), (False, "the processor has no instructions for bfloat16")):
        monkeypatch.setattr(environment, "multiplies_bfloat16", lambda has=has: has)
        assert backends()["eager-bfloat16"].missing() == why


def test_bfloat16_reads_nearly_what_single_precision_reads(tmp_path: Path) -> None:
    recognizer = load_recognizer(SHIPPED)
    pixel_values = recognizer.processor(SequenceMNIST(embedded_digits(), 5, count=50).batch(range(50))[0])
    float32, bfloat16 = (prepare(name, recognizer, tmp_path).strategies for name in ("eager", "eager-bfloat16"))
    for name in HEADS:
        read, expected = bfloat16[name](pixel_values), float32[name](pixel_values)
        assert sum(a != b for a, b in zip(read.texts, expected.texts, strict=True)) <= 2
        assert not np.array_equal(read.confidences, expected.confidences)  # and not just the same again


def test_a_head_that_says_no_graphs_is_left_out_of_what_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(exportable(small_recognizer()).heads) == list(HEADS)
    monkeypatch.setattr(CTCHead, "graphs", Head.graphs)
    assert list(exportable(small_recognizer()).heads) == [name for name in HEADS if name != "ctc"]


def test_confidences_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Late:
        passes = 3

        @property
        def confidences(self) -> torch.Tensor:
            asked.append(True)
            return torch.ones(1)

    prepared = BackendModel(lambda pixels: pixels, {"ctc": lambda pixels, length=None: Late()})  # type: ignore[dict-item, return-value]
    works = timing._works("eager", prepared, SINGLE, torch.zeros(1))
    assert set(works) == {"encoder", "ctc"}
    assert works["ctc"](5) == 3
    assert asked == [True]
    assert timing._works("eager", prepared, LENGTHS, torch.zeros(1)) == {}  # it takes one pass whatever the length


@pytest.fixture
def recognizer() -> Recognizer:
    """That reads five symbols, and can be made to write seven."""
    small = small_recognizer(max_length=5)
    settings = {**small.head_settings, "ar": {**small.head_settings["ar"], "max_position_embeddings": 8}}
    made = Recognizer(small.encoder, small.processor, settings, max_length=5).eval()
    lively(made, scale=0.4)
    return made


def test_rounds_time_every_runtime_and_the_strings_are_read_by_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recognizer: Recognizer
) -> None:
    chosen = tuple(name for name in ("eager", "onnxruntime") if not backends()[name].missing())
    monkeypatch.setattr(timer, "AGAIN", 0)  # other tests run meanwhile
    graphs, preparing = tmp_path / "graphs", prepare
    absent = {"openvino": "not here"}
    for module in (timing, agreement):  # the same weights: what is exported for the clock will do
        monkeypatch.setattr(module, "prepare", lambda name, given, _: preparing(name, given, graphs))
        monkeypatch.setattr(module, "unavailable", lambda names: {n: absent[n] for n in names if n in absent})
    monkeypatch.setattr(timing, "bind", lambda *_: {5: BoundModel(recognizer, 5, CPU)})
    bench_ = Bench(Store(tmp_path / "run"), task=tmp_path / "weights")
    settings = timing.Settings(TINY, (*chosen, "openvino"), MANY, (1, 5, 7), rounds=2, repeats=2)
    part = Part(f"runtimes-{TINY.name}", settings)
    EXPERIMENT.measure(part, bench_, Silent())  # type: ignore[arg-type]
    table = bench_.store.read(part.name)
    assert bench_.store.facts(part.name)["not_run"] == absent
    table = table[table["counts"]]
    assert set(table["runtime"]) == set(chosen)
    assert table.groupby("warmup")["round"].nunique().to_dict() == {True: 1, False: 2}
    for runtime in chosen:
        here = table[table["runtime"] == runtime]
        written = here[(here["strategy"] == "ar") & (here["what"] == LENGTHS)]
        assert written.groupby("length").size().to_dict() == dict.fromkeys((1, 5, 7), 2 * 3)  # repeats, rounds
        assert (written["passes"] == written["length"] + 1).all()
        one_pass = here[here["strategy"].isin(strategies.one_pass())]
        assert one_pass.groupby("what")["batch"].unique().str[0].to_dict() == {SINGLE: 1, BATCH: MANY}
        assert (one_pass["passes"] == 1).all()
        assert set(here[here["strategy"] == "encoder"]["what"]) == {SINGLE, BATCH}
    assert set(table[table["strategy"] == "ar-generate"]["runtime"]) == {"eager"}
    assert EXPERIMENT.depends(part)["settings"]["subject"]["name"] == TINY.name
    bench_.store.add_facts(part.name, finished="2026")
    results = EXPERIMENT.results(bench_.store)
    assert results is not None
    assert set(EXPERIMENT.tables(results)["runtime_slopes"]["runtime"]) == set(chosen)
    with monkeypatch.context() as again:
        again.setattr(timing, "clock", lambda *_: pytest.fail("measured again"))
        EXPERIMENT.measure(part, bench_, Silent())  # type: ignore[arg-type]

    monkeypatch.setattr(strings, "held_out_digits", lambda: barred(100))
    save(recognizer, tmp_path / "weights")
    part = Part("runtimes-agreement", agreement.Settings((*chosen, "openvino"), 20), weights=(tmp_path / "weights",))
    EXPERIMENT.measure(replace(part, settings=agreement.Settings(chosen[:1], 20)), bench_, Silent())  # type: ignore[arg-type]
    with monkeypatch.context() as killed:  # the predictions before a kill is not read again
        prepared: list[str] = []

        def noted(name: str, given: Recognizer, folder: Path) -> BackendModel:
            prepared.append(name)
            return preparing(name, given, graphs)

        killed.setattr(agreement, "prepare", noted)
        EXPERIMENT.measure(part, bench_, Silent())  # type: ignore[arg-type]
        assert prepared == list(chosen[1:])
    found = agreement_table(bench_.store.read(part.name))
    assert set(zip(found["runtime"], found["head"], strict=True)) == {
        (r, h) for r in chosen for h in strategies.heads()
    }
    assert (found["disagreements"] == 0).all()
    assert (found["strings"] == 20).all()
    assert bench_.store.facts(part.name)["not_run"] == absent


def test_weights_without_some_heads_are_read_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recognizer: Recognizer
) -> None:
    monkeypatch.setattr(strings, "held_out_digits", lambda: barred(100))
    save(recognizer.with_heads(["ctc"]), tmp_path / "weights")
    bench_ = Bench(Store(tmp_path / "run"))
    part = Part("runtimes-agreement", agreement.Settings(("eager",), 5), weights=(tmp_path / "weights",))
    EXPERIMENT.measure(part, bench_, Silent())  # type: ignore[arg-type]
    assert set(bench_.store.read(part.name)["head"]) == {"ctc"}


def test_shipped_graphs_predict_again_where_such_rows_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(agreement, "task_strings", lambda count: SequenceMNIST(embedded_digits(), 5, count=100))
    part = Part("runtimes-agreement", agreement.Settings(("onnxruntime-int8",)), weights=(SHIPPED,))
    assert agreement.predict_again(part, pd.DataFrame({"runtime": ["eager"]})) is None
    again = agreement.predict_again(part, pd.DataFrame({"runtime": ["onnxruntime-int8"]}))
    assert set(again["head"]) == {"parallel", "ctc"}
    assert (again["prediction"] == again["text"]).mean() > 0.9
