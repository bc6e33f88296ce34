"""Regression gates that hold on any machine: exact passes, exact FLOPs, disagreements of other runtimes with eager
mode, and ratios measured in one run: of decoding to the encoder, and of the longest string to the shortest.

The baseline is committed (`tests/bench/baseline.json`) with the digests of the heads that it describes;
`python -m bench baseline` writes it anew after an intended change. No gate knows an absolute time.
"""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from bench import backends
from bench.core import strategies
from bench.core.timer import clock
from bench.workloads.counting import costs
from bench.workloads.timed_models import LENGTHS as SHOWN
from bench.workloads.timed_models import SMALL_NATIVE, TASK_LENGTH, TINY, TimedModel, bind
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError
from seqocr.files import write_json
from seqocr.inference.shipped import SHIPPED
from seqocr.models.checkpoint import load_recognizer

BASELINE = Path(__file__).parent.parent / "tests" / "bench" / "regression" / "baseline.json"
LENGTHS = (1, 5, 20)
# How far a ratio to the encoder may rise above the baseline's; tests/bench/README.md has the runs that justify it.
TOLERANCE = 1.75
# Decoding the longest string over the shortest, for heads that need one pass: what a head that does more for a longer
# text goes beyond, and noise does not.
FLATNESS = 1.7
# Runtimes that the project's own set-up installs, with the shipped weights on validation strings.
RUNTIMES = ("onnxruntime", "onnxruntime-int8")
_STRINGS = 300
# Strings more than the baseline's that a runtime may read otherwise: processors without 8-bit dot products round
# differently from those that have them.
MORE_DISAGREEMENTS = 3
_ROUNDS = 40
_WARMUP = 3
_BASELINE_RUNS = 5  # a single run's ratios scatter, see there


def counts() -> dict[str, Any]:
    """Exact passes and FLOPs of every strategy of `tiny` at each of `LENGTHS`."""
    bound = bind(TINY, LENGTHS, torch.device("cpu"))
    rows = [row for length in LENGTHS for row in costs(bound[length], memory=False)]
    # FLOPs of a library's own loop change with its version; its passes do not.
    return {
        "passes": {f"{row['strategy']}, n = {row['length']}": row["passes"] for row in rows},
        "flops": {
            f"{r['strategy']}, n = {r['length']}": r["flops"]
            for r in rows
            if r["strategy"] not in strategies.FOREIGN_FLOPS
        },
    }


def through_runtimes() -> dict[str, Any]:
    """Passes of every head in `RUNTIMES`, and how many strings it reads otherwise than in eager mode."""
    strings = SequenceMNIST(embedded_digits(), TASK_LENGTH, count=_STRINGS)
    recognizer = load_recognizer(SHIPPED)
    pixel_values = recognizer.processor(strings.batch(range(_STRINGS))[0])
    eager = backends.prepare("eager", recognizer, Path()).strategies
    found: dict[str, Any] = {"runtime_passes": {}, "disagreements": {}}
    with TemporaryDirectory() as folder:
        for runtime in RUNTIMES:
            heads = backends.prepare(runtime, recognizer, Path(folder)).strategies
            for name in strategies.heads():
                read, expected = heads[name](pixel_values), eager[name](pixel_values)
                if name not in strategies.speculative():  # whose passes depend on the draft, which rounding changes
                    found["runtime_passes"][f"{runtime}, {name}"] = read.passes
                differ = sum(a != b for a, b in zip(read.texts, expected.texts, strict=True))
                found["disagreements"][f"{runtime}, {name}"] = differ
    return found


def timed_ratios(rounds: int = _ROUNDS) -> dict[str, dict[str, float]]:
    """Medians over interleaved rounds at batch 1: `encoder`, decoding of `TASK_LENGTH` symbols over the encoder's time;
    `flatness`, decoding of the most symbols over the fewest, of heads that need one pass.

    The latter is measured on `small`: on `tiny`, decoding takes so little that a thread that wakes late doubles it.
    """
    short, long = min(SHOWN), max(SHOWN)
    flat = _timed(SMALL_NATIVE, (short, long), strategies.one_pass(), rounds)
    return {
        "encoder": _over_encoder(rounds),
        "flatness": {name: _median(flat[name, long][1] / flat[name, short][1]) for name in strategies.one_pass()},
    }


def _over_encoder(rounds: int = _ROUNDS) -> dict[str, float]:
    over = _timed(TINY, (TASK_LENGTH,), strategies.heads(), rounds)
    return {name: _median(over[name, TASK_LENGTH][1] / over[name, TASK_LENGTH][0]) for name in strategies.heads()}


def _median(ratios: np.ndarray) -> float:
    return float(np.median(ratios))


def _timed(
    subject: TimedModel, lengths: tuple[int, ...], heads: tuple[str, ...], rounds: int
) -> dict[tuple[str, int], np.ndarray]:
    """(2, rounds) seconds by head and length: of an encoder run, and of the decoding that follows it, as in use."""
    bound, device = bind(subject, lengths, torch.device("cpu")), torch.device("cpu")
    found: dict[tuple[str, int], list[list[float]]] = {key: [] for key in itertools.product(heads, lengths)}
    with torch.inference_mode():
        for _ in range(rounds + _WARMUP):
            for (name, n), seconds in found.items():
                features, encode = clock(partial(bound[n].recognizer.encoder, bound[n].pixel_values(1)), device)
                _, decode = clock(partial(bound[n].decode_functions()[name], features, length=n), device)
                seconds.append([encode["seconds"], decode["seconds"]])
    return {key: np.array(seconds)[-rounds:].T for key, seconds in found.items()}


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
    runs = [_over_encoder() for _ in range(_BASELINE_RUNS)]
    exact = {**counts(), **through_runtimes()}
    write_json(
        path, {**exact, "ratios": {name: float(np.median([run[name] for run in runs])) for name in strategies.heads()}}
    )


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


def grown_with_length(found: dict[str, float], limit: float = FLATNESS) -> list[str]:
    """One line for every head that needs one pass and yet takes longer for a longer string."""
    return [
        f"{name} decodes {max(SHOWN)} symbols in {ratio:.2f} times the time of {min(SHOWN)} (limit {limit})"
        for name, ratio in found.items()
        if ratio > limit
    ]


def risen_ratios(found: dict[str, float], baseline: dict[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """One line for every strategy whose cost over the encoder's has risen beyond the tolerance."""
    return [
        f"{name} decodes in {ratio:.3f} of the encoder's time, "
        f"baseline {baseline['ratios'][name]:.3f} (tolerance {tolerance}×)"
        for name, ratio in found.items()
        if ratio > baseline["ratios"][name] * tolerance
    ]
