"""The same heads through other runtimes: what is timed and what reads the accuracy strings, from pixels to text."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from bench.plan import HEADS, TASK_LENGTH, Cell, Plan
from bench.rounds import measure_rounds, readings, rounds_left, task_strings
from bench.store import Store
from bench.subjects import bind, clock
from seqocr.checkpoints import SHIPPED, load_recognizer
from seqocr import environment
from seqocr.models.base import Decoded, Variant
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter

REST = 0.01  # seconds before another reader is timed

_TO_EXPORT = ("onnx", "onnxscript", "onnxruntime")
# What each needs beyond torch.
_PACKAGES: dict[str, tuple[str, ...]] = {
    "eager": (),
    "eager-bfloat16": (),
    "compile": (),
    "onnxruntime": _TO_EXPORT,
    "onnxruntime-int8": _TO_EXPORT,
    "openvino": (*_TO_EXPORT, "openvino"),
}


@dataclass(frozen=True)
class Prepared:
    """A recognizer in one runtime.

    Attributes:
        encoder: pixel_values (B, 3, H, W) to features, in whatever form the runtime has them.
        heads: pixel_values to `Decoded`, encoder included, by variant.
    """

    encoder: Callable[[torch.Tensor], Any]
    heads: dict[str, Variant]


def missing(runtime: str) -> str:
    """Why a runtime cannot be had here; empty if it can."""
    absent = [name for name in _PACKAGES[runtime] if find_spec(name) is None]
    if absent:
        return f"{absent[0]} is not installed"
    if runtime == "compile" and shutil.which("g++") is None and shutil.which("clang++") is None:
        return "no C++ compiler"
    if runtime == "eager-bfloat16" and not environment.multiplies_bfloat16():
        return "the processor has no instructions for bfloat16"
    return ""


def prepare(runtime: str, recognizer: Recognizer, folder: Path) -> Prepared:
    """Load a recognizer into a runtime.

    Args:
        folder: where graphs are written; those found there are taken as this recognizer's.
    """
    if runtime.startswith("eager"):
        return _eager(recognizer, bfloat16=runtime.endswith("bfloat16"))
    if runtime == "compile":
        return _compiled(recognizer)
    return _exported(runtime, recognizer, folder)


def _eager(recognizer: Recognizer, bfloat16: bool) -> Prepared:
    variants = recognizer.variants()

    def encode(pixel_values: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return recognizer.encoder(pixel_values)

    def whole(decode: Variant, pixel_values: torch.Tensor, length: int | None = None) -> Decoded:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return decode(recognizer.encoder(pixel_values), length=length)

    return Prepared(encode, {name: partial(whole, variants[name]) for name in ("ar-generate", *HEADS)})


def _compiled(recognizer: Recognizer) -> Prepared:
    from seqocr.runtimes.compiled import compiled_variants

    return Prepared(torch.inference_mode()(torch.compile(recognizer.encoder)), compiled_variants(recognizer))


def _exported(runtime: str, recognizer: Recognizer, folder: Path) -> Prepared:
    from seqocr.runtimes.export import OfPixels, export, quantise_exported, write_graph
    from seqocr.runtimes.exported import ExportedRecognizer, SharedOut, load_session, shares_out

    engine, _, precision = runtime.partition("-")
    graphs = folder / "float32"
    if not (graphs / "config.json").exists():
        write_graph(OfPixels(recognizer, ["features"]), graphs / "encoder.onnx")
        export(recognizer, graphs)
    if precision and not (folder / precision / "config.json").exists():
        quantise_exported(graphs, folder / precision)
    graphs = folder / (precision or "float32")
    threads = torch.get_num_threads()

    def encoder(threads: int) -> Callable[[torch.Tensor], Any]:
        session = load_session(graphs / "encoder.onnx", engine, threads)
        return lambda pixel_values: session({"pixel_values": session.value(pixel_values.numpy())})

    encode = encoder(threads)
    if shares_out(engine, threads):
        encode = SharedOut(encode, lambda: encoder(1), threads)
    return Prepared(encode, ExportedRecognizer(graphs, engine, threads).variants())


def measure_agreement(plan: Plan, store: Store, weights: Path | None) -> None:
    """Read the strings of `measure_accuracy` through every runtime that is there."""
    strings = task_strings(plan.strings)
    images, texts = strings.batch(range(len(strings)))
    recognizer = load_recognizer(weights or SHIPPED)
    pixel_values = recognizer.processor(images)
    not_run = {runtime: why for runtime in plan.runtimes if (why := missing(runtime))}
    rows: list[pd.DataFrame] = []
    with TemporaryDirectory() as folder:
        for runtime in [name for name in plan.runtimes if name not in not_run]:
            prepared = prepare(runtime, recognizer, Path(folder))
            for head in HEADS:
                rows.append(
                    readings(partial(_texts, prepared.heads[head]), pixel_values, texts, runtime=runtime, head=head)
                )
    store.write_facts({**store.facts(), "runtimes_not_run": not_run})
    store.write("runtime-predictions", pd.concat(rows, ignore_index=True))


def _texts(decode: Variant, pixel_values: torch.Tensor) -> list[str]:
    return decode(pixel_values).texts


def measure_runtimes(cell: Cell, store: Store, device: torch.device, reporter: Reporter) -> None:
    """Time every runtime of a cell, from pixels to text, in interleaved rounds.

    In each round, in random order and for every runtime: the encoder alone and each head at `TASK_LENGTH`, at batch 1
    and the cell's, and at batch 1 the autoregressive head at every length of the cell, `ar-generate` in eager mode
    with it.
    """
    if not rounds_left(store, cell):
        return
    bound = bind(cell.subject, (TASK_LENGTH, *cell.points), device)[TASK_LENGTH]
    inputs = {batch: bound.pixel_values(batch) for batch in (1, cell.batch)}
    present = [runtime for runtime in cell.runtimes if not missing(runtime)]
    with TemporaryDirectory() as folder:
        prepared = {runtime: prepare(runtime, bound.recognizer, Path(folder)) for runtime in present}
        calls = [(runtime, *call) for runtime in present for call in _runtime_calls(runtime, cell)]

        def one_round(shuffle: random.Random) -> Iterator[dict[str, Any]]:
            for runtime, variant, length, batch in shuffle.sample(calls, len(calls)):
                work: Callable[[], Any] = (
                    partial(prepared[runtime].encoder, inputs[batch])
                    if variant == "encoder"
                    else partial(prepared[runtime].heads[variant], inputs[batch], length=length)
                )
                # Another runtime's threads may still be spinning on the cores: they are given time to sleep, and an
                # untimed call wakes this one's.
                time.sleep(REST)
                work()
                for repeat in range(cell.repeats):
                    result, seconds = clock(work, device)
                    facts = {"runtime": runtime, "variant": variant, "length": length, "batch": batch}
                    yield {**facts, "repeat": repeat, "seconds": seconds, "passes": getattr(result, "passes", 0)}

        measure_rounds(cell, store, reporter, one_round)


def _runtime_calls(runtime: str, cell: Cell) -> list[tuple[str, int, int]]:
    """(variant, length, batch) of everything that a round times in a runtime."""
    calls = [(variant, TASK_LENGTH, batch) for variant in ("encoder", *HEADS) for batch in (1, cell.batch)]
    calls += [("ar", length, 1) for length in cell.points if length != TASK_LENGTH]
    if runtime == "eager":
        calls += [("ar-generate", length, 1) for length in cell.points]
    return calls
