"""Training the study's recognizers: one base for all, then one for every label distribution and seed from there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.study.design import HEADS, LENGTH, MIXTURE, UNIFORM, Size, Training
from bench.study.label_distributions import LABEL_DISTRIBUTIONS
from bench.study.structured import StructuredLines
from seqocr.data.augment import Augmentation
from seqocr.data.mixture import DataMixture, MixtureSource
from seqocr.data.sources.datasets import load_digits
from seqocr.inference.shipped import SHIPPED
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from seqocr.train.config import TrainConfig
from seqocr.train.loop import Trainer
from seqocr.train.state import is_finished

BASE = "base"
EPOCH = 6400  # strings drawn at once
_BASE_SEED = 1000  # apart from those of replications
_HELD_OUT = 400
OnStep = Callable[[Trainer, int], None]


def train_base(size: Size, folder: Path, heads: tuple[str, ...] = HEADS) -> None:
    """All heads on damaged strings of independent digits, from the shipped weights; heads that those lack are new."""
    _train(_base_start(heads), _base(heads), size.base_steps, 1e-3, size.base_batch, folder / BASE)


def train(training: Training, size: Size, folder: Path) -> None:
    """One training; goes on where it was cut short.

    The encoder is the base's. Heads are new: one that has learned that symbols are independent is slower to unlearn it
    than a new one is to learn how they depend.
    """
    _train(_with_new_heads(training, folder), training, size.steps, 2e-3, size.batch, folder / training.name)


def curve_trainer(training: Training, steps: int, batch: int, folder: Path, on_step: OnStep) -> Trainer:
    """One training that is read on the way: the learning rate stays, and what is read is a moving average of weights.

    Args:
        on_step: called after each step with the trainer and how many steps there were.
    """
    more: dict[str, Any] = {"decay": "none", "ema": 0.99, "save_every": 250}
    start = _with_new_heads(training, folder)
    trainer = _trainer(start, training, steps, 2e-3, batch, folder / training.name, **more)
    trainer.on_step = lambda step, loss: on_step(trainer, step + 1)
    return trainer


def _with_new_heads(training: Training, folder: Path) -> Recognizer:
    start = load_recognizer(folder / BASE).adapted(training.heads)
    torch.manual_seed(training.seed)
    start.heads = Recognizer.build("tiny", training.heads, max_length=LENGTH).heads
    return start


def learned_lines(training: Training) -> StructuredLines:
    """What a training learns from, in its first epoch."""
    digits = load_digits("train")
    digits = digits[: round(training.share * len(digits))]
    augmentation, distribution = Augmentation().with_strength(0.5), LABEL_DISTRIBUTIONS[training.labels](LENGTH)
    return StructuredLines(digits, distribution, EPOCH, MIXTURE, seed=training.seed, augmentation=augmentation)


def base_trainer(size: Size, heads: tuple[str, ...] = HEADS) -> Trainer:
    """Of the base, in float32 on every machine, for a fingerprint: it is not run to its end."""
    return _trainer(_base_start(heads), _base(heads), size.base_steps, 1e-3, size.base_batch, Path("unused"), "float32")


def _base(heads: tuple[str, ...]) -> Training:
    return Training(UNIFORM, _BASE_SEED, heads)


def _base_start(heads: tuple[str, ...]) -> Recognizer:
    torch.manual_seed(_BASE_SEED)
    return load_recognizer(SHIPPED).adapted(heads)


def _train(start: Recognizer, training: Training, steps: int, learning_rate: float, batch: int, out: Path) -> None:
    if not is_finished(out):
        _trainer(start, training, steps, learning_rate, batch, out).fit()


def _trainer(
    start: Recognizer,
    training: Training,
    steps: int,
    learning_rate: float,
    batch: int,
    out: Path,
    precision: str = "auto",
    **more: Any,
) -> Trainer:
    settings: dict[str, Any] = {
        "augment": 0.5,
        "protocol": "frozen" if training.frozen else "joint",
        "steps": steps,
        "batch_size": batch,
        "learning_rate": learning_rate,
        "warmup": min(50, steps),
        "seed": training.seed,
        "validate_every": steps,
        "validation_strings": _HELD_OUT,
        "save_every": 200,
        "precision": precision,
    }
    config = TrainConfig(**{**settings, **more})
    return Trainer(start, _mixture(training), config, out)


def _mixture(training: Training) -> DataMixture:
    learned = learned_lines(training)
    held_out = StructuredLines(load_digits("validation"), learned.distribution, _HELD_OUT, MIXTURE, seed=training.seed)
    return DataMixture([MixtureSource(learned, held_out)])
