"""Training by several processes: the same as by one, whatever ends."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch
from safetensors import SafetensorError, safe_open

from seqocr import cli
from seqocr.data.mixture import DataMixture, read_chunks
from seqocr.data.processor import Processor
from seqocr.data.soft_labels import SoftLabelText
from seqocr.errors import InputError, RankError
from seqocr.inference.predictions import predict_lines
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.heads import registry
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.recognizer import Recognizer
from seqocr.train import distributed
from seqocr.train.config import DistributedConfig
from seqocr.train.loader import ShardedBatches, loading
from seqocr.train.recipe import build_mixture
from seqocr.train.state import STATE
from tests.conftest import barred, own_lines, small_recognizer
from tests.processes import CONFIG, Training, error, free_port, steps, train_together

IN_FOUR = Training(sharding=DistributedConfig(shards=4))
ROUNDING = 2e-5  # of losses
# Of weights. Adam makes much of gradients that are nothing but rounding; in one step it moves a weight by 1e-3 at most.
ROUNDED = 2e-4
Trained = tuple[Recognizer, list[float], list[float]]


def difference(a: Recognizer, b: Recognizer) -> float:
    """The largest of any weight."""
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def exact(recognizer: Recognizer) -> list[Any]:
    return [(row["step"], row["exact"]) for row in recognizer.provenance["validation"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What one process learns from whole batches, its losses, and the norms of its gradients."""
    return IN_FOUR.fit(tmp_path_factory.mktemp("whole") / "out", whole=True)


# The same as by one process.


def test_one_process_learns_the_same_from_shards(whole: Trained, tmp_path: Path) -> None:
    trained, losses, norms = IN_FOUR.fit(tmp_path / "out")
    assert losses == pytest.approx(whole[1], abs=ROUNDING)
    assert norms == pytest.approx(whole[2], rel=1e-3)
    assert difference(trained, whole[0]) < ROUNDED
    assert exact(trained) == exact(whole[0])
    assert (trained.provenance["processes"], trained.provenance["shards"]) == (1, 4)


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_learn_the_same(whole: Trained, tmp_path: Path, world: int) -> None:
    out = tmp_path / "out"
    assert train_together(IN_FOUR, out, world) == [0] * world
    assert all(steps(out, rank)["losses"] == steps(out)["losses"] for rank in range(world))
    assert len(whole[1]) == CONFIG.steps
    assert steps(out)["losses"] == pytest.approx(whole[1], abs=ROUNDING)
    assert steps(out)["norms"] == pytest.approx(whole[2], rel=1e-3)
    trained = load_recognizer(out)
    assert difference(trained, whole[0]) < ROUNDED
    assert exact(trained) == exact(whole[0])
    assert (trained.provenance["processes"], trained.provenance["shards"]) == (world, 4)
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    "changed",
    [
        replace(IN_FOUR, config=replace(CONFIG, protocol="frozen")),
        replace(IN_FOUR, config=replace(CONFIG, optimizer="muon", level="grid,jitter")),
        replace(IN_FOUR, soft=True, sharding=DistributedConfig(shards=2, workers=1)),
    ],
    ids=["frozen", "muon and two levels", "soft labels, with workers"],
)
def test_two_processes_learn_the_same_in_other_settings(tmp_path: Path, changed: Training) -> None:
    trained, losses, norms = changed.fit(tmp_path / "whole", whole=True)
    assert train_together(changed, tmp_path / "out", 2) == [0, 0]
    assert steps(tmp_path / "out")["losses"] == pytest.approx(losses, abs=ROUNDING)
    assert steps(tmp_path / "out")["norms"] == pytest.approx(norms, rel=1e-3)
    assert difference(load_recognizer(tmp_path / "out"), trained) < ROUNDED


def test_a_head_of_someone_elses_is_trained_in_shards_as_the_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = type("Theirs", (CTCHead,), {"name": "theirs"})
    monkeypatch.setitem(registry.HEADS, "theirs", theirs)
    found = [replace(IN_FOUR, heads=(name,)).fit(tmp_path / name) for name in ("ctc", "theirs")]
    assert found[0][1:] == found[1][1:]


@pytest.mark.parametrize(
    "changed",
    [replace(IN_FOUR, dropout=0.2), replace(IN_FOUR, config=replace(CONFIG, precision="bfloat16"))],
    ids=["dropout", "bfloat16"],
)
def test_dropout_and_bfloat16_depend_on_shards_and_not_on_processes(
    whole: Trained, tmp_path: Path, changed: Training
) -> None:
    """Dropout is seeded per shard, and sums within a shard are what bfloat16 rounds."""
    one, losses, norms = changed.fit(tmp_path / "1")
    assert train_together(changed, tmp_path / "2", 2) == [0, 0]
    assert steps(tmp_path / "2")["losses"] == pytest.approx(losses, abs=ROUNDING)
    assert steps(tmp_path / "2")["norms"] == pytest.approx(norms, rel=1e-3)
    two = load_recognizer(tmp_path / "2")
    assert difference(one, two) < ROUNDED
    assert two.provenance["precision"] == changed.config.precision
    assert losses != pytest.approx(whole[1], abs=ROUNDING)


def test_each_weight_that_is_learned_gets_a_gradient() -> None:
    """Else processes would wait for it."""
    for kind in ("deit", "vit", "beit"):
        recognizer = small_recognizer(model_type=kind)
        images = torch.randint(0, 256, (2, 28, 84), dtype=torch.uint8)
        features = recognizer.encoder(recognizer.processor(images))
        torch.stack([head.loss(features, ["12", "3"]) for head in recognizer.heads.values()]).sum().backward()
        assert [name for name, p in recognizer.named_parameters() if p.grad is None] == []


# Loading.


def mixture(levels: str = "grid,jitter,jitter") -> DataMixture:
    return build_mixture(replace(CONFIG, level=levels, length=(1, 3)), (barred(70), barred(60, "validation")))


def lines(batches: Iterator[Any], count: int) -> list[Any]:
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize("step", [0, 5])
def test_shards_together_are_the_batch_of_every_step_and_part(step: int) -> None:
    processor = Processor(28, 84)
    whole = lines(map(read_chunks, mixture().schedule(12, step)), 7)
    cut = lines(iter(ShardedBatches(mixture(), 12, range(2), 2, step, processor)), 7)
    for (images, texts), shards in zip(whole, cut, strict=True):
        # Each part is cut: a level's lines are the first of each shard, or the second and third.
        pixels, parts = processor(images), (4, 8)
        for shard, ((some, read, _),) in enumerate(shards):
            mine = [i for part in range(2) for i in range(*part_of(parts, part, shard))]
            assert read == [texts[i] for i in mine]
            assert torch.equal(some, pixels[mine])


def part_of(parts: tuple[int, int], part: int, shard: int) -> tuple[int, int]:
    start, half = sum(parts[:part]), parts[part] // 2
    return start + shard * half, start + (shard + 1) * half


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_load_the_same_in_the_same_order(workers: int) -> None:
    shards = ShardedBatches(mixture(), 12, range(1, 2), 2, 3, Processor(28, 84))
    expected = lines(iter(shards), 8)
    with loading(shards, workers) as batches:
        for ((one,),), ((other,),) in zip(lines(batches, 8), expected, strict=True):
            assert one[1] == other[1]
            assert torch.equal(one[0], other[0])


def test_training_with_workers_is_training_without(whole: Trained, tmp_path: Path) -> None:
    training = replace(IN_FOUR, sharding=DistributedConfig(workers=2))
    trained, *rest = training.fit(tmp_path / "out")
    assert difference(trained, whole[0]) == 0
    assert rest == list(whole[1:])


def test_soft_labels_come_from_workers_as_they_were() -> None:
    shards = ShardedBatches(replace(IN_FOUR, soft=True).mixture(), 8, range(1), 1, 0, Processor(28, 84))
    with loading(shards, 1) as batches:
        for (((_, texts, _),),), (((_, expected, _),),) in zip(lines(batches, 2), lines(iter(shards), 2), strict=True):
            assert all(isinstance(text, SoftLabelText) for text in texts)
            assert texts == expected
            assert all(torch.equal(a.logits, b.logits) for a, b in zip(texts, expected, strict=True))  # type: ignore


class Broken(ShardedBatches):
    def __init__(self, error: BaseException) -> None:
        super().__init__(mixture(), 12, range(1), 1, 0, Processor(28, 84))
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        yield from lines(super().__iter__(), 1)
        if isinstance(self.error, InputError):
            raise self.error
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_in_a_worker_is_raised_as_it_was() -> None:
    with (
        pytest.raises(InputError, match=r"^line-3\.png is missing$"),
        loading(Broken(InputError("line-3.png is missing")), 1) as b,
    ):
        lines(b, 2)


def test_a_worker_that_is_killed_is_named() -> None:
    outside = pytest.raises(InputError, match="a process that loads batches was ended from outside")
    with outside, loading(Broken(KeyboardInterrupt()), 1) as batches:
        lines(batches, 2)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_processes_read_together_what_one_would(count: int) -> None:
    recognizer, lines = small_recognizer(("ctc",)), Training().mixture().held_out(250)
    parts = [predict_lines(recognizer, lines, quiet=True, part=(i, count)) for i in range(count)]
    assert [set(part["index"] // 100) for part in parts] == [set(range(3)[i::count]) for i in range(count)]
    together = pd.concat(parts).sort_values("index", ignore_index=True)
    pd.testing.assert_frame_equal(together, predict_lines(recognizer, lines, quiet=True), check_dtype=False)


# Cut short.


def test_a_process_that_is_told_to_stop_stops_all_after_the_step_and_one_goes_on(
    whole: Trained, tmp_path: Path
) -> None:
    """Its workers are of its group, and told as well."""
    out = tmp_path / "out"
    training = replace(IN_FOUR, sharding=DistributedConfig(shards=4, workers=1), told=(1, 4))
    assert train_together(training, out, 2) == [143, 143]
    assert len(steps(out)["losses"]) == len(steps(out, 1)["losses"]) == 5
    assert (out / STATE).exists()
    resumed = IN_FOUR.fit(out)[0]
    assert difference(resumed, whole[0]) < ROUNDED
    assert exact(resumed) == exact(whole[0])


def test_a_process_that_dies_ends_the_others_with_one_line_and_four_go_on(whole: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert train_together(replace(IN_FOUR, dies=(1, 4)), out, 2) == [2, -signal.SIGKILL]
    assert error(out, 0).startswith("True: another process of this training has ended")
    assert train_together(IN_FOUR, out, 4) == [0] * 4
    assert len(steps(out)["losses"]) == 4  # from the state of step 4 on
    assert difference(load_recognizer(out), whole[0]) < ROUNDED


def test_processes_that_see_different_states_are_refused(tmp_path: Path) -> None:
    outs = [tmp_path / "shared", tmp_path / "other"]
    assert train_together(IN_FOUR, outs, 2) == [2, 2]
    both = [error(out, rank) for rank, out in enumerate(outs)]
    assert sorted(each.split(":")[0] for each in both) == ["False", "True"]  # one of them says it
    assert "--out" in both[0]
    assert "processes see different states there (step 0, none): give a shared folder" in both[0]


# What cannot be.


@pytest.mark.parametrize(
    ("training", "world", "words"),
    [
        (replace(IN_FOUR, config=replace(CONFIG, batch_size=6)), 2, "batch_size 6: give a multiple of 4, for 4 shards"),
        (
            replace(IN_FOUR, sharding=DistributedConfig(shards=3)),
            2,
            "--shards 3: give a multiple of 2, the number of processes",
        ),
        (replace(IN_FOUR, heads=("ctc", "refine")), 1, "head 'refine' learns from whole batches"),
        (
            replace(IN_FOUR, config=replace(CONFIG, level="grid,wild", batch_size=4)),
            1,
            "batch_size 4: give a multiple of 8, for 4 shards of each of 2 levels",
        ),
    ],
)
def test_what_does_not_divide_is_refused_before_anything_is_done(
    tmp_path: Path, training: Training, world: int, words: str
) -> None:
    out = tmp_path / "out"
    if world == 1:
        with pytest.raises(InputError) as refused:
            training.fit(out)
        assert words in str(refused.value)
    else:
        assert train_together(training, out, world) == [2] * world
        assert sum(error(out, rank).startswith("True: ") for rank in range(world)) == 1
        assert all(words in error(out, rank) for rank in range(world))
    assert not out.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_do_not_meet_say_so_in_time(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(distributed, "_MEETING_SECONDS", 2.0)
    port = free_port()
    for name, value in {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    refused = pytest.raises(RankError, match=f"2 processes cannot meet at 127.0.0.1:{port}")
    with refused, distributed.process_group("cpu"):
        pass


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "many"), ("RANK", "first"), ("MASTER_ADDR", "")])
def test_what_a_launcher_says_must_make_sense(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    usual = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for each in (*usual.items(), (name, value)):
        monkeypatch.setenv(*each)
    with pytest.raises(InputError, match=name), distributed.process_group("cpu"):
        pass


# The command line, by torchrun.


class Command:
    """`seqocr train --data`, by torchrun or in one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save(small_recognizer(), folder / "start")
        own_lines(folder / "lines", 60)

    def arguments(self, out: Path, *more: object) -> list[str]:
        few = ["--level", "data", "--steps", 100, "--batch-size", 8, "--save-every", 5, "--validate-every", 1000]
        learned = ["--init", self.folder / "start", "--data", self.folder / "lines", "--precision", "float32"]
        return [str(each) for each in ("train", "--out", out, *few, *learned, "--device", "cpu", *more)]

    def by_torchrun(self, out: Path, *more: object, restarts: int = 0) -> subprocess.Popen[str]:
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", 2, "--max-restarts", restarts]
        command = [sys.executable, *launcher, "--master-port", free_port(), "-m", "seqocr", *self.arguments(out, *more)]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(list(map(str, command)), env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)

    @functools.cached_property
    def by_one(self) -> Recognizer:
        """What one process makes of as many shards."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["seqocr", *self.arguments(self.folder / "by-one", "--shards", 2)])
            with pytest.raises(SystemExit, match="0"):
                cli.main()
        return load_recognizer(self.folder / "by-one")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("command"))


def wait_for_step(out: Path, step: int, running: subprocess.Popen[str]) -> None:
    """Until its state is saved."""
    end = time.monotonic() + 100
    while time.monotonic() < end and running.poll() is None:
        with (
            contextlib.suppress(OSError, RuntimeError, SafetensorError),
            safe_open(out / STATE, framework="pt") as state,
        ):
            if json.loads(state.metadata()["facts"])["step"] >= step:
                return
        time.sleep(0.02)
    running.kill()
    raise AssertionError(f"step {step} was not reached: {running.communicate()}")


def test_torchrun_restarts_a_killed_process_and_when_told_to_stop_leaves_a_state_from_which_one_goes_on(
    command: Command, tmp_path: Path, run_cli: Any
) -> None:
    out = tmp_path / "out"
    running = command.by_torchrun(out, "--workers", 1, restarts=1)
    wait_for_step(out, 10, running)
    ours = [each for each in psutil.Process(running.pid).children() if "seqocr" in each.cmdline()]
    assert len(ours) == 2
    ours[1].kill()
    wait_for_step(out, 40, running)
    running.send_signal(signal.SIGTERM)
    errors = running.communicate(timeout=60)[1]
    assert running.returncode != 0
    assert errors.count("error: ") <= 1  # none where torchrun was quicker to end the other
    assert errors.count("the same command goes on from there") == errors.count("terminated\n") == 1
    assert "seqocr/train/" not in errors  # in a traceback
    assert (out / STATE).exists()
    assert run_cli(*command.arguments(out, "--shards", 2))[0] == 0
    assert difference(load_recognizer(out), command.by_one) < ROUNDED
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--batch-size", 3, "--shards", 2], "error: batch_size 3: give a multiple of 2"),
        (["--steps", "x"], "Invalid value for '--steps'"),
    ],
)
def test_what_all_meet_is_said_once(command: Command, tmp_path: Path, more: list[Any], words: str) -> None:
    errors = command.by_torchrun(tmp_path / "out", *more).communicate(timeout=120)[1]
    assert errors.count(words) == 1
    assert "exitcode  : 2" in errors
    assert not (tmp_path / "out").exists()
