"""Training the study's recognizers: one base for all, then one for every law and seed from there."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.study.design import BASE_LAW, HEADS, LENGTH, MIXTURE, Size, Training
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
_EPOCH = 6400  # strings drawn at once
_BASE_SEED = 1000  # apart from those of replications
_HELD_OUT = 400


def base(size: Size, folder: Path, heads: tuple[str, ...] = HEADS) -> Recognizer:
    """All heads on damaged strings of independent digits, from the shipped weights; heads that those lack are new."""
    return _trained(_base_start(heads), _base(heads), size.base_steps, 1e-3, size.base_batch, folder / BASE)


def trained(training: Training, size: Size, folder: Path) -> Recognizer:
    """A training, or what came of it if it was finished before. Goes on where it was cut short.

    The encoder is the base's. Heads are new: one that has learned that symbols are independent is slower to unlearn it
    than a new one is to learn a law.
    """
    start = load_recognizer(folder / BASE).adapted(training.heads)
    torch.manual_seed(training.seed)
    new = Recognizer.build("tiny", training.heads, max_length=LENGTH)
    start.heads = new.heads
    return _trained(start, training, size.steps, 2e-3, size.batch, folder / training.name)


def finished(training: Training, folder: Path) -> bool:
    return is_finished(folder / training.name)


def base_trainer(size: Size, heads: tuple[str, ...] = HEADS) -> Trainer:
    """Of the base, in float32 on every machine, for a fingerprint: it is not run to its end."""
    return _trainer(_base_start(heads), _base(heads), size.base_steps, 1e-3, size.base_batch, Path("unused"), "float32")


def _base(heads: tuple[str, ...]) -> Training:
    return Training(BASE_LAW, _BASE_SEED, heads)


def _base_start(heads: tuple[str, ...]) -> Recognizer:
    torch.manual_seed(_BASE_SEED)
    return load_recognizer(SHIPPED).adapted(heads)


def _trained(
    start: Recognizer, training: Training, steps: int, learning_rate: float, batch: int, out: Path
) -> Recognizer:
    if is_finished(out):
        return load_recognizer(out)
    return _trainer(start, training, steps, learning_rate, batch, out).fit()


def _trainer(
    start: Recognizer,
    training: Training,
    steps: int,
    learning_rate: float,
    batch: int,
    out: Path,
    precision: str = "auto",
) -> Trainer:
    config = TrainConfig(
        augment=0.5,
        protocol="frozen" if training.frozen else "joint",
        steps=steps,
        batch_size=batch,
        learning_rate=learning_rate,
        warmup=min(50, steps),
        seed=training.seed,
        validate_every=steps,
        validation_strings=_HELD_OUT,
        save_every=200,
        precision=precision,
    )
    return Trainer(start, _mixture(training), config, out)


def _mixture(training: Training) -> DataMixture:
    law = LABEL_DISTRIBUTIONS[training.law](LENGTH)
    learned, held_out = load_digits("train"), load_digits("validation")
    learned = learned[: round(training.share * len(learned))]
    augmentation = Augmentation().with_strength(0.5)
    train = StructuredLines(learned, law, _EPOCH, MIXTURE, seed=training.seed, augmentation=augmentation)
    return DataMixture([MixtureSource(train, StructuredLines(held_out, law, _HELD_OUT, MIXTURE, seed=training.seed))])
