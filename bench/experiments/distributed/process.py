"""One process of a distributed training, as `seqocr train` does it, with every loss noted.

Start it with `torchrun ... -m bench.experiments.distributed.process OUT float32`.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from seqocr.data.sources.datasets import DIGITS
from seqocr.models.heads.registry import HEADS
from seqocr.train import distributed
from seqocr.train.config import DistributedConfig, Start, TrainConfig
from seqocr.train.loop import Trainer
from seqocr.train.recipe import build_mixture, initial_recognizer, load_splits

SHARDS = 4
CONFIG = TrainConfig(
    length=(1, 5),
    steps=200,
    warmup=50,
    precision="float32",
    validate_every=200,
    validation_strings=500,
    save_every=25,
)


def losses_of(out: Path) -> Path:
    """The file of a run's losses, a line per step."""
    return out.with_name(f"{out.name}.losses")


def trainer(out: Path, precision: str = "float32", on_step: Callable[[int, float], None] | None = None) -> Trainer:
    """Args:
    precision: float32, or float64, which tells whether rounding alone makes a difference.
    """
    recognizer = initial_recognizer(Start(), None, list(HEADS), DIGITS, CONFIG.longest, CONFIG.seed)
    if precision == "float64":
        recognizer.double()
        recognizer.encoder.register_forward_pre_hook(lambda _, pixels: (pixels[0].to(torch.float64), *pixels[1:]))
    mixture = build_mixture(CONFIG, load_splits())
    return Trainer(recognizer, mixture, CONFIG, out, sharding=DistributedConfig(SHARDS), on_step=on_step)


def main(out: Path, precision: str) -> None:
    """Train, or go on with it."""

    def write_loss(step: int, loss: float) -> None:
        if distributed.is_main():
            with losses_of(out).open("a") as file:
                file.write(json.dumps([step, loss]) + "\n")

    with distributed.process_group("cpu"):
        trainer(out, precision, write_loss).fit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
