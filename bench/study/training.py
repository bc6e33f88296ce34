"""Training the study's recognizers: one base for all, then one for every label distribution and seed from there."""

from pathlib import Path

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
_EPOCH = 6400  # strings drawn at once
_BASE_SEED = 1000  # apart from those of replications
_HELD_OUT = 400


def train_base(size: Size, folder: Path, heads: tuple[str, ...] = HEADS) -> None:
    """All heads on damaged strings of independent digits, from the shipped weights; heads that those lack are new."""
    _train(_base_start(heads), _base(heads), size.base_steps, 1e-3, size.base_batch, folder / BASE)


def train(training: Training, size: Size, folder: Path) -> None:
    """One training; goes on where it was cut short.

    The encoder is the base's. Heads are new: one that has learned that symbols are independent is slower to unlearn it
    than a new one is to learn how they depend.
    """
    start = load_recognizer(folder / BASE).adapted(training.heads)
    torch.manual_seed(training.seed)
    start.heads = Recognizer.build("tiny", training.heads, max_length=LENGTH).heads
    _train(start, training, size.steps, 2e-3, size.batch, folder / training.name)


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
    distribution = LABEL_DISTRIBUTIONS[training.labels](LENGTH)
    digits, augmentation = load_digits("train"), Augmentation().with_strength(0.5)
    digits = digits[: round(training.share * len(digits))]
    learned = StructuredLines(digits, distribution, _EPOCH, MIXTURE, seed=training.seed, augmentation=augmentation)
    held_out = StructuredLines(load_digits("validation"), distribution, _HELD_OUT, MIXTURE, seed=training.seed)
    return DataMixture([MixtureSource(learned, held_out)])
