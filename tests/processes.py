"""A small training by several processes, started as torchrun does, but without loading everything each time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqocr.data.mixture import DataMixture
from seqocr.data.soft_labels import SoftLabels
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer
from seqocr.train import distributed
from seqocr.train.config import DistributedConfig, TrainConfig
from seqocr.train.loop import Trainer
from seqocr.train.recipe import build_mixture
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
    soft: heads learn soft labels.
    dies: (rank, step): which process kills itself, and after which step.
    told: (rank, step): whose whole process group is told to stop, and after which step.
    """

    config: TrainConfig = CONFIG
    sharding: DistributedConfig = field(default_factory=DistributedConfig)
    heads: tuple[str, ...] = ("ar", "parallel", "ctc")
    dropout: float = 0.0
    soft: bool = False
    dies: tuple[int, int] | None = None
    told: tuple[int, int] | None = None

    def mixture(self) -> DataMixture:
        digits = barred(60), barred(600, "validation")
        logits = torch.randn(60, 10, generator=torch.Generator().manual_seed(0)).half()
        return build_mixture(self.config, digits, soft_labels=SoftLabels(digits[0], logits) if self.soft else None)

    def fit(self, out: Path, whole: bool = False) -> tuple[Recognizer, list[float], list[float]]:
        """In this process, which may be one of several: the recognizer, its losses, and the norms of its gradients.

        Adam and clipping hide a gradient that is too large by a factor; the norms do not.

        Args:
            whole: by whole batches, not in shards.
        """
        losses: list[float] = []
        norms: list[float] = []
        recognizer = small_recognizer(self.heads, hidden_dropout_prob=self.dropout)
        sharding = DistributedConfig() if whole else self.sharding
        clip = nn.utils.clip_grad_norm_

        def clip_and_note(*arguments: Any) -> torch.Tensor:
            norms.append(float(norm := clip(*arguments)))
            return norm

        def note(step: int, loss: float) -> None:
            losses.append(loss)
            if self.dies == (distributed.rank(), step):
                os.kill(os.getpid(), signal.SIGKILL)
            if self.told == (distributed.rank(), step):
                os.killpg(0, signal.SIGTERM)

        nn.utils.clip_grad_norm_ = clip_and_note
        try:
            trainer = Trainer(recognizer, self.mixture(), self.config, out, sharding=sharding, on_step=note)
            return trainer.fit(), losses, norms
        finally:
            nn.utils.clip_grad_norm_ = clip
            if distributed.world_size() > 1:
                found = {"losses": losses, "norms": norms}
                _beside(out, f"steps-{distributed.rank()}").write_text(json.dumps(found))


def train_together(training: Training, out: Path | Sequence[Path], world: int) -> list[int]:
    """Train with so many processes.

    Args:
        out: the folder, or one per process.

    Returns:
        exit codes. Each process's error is in `error(out)`, its losses and norms in `steps(out)`.
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


def steps(out: Path, rank: int = 0) -> dict[str, list[float]]:
    """`losses` and `norms` of a process's steps."""
    return json.loads(_beside(out, f"steps-{rank}").read_text())


def error(out: Path, rank: int) -> str:
    """The InputError that ended a process, and whether it is the one to report it."""
    path = _beside(out, f"error-{rank}")
    return path.read_text() if path.exists() else ""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _one(training: Training, out: Path, rank: int, world: int, port: int) -> None:
    os.setsid()  # as torchrun starts them
    torch.set_num_threads(1)
    launched = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in launched.items()})
    try:
        with distributed.process_group("cpu"):
            training.fit(out)
    except InputError as found:
        _beside(out, f"error-{rank}").write_text(f"{getattr(found, 'speaks', True)}: {found}")
        raise SystemExit(2) from None


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.name}.{name}")
