"""Runs a plan: what has been measured is saved after every round and not measured again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import psutil
import torch
from PIL import Image

from bench import load, runtimes
from bench.plan import ACCURACY_VARIANTS, HEADS, RUNTIME_BATCH, TASK_LENGTH, Cell, Plan
from bench.store import Store, now
from bench.subjects import Bound, bind, clock, costs
from seqocr import evaluation
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import load_digits_or_validation
from seqocr.files import replacing
from seqocr.models.recognizer import SHIPPED, Recognizer
from seqocr.progress import Reporter, progress

_SAMPLES = 8  # strings shown in the report whatever their readings; mistakes come on top
_MISTAKES = 12
_BATCH = 100  # strings read at once
_REST = 0.01  # seconds


def run(plan: Plan, store: Store, device: torch.device, weights: Path | None = None) -> None:
    """Measure what is still missing of `plan`."""
    steps: list[tuple[str, Callable[[Reporter], None]]] = []
    if not store.has("predictions"):
        steps.append(("accuracy", lambda _: measure_accuracy(plan, store, device, weights)))
    if not store.has("costs"):
        steps.append(("costs", lambda _: measure_costs(plan, store, device)))
    if plan.runtimes and device.type == "cpu" and not store.has("runtime-predictions"):
        steps.append(("runtimes", lambda _: measure_agreement(plan, store, weights)))
    timed = [c for c in plan.cells if c.kind != "load" and (device.type == "cpu" or c.kind != "runtimes")]
    loads = [c for c in plan.cells if c.kind == "load" and device.type == "cpu" and not load.missing()]
    total = len(steps) + sum(c.rounds + c.warmup for c in timed) + sum(len(load.combinations(c)) for c in loads)
    done = sum(_rounds_done(store, cell) for cell in timed) + sum(load.measured(store, cell) for cell in loads)
    with progress(f"bench {plan.preset}", total, done) as reporter:
        for name, step in steps:
            step(reporter)
            reporter.advance(name)
        for cell in timed:
            measure = measure_runtimes if cell.kind == "runtimes" else measure_cell
            measure(cell, store, device, reporter)
        for cell in loads:
            load.measure_load(cell, store, weights, reporter)
    facts = store.facts()
    if facts["finished"] is None:
        store.write_facts({**facts, "finished": now()})


def measure_accuracy(plan: Plan, store: Store, device: torch.device, weights: Path | None) -> None:
    """Read the same held-out strings with every variant, and keep readings, sample images and their origin."""
    strings = _task_strings(plan)
    digits = strings.digits
    recognizer = Recognizer.load(weights or SHIPPED).to(device)
    predictions = evaluation.predict(recognizer, strings, ACCURACY_VARIANTS)
    chosen = _samples(predictions)
    lines, _ = strings.batch(chosen)
    with replacing(store.path("samples.png")) as temporary:
        Image.fromarray(torch.cat(list(lines)).numpy()).save(temporary)
    store.write("samples", pd.DataFrame({"index": chosen}))
    store.write_facts(
        {
            **store.facts(),
            "accuracy": {
                "source": digits.source,
                "split": digits.split,
                "strings": len(strings),
                "length": TASK_LENGTH,
                "charset": recognizer.charset,
                "weights": str(weights) if weights else "shipped",
                "provenance": recognizer.provenance,
            },
        }
    )
    store.write("predictions", predictions)  # last: its presence says that this step is done


def _task_strings(plan: Plan) -> SequenceMNIST:
    """The held-out strings that a plan reads for accuracy."""
    digits = load_digits_or_validation("test")
    return SequenceMNIST(digits, TASK_LENGTH, count=min(plan.strings, len(digits) // TASK_LENGTH))


def measure_agreement(plan: Plan, store: Store, weights: Path | None) -> None:
    """Read the strings of `measure_accuracy` through every runtime that is there."""
    strings = _task_strings(plan)
    images, texts = strings.batch(range(len(strings)))
    recognizer = Recognizer.load(weights or SHIPPED)
    pixel_values = recognizer.processor(images)
    not_run = {runtime: why for runtime in plan.runtimes if (why := runtimes.missing(runtime))}
    rows: list[pd.DataFrame] = []
    with TemporaryDirectory() as folder:
        for runtime in plan.runtimes:
            if runtime in not_run:
                continue
            prepared = runtimes.prepare(runtime, recognizer, Path(folder))
            for head in HEADS:
                parts = [prepared.heads[head](part).texts for part in pixel_values.split(_BATCH)]
                read = [text for part in parts for text in part]
                table = {
                    "index": range(len(strings)),
                    "runtime": runtime,
                    "head": head,
                    "text": texts,
                    "prediction": read,
                }
                rows.append(pd.DataFrame(table))
    store.write_facts({**store.facts(), "runtimes_not_run": not_run})
    store.write("runtime-predictions", pd.concat(rows, ignore_index=True))


def _samples(predictions: pd.DataFrame) -> list[int]:
    """The first strings, then those read wrong by most variants and with most confidence."""
    wrong = predictions[predictions["prediction"] != predictions["text"]]
    worst = wrong.groupby("index").agg(heads=("head", "size"), confidence=("confidence", "mean"))
    order = worst.sort_values(["heads", "confidence"], ascending=False).index.tolist()
    first = list(range(min(_SAMPLES, predictions["index"].nunique())))
    return first + [index for index in order if index not in first][:_MISTAKES]


def measure_costs(plan: Plan, store: Store, device: torch.device) -> None:
    """Parameters, FLOPs, passes and peak memory of every subject at every length."""
    rows: list[dict[str, Any]] = []
    for subject in plan.subjects:
        lengths = tuple(sorted({n for c in plan.cells if c.subject == subject for n in _lengths(c)}))
        for bound in bind(subject, lengths, device).values():
            rows += [{"subject": subject.name, **row} for row in costs(bound)]
    store.write("costs", pd.DataFrame(rows))


def _lengths(cell: Cell) -> tuple[int, ...]:
    return cell.points if cell.kind == "latency" else (TASK_LENGTH,)


def _rounds_done(store: Store, cell: Cell) -> int:
    return int(store.read(cell.name)["round"].max()) + 1 if store.has(cell.name) else 0


def _round_facts(cell: Cell, number: int) -> dict[str, Any]:
    """What all rows of a round have in common."""
    return {
        "subject": cell.subject.name,
        "kind": cell.kind,
        "round": number,
        "warmup": number < cell.warmup,
        "load": round(psutil.getloadavg()[0], 2),
    }


def measure_cell(cell: Cell, store: Store, device: torch.device, reporter: Reporter) -> None:
    """Time a cell in interleaved rounds.

    A round visits every point (length or batch size) in random order. At each, the encoder is timed, then every
    variant's decode, in random order, on the features it gave; so drift of the machine hits all alike, and what is
    compared are ratios within a round. At `TASK_LENGTH` each variant is also timed from pixels to text in one go, in
    turn with the encoder alone, as a check that the sum of the two phases is what a user waits for.
    """
    done, total = _rounds_done(store, cell), cell.rounds + cell.warmup
    if done >= total:
        return
    rows: list[dict[str, Any]] = store.read(cell.name).to_dict("records") if done else []
    bound = bind(cell.subject, _lengths(cell), device)
    points = {p: (bound[p], 1) if cell.kind == "latency" else (bound[TASK_LENGTH], p) for p in cell.points}
    inputs = {p: b.pixel_values(batch) for p, (b, batch) in points.items()}
    for number in range(done, total):
        shuffle = random.Random(number)
        facts = _round_facts(cell, number)
        for point in shuffle.sample(cell.points, len(cell.points)):
            b, batch = points[point]
            for row in _visit(b, inputs[point], cell.repeats, shuffle):
                rows.append({**facts, "length": b.length, "batch": batch, **row})
        store.write(cell.name, pd.DataFrame(rows))
        reporter.advance(cell.name)


def _visit(bound: Bound, pixel_values: torch.Tensor, repeats: int, shuffle: random.Random) -> list[dict[str, Any]]:
    encoder, variants, length = bound.recognizer.encoder, bound.variants(), bound.length
    rows: list[dict[str, Any]] = []

    def timed(variant: str, phase: str, repeat: int, work: Callable[[], Any]) -> Any:
        result, seconds = clock(work, bound.device)
        passes = getattr(result, "passes", 0)
        rows.append({"variant": variant, "phase": phase, "repeat": repeat, "seconds": seconds, "passes": passes})
        return result

    def whole(name: str) -> Any:
        features = encoder(pixel_values)
        return variants[name](features, length=length) if name in variants else features

    with torch.inference_mode():
        for repeat in range(repeats):
            features = timed("encoder", "encode", repeat, partial(encoder, pixel_values))
            for name in shuffle.sample(list(variants), len(variants)):
                timed(name, "decode", repeat, partial(variants[name], features, length=length))
        if length == TASK_LENGTH and len(pixel_values) == 1:
            for repeat in range(repeats):
                for name in shuffle.sample(["encoder", *variants], len(variants) + 1):
                    timed(name, "whole", repeat, partial(whole, name))
    return rows


def measure_runtimes(cell: Cell, store: Store, device: torch.device, reporter: Reporter) -> None:
    """Time every runtime of a cell, from pixels to text, in interleaved rounds.

    In each round, in random order and for every runtime: the encoder alone and each head at `TASK_LENGTH`, at batch 1
    and `RUNTIME_BATCH`, and at batch 1 the autoregressive head at every length of the cell, `ar-generate` in eager mode
    with it.
    """
    done, total = _rounds_done(store, cell), cell.rounds + cell.warmup
    if done >= total:
        return
    rows: list[dict[str, Any]] = store.read(cell.name).to_dict("records") if done else []
    bound = bind(cell.subject, (TASK_LENGTH, *cell.points), device)[TASK_LENGTH]
    inputs = {batch: bound.pixel_values(batch) for batch in (1, RUNTIME_BATCH)}
    present = [runtime for runtime in cell.runtimes if not runtimes.missing(runtime)]
    with TemporaryDirectory() as folder:
        prepared = {runtime: runtimes.prepare(runtime, bound.recognizer, Path(folder)) for runtime in present}
        calls = [(runtime, *call) for runtime in present for call in _runtime_calls(runtime, cell.points)]
        for number in range(done, total):
            shuffle = random.Random(number)
            facts = _round_facts(cell, number)
            for runtime, variant, length, batch in shuffle.sample(calls, len(calls)):
                work: Callable[[], Any] = (
                    partial(prepared[runtime].encoder, inputs[batch])
                    if variant == "encoder"
                    else partial(prepared[runtime].heads[variant], inputs[batch], length=length)
                )
                # Another runtime's threads may still be spinning on the cores: they are given time to sleep, and an
                # untimed call wakes this one's.
                time.sleep(_REST)
                work()
                for repeat in range(cell.repeats):
                    result, seconds = clock(work, device)
                    facts_of_call = {"runtime": runtime, "variant": variant, "length": length, "batch": batch}
                    passes = getattr(result, "passes", 0)
                    rows.append({**facts, **facts_of_call, "repeat": repeat, "seconds": seconds, "passes": passes})
            store.write(cell.name, pd.DataFrame(rows))
            reporter.advance(cell.name)


def _runtime_calls(runtime: str, lengths: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """(variant, length, batch) of everything that a round times in a runtime."""
    calls = [(variant, TASK_LENGTH, batch) for variant in ("encoder", *HEADS) for batch in (1, RUNTIME_BATCH)]
    calls += [("ar", length, 1) for length in lengths if length != TASK_LENGTH]
    if runtime == "eager":
        calls += [("ar-generate", length, 1) for length in lengths]
    return calls
