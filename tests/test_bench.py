"""The harness: statistics on rows whose answer is known, the report from saved rows alone, resuming after kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bench import measure, rounds, statistics, subjects
from bench.plan import ACCURACY_VARIANTS, LENGTHS, PLANS, TINY, VARIANTS, Cell, Plan, plan
from bench.report import write_report
from bench.store import Store
from bench.subjects import bind, costs, flops, peak_bytes, traffic
from seqocr.checkpoints import save
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer

ENCODE = 5e-3
SLOPES = {"ar-generate": 4e-3, "ar": 2e-3, "ar-nocache": 6e-3, "parallel": 0.0, "ctc": 0.0}
INTERCEPT = 1e-3


def timed_rows(kind: str = "latency", rounds: int = 6, encoder_noise: float = 1e-5) -> pd.DataFrame:
    """What a cell would save if a symbol cost exactly `SLOPES` seconds and a pass `INTERCEPT`."""
    random, rows = np.random.default_rng(0), []
    points = [(n, 1) for n in LENGTHS] if kind == "latency" else [(5, 1), (5, 8)]
    for number in range(rounds + 1):
        for length, batch in points:
            facts = {"subject": TINY.name, "kind": kind, "round": number, "warmup": number == 0, "load": 0.1}
            facts |= {"length": length, "batch": batch, "repeat": 0}
            slow = 10 if number == 0 else 1  # a warm-up round that would spoil every mean

            def row(variant: str, phase: str, seconds: float, facts: dict = facts, slow: int = slow) -> dict:
                jitter = float(random.normal(0, encoder_noise if phase == "encode" else 1e-5))
                passes = facts["length"] + 1 if variant.startswith("ar") else 1
                return {
                    **facts,
                    "variant": variant,
                    "phase": phase,
                    "seconds": slow * seconds + jitter,
                    "passes": passes,
                }

            rows.append(row("encoder", "encode", ENCODE))
            rows += [row(v, "decode", INTERCEPT + SLOPES[v] * length) for v in VARIANTS]
            if length == 5 and batch == 1:
                rows.append(row("encoder", "whole", ENCODE))
                rows += [row(v, "whole", ENCODE + INTERCEPT + SLOPES[v] * length) for v in VARIANTS]
    return pd.DataFrame(rows)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished run with synthetic measurements: every head reads alike but for one string."""
    store = Store(tmp_path / "raw" / "default-12345678")
    rows = []
    for index in range(40):
        for head in ACCURACY_VARIANTS:
            prediction = "0000" if head == "ctc" and index == 3 else f"{index:05}"
            rows.append((index, head, f"{index:05}", prediction, 0.9))
    store.write("predictions", pd.DataFrame(rows, columns=["index", "head", "text", "prediction", "confidence"]))
    store.write("samples", pd.DataFrame({"index": [0, 1, 3]}))
    Image.fromarray(np.zeros((3 * 28, 140), dtype=np.uint8)).save(store.path("samples.png"))
    cost = {"parameters": 1000, "flops": 2000, "bytes": 4000, "passes": 1, "peak_bytes": 3000}
    store.write(
        "costs",
        pd.DataFrame(
            [{"subject": TINY.name, "variant": v, "length": n, **cost} for v in ("encoder", *VARIANTS) for n in LENGTHS]
        ),
    )
    store.write("rates", pd.DataFrame({"flops_per_second": [1e9, 2e9], "bytes_per_second": [5e5, 1e6]}))
    store.write(f"latency-{TINY.name}", timed_rows())
    store.write(f"throughput-{TINY.name}", timed_rows("throughput"))
    accuracy = {"source": "made up", "split": "validation", "strings": 40, "length": 5, "charset": "0123456789"}
    store.write_facts(
        {
            "preset": "default",
            "started": "2026-01-01T00:00:00+00:00",
            "finished": "2026-01-01T00:10:00+00:00",
            "environment": {"cpu": "a cpu", "threads": 2, "vector_instructions": "AVX2", "gpu": None, "torch": "2"},
            "accuracy": {**accuracy, "weights": "shipped", "provenance": {}},
        }
    )
    return store


def test_fits_recover_slope_and_intercept_and_leave_the_warm_up_out(store):
    fits = statistics.analyse(store).fits
    decode = fits[fits["phase"] == "decode"].set_index("variant")
    for variant, slope in SLOPES.items():
        row = decode.loc[variant]
        assert row["b_ms"] == pytest.approx(slope * 1e3, abs=2e-3)
        assert row["a_ms"] == pytest.approx(INTERCEPT * 1e3, abs=3e-2)
        assert row["b_low"] < row["b_ms"] < row["b_high"]
    assert decode.loc["ar", "b_low"] > 0
    assert decode.loc["parallel", "b_low"] < 0.01


def test_speedups_flatness_and_overhead_are_paired_ratios(store):
    results = statistics.analyse(store)
    at = results.speedups.set_index(["length", "variant", "over"])["ratio"]
    assert at[5, "parallel", "ar-generate"] == pytest.approx(
        (ENCODE + INTERCEPT + 0.02) / (ENCODE + INTERCEPT), rel=0.02
    )
    flat = results.flatness.set_index("variant")["ratio"]
    assert flat["parallel"] == pytest.approx(1, rel=0.03)
    assert flat["ar"] == pytest.approx((INTERCEPT + 0.1) / (INTERCEPT + 0.002), rel=0.03)
    over = results.overhead.set_index("variant")["ratio"]
    assert over["ctc"] == pytest.approx((ENCODE + INTERCEPT) / ENCODE, rel=0.02)


def test_throughput_counts_strings(store):
    table = statistics.analyse(store).throughput.set_index(["variant", "batch"])["strings_per_second"]
    assert table["encoder", 8] == pytest.approx(8 / ENCODE, rel=0.02)


def test_interval_covers_the_mean_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    intervals = [statistics.mean_interval(random.normal(3, 1, 8)) for _ in range(1000)]
    assert 0.93 < np.mean([low < 3 < high for _, low, high in intervals]) < 0.97


def test_report_is_made_from_saved_rows_alone_and_twice_the_same(store, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "run", lambda *_: pytest.fail("the report measured"))
    first = write_report(store, tmp_path).read_text()
    assert write_report(Store.latest(tmp_path), tmp_path).read_text() == first
    for name in ("latency", "breakdown", "accuracy", "throughput", "tradeoff", "samples", "mistakes"):
        assert Image.open(tmp_path / "plots" / f"{name}.png").size[0] > 500
        assert (tmp_path / "plots" / f"{name}.svg").stat().st_size > 1000
        assert f"plots/{name}.png" in first
    assert (tmp_path / "tables" / "fits.csv").exists()
    assert "no measurable accuracy" in first
    assert "MNIST's test half could not be had" in first  # the split is validation, and that must be said


def test_the_answers_words_follow_the_numbers(store, tmp_path):
    predictions = store.read("predictions")
    wrong = predictions["head"].isin(["parallel", "ctc"]) & (predictions["index"] < 20)
    predictions.loc[wrong, "prediction"] = "99999"
    store.write("predictions", predictions)
    text = write_report(store, tmp_path).read_text()
    assert "Autoregression does buy accuracy here" in text
    assert "`ar` where accuracy decides" in text


def test_an_unstable_machine_is_warned_of(store, tmp_path):
    assert "unstable timings" not in write_report(store, tmp_path).read_text()
    store.write(f"latency-{TINY.name}", timed_rows(encoder_noise=1e-3))
    assert "unstable timings" in write_report(store, tmp_path).read_text()


def test_no_finished_run_and_a_corrupt_one_are_named(tmp_path, store):
    with pytest.raises(InputError, match="no finished run"):
        Store.latest(tmp_path / "elsewhere")
    (store.folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        Store.latest(tmp_path)


def test_unknown_preset_is_refused_by_name():
    with pytest.raises(InputError, match="'huge'"):
        plan("huge")


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_compares_all_variants_on_its_subjects(name):
    chosen = PLANS[name]
    assert {c.kind for c in chosen.cells} >= {"latency", "throughput"}
    if name != "smoke":
        assert all(c.points == LENGTHS for c in chosen.cells if c.kind == "latency")


def test_heads_of_a_bound_subject_could_read_its_length():
    bound = bind(TINY, (1, 50), torch.device("cpu"))
    assert bound[1].recognizer.encoder is bound[50].recognizer.encoder
    assert bound[50].recognizer.heads["parallel"].max_length == 50
    assert bound[50].recognizer.heads["ctc"].frames >= 99


def test_costs_are_exact_and_memory_is_what_was_held():
    bound = bind(TINY, (5,), torch.device("cpu"))[5]
    assert costs(bound, memory=False) == costs(bound, memory=False)
    assert peak_bytes(lambda: torch.ones(1000) + torch.ones(1000), torch.device("cpu")) == pytest.approx(
        12_000, rel=0.1
    )


def test_bytes_are_those_of_each_operand_once():
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert traffic(lambda: a @ b) == 4 * (15 + 35 + 21)
    linear = torch.nn.Linear(5, 7)
    assert traffic(lambda: linear(a)) == 4 * (15 + 35 + 7 + 21)  # the bias too
    assert flops(lambda: a @ b) == 2 * 3 * 5 * 7


def test_the_bound_is_the_longer_of_work_and_reading(store):
    """The fixture's machine: at best 2e9 FLOP/s and 1e6 bytes/s; everything costs 2,000 FLOPs and 4,000 bytes."""
    table = statistics.analyse(store).limits.set_index(["variant", "length"])
    for variant in ("encoder", *VARIANTS):
        row = table.loc[variant, 5]
        assert row["compute_ms"] == pytest.approx(1e-3)
        assert row["bound_ms"] == row["memory_ms"] == pytest.approx(4)
        seconds = ENCODE if variant == "encoder" else INTERCEPT + SLOPES[variant] * 5
        assert row["measured_ms"] == pytest.approx(seconds * 1e3, rel=0.02)
        assert row["share"] == pytest.approx(4 / (seconds * 1e3), rel=0.02)


def test_the_machines_rates_are_those_of_the_work_that_was_timed(monkeypatch):
    monkeypatch.setattr(subjects, "clock", lambda work, device: (work(), 0.5))
    rates = subjects.machine_rates(torch.device("cpu"))
    assert rates == {"flops_per_second": 2 * 2 * 1536**3, "bytes_per_second": 2 * 4 * 2**26}


SCRIPT = """
import bench, sys
from pathlib import Path
import torch
from bench import measure, rounds
from bench.plan import Cell, Plan, TINY
from bench.store import Store
from seqocr.data.sources import embedded_digits
rounds.load_digits_or_validation = lambda split: embedded_digits()
plan = Plan("smoke", 20, 2, (Cell("latency", TINY, (1, 5), rounds=int(sys.argv[3])),))
store = Store.for_plan(Path(sys.argv[1]), plan)
measure.run(plan, store, torch.device("cpu"), Path(sys.argv[2]))
print(store.folder)
"""


def bench_process(results: Path, weights: Path, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(results), str(weights), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def test_a_bench_killed_half_way_goes_on_where_it_was(tmp_path):
    weights = tmp_path / "weights"
    save(Recognizer.build("tiny"), weights)
    count = 30
    process = bench_process(tmp_path, weights, count)
    cell = f"latency-{TINY.name}.csv"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        found = list(tmp_path.glob(f"raw/*/{cell}"))
        if found and pd.read_csv(found[0])["round"].max() >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = (tmp_path / "raw").iterdir()
    before, predictions = pd.read_csv(folder / cell), (folder / "predictions.csv").read_bytes()
    assert 3 <= before["round"].nunique() <= count, "the kill came too late to show anything"
    assert json.loads((folder / "run.json").read_text())["finished"] is None

    again = bench_process(tmp_path, weights, count)
    _output, errors = again.communicate(timeout=250)
    assert again.returncode == 0, errors
    after = pd.read_csv(folder / cell)
    pd.testing.assert_frame_equal(after.head(len(before)), before)
    assert sorted(after["round"].unique()) == list(range(count + 1))
    assert (folder / "predictions.csv").read_bytes() == predictions
    assert json.loads((folder / "run.json").read_text())["finished"] is not None


def test_finished_cells_are_not_measured_again(tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    save(Recognizer.build("tiny"), weights)
    chosen = Plan("smoke", 10, 2, (Cell("latency", TINY, (1, 5), rounds=1),))
    from seqocr.data.sources import embedded_digits

    monkeypatch.setattr(rounds, "load_digits_or_validation", lambda split: embedded_digits())
    store = Store.for_plan(tmp_path, chosen)
    measure.run(chosen, store, torch.device("cpu"), weights)
    rows = store.read(f"latency-{TINY.name}")
    monkeypatch.setattr(measure, "_visit", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr(measure, "measure_accuracy", lambda *_: pytest.fail("read again"))
    measure.run(chosen, Store.for_plan(tmp_path, chosen), torch.device("cpu"), weights)
    pd.testing.assert_frame_equal(store.read(f"latency-{TINY.name}"), rows)


def test_rounds_visit_everything_and_keep_passes(tmp_path):
    store = Store(tmp_path)
    cell = Cell("latency", TINY, (1, 5), rounds=2)

    class Silent:
        def advance(self, note: str = "") -> None: ...

    measure.measure_cell(cell, store, torch.device("cpu"), Silent())  # type: ignore[arg-type]
    rows = store.read(cell.name)
    decode = rows[rows["phase"] == "decode"]
    assert set(decode["variant"]) == set(VARIANTS)
    assert (decode.groupby(["round", "length", "variant"]).size() == 1).all()
    autoregressive = decode["variant"].str.startswith("ar")
    assert (decode["passes"] == np.where(autoregressive, decode["length"] + 1, 1)).all()
    assert rows.groupby("warmup")["round"].nunique().to_dict() == {True: 1, False: 2}
    assert set(rows[rows["phase"] == "whole"]["length"]) == {5}
