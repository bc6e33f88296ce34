"""Drawing batches and training on them: strings per second of each alone, and of both together."""

import random
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from seqocr.data.sources.datasets import DIGITS
from seqocr.inference.shipped import READER
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.registry import HEADS
from seqocr.train.config import Start, TrainConfig
from seqocr.train.loader import Shard, loading
from seqocr.train.loop import Trainer
from seqocr.train.recipe import build_mixture, initial_recognizer, load_splits

# What is trained, by name: as `make train` begins, and the reader of any line on lines as hard as they come.
TRAININGS = {
    "tiny": (Start(), TrainConfig(level="grid")),
    "strings": (Start(init=str(READER)), TrainConfig(level="jitter,wild", length=(1, 10), optimizer="muon")),
}
DRAWING, LEARNING, BOTH, DEVICE = "drawing", "learning", "both", "device"
# What is measured. DRAWING: batches are drawn. LEARNING: training on one batch again and again. BOTH: training. DEVICE:
# each batch is drawn, and then waited for as long as this process takes to draw one, as by a device that learns as fast
# as that, and takes none of this machine's cores.
# Each with its workers; 0: this process draws.
TURNS = [(DRAWING, 0), (DRAWING, 1), (DRAWING, 2), (LEARNING, 0)]
TURNS += [(what, workers) for what in (BOTH, DEVICE) for workers in (0, 1, 2)]
_SECONDS = 4.0  # at least, of each measurement
_FEWEST = 8  # batches at least

Act = Callable[[list[Shard]], Any]


def trainers(folder: Path) -> dict[str, Trainer]:
    """By name of `TRAININGS`. Nothing is left in the folder."""
    return {name: _run(start, config, folder) for name, (start, config) in TRAININGS.items()}


def measure_turns(trainers: dict[str, Trainer], name: str, _: random.Random) -> Iterator[dict[str, Any]]:
    """Strings and seconds of each of `TURNS`, for one training."""
    run = trainers[name]
    batch_seconds = 0.0
    acts: dict[str, Act] = {
        DRAWING: lambda _: None,
        LEARNING: run.train_step,
        BOTH: run.train_step,
        DEVICE: lambda _: time.sleep(batch_seconds),
    }
    for what, workers in TURNS:
        strings, seconds = _fed(run, what, workers, acts[what])
        yield {"training": name, "what": what, "workers": workers, "strings": strings, "seconds": seconds}
        if (what, workers) == (DRAWING, 0):
            batch_seconds = run.config.batch_size * seconds / strings


def _run(start: Start, config: TrainConfig, folder: Path) -> Trainer:
    before = load_recognizer(Path(start.init)) if start.init else None
    recognizer = initial_recognizer(start, before, list(HEADS), DIGITS, config.longest, config.seed)
    return Trainer(recognizer, build_mixture(config, load_splits()), config, folder / "feeding")


def _fed(run: Trainer, what: str, workers: int, act: Act) -> tuple[int, float]:
    """Strings, and the seconds that they took; without the first batches, which workers drew ahead, and their start."""
    with loading(run.batches(), workers) as batches:
        ready = repeat(next(batches)) if what == LEARNING else batches
        for _ in range(2 + 2 * workers):
            act(next(ready))
        count, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < _SECONDS or count < _FEWEST:
            act(next(ready))
            count += 1
    return count * run.config.batch_size, took
