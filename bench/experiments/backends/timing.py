"""Timing runtimes: encoder and heads one by one, in batches, and autoregressive heads at every length."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from bench.backends import EAGER, prepare, unavailable
from bench.backends.base import BackendModel
from bench.core import strategies
from bench.core.experiment import Bench, Part
from bench.core.timer import Rounds, clock
from bench.workloads.held_out import warm_up
from bench.workloads.timed_models import TASK_LENGTH, TimedModel, bind, count_passes
from seqocr.progress import Reporter

SINGLE, LENGTHS, BATCH = "single", "lengths", "batch"  # what is timed in a runtime


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    runtimes: by name; those that cannot be had here are left out, and it is noted why.
    batch: strings read at once, beside batch 1, at the task's length.
    lengths: that autoregressive heads write, at batch 1.
    repeats: of every call at batch 1 in a sample.
    """

    subject: TimedModel
    runtimes: tuple[str, ...]
    batch: int
    lengths: tuple[int, ...] = (1, 5, 20, 50)
    repeats: int = 1


def measure(part: Part, bench: Bench, reporter: Reporter) -> None:
    """A sample is one runtime's single strings, its lengths, or its batches. There, the encoder and every strategy
    are timed in random order, from pixels to text, confidence included."""
    settings: Settings = part.settings
    not_run = unavailable(settings.runtimes)
    bench.store.add_facts(part.name, not_run=not_run)
    bound = bind(settings.subject, (TASK_LENGTH, *settings.lengths), bench.device)[TASK_LENGTH]
    inputs = {batch: bound.pixel_values(batch) for batch in (1, settings.batch)}
    here = [name for name in settings.runtimes if name not in not_run]
    with TemporaryDirectory() as folder:
        prepared = {name: prepare(name, bound.recognizer, Path(folder)) for name in here}
        samples = {f"{name}, {what}": (name, what) for name in prepared for what in (SINGLE, LENGTHS, BATCH)}

        def sample(each: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            name, what = samples[each]
            batch = settings.batch if what == BATCH else 1
            lengths = settings.lengths if what == LENGTHS else (TASK_LENGTH,)
            lengths *= 1 if what == BATCH else settings.repeats
            works = _works(name, prepared[name], what, inputs[batch])
            for strategy in shuffle.sample(list(works), len(works)):
                warm_up(partial(works[strategy], min(lengths)))
                for n in shuffle.sample(lengths, len(lengths)):
                    passes, timing = clock(partial(works[strategy], n), bench.device)
                    of = {"runtime": name, "what": what, "strategy": strategy, "length": n, "batch": batch}
                    yield {**of, "passes": passes, **timing}

        bench.measure_rounds(part, list(samples), sample, reporter)


def _works(name: str, prepared: BackendModel, what: str, pixel_values: torch.Tensor) -> dict[str, Callable[[int], int]]:
    """What a sample times: each takes a length, and gives the passes made."""

    def encode(length: int) -> int:
        prepared.encoder(pixel_values)
        return 0

    names = dict.fromkeys((*(strategies.autoregressive() if name == EAGER else ()), *strategies.heads()))
    there = prepared.strategies
    found = {name: partial(count_passes, there[name], pixel_values) for name in names if name in there}
    if what != LENGTHS:
        return {"encoder": encode, **found}
    # One decoder pass per symbol: what drafts has slots for the task's length only.
    return {name: work for name, work in found.items() if name in strategies.autoregressive()}
