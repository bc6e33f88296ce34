"""A small training by several processes, started as torchrun does, but without loading everything each time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqocr.data.mixture import DataMixture
from seqocr.data.soft_labels import SoftLabels
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer
from seqocr.train import distributed, loop, spread
from seqocr.train.config import TrainConfig
from seqocr.train.distill import learning_beliefs
from seqocr.train.recipe import material_of
from seqocr.train.sharing import Spread
from tests.conftest import barred, small_recognizer

CONFIG = TrainConfig(
    length=(1, 3),
    steps=8,
    batch_size=8,
    warmup=2,
    validate_every=3,
    validation_strings=250,
    save_every=2,
    precision="float32",
)


@dataclass(frozen=True)
class Training:
    """Attributes:
    dropout: of the encoder.
    taught: heads learn what teachers believe.
    dies: (rank, step): what kills itself, and when.
    told: (rank, step): whose whole group of processes is told to stop, and when.
    """

    config: TrainConfig = CONFIG
    spread: Spread = field(default_factory=Spread)
    heads: tuple[str, ...] = ("ar", "parallel", "ctc")
    dropout: float = 0.0
    taught: bool = False
    dies: tuple[int, int] | None = None
    told: tuple[int, int] | None = None

    def recognizer(self) -> Recognizer:
        return small_recognizer(self.heads, hidden_dropout_prob=self.dropout)

    def material(self) -> DataMixture:
        digits = barred(60), barred(600, "validation")
        if not self.taught:
            return material_of(self.config, digits)
        believed = torch.randn(60, 10, generator=torch.Generator().manual_seed(0)).half()
        return material_of(self.config, digits, believed=SoftLabels(digits[0], believed))

    def fit(self, out: Path, plainly: bool = False) -> Recognizer:
        """In this process, which may be one of several; `plainly`: as ever."""
        recognizer = self.recognizer()
        arguments: tuple[Any, ...] = (recognizer, self.material(), self.config, out)
        with learning_beliefs(recognizer) if self.taught else nullcontext():
            return loop.fit(*arguments) if plainly else spread.fit(*arguments, spread=self.spread)


def together(training: Training, out: Path | Sequence[Path], world: int) -> list[int]:
    """Train with so many processes.

    Args:
        out: the folder, or one a process.

    Returns:
        exit codes. What each process met is in `said(out)`, and the losses of each in `losses(out)`.
    """
    outs = [out] * world if isinstance(out, Path) else out
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["seqocr.train.recipe"])  # this takes longest, and is then there for all
    port = free_port()
    processes = [context.Process(target=_one, args=(training, outs[rank], rank, world, port)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode or 0 for process in processes]


def losses(out: Path, rank: int = 0) -> list[float]:
    """Of each step."""
    return json.loads(_beside(out, f"losses-{rank}").read_text())


def norms(out: Path, rank: int = 0) -> list[float]:
    """Of each step's gradient. Adam and clipping hide a gradient that is too large by a factor."""
    return json.loads(_beside(out, f"norms-{rank}").read_text())


def noting_norms(seen: list[float]) -> Any:
    """`clip_grad_norm_` that notes what it returns."""
    clip = nn.utils.clip_grad_norm_

    def noted(*arguments: Any) -> torch.Tensor:
        norm = clip(*arguments)
        seen.append(float(norm))
        return norm

    return noted


def said(out: Path, rank: int) -> str:
    """The InputError that ended a process, and whether it is the one to say so."""
    path = _beside(out, f"error-{rank}")
    return path.read_text() if path.exists() else ""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _one(training: Training, out: Path, rank: int, world: int, port: int) -> None:
    os.setsid()  # as torchrun starts them
    torch.set_num_threads(1)
    found = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in found.items()})
    learn, seen, of_gradients = spread.SpreadRun.learn, [], []
    nn.utils.clip_grad_norm_ = noting_norms(of_gradients)

    def noted(run: Any, *arguments: Any) -> Any:
        at = (rank, run.progress.step)
        if at == training.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if at == training.told:
            os.killpg(0, signal.SIGTERM)
        outcome = learn(run, *arguments)
        seen.append(outcome[0])
        return outcome

    spread.SpreadRun.learn = noted
    try:
        with distributed.joined("cpu"):
            training.fit(out)
    except InputError as error:
        _beside(out, f"error-{rank}").write_text(f"{getattr(error, 'speaks', True)}: {error}")
        raise SystemExit(2) from None
    finally:
        _beside(out, f"losses-{rank}").write_text(json.dumps(seen))
        _beside(out, f"norms-{rank}").write_text(json.dumps(of_gradients))


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.name}.{name}")
