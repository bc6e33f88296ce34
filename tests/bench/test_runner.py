"""The loop: what is stored is not measured again, a killed run goes on, and declarations cover what is run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import bench.core.store as store_of_runs
import bench.core.timer as timer
import bench.runner as loop
import bench.workloads.held_out as strings
from bench.core.damages import check
from bench.core.experiment import Bench, Experiment, Part
from bench.core.store import Store
from bench.experiments import accuracy, costs, latency, throughput
from bench.runner import run
from bench.workloads.timed_models import TINY
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError
from seqocr.models.checkpoint import save
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Silent

SMALL = {
    accuracy.EXPERIMENT: accuracy.Settings(8),
    latency.EXPERIMENT: latency.Settings(TINY, (1, 5), rounds=1),
    throughput.EXPERIMENT: throughput.Settings(TINY, (1, 2), rounds=1),
    costs.EXPERIMENT: costs.Settings(TINY, (1, 5)),
}


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    save(Recognizer.build("tiny"), folder)
    return folder


@pytest.fixture
def small(monkeypatch, tmp_path, weights):
    """A bench of few, small parts, on digits that come with a package."""
    monkeypatch.setattr(timer, "AGAIN", 0)  # other tests run meanwhile
    monkeypatch.setattr(strings, "held_out_digits", embedded_digits)
    monkeypatch.setattr(accuracy, "held_out_digits", embedded_digits)
    monkeypatch.setattr(loop, "experiments", lambda: list(SMALL))
    for experiment, settings in SMALL.items():
        parts = [Part(f"{experiment.name}-x", settings)]
        if experiment.name == "accuracy":
            parts = [Part("accuracy", settings, weights=(weights,))]
        if experiment.name == "costs":
            parts.append(Part("costs-rates", costs.Rates(tries=1)))
        monkeypatch.setattr(type(experiment), "parts", lambda self, preset, bench, parts=parts: parts)
    store = Store(tmp_path / "raw" / "smoke-1")
    store.write_facts("run", {"preset": "smoke", "finished": None})
    return Bench(store, task=weights)


def test_what_is_stored_is_not_measured_again_and_other_code_is(small, monkeypatch, capsys):
    run("smoke", small)
    rows = small.store.read("latency-x")
    assert small.store.facts("run")["finished"]
    assert small.store.facts("latency-x")["finished"]

    def fails(*_):
        pytest.fail("measured again")

    for experiment in SMALL:
        monkeypatch.setattr(type(experiment), "measure", fails)
    run("smoke", small)
    pd.testing.assert_frame_equal(small.store.read("latency-x"), rows)
    # With other weights, what read with them is measured again, by name, and nothing else.
    again = []
    for experiment in SMALL:
        monkeypatch.setattr(type(experiment), "measure", lambda self, part, *_: again.append(part.name))
    monkeypatch.setattr("bench.core.fingerprint.of_weights", lambda folder: "other")
    run("smoke", small)
    assert again == ["accuracy"]
    assert "accuracy: measured again, because of changes in weights" in capsys.readouterr().out


def test_two_benches_at_once_are_refused(small, monkeypatch, tmp_path):
    monkeypatch.setattr("bench.core.exclusive.tempfile.gettempdir", lambda: str(tmp_path))
    path = tmp_path / f"seqocr-bench-{os.getuid()}.lock"
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another bench is running"):
            run("smoke", small)
    run("smoke", small)


def test_rounds_time_everything_and_count_passes(small):
    run("smoke", small)
    rows = small.store.read("latency-x")
    decode = rows[rows["phase"] == "decode"]
    assert (decode.groupby(["round", "attempt", "length", "strategy"]).size() == 1).all()
    autoregressive = decode["strategy"].isin(["ar", "ar-generate", "ar-nocache"])  # speculative: the draft is right
    assert (decode["passes"] == decode["length"].where(autoregressive, 0) + 1).all()
    assert set(rows["phase"]) == {"encode", "decode", "confidence"}


def test_readings_in_processes_are_those_of_one(small):
    run("smoke", small)
    alone = small.store.read("accuracy")
    part = accuracy.EXPERIMENT.parts("smoke", small)[0]
    source = embedded_digits()
    pieces = [(strings.task_strings(8, source), range(i, i + 4), {}) for i in (0, 4)]
    small.store.delete("accuracy")
    with loop._workers(small):
        together = strings.read_strings(part, small, Silent(), pieces, tuple(alone["head"].unique()))
    pd.testing.assert_frame_equal(
        together.sort_values(["index", "head"], ignore_index=True).round(4),
        alone.sort_values(["index", "head"], ignore_index=True).round(4),
    )


def test_restarts_are_processes_and_those_that_are_there_are_not_repeated(tmp_path, monkeypatch):
    settings = latency.Settings(TINY, (1,), rounds=1, restarts=2)
    part = Part("latency-x", settings, settings.steps)
    monkeypatch.setattr(latency.Latency, "parts", lambda self, preset, bench: [part])
    monkeypatch.setattr(loop, "experiments", lambda: [latency.EXPERIMENT])
    started, real = [], loop.restart

    def restart(measure, table, number):
        started.append(number)
        if started == [0, 1]:
            raise KeyboardInterrupt
        return real(measure, table, number)

    monkeypatch.setattr(loop, "restart", restart)
    bench = Bench(Store(tmp_path / "raw" / "smoke-1"))
    with pytest.raises(KeyboardInterrupt):
        run("smoke", bench)
    run("smoke", bench)
    assert started == [0, 1, 1]
    rows = bench.store.read(part.name)
    assert rows.groupby("restart")["round"].unique().map(list).to_dict() == {0: [0, 1], 1: [2, 3]}
    assert rows.groupby("round")["warmup"].first().tolist() == [True, False, True, False]
    assert bench.store.facts(part.name)["finished"]


SCRIPT = """
import bench, sys
from pathlib import Path
import bench.runner as loop
import bench.core.timer
from bench.core.damages import check
from bench.core.experiment import Bench, Experiment, Part
from bench.experiments import latency
from bench.core.store import Store
from bench.workloads.timed_models import TINY
part = Part("latency-tiny-28x140", latency.Settings(TINY, (1, 5), rounds=int(sys.argv[2])))
latency.Latency.parts = lambda self, preset, bench: [part]
loop.experiments = lambda: [latency.EXPERIMENT]
loop.alone = loop.contextlib.nullcontext
loop.refuse_beside_ray = lambda: None  # another test may run it
bench.core.timer.AGAIN = 0  # on a busy machine, disturbed samples would take the test's time
loop.run("smoke", Bench(Store(Path(sys.argv[1]))))
"""


def process(folder: Path, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def test_a_bench_killed_half_way_goes_on_where_it_was(tmp_path):
    store, count = Store(tmp_path / "run"), 30
    first, name = process(store.folder, count), "latency-tiny-28x140"
    unfinished = store.unfinished(name)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and first.poll() is None:
        if unfinished.has(name) and unfinished.read(name)["round"].max() >= 2:
            break
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = unfinished.read(name)
    assert 3 <= before["round"].nunique() <= count, "the kill came too late to show anything"
    assert store.facts(name) == {}

    again = process(store.folder, count)
    _output, errors = again.communicate(timeout=250)
    assert again.returncode == 0, errors
    after = store.read(name)
    pd.testing.assert_frame_equal(after.head(len(before)), before, check_dtype=False)
    assert sorted(after["round"].unique()) == list(range(count + 1))
    assert store.facts(name)["finished"]


class Toy(Experiment):
    """Two parts of three samples each, which read with nothing."""

    name, timed = "toy", False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part(f"toy-{name}", accuracy.Settings(3)) for name in "ab"]

    def measure(self, part: Part, bench: Bench, reporter: Silent) -> None:
        bench.measure_each(part, "x", range(3), lambda x: pd.DataFrame({"x": [x], "y": [x * x]}), reporter)
        bench.store.add_facts(part.name, about="made up")


def whole_run(folder: Path) -> dict[str, bytes]:
    """Its tables, once `run` has come to an end."""
    store = Store(folder)
    check(store)
    assert store.facts("run")["parts"] == ["toy-a", "toy-b"]
    return {path.name: path.read_bytes() for path in folder.glob("*.csv.gz")}


def test_a_bench_that_is_killed_anywhere_gives_the_tables_of_an_undisturbed_one(tmp_path, monkeypatch):
    """Before each step that changes a file, and again when it goes on."""
    monkeypatch.setattr(loop, "experiments", lambda: [Toy()])
    monkeypatch.setattr(store_of_runs.environment, "commit", lambda: None)  # asks git each time
    monkeypatch.setattr(os, "fsync", lambda _: None)
    elsewhere = torch.device("cuda")  # without processes of its own
    steps, killed_at = 0, -1

    def maybe_kill(do):
        def wrapped(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == killed_at:
                raise KeyboardInterrupt
            return do(*args, **kwargs)

        return wrapped

    for kind, name in ((Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (shutil, "rmtree")):
        monkeypatch.setattr(kind, name, maybe_kill(getattr(kind, name)))

    def begun(folder: Path) -> Bench:
        store = Store(folder)
        if not store.facts("run"):
            store.write_facts("run", {"preset": "smoke", "finished": None})
        return Bench(store, elsewhere)

    run("smoke", begun(tmp_path / "undisturbed"))
    wanted, needed = whole_run(tmp_path / "undisturbed"), steps
    assert len(wanted) == 2
    for moment in range(1, needed + 1):
        folder = tmp_path / str(moment)
        for again in (moment, max(1, moment // 2)):
            steps, killed_at = 0, again
            with contextlib.suppress(KeyboardInterrupt):
                run("smoke", begun(folder))
        killed_at = -1
        run("smoke", begun(folder))
        assert whole_run(folder) == wanted
