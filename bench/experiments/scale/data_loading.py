"""Drawing batches and learning from them: strings a second of each alone, and of both together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from seqocr.data.sources.datasets import DIGITS
from seqocr.inference.shipped import READER
from seqocr.models.checkpoint import load_recognizer
from seqocr.train.config import Start, TrainConfig
from seqocr.train.loader import Shard, loading
from seqocr.train.loop import Trainer
from seqocr.train.recipe import build_mixture, initial_recognizer, load_splits

ROUNDS = 5
HEADS = ["ar", "parallel", "ctc"]
# What is trained, by name: as `make train` begins, and the reader of any line on lines as hard as they come.
TRAININGS = {
    "tiny": (Start(), TrainConfig(level="grid")),
    "strings": (Start(init=str(READER)), TrainConfig(level="jitter,wild", length=(1, 10), optimizer="muon")),
}
DRAWING, LEARNING, BOTH, DEVICE = "drawing", "learning", "both", "device"
# Each with its workers; 0: this process draws.
TURNS = [(DRAWING, 0), (DRAWING, 1), (DRAWING, 2), (LEARNING, 0)]
TURNS += [(what, workers) for what in (BOTH, DEVICE) for workers in (0, 1, 2)]
_SECONDS = 4.0  # at least, of each measurement
_FEWEST = 8  # batches at least

Act = Callable[[list[Shard]], Any]


@dataclass(frozen=True)
class Fed:
    """A measured stretch of batches.

    Attributes:
        training: one of `TRAININGS`.
        what: drawing: batches are drawn, and nothing else. learning: the same batch again and again. both: training.
            device: each batch is drawn, and then waited for as long as drawing one takes in this process: as by a
            device that learns as fast as that, and takes none of this machine's cores.
    """

    training: str
    what: str
    workers: int
    strings: int
    seconds: float

    @property
    def rate(self) -> float:
        """Strings a second."""
        return self.strings / self.seconds


def measured(folder: Path, rounds: int = ROUNDS, seconds: float = _SECONDS) -> Iterator[Fed]:
    """Every training in every way, in turn, round by round.

    Args:
        folder: nothing is left there.
        seconds: of each measurement, at least.
    """
    runs = {name: _run(start, config, folder) for name, (start, config) in TRAININGS.items()}
    for _ in range(rounds):
        for name, run in runs.items():
            device = _Device()
            acts: dict[str, Act] = {
                DRAWING: lambda _: None,
                LEARNING: run.train_step,
                BOTH: run.train_step,
                DEVICE: device,
            }
            for what, workers in TURNS:
                strings, took = _fed(run, what, workers, acts[what], seconds)
                yield Fed(name, what, workers, strings, took)
                if (what, workers) == (DRAWING, 0):
                    device.seconds = run.config.batch_size * took / strings


@dataclass
class _Device:
    """Takes its time for a batch, and none of this machine's cores."""

    seconds: float = 0.0

    def __call__(self, _: list[Shard]) -> None:
        time.sleep(self.seconds)


def _run(start: Start, config: TrainConfig, folder: Path) -> Trainer:
    before = load_recognizer(Path(start.init)) if start.init else None
    recognizer = initial_recognizer(start, before, HEADS, DIGITS, config.longest, config.seed)
    return Trainer(recognizer, build_mixture(config, load_splits()), config, folder / "feeding")


def _fed(run: Trainer, what: str, workers: int, act: Act, seconds: float) -> tuple[int, float]:
    """Strings, and the seconds that they took. Neither the first batches count, which workers have drawn ahead of a
    start, nor what starting them takes."""
    with loading(run.batches(), workers) as batches:
        ready = repeat(next(batches)) if what == LEARNING else batches
        for _ in range(2 + 2 * workers):
            act(next(ready))
        count, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < seconds or count < _FEWEST:
            act(next(ready))
            count += 1
    return count * run.config.batch_size, took


def rates(fed: list[dict[str, Any]]) -> dict[tuple[str, str, int], list[float]]:
    """Strings a second of each round, by training, what was done, and workers."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for each in fed:
        found.setdefault((each["training"], each["what"], each["workers"]), []).append(Fed(**each).rate)
    return found
