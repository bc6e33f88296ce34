"""One process of a training by `torchrun`, as `seqocr train` does it, with every loss noted.

torchrun --nproc-per-node 2 -m bench.ranks.process OUT float32
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from seqocr.data.sources import DIGITS
from seqocr.train import ranks
from seqocr.train.config import Start, TrainConfig
from seqocr.train.recipe import digits_of, material_of, started
from seqocr.train.spread import SpreadRun

HEADS = ["ar", "parallel", "ctc"]
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
    """The file of a run's losses, a line each."""
    return out.with_name(f"{out.name}.losses")


class _Noted(SpreadRun):
    def learn(self, *arguments: Any) -> tuple[float, int | None]:
        step = self.progress.step
        loss, signal = super().learn(*arguments)
        if ranks.is_first():
            with losses_of(self.out).open("a") as file:
                file.write(json.dumps([step, loss]) + "\n")
        return loss, signal


def main(out: Path, precision: str) -> None:
    """Train, or go on with it.

    Args:
        precision: float32, or float64: whether it is rounding alone that makes a difference.
    """
    with ranks.joined("cpu"):
        recognizer = started(Start(), None, HEADS, DIGITS, CONFIG.longest, CONFIG.seed)
        if precision == "float64":
            recognizer.double()
            recognizer.encoder.register_forward_pre_hook(_as_float64)
        material = material_of(CONFIG, digits_of())
        _Noted(recognizer, material, CONFIG, out, torch.device("cpu"), None, False).over(SHARDS, 0).run()


def _as_float64(_: Any, pixels: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (pixels[0].double(), *pixels[1:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
