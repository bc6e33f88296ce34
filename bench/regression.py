"""What the regression checks compare with their baseline, on any machine: exact passes, exact FLOPs, disagreements of
other runtimes with eager mode, and ratios measured in one run: of decoding to the encoder, of the longest string to the
shortest, and of the paths to a prediction to what is done on them. No absolute time is compared.

The baseline is committed; `python -m bench baseline` writes it anew after an intended change.
"""

import itertools
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
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
# Runtimes that the project's own set-up installs, with the shipped weights on validation strings.
RUNTIMES = ("onnxruntime", "onnxruntime-int8")
STRINGS = 300
_ROUNDS = 40
_WARMUP = 3
_BASELINE_RUNS = 5  # a single run's ratios scatter: see README.md beside the baseline


def counts() -> dict[str, Any]:
    """Exact passes and FLOPs of every strategy of `tiny` at each of `LENGTHS`."""
    bound = bind(TINY, LENGTHS, torch.device("cpu"))
    rows = [row for length in LENGTHS for row in costs(bound[length], memory=False)]
    # FLOPs of a library's own loop change with its version; its passes do not.
    named = {f"{row['strategy']}, n = {row['length']}": row for row in rows}
    known = {name: row["flops"] for name, row in named.items() if row["strategy"] not in strategies.FOREIGN_FLOPS}
    return {"passes": {name: row["passes"] for name, row in named.items()}, "flops": known}


def through_runtimes() -> dict[str, Any]:
    """Passes of every head in `RUNTIMES`, and how many strings it reads otherwise than in eager mode."""
    strings = SequenceMNIST(embedded_digits(), TASK_LENGTH, count=STRINGS)
    recognizer = load_recognizer(SHIPPED)
    pixel_values = recognizer.processor(strings.batch(range(STRINGS))[0])
    eager = backends.prepare("eager", recognizer, Path()).strategies
    found: dict[str, Any] = {"runtime_passes": {}, "disagreements": {}}
    with TemporaryDirectory() as folder:
        for runtime in RUNTIMES:
            heads = backends.prepare(runtime, recognizer, Path(folder)).strategies
            for name in (name for name in strategies.heads() if name in eager):
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
    names, short, long = strategies.one_pass(), min(SHOWN), max(SHOWN)
    flat = _timed(SMALL_NATIVE, (short, long), names, rounds)
    flatness = {name: float(np.median(flat[name, long][1] / flat[name, short][1])) for name in names}
    return {"encoder": _over_encoder(rounds), "flatness": flatness}


def path_ratios(runs: int = 3) -> dict[str, float]:
    """See `bench.workloads.reading_paths`: the smallest of some runs, since whatever else the machine does holds up a
    request, which changes threads four times, more than it does the library.

    Raises:
        InputError: the extra "serve" is not installed.
    """
    if find_spec("fastapi") is None:
        raise InputError("fastapi is not installed: pip install -c constraints.txt -e '.[serve]'")
    from bench.workloads.reading_paths import ratios

    found = [ratios(_ROUNDS, _WARMUP) for _ in range(runs)]
    return {name: min(run[name] for run in found) for name in found[0]}


def _over_encoder(rounds: int = _ROUNDS) -> dict[str, float]:
    over = _timed(TINY, (TASK_LENGTH,), strategies.heads(), rounds)
    return {name: float(np.median(decode / encode)) for (name, _), (encode, decode) in over.items()}


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


def write_baseline() -> None:
    timed = {"ratios": _repeated(_over_encoder), "paths": _repeated(path_ratios)}
    write_json(BASELINE, {**counts(), **through_runtimes(), **timed})


def _repeated(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Medians over runs."""
    runs = [measure() for _ in range(_BASELINE_RUNS)]
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
