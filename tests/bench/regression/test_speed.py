"""pytest-benchmark timings of every head's decode, the encoder and the data set; `make bench-check` shows them.

No time is asserted: what must hold anywhere is in test_gates.py.
"""

from __future__ import annotations

import pytest
import torch

from bench.core import strategies
from bench.workloads.timed_models import TASK_LENGTH, TINY, bind
from seqocr.data.augment import Augmentation
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits

BATCH = 500


@pytest.fixture(scope="module")
def bound():
    return bind(TINY, (TASK_LENGTH,), torch.device("cpu"))[TASK_LENGTH]


@pytest.fixture(scope="module")
def features(bound):
    with torch.inference_mode():
        return bound.recognizer.encoder(bound.pixel_values(1))


def test_encoder(benchmark, bound):
    pixel_values = bound.pixel_values(1)
    with torch.inference_mode():
        found = benchmark(bound.recognizer.encoder, pixel_values)
    features = bound.recognizer.encoder.features
    assert found.shape == (1, features.tokens, features.dim)


@pytest.mark.parametrize("name", strategies.timed())
def test_decode(benchmark, bound, features, name):
    decode = bound.decode_functions()[name]
    decoded = benchmark(decode, features, length=TASK_LENGTH)
    assert len(decoded.texts) == 1
    strategy = strategies.by_name()[name]
    assert decoded.passes == (1 if strategy.is_one_pass or strategy.is_speculative else TASK_LENGTH + 1)


@pytest.mark.parametrize("augmentation", [None, Augmentation()], ids=["plain", "augmented"])
def test_sequences(benchmark, augmentation):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH * TASK_LENGTH, 28, 28), dtype=torch.uint8, generator=generator)
    digits = Digits(images, torch.randint(0, 10, (len(images),), generator=generator), "noise", "train")
    strings = SequenceMNIST(digits, TASK_LENGTH, augmentation=augmentation)
    lines, texts = benchmark(strings.batch, range(BATCH))
    assert lines.shape == (BATCH, 28, 28 * TASK_LENGTH)
    assert len(texts) == BATCH
    if benchmark.stats:  # absent where benchmarks are disabled
        benchmark.extra_info["strings_per_second"] = round(BATCH / benchmark.stats.stats.median)
