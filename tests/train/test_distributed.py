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

import psutil
import pytest
import torch
from safetensors import SafetensorError, safe_open

from seqocr.data.mixture import DataMixture
from seqocr.data.processor import Processor
from seqocr.data.soft_labels import Believed
from seqocr.errors import InputError, RankError
from seqocr.inference.load import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.train import distributed, loop
from seqocr.train.loop import STATE
from seqocr.train.recipe import material_of
from seqocr.train.shards import Shards, drawn
from seqocr.train.sharing import Spread
from seqocr.train.spread import _Share
from tests.by_ranks import CONFIG, Training, free_port, losses, norms, noting_norms, said, together
from tests.conftest import barred, own_lines, small_recognizer

IN_FOUR = Training(spread=Spread(shards=4))
ROUNDING = 2e-5  # of losses
# Of weights. Adam makes much of gradients that are nothing but rounding; in one step it moves a weight by 1e-3 at most.
ROUNDED = 2e-4
Plain = tuple[Recognizer, list[float], list[float]]


def difference(a: Recognizer, b: Recognizer) -> float:
    """The largest of any weight."""
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def exact(recognizer: Recognizer) -> list[Any]:
    return [(row["step"], row["exact"]) for row in recognizer.provenance["validation"]]


@pytest.fixture(scope="module")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """What the loop makes, its losses, and the norms of its gradients."""
    return by_the_loop(IN_FOUR, tmp_path_factory.mktemp("plainly") / "out")


def by_the_loop(training: Training, out: Path) -> Plain:
    seen: list[float] = []
    of_gradients: list[float] = []
    step = loop._Run._train_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Run, "_train_step", lambda *a: (seen.append(step(*a)), seen[-1])[1])
        patch.setattr(loop.nn.utils, "clip_grad_norm_", noting_norms(of_gradients))
        return training.fit(out, plainly=True), seen, of_gradients


# The same as by one process.


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_and_shards_learn_what_the_loop_does(plainly: Plain, tmp_path: Path, world: int) -> None:
    whole, expected, of_gradients = plainly
    out = tmp_path / "out"
    assert together(IN_FOUR, out, world) == [0] * world
    assert all(losses(out, rank) == losses(out) for rank in range(world))
    assert len(expected) == CONFIG.steps
    assert losses(out) == pytest.approx(expected, abs=ROUNDING)
    assert norms(out) == pytest.approx(of_gradients, rel=1e-3)
    trained = load_recognizer(out)
    assert difference(trained, whole) < ROUNDED
    assert exact(trained) == exact(whole)
    assert (trained.provenance["processes"], trained.provenance["shards"]) == (world, 4)
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    "changed",
    [
        replace(IN_FOUR, config=replace(CONFIG, protocol="frozen")),
        replace(IN_FOUR, config=replace(CONFIG, optimizer="muon", level="grid,jitter")),
        replace(IN_FOUR, taught=True, spread=Spread(shards=2, workers=1)),
    ],
    ids=["frozen", "muon and two levels", "taught, with workers"],
)
def test_two_processes_learn_whatever_the_loop_does(tmp_path: Path, changed: Training) -> None:
    whole, expected, of_gradients = by_the_loop(changed, tmp_path / "whole")
    assert together(changed, tmp_path / "out", 2) == [0, 0]
    assert losses(tmp_path / "out") == pytest.approx(expected, abs=ROUNDING)
    assert norms(tmp_path / "out") == pytest.approx(of_gradients, rel=1e-3)
    assert difference(load_recognizer(tmp_path / "out"), whole) < ROUNDED


def test_dropout_depends_on_shards_and_not_on_processes(tmp_path: Path) -> None:
    training = replace(IN_FOUR, dropout=0.2)
    for world in (1, 2):
        assert together(training, tmp_path / str(world), world) == [0] * world
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "2"), abs=ROUNDING)
    without = by_the_loop(IN_FOUR, tmp_path / "without")[1]
    assert losses(tmp_path / "1") != pytest.approx(without, abs=ROUNDING)


def test_two_processes_learn_in_bfloat16_what_one_does_with_as_many_shards(tmp_path: Path) -> None:
    """Of shards, since sums within a batch are what bfloat16 rounds."""
    training = replace(IN_FOUR, config=replace(CONFIG, precision="bfloat16"))
    for world in (1, 2):
        assert together(training, tmp_path / str(world), world) == [0] * world
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "2"), abs=ROUNDING)
    assert norms(tmp_path / "1") == pytest.approx(norms(tmp_path / "2"), rel=1e-3)
    one, two = (load_recognizer(tmp_path / str(world)) for world in (1, 2))
    assert difference(one, two) < ROUNDED
    assert two.provenance["precision"] == "bfloat16"
    assert losses(tmp_path / "1") != pytest.approx(by_the_loop(IN_FOUR, tmp_path / "float32")[1], abs=ROUNDING)


def test_each_weight_that_is_learned_gets_a_gradient() -> None:
    """Else processes would wait for it."""
    for kind in ("deit", "vit", "beit"):
        recognizer = small_recognizer(model_type=kind)
        images = torch.randint(0, 256, (2, 28, 84), dtype=torch.uint8)
        features = recognizer.encoder(recognizer.processor(images))
        torch.stack([head.loss(features, ["12", "3"]) for head in recognizer.heads.values()]).sum().backward()
        assert [name for name, p in recognizer.named_parameters() if p.grad is None] == []


# Drawing.


def material(levels: str = "grid,jitter,jitter") -> DataMixture:
    return material_of(replace(CONFIG, level=levels, length=(1, 3)), (barred(70), barred(60, "validation")))


def lines(batches: Iterator[Any], count: int) -> list[Any]:
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize("step", [0, 5])
def test_shards_together_are_the_batch_of_every_step_and_part(step: int) -> None:
    processor = Processor(28, 84)
    whole = lines(material().batches(12, step), 7)
    cut = lines(iter(Shards(material(), 12, range(2), 2, step, processor)), 7)
    for (images, texts), shards in zip(whole, cut, strict=True):
        # Each part is cut: a level's lines are the first of each shard, or the second and third.
        pixels, parts = processor(images), (4, 8)
        for shard, (some, read) in enumerate(shards):
            mine = [i for part in range(2) for i in range(*part_of(parts, part, shard))]
            assert read == [texts[i] for i in mine]
            assert torch.equal(some, pixels[mine])


def part_of(parts: tuple[int, int], part: int, shard: int) -> tuple[int, int]:
    start, half = sum(parts[:part]), parts[part] // 2
    return start + shard * half, start + (shard + 1) * half


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_draw_the_same_in_the_same_order(workers: int) -> None:
    shards = Shards(material(), 12, range(1, 2), 2, 3, Processor(28, 84))
    expected = lines(iter(shards), 8)
    with drawn(shards, workers) as batches:
        for (one,), (other,) in zip(lines(batches, 8), expected, strict=True):
            assert one[1] == other[1]
            assert torch.equal(one[0], other[0])


def test_training_with_workers_is_training_without(plainly: Plain, tmp_path: Path) -> None:
    training = replace(IN_FOUR, spread=Spread(workers=2))
    assert difference(training.fit(tmp_path / "out"), plainly[0]) == 0


def test_what_teachers_believe_comes_from_workers_as_it_was() -> None:
    training = replace(IN_FOUR, taught=True)
    shards = Shards(training.material(), 8, range(1), 1, 0, Processor(28, 84))
    with drawn(shards, 1) as batches:
        for ((_, texts),), ((_, expected),) in zip(lines(batches, 2), lines(iter(shards), 2), strict=True):
            assert all(isinstance(text, Believed) for text in texts)
            assert texts == expected
            assert all(torch.equal(a.logits, b.logits) for a, b in zip(texts, expected, strict=True))  # type: ignore


class Broken(Shards):
    def __init__(self, error: BaseException) -> None:
        super().__init__(material(), 12, range(1), 1, 0, Processor(28, 84))
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        yield from lines(super().__iter__(), 1)
        if isinstance(self.error, InputError):
            raise self.error
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_worker_cannot_use_is_said_as_ever() -> None:
    with (
        pytest.raises(InputError, match=r"^line-3\.png is missing$"),
        drawn(Broken(InputError("line-3.png is missing")), 1) as b,
    ):
        lines(b, 2)


def test_a_worker_that_is_killed_is_named() -> None:
    outside = pytest.raises(InputError, match="a process that draws batches was ended from outside")
    with outside, drawn(Broken(KeyboardInterrupt()), 1) as batches:
        lines(batches, 2)


@pytest.mark.parametrize(("number", "count"), [(0, 1), (0, 2), (1, 2), (3, 4)])
def test_processes_read_what_one_would_read_at_once(number: int, count: int) -> None:
    class Named:
        def __len__(self) -> int:
            return 250

        def batch(self, indices: range) -> Any:
            return indices, [str(i) for i in indices]

    share = _Share(Named(), number, count)
    read = [share.batch(range(i, min(i + 100, len(share))))[0] for i in range(0, len(share), 100)]
    assert read == [range(0, 100), range(100, 200), range(200, 250)][number::count]


# Cut short.


def test_a_process_that_is_told_to_stop_stops_all_after_the_step_and_one_goes_on(
    plainly: Plain, tmp_path: Path
) -> None:
    """Its workers are of its group, and told as well."""
    out = tmp_path / "out"
    training = replace(IN_FOUR, spread=Spread(shards=4, workers=1), told=(1, 4))
    assert together(training, out, 2) == [143, 143]
    assert len(losses(out)) == len(losses(out, 1)) == 5
    assert (out / STATE).exists()
    resumed = IN_FOUR.fit(out)
    assert difference(resumed, plainly[0]) < ROUNDED
    assert exact(resumed) == exact(plainly[0])


def test_a_process_that_dies_ends_the_others_with_one_line_and_four_go_on(plainly: Plain, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert together(replace(IN_FOUR, dies=(1, 5)), out, 2) == [2, -signal.SIGKILL]
    assert said(out, 0).startswith("True: another process of this training has ended")
    assert together(IN_FOUR, out, 4) == [0] * 4
    assert len(losses(out)) == 4  # from the state of step 4 on
    assert difference(load_recognizer(out), plainly[0]) < ROUNDED


def test_processes_that_see_different_states_are_refused(tmp_path: Path) -> None:
    outs = [tmp_path / "shared", tmp_path / "other"]
    assert together(IN_FOUR, outs, 2) == [2, 2]
    both = [said(out, rank) for rank, out in enumerate(outs)]
    assert sorted(each.split(":")[0] for each in both) == ["False", "True"]  # one of them says it
    assert "--out" in both[0]
    assert "processes see different states there (step 0, none): give a shared folder" in both[0]


# What cannot be.


@pytest.mark.parametrize(
    ("training", "world", "words"),
    [
        (replace(IN_FOUR, config=replace(CONFIG, batch_size=6)), 2, "batch_size 6: give a multiple of 4, for 4 shards"),
        (replace(IN_FOUR, spread=Spread(shards=3)), 2, "--shards 3: give a multiple of 2, the number of processes"),
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
        assert together(training, out, world) == [2] * world
        assert sum(said(out, rank).startswith("True: ") for rank in range(world)) == 1
        assert all(words in said(out, rank) for rank in range(world))
    assert not out.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_do_not_meet_say_so_in_time(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(distributed, "_TO_MEET", 2.0)
    port = free_port()
    for name, value in {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    start = time.monotonic()
    with pytest.raises(RankError, match=f"no meeting of 2 processes at 127.0.0.1:{port}"), distributed.joined("cpu"):
        pass
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "many"), ("RANK", "first"), ("MASTER_ADDR", "")])
def test_what_a_launcher_says_must_make_sense(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    usual = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for each in (*usual.items(), (name, value)):
        monkeypatch.setenv(*each)
    with pytest.raises(InputError, match=name), distributed.joined("cpu"):
        pass


# The command line, by torchrun.


class Command:
    """`seqocr train` on lines of one's own, by torchrun or in this process."""

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
        command = [sys.executable, "-m", "seqocr", *self.arguments(self.folder / "by-one", "--shards", 2)]
        subprocess.run(command, check=True, capture_output=True)
        return load_recognizer(self.folder / "by-one")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("command"))


def wait_for_step(out: Path, step: int, running: subprocess.Popen[str]) -> None:
    """Until its state is saved."""
    end = time.monotonic() + 100
    while time.monotonic() < end and running.poll() is None:
        with contextlib.suppress(OSError, SafetensorError), safe_open(out / STATE, framework="pt") as state:
            if json.loads(state.metadata()["facts"])["step"] >= step:
                return
        time.sleep(0.02)
    running.kill()
    raise AssertionError(f"step {step} was not reached: {running.communicate()}")


def test_a_killed_process_is_started_again_and_the_end_is_the_same(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = command.by_torchrun(out, "--workers", 1, restarts=1)
    wait_for_step(out, 20, running)
    ours = [each for each in psutil.Process(running.pid).children() if "seqocr" in each.cmdline()]
    assert len(ours) == 2
    ours[1].kill()
    output, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert output.count("trained: ") == output.count("before") == 1
    assert errors.count("error: ") <= 1  # none where torchrun was quicker to end the other
    assert "Traceback" not in errors
    assert difference(load_recognizer(out), command.by_one) < ROUNDED
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors"}


def test_torchrun_told_to_stop_leaves_a_state_from_which_one_process_goes_on(
    command: Command, tmp_path: Path, run_cli: Any
) -> None:
    out = tmp_path / "out"
    running = command.by_torchrun(out, "--workers", 1)
    wait_for_step(out, 20, running)
    running.send_signal(signal.SIGTERM)
    errors = running.communicate(timeout=60)[1]
    assert running.returncode != 0
    assert errors.count("the same command goes on from there") == errors.count("terminated\n") == 1
    assert (out / STATE).exists()
    assert run_cli(*command.arguments(out, "--shards", 2))[0] == 0
    assert difference(load_recognizer(out), command.by_one) < ROUNDED


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--batch-size", 3], "error: batch_size 3: give a multiple of 2"),
        (["--steps", "x"], "Invalid value for '--steps'"),
    ],
)
def test_what_all_meet_is_said_once(command: Command, tmp_path: Path, more: list[Any], words: str) -> None:
    errors = command.by_torchrun(tmp_path / "out", *more).communicate(timeout=120)[1]
    assert errors.count(words) == 1
    assert "exitcode  : 2" in errors
    assert not (tmp_path / "out").exists()
