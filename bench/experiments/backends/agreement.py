"""Predictions of the task's strings in every runtime. Nothing is timed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from bench.backends import prepare, unavailable
from bench.core import strategies
from bench.core.experiment import Bench, Part
from bench.workloads.held_out import predict_images, task_strings
from seqocr.decoding.output import DecodeFunction
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter


@dataclass(frozen=True)
class Settings:
    runtimes: tuple[str, ...]
    strings: int = 2000


def measure(part: Part, bench: Bench, reporter: Reporter) -> None:
    """Each runtime's predictions are saved as they come, so that a run that was killed goes on with the next."""
    not_run = unavailable(part.settings.runtimes)
    bench.store.add_facts(part.name, not_run=not_run)
    strings, recognizer = task_strings(part.settings.strings), load_recognizer(part.weights[0])
    images, texts = strings.batch(range(len(strings)))
    pixel_values = recognizer.processor(images)
    with TemporaryDirectory() as folder:

        def read(name: str) -> pd.DataFrame:
            decoders = prepare(name, recognizer, Path(folder)).strategies
            heads = [head for head in strategies.heads() if head in decoders]
            return pd.concat(
                predict_images(_texts(decoders[h]), pixel_values, texts, runtime=name, head=h) for h in heads
            )

        here = [name for name in part.settings.runtimes if name not in not_run]
        bench.measure_each(part, "runtime", here, read, reporter)


def _texts(decode: DecodeFunction) -> Callable[[torch.Tensor], list[str]]:
    return lambda pixel_values: decode(pixel_values).texts
