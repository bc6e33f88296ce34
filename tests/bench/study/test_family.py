"""The family of encoders in small: what is trained, what is read, and that nothing is done twice."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench.core.store import Store
from bench.study import family, family_pipeline, predictions
from bench.study.family import RIGHT, STRATEGIES, Architecture, Family
from seqocr.data.sources.datasets import embedded_digits
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.errors import InputError
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer

SIZE = Family({"32x1": Architecture(32, 1, seeds=1)}, steps=1, batch=3, strings=2)
CONFIG = Family.config


class OneThread:
    """Where a real engine has processes."""

    times = False

    @contextlib.contextmanager
    def workers(self, folder: Path) -> Iterator[Executor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool


@pytest.fixture(autouse=True)
def _embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = embedded_digits()
    monkeypatch.setattr(family, "held_out_digits", lambda: digits)
    monkeypatch.setattr(predictions, "_digits", lambda: digits)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setitem(family.SIZES, "small", SIZE)
    monkeypatch.setattr(family, "SHIPPED", ())
    monkeypatch.setattr(Family, "config", lambda *given, **more: replace(CONFIG(*given, **more), validation_strings=6))
    engine: Any = OneThread()
    return lambda: family_pipeline.run("small", tmp_path / "results", tmp_path / "runs", engine)


def test_every_set_is_read_by_every_strategy_once(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = Store(run())
    rows = study.read("family")
    counted = rows.groupby("set")["text"].agg(["size", lambda texts: texts.str.len().min(), "nunique"])
    assert counted["size"].to_dict() == {
        **{"grid": 20, "jitter": 20, "wild": 20},
        **{"repeats": 20, "longer": 10, "occluded": 20},
    }
    assert set(rows.loc[rows["set"] == "longer", "text"].str.len()) == set(range(11, 21))
    read = family.unpack(rows)
    assert list(read) == [*STRATEGIES]
    assert not read.isin([RIGHT]).any(axis=None)
    facts = study.facts("family")
    assert facts["of"] == 1
    training = facts["trainings"]["32x1-seed0"]
    assert training["strings_seen"] == 3
    assert {name: found["strings"] for name, found in training["graphs_exact"].items()} == dict.fromkeys(LEVELS, 20)
    assert all(0 <= found[head] <= 20 for found in training["graphs_exact"].values() for head in family.GRAPH_HEADS)
    monkeypatch.setattr(family_pipeline, "learn", lambda *_: pytest.fail("learned again"))
    shutil.rmtree(tmp_path / "runs")  # results are enough
    again = Store(run())
    assert again.facts("family") == facts
    pd.testing.assert_frame_equal(again.read("family"), rows)


def test_what_is_right_is_told_from_what_is_empty() -> None:
    rows = pd.DataFrame(
        {"text": ["12", "3"], "prediction": [" ".join(["=", "", *"11111"]), " ".join(["33", *"======"])]}
    )
    read = family.unpack(rows)
    assert read.iloc[0].tolist() == ["12", "", *"11111"]
    assert read.iloc[1].tolist() == ["33", *"333333"]


def test_the_full_family_is_that_of_the_plan() -> None:
    plan = Path(family.__file__).with_name("plan.md").read_text(encoding="utf-8")
    size = family.SIZES["full"]
    assert len(size.members()) == 2 + 7 * 3 + 1
    said = [f"{each.width}×{each.layers}" for each in size.encoders.values()]
    assert all(each in plan for each in said)
    assert f"{size.steps * size.batch:,}" in plan
    for head in family.HEADS:
        assert f"`{head}`" in plan
    heads = {name: each.heads for name, each in size.encoders.items() if each.heads != family.HEADS}
    assert heads == {f"96x2-{head}": (head,) for head in ("ar", "parallel", "ctc")}
    longer = {name: size.config(0, each.longer).steps / size.steps for name, each in size.encoders.items()}
    assert {name: times for name, times in longer.items() if times > 1} == {"96x2-long": 3}


def test_an_encoder_has_the_size_that_its_name_says() -> None:
    architecture = family.SIZES["full"].encoders["160x4"]
    built = family.build("160x4", architecture, 0)
    assert (built.encoder.config.hidden_size, built.encoder.config.num_hidden_layers) == (160, 4)
    assert built.max_length == 20
    assert built.encoder.features.columns == 32


def test_shipped_weights_are_read_as_they_are_with_a_shallow_head_beside(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(family, "read_graphs", lambda *_: "")  # exporting takes half a minute
    monkeypatch.setattr(family, "SHIPPED", ("strings",))
    monkeypatch.setitem(family.SIZES, "small", replace(SIZE, encoders={}))
    rows = Store(run()).read("family")
    assert set(rows["encoder"]) == {"strings"}
    read = family.unpack(rows)
    assert read.eq(family.ABSENT).all().to_dict() == {name: name.startswith("parseq") for name in STRATEGIES}
    there, shipped = load_recognizer(tmp_path / "runs" / "strings-seed0"), load_recognizer(weights_path("strings"))
    for name, weight in shipped.state_dict().items():
        torch.testing.assert_close(there.state_dict()[name], weight)
    assert [*there.heads] == [*shipped.heads, "ar-1layer"]


def test_encoders_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    learned: list[Any] = []
    monkeypatch.setattr(family_pipeline, "learn", lambda *each: learned.append(each[:2]) or "")
    engine: Any = OneThread()
    family_pipeline.run("full", tmp_path, tmp_path / "runs", engine, ["160x4", "small"])
    assert learned == [("160x4", 0), ("160x4", 1), ("160x4", 2), ("small", 0)]
    with pytest.raises(InputError, match="unknown encoder '3x2': choose some of strings, numbers, 96x2"):
        family_pipeline.run("full", tmp_path, tmp_path / "runs", engine, ["3x2"])


def test_a_head_learns_alone_and_encoders_can_be_added(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as quick:
        quick.setattr(family, "read_graphs", lambda *_: "")
        before = Store(run()).read("family")
    shutil.rmtree(tmp_path / "runs")
    more = {**SIZE.encoders, "32x1-ctc": Architecture(32, 1, seeds=1, heads=("ctc",))}  # one graph to export
    monkeypatch.setitem(family.SIZES, "small", replace(SIZE, encoders=more))
    study = Store(run())
    rows = study.read("family")
    assert [*rows["encoder"].unique()] == ["32x1", "32x1-ctc"]
    pd.testing.assert_frame_equal(rows[rows["encoder"] == "32x1"].reset_index(drop=True), before)
    read = family.unpack(rows[rows["encoder"] == "32x1-ctc"])
    assert [name for name in STRATEGIES if not read[name].eq(family.ABSENT).any()] == ["ctc"]
    assert set(study.facts("family")["trainings"]["32x1-ctc-seed0"]["graphs_exact"]["wild"]) == {"strings", "ctc"}
