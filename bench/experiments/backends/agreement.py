"""Reading the task's strings in every runtime. Nothing is timed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from bench.backends import prepare, unavailable
from bench.core import strategies
from bench.core.experiment import Bench, Part
from bench.workloads.held_out import readings, task_strings
from seqocr.decoding.output import DecodeFunction
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter


@dataclass(frozen=True)
class Settings:
    runtimes: tuple[str, ...]
    strings: int = 2000


def measure(part: Part, bench: Bench, reporter: Reporter) -> None:
    """Each runtime's readings are saved as they come, so that a run that was killed goes on with the next."""
    store, settings = bench.store, part.settings
    not_run = unavailable(settings.runtimes)
    store.add_facts(part.name, not_run=not_run)
    strings = task_strings(settings.strings)
    images, texts = strings.batch(range(len(strings)))
    recognizer = load_recognizer(part.weights[0])
    pixel_values = recognizer.processor(images)
    tables = [store.read(part.name)] if store.has(part.name) else []
    done = set(tables[0]["runtime"]) if tables else set()
    with TemporaryDirectory() as folder:
        for name in (name for name in settings.runtimes if name not in {*not_run, *done}):
            heads = prepare(name, recognizer, Path(folder)).strategies
            for head in (head for head in strategies.heads() if head in heads):
                read = partial(_texts, heads[head])
                tables.append(readings(read, pixel_values, texts, runtime=name, head=head))
            store.write(part.name, pd.concat(tables, ignore_index=True))
            reporter.advance(part.name)


def _texts(decode: DecodeFunction, pixel_values: torch.Tensor) -> list[str]:
    return decode(pixel_values).texts
