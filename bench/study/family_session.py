"""One restart of the family's timing: a process of its own, whose rows go to standard output as JSON."""

import json
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.study import crnn
from bench.workloads.held_out import held_out_digits, level_strings
from bench.workloads.restarts import print_rounds
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.inference.load import load
from seqocr.models.checkpoint import load_recognizer

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


def works(folder: Path, images: torch.Tensor) -> dict[str, Callable[[], int]]:
    """What reads images, by strategy, and returns the decoder passes made; graphs where they are exported, and CRNN
    where its weights lie beside."""
    recognizer = load_recognizer(folder)
    there = tuple(name for name in EAGER if name in recognizer.decode_functions())
    readers: list[tuple[Any, str, tuple[str, ...]]] = [(recognizer, "", there)]
    if (folder / INT8).exists():
        readers.append((load(folder / INT8), f", {INT8}", GRAPHS))
    if crnn.is_learned(beside := folder.parent / crnn.NAME):
        readers.append((crnn.Reader(beside), "", (crnn.NAME,)))
    return {
        f"{name}{ending}": partial(_read, reader, images, name) for reader, ending, names in readers for name in names
    }


def _read(reader: Any, images: torch.Tensor, strategy: str) -> int:
    decoded = reader.decode(images, strategy)
    _ = decoded.confidences  # which may not be computed before it is asked for
    passes: int = decoded.passes
    return passes


def main(folder: Path, rounds: dict[int, int], seed: int) -> None:
    """Print one row per strategy, batch and round: seconds from images to text, confidence included. The images are
    test strings of `TASK_LENGTH` digits on a grid, others in every restart.

    Args:
        rounds: by batch size.
    """
    shuffle = random.Random(seed)
    for batch, count in rounds.items():
        strings = level_strings(held_out_digits(), "grid", TASK_LENGTH, (seed + 1) * batch)
        images = torch.stack([strings[i][0] for i in range(seed * batch, (seed + 1) * batch)])
        with torch.inference_mode():
            print_rounds(works(folder, images), batch, count, shuffle)


if __name__ == "__main__":
    main(Path(sys.argv[1]), {int(batch): count for batch, count in json.loads(sys.argv[2]).items()}, int(sys.argv[3]))
