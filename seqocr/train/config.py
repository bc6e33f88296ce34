"""How to train."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from seqocr.data.augment import Augmentation
from seqocr.errors import InputError

PROTOCOLS = ("joint", "frozen", "separate")
OPTIMIZERS = ("adamw", "muon")
# What training from scratch on digits takes, and what adapting trained weights to a folder of lines does.
FROM_SCRATCH: dict[str, Any] = {
    "steps": 20_000,
    "learning_rate": 1e-3,
    "warmup": 500,
    "validate_every": 1000,
    "patience": 0,
}
FINE_TUNING: dict[str, Any] = {
    "steps": 600,
    "learning_rate": 5e-4,
    "warmup": 50,
    "validate_every": 100,
    "patience": 5,
}
VALIDATION_SHARE = 0.1  # of a folder of lines, to choose the best checkpoint by


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        length: digits in a string, or (shortest, longest).
        steps: optimiser steps.
        batch_size: strings a step.
        learning_rate: peak of the schedule: linear warm-up, then half a cosine to zero.
        warmup: steps of warm-up.
        weight_decay: on matrices only (not on biases, norms and embeddings of positions).
        optimizer: "adamw", or "muon" (see `seqocr.train.optimizers`) for the matrices of layers.
        clip: largest norm of the gradient.
        ema: decay of the exponential moving average of the weights, which is what is validated and kept.
        precision: "float32", "bfloat16" (autocast), or "auto": bfloat16 where the device multiplies it faster.
        validate_every: steps between validations.
        validation_strings: strings, of validation digits, that each validation reads.
        save_every: steps between saves of the state to resume from.
        protocol: "joint" trains all heads and the encoder, "frozen" the heads only; "separate" is a joint run a head.
        level: what to learn from (see `seqocr.data.material.mixture`).
        repeats: chance that a symbol of a string is the one before it again.
        patience: validations without a better one after which training stops; 0 for never.
        seed: of the initial weights, the draw of strings and their augmentation.
    """

    length: int | tuple[int, int] = 5
    steps: int = 20_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 500
    weight_decay: float = 0.05
    optimizer: str = "adamw"
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "auto"
    validate_every: int = 1000
    validation_strings: int = 1000
    save_every: int = 250
    protocol: str = "joint"
    level: str = "grid"
    repeats: float = 0.0
    patience: int = 0
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise InputError(f"unknown protocol {self.protocol!r}: choose one of {', '.join(PROTOCOLS)}")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"unknown optimizer {self.optimizer!r}: choose one of {', '.join(OPTIMIZERS)}")
        for name in ("steps", "batch_size", "validate_every", "save_every", "validation_strings"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give a number from 1 up")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise InputError(f"unknown precision {self.precision!r}: choose auto, float32 or bfloat16")
