"""One restart of the family's timing, in two processes of their own.

PyTorch and exported graphs do not share one: speculative decoding verifies the graphs' drafts with PyTorch in several
threads, which slows whatever else PyTorch does there (see `clock`).
"""

import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.core.store import Store
from bench.core.timer import Rounds, clock_each, measure_rounds
from bench.study import crnn
from bench.workloads.held_out import held_out_digits, level_strings
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.inference.load import load_directory
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Silent

EAGER = (
    "ar-generate",
    "ar",
    "ar-1layer",
    "ar-speculative",
    "parallel",
    "ctc",
    "parseq",
    "parseq-once",
    "parseq-refined",
)
GRAPHS = ("ar", "ar-speculative", "parallel", "ctc")
INT8 = "int8"  # folder of exported graphs beside weights, and what is put behind a strategy that runs them


def works(folder: Path, images: torch.Tensor, graphs: bool) -> dict[str, Callable[[], int]]:
    """What reads images, by strategy, and returns the decoder passes made.

    Args:
        folder: with weights, and exported graphs.
        graphs: those; else the weights, and CRNN where its weights lie beside.
    """
    if graphs:
        exported = load_directory(folder / INT8)
        return {f"{name}, {INT8}": partial(_read, exported, images, name) for name in GRAPHS}
    recognizer = load_recognizer(folder)
    there = [name for name in EAGER if name in recognizer.decode_functions()]
    found: dict[str, Callable[[], int]] = {name: partial(_read, recognizer, images, name) for name in there}
    if crnn.is_learned(beside := folder.parent / crnn.NAME):
        found[crnn.NAME] = partial(_read, crnn.Reader(beside), images, crnn.NAME)
    return found


def _read(reader: Any, images: torch.Tensor, strategy: str) -> int:
    decoded = reader.decode(images, strategy)
    _ = decoded.confidences  # which may not be computed before it is asked for
    passes: int = decoded.passes
    return passes


def measure(folder: Path, table: str, counts: Mapping[int, int], graphs: bool, store: Store, restart: int) -> None:
    """Time every strategy: seconds from images to text, confidence included. The images are test strings of
    `TASK_LENGTH` digits on a grid, others in every restart. A sample is one batch size.

    Args:
        counts: how often each batch size is read; of the smallest count are the rounds.
        graphs: see `works`.
    """
    held_out, works_of = held_out_digits(), {}
    for batch in counts:
        strings = level_strings(held_out, "grid", TASK_LENGTH, (restart + 1) * batch)
        images = torch.stack([strings[i][0] for i in range(restart * batch, (restart + 1) * batch)])
        works_of[batch] = works(folder, images, graphs)
    rounds = min(counts.values())

    def sample(batch: int, shuffle: random.Random) -> Iterator[dict[str, Any]]:
        with torch.inference_mode():
            for _ in range(counts[batch] // rounds):
                for row in clock_each(works_of[batch], shuffle):
                    yield {"batch": batch, **row}

    measure_rounds(store, table, Rounds(rounds=rounds), [*counts], sample, Silent(), restart)
