"""The harness through other runtimes: what is measured, and statistics on rows whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import barred, lively, small_recognizer

from bench import rounds, runtimes, statistics
from bench.plan import HEADS, PLANS, TINY, Cell, Plan
from bench.store import Store
from bench.subjects import Bound
from seqocr.checkpoints import SHIPPED, load_recognizer, save
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import embedded_digits

CPU = torch.device("cpu")
RUNTIME_BATCH = 8
SLOPE = {("eager", "ar-generate"): 4e-3, ("eager", "ar"): 3e-3, ("fast", "ar"): 1e-3}  # seconds a symbol
ENCODE = {"eager": 5e-3, "fast": 1e-3}


class Silent:
    def advance(self, note: str = "", steps: int = 1) -> None: ...


def rows() -> pd.DataFrame:
    found: list[dict[str, Any]] = []
    for number in range(4):
        slow = 10 if number == 0 else 1 + number / 10  # a warm-up, then drift that hits all alike

        def row(runtime: str, variant: str, length: int, seconds: float, batch: int = 1) -> dict[str, Any]:
            return {
                **{"subject": TINY.name, "kind": "runtimes", "round": number, "warmup": number == 0},  # noqa: B023
                **{"runtime": runtime, "variant": variant, "length": length, "batch": batch, "repeat": 0},
                **{"seconds": seconds * slow, "passes": 1},  # noqa: B023
            }

        for (runtime, variant), slope in SLOPE.items():
            found += [row(runtime, variant, n, ENCODE[runtime] + slope * (n + 1)) for n in (1, 5, 50)]
        for runtime, seconds in ENCODE.items():
            for batch in (1, RUNTIME_BATCH):
                found.append(row(runtime, "encoder", 5, seconds * batch, batch))
                found += [row(runtime, head, 5, 1.1 * seconds * batch, batch) for head in ("parallel", "ctc")]
    return pd.DataFrame(found)


def test_slopes_and_their_ratios_to_generate() -> None:
    table = statistics.runtime_slopes(statistics.runtime_rounds(rows())).set_index(["runtime", "variant"])
    for key, slope in SLOPE.items():
        assert table.loc[key, "b_ms"] == pytest.approx(slope * 1e3 * 1.2)  # the drift's mean over the counted rounds
        assert table.loc[key, "ratio"] == pytest.approx(slope / 4e-3)
        assert table.loc[key, "rounds"] == 3


def test_the_ratio_of_means_covers_the_truth_about_as_often_as_it_says_negative_rounds_included() -> None:
    random = np.random.default_rng(2)
    covered = []
    for _ in range(1000):
        drift = random.normal(1, 0.2, 10)
        below, above = 4 * drift + random.normal(0, 1.5, 10), 2 * drift + random.normal(0, 1.5, 10)
        _, low, high = statistics.ratio_of_means(above, below)
        covered.append(low < 0.5 < high)
    assert 0.93 < np.mean(covered) < 0.97
    spread = np.array([0.9, 1.0, 1.1])
    assert statistics.ratio_of_means(spread, 2 * spread) == pytest.approx((0.5, 0.5, 0.5))
    assert np.isnan(statistics.ratio_of_means(np.array([1.0, 1.0]), np.array([5.0, -4.0]))[1])


def test_overhead_is_over_the_same_runtimes_encoder() -> None:
    table = statistics.runtime_overhead(statistics.runtime_rounds(rows())).set_index(["runtime", "variant"])
    for runtime in ENCODE:
        assert table.loc[(runtime, "parallel"), "ratio"] == pytest.approx(1.1)


def test_speed_is_over_eager() -> None:
    table = statistics.runtime_speed(statistics.runtime_rounds(rows())).set_index(["runtime", "variant", "batch"])
    assert table.loc[("fast", "parallel", RUNTIME_BATCH), "ratio"] == pytest.approx(5)
    assert table.loc[("eager", "parallel", 1), "ratio"] == pytest.approx(1)


def test_agreement_counts_strings_read_otherwise(tmp_path: Path) -> None:
    store, truth = Store(tmp_path), [f"{i:05}" for i in range(100)]
    tables = []
    for runtime, wrong in (("eager", {3}), ("fast", {3, 4, 5})):
        read = ["99999" if i in wrong else text for i, text in enumerate(truth)]
        tables.append(pd.DataFrame({"index": range(100), "runtime": runtime, "text": truth, "prediction": read}))
    store.write("runtime-predictions", pd.concat(tables).assign(head="ctc"))
    row = statistics.runtime_agreement(store).set_index("runtime").loc["fast"]
    assert (row["strings"], row["disagreements"]) == (100, 2)
    assert row["rate_low"] < 0.02 < row["rate_high"]
    assert (row["exact"], row["difference"]) == (pytest.approx(0.97), pytest.approx(-0.02))
    assert row["low"] <= row["difference"] <= row["high"]


def test_without_such_cells_the_tables_are_empty(tmp_path: Path) -> None:
    empty = statistics.runtime_rounds(pd.DataFrame())
    assert statistics.runtime_slopes(empty).empty
    assert statistics.runtime_overhead(empty).empty
    assert statistics.runtime_speed(empty).empty
    assert statistics.runtime_agreement(Store(tmp_path)).empty


def test_what_is_not_installed_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == "openvino" else object())
    assert runtimes.missing("openvino") == "openvino is not installed"
    assert runtimes.missing("onnxruntime") == runtimes.missing("eager") == ""
    monkeypatch.setattr(runtimes.shutil, "which", lambda name: None)
    assert runtimes.missing("compile") == "no C++ compiler"
    for has, why in ((True, ""), (False, "the processor has no instructions for bfloat16")):
        monkeypatch.setattr(runtimes.environment, "multiplies_bfloat16", lambda has=has: has)
        assert runtimes.missing("eager-bfloat16") == why


def test_bfloat16_reads_nearly_what_single_precision_reads(tmp_path: Path) -> None:
    recognizer = load_recognizer(SHIPPED)
    pixel_values = recognizer.processor(SequenceMNIST(embedded_digits(), 5, count=50).batch(range(50))[0])
    float32, bfloat16 = (runtimes.prepare(name, recognizer, tmp_path).heads for name in ("eager", "eager-bfloat16"))
    for name in HEADS:
        read, expected = bfloat16[name](pixel_values), float32[name](pixel_values)
        assert sum(a != b for a, b in zip(read.texts, expected.texts, strict=True)) <= 2
        assert not torch.equal(read.confidences.float(), expected.confidences)  # and not just the same again


def test_every_planned_runtime_is_known() -> None:
    for plan in PLANS.values():
        for runtime in plan.runtimes:
            assert isinstance(runtimes.missing(runtime), str)
        for cell in plan.cells:
            assert bool(cell.runtimes) == (cell.kind in ("runtimes", "load"))
            assert not cell.runtimes or cell.runtimes[0] == "eager"


def test_rounds_time_every_runtime_and_the_strings_are_read_by_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tuple(name for name in ("eager", "onnxruntime") if not runtimes.missing(name))
    recognizer = small_recognizer(max_length=5)
    recognizer.head_settings["ar"]["max_position_embeddings"] = 8
    recognizer = type(recognizer)(
        recognizer.encoder, recognizer.processor, recognizer.head_settings, max_length=5
    ).eval()
    lively(recognizer, scale=0.4)
    monkeypatch.setattr(runtimes, "bind", lambda *_: {5: Bound(recognizer, 5, CPU)})
    prepare = runtimes.prepare
    monkeypatch.setattr(runtimes, "prepare", lambda name, given, _: prepare(name, given, tmp_path / "graphs"))
    cell = Cell("runtimes", TINY, (1, 5, 7), rounds=2, runtimes=(*chosen, "openvino"), batch=RUNTIME_BATCH)
    store, plan = Store(tmp_path / "run"), Plan("smoke", 20, 2, (cell,))
    monkeypatch.setattr(runtimes, "missing", lambda name: "" if name in chosen else "not here")
    runtimes.measure_runtimes(cell, store, CPU, Silent())  # type: ignore[arg-type]
    table = store.read(cell.name)
    assert set(table["runtime"]) == set(chosen)
    assert table.groupby("warmup")["round"].nunique().to_dict() == {True: 1, False: 2}
    for runtime in chosen:
        written = table[(table["runtime"] == runtime) & (table["variant"] == "ar") & (table["batch"] == 1)]
        assert set(written["length"]) == {1, 5, 7}
        assert (written["passes"] == written["length"] + 1).all()
        one_pass = table[(table["runtime"] == runtime) & table["variant"].isin(["parallel", "ctc"])]
        assert set(one_pass["batch"]) == {1, RUNTIME_BATCH}
        assert (one_pass["passes"] == 1).all()
    assert set(table[table["variant"] == "ar-generate"]["runtime"]) == {"eager"}
    monkeypatch.setattr(runtimes, "clock", lambda *_: pytest.fail("measured again"))
    runtimes.measure_runtimes(cell, store, CPU, Silent())  # type: ignore[arg-type]

    # The same weights again: what was exported for the clock will do.
    prepared = {name: prepare(name, recognizer, tmp_path / "graphs") for name in chosen}
    monkeypatch.setattr(runtimes, "prepare", lambda name, *_: prepared[name])
    monkeypatch.setattr(rounds, "load_digits_or_validation", lambda split: barred(100))
    save(recognizer, tmp_path / "weights")
    store.write_facts({})
    runtimes.measure_agreement(plan, store, tmp_path / "weights")
    agreement = statistics.runtime_agreement(store)
    assert set(zip(agreement["runtime"], agreement["head"], strict=True)) == {(r, h) for r in chosen for h in HEADS}
    assert (agreement["disagreements"] == 0).all()
    assert store.facts()["runtimes_not_run"] == {"openvino": "not here"}
