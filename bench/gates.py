"""Regression gates that hold on any machine: exact passes, exact FLOPs, disagreements of other runtimes with eager
mode, and ratios measured in one run.

The baseline is committed (`tests/bench/baseline.json`); `python -m bench baseline` writes it anew after an intended
change. No gate knows an absolute time.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from bench import runtimes
from bench.plan import HEADS, TASK_LENGTH, TINY
from bench.subjects import Bound, bind, clock, costs
from seqocr.checkpoints import SHIPPED, load_recognizer
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import embedded_digits
from seqocr.errors import InputError
from seqocr.files import write_json
from seqocr.models.recognizer import Recognizer

BASELINE = Path(__file__).parent.parent / "tests" / "bench" / "baseline.json"
LENGTHS = (1, 5, 20)
# FLOPs of `ar-generate` are transformers' own and change with its version; its passes do not.
FLOPS_OF = ("encoder", "ar", "ar-nocache", "parallel", "ctc")
# How far a ratio to the encoder may rise above the baseline's; tests/bench/README.md has the runs that justify it.
TOLERANCE = 1.75
# Runtimes that the project's own set-up installs, with the shipped weights on validation strings.
RUNTIMES = ("onnxruntime", "onnxruntime-int8")
_STRINGS = 300
# Strings more than the baseline's that a runtime may read otherwise: processors without 8-bit dot products round
# differently from those that have them.
MORE_DISAGREEMENTS = 3
_ROUNDS = 40
_BASELINE_RUNS = 5  # a single run's ratios scatter, see there


def counts() -> dict[str, Any]:
    """Exact passes and FLOPs of every variant of `tiny` at each of `LENGTHS`."""
    bound = bind(TINY, LENGTHS, torch.device("cpu"))
    rows = [row for length in LENGTHS for row in costs(bound[length], memory=False)]
    return {
        "passes": {f"{row['variant']}, n = {row['length']}": row["passes"] for row in rows},
        "flops": {f"{row['variant']}, n = {row['length']}": row["flops"] for row in rows if row["variant"] in FLOPS_OF},
    }


def through_runtimes() -> dict[str, Any]:
    """Passes of every head in `RUNTIMES`, and how many strings it reads otherwise than in eager mode."""
    strings = SequenceMNIST(embedded_digits(), TASK_LENGTH, count=_STRINGS)
    recognizer = load_recognizer(SHIPPED)
    pixel_values = recognizer.processor(strings.batch(range(_STRINGS))[0])
    eager = runtimes.prepare("eager", recognizer, Path()).heads
    found: dict[str, Any] = {"runtime_passes": {}, "disagreements": {}}
    with TemporaryDirectory() as folder:
        for runtime in RUNTIMES:
            heads = runtimes.prepare(runtime, recognizer, Path(folder)).heads
            for name in HEADS:
                read, expected = heads[name](pixel_values), eager[name](pixel_values)
                found["runtime_passes"][f"{runtime}, {name}"] = read.passes
                differ = sum(a != b for a, b in zip(read.texts, expected.texts, strict=True))
                found["disagreements"][f"{runtime}, {name}"] = differ
    return found


def ratios(rounds: int = _ROUNDS) -> dict[str, float]:
    """Decode time over the encoder's, batch 1 and `TASK_LENGTH` symbols: median over interleaved rounds."""
    bound: Bound = bind(TINY, (TASK_LENGTH,), torch.device("cpu"))[TASK_LENGTH]
    variants, pixel_values = bound.variants(), bound.pixel_values(1)
    encoder = bound.recognizer.encoder
    found: dict[str, list[float]] = {name: [] for name in HEADS}
    with torch.inference_mode():
        for number in range(rounds + 3):
            features, encode = clock(partial(encoder, pixel_values), bound.device)
            for name in HEADS:
                _, decode = clock(partial(variants[name], features, length=TASK_LENGTH), bound.device)
                if number >= 3:  # the first rounds warm up
                    found[name].append(decode / encode)
    return {name: float(np.median(values)) for name, values in found.items()}


def read_baseline(path: Path = BASELINE) -> dict[str, Any]:
    """The committed baseline.

    Raises:
        InputError: it is missing or corrupt.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): restore it from git, or run `python -m bench baseline`"
        ) from error


def write_baseline(path: Path = BASELINE) -> None:
    runs = [ratios() for _ in range(_BASELINE_RUNS)]
    exact = {**counts(), **through_runtimes()}
    write_json(path, {**exact, "ratios": {name: float(np.median([run[name] for run in runs])) for name in HEADS}})


def changed_counts(found: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """One line for every passes or FLOPs count, of those found, that is not the baseline's."""
    lines = []
    for kind in found.keys() & {"passes", "flops", "runtime_passes"}:
        for name in sorted(found[kind].keys() | baseline[kind].keys()):
            now, before = found[kind].get(name), baseline[kind].get(name)
            if now != before:
                lines.append(f"{kind} of {name}: {now}, baseline {before}")
    return lines


def risen_disagreements(found: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """One line for every runtime and head that reads more strings otherwise than eager mode does than it used to."""
    return [
        f"{name} reads {now} of {_STRINGS} strings otherwise than eager mode, "
        f"baseline {baseline['disagreements'][name]}"
        for name, now in found["disagreements"].items()
        if now > baseline["disagreements"][name] + MORE_DISAGREEMENTS
    ]


def risen_ratios(found: dict[str, float], baseline: dict[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """One line for every variant whose cost over the encoder's has risen beyond the tolerance."""
    return [
        f"{name} decodes in {ratio:.3f} of the encoder's time, "
        f"baseline {baseline['ratios'][name]:.3f} (tolerance {tolerance}×)"
        for name, ratio in found.items()
        if ratio > baseline["ratios"][name] * tolerance
    ]
