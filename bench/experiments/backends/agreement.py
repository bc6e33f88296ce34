"""Predictions of the task's strings in every runtime. Nothing is timed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from bench.backends import prepare, unavailable
from bench.core import strategies
from bench.core.experiment import Bench, Part
from bench.workloads.held_out import predict_images, task_strings
from seqocr.decoding.output import DecodeFunction
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter

_AGAIN = 100  # strings that are predicted again to verify what is stored
_SHIPPED = "onnxruntime-int8"  # what runs the graphs that are shipped


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


def predict_again(part: Part, rows: pd.DataFrame) -> pd.DataFrame | None:
    """Some of the strings, by the 8-bit graphs shipped with the weights; None without these, or rows of such."""
    graphs = part.weights[0] / "onnx"
    if not (graphs / "config.json").exists() or _SHIPPED not in set(rows["runtime"]) or unavailable([_SHIPPED]):
        return None
    reader, (images, texts) = OnnxRecognizer(graphs), task_strings(part.settings.strings).batch(range(_AGAIN))
    pixel_values = torch.from_numpy(reader.encode([np.asarray(image) for image in images]))
    tables = [
        predict_images(_texts(decode), pixel_values, texts, runtime=_SHIPPED, head=head)
        for head, decode in reader.decode_functions().items()
    ]
    return pd.concat(tables, ignore_index=True)


def _texts(decode: DecodeFunction) -> Callable[[torch.Tensor], list[str]]:
    return lambda pixel_values: decode(pixel_values).texts
