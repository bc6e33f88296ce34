"""One process of a distributed training, as `seqocr train` does it, with every loss noted.

Start it with `torchrun ... -m bench.experiments.distributed.process OUT float32`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from seqocr.data.sources.datasets import DIGITS
from seqocr.train import distributed
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
        whole = next(self.recognizer.parameters()).dtype == torch.float64
        with _losses_in_float64() if whole else nullcontext():
            loss, signal = super().learn(*arguments)
        if distributed.is_first():
            with losses_of(self.out).open("a") as file:
                file.write(json.dumps([step, loss]) + "\n")
        return loss, signal


def main(out: Path, precision: str) -> None:
    """Train, or go on with it.

    Args:
        precision: float32, or float64: whether it is rounding alone that makes a difference.
    """
    with distributed.joined("cpu"):
        recognizer = started(Start(), None, HEADS, DIGITS, CONFIG.longest, CONFIG.seed)
        if precision == "float64":
            recognizer.double()
            recognizer.encoder.register_forward_pre_hook(_as_float64)
        material = material_of(CONFIG, digits_of())
        _Noted(recognizer, material, CONFIG, out, torch.device("cpu"), None, False).over(SHARDS, 0).run()


@contextmanager
def _losses_in_float64() -> Iterator[None]:
    """Heads take their losses in float32, whatever their weights are; within the block they do not."""
    tensor, log_softmax = torch.Tensor, torch.Tensor.log_softmax

    def whole(logits: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return log_softmax(logits, dim)

    with patch.object(tensor, "float", tensor.double), patch.object(tensor, "log_softmax", whole):
        yield


def _as_float64(_: Any, pixels: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (pixels[0].double(), *pixels[1:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
