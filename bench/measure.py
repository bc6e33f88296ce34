"""Runs a plan: what has been measured is saved after every round and not measured again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image

from bench import depth, load, peers, runtimes
from bench.plan import ACCURACY_VARIANTS, TASK_LENGTH, Cell, Plan
from bench.rounds import measure_rounds, rounds_done, rounds_left, task_strings
from bench.store import Store, now
from bench.subjects import Bound, bind, clock, costs, machine_rates
from seqocr.checkpoints import SHIPPED, load_recognizer
from seqocr import evaluation
from seqocr.files import replacing
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter, progress

_SAMPLES = 8  # strings shown in the report whatever their readings; mistakes come on top
_MISTAKES = 12
_PEAK_TRIES = 20


def run(plan: Plan, store: Store, device: torch.device, weights: Path | None = None) -> None:
    """Measure what is still missing of `plan`."""
    steps: list[tuple[str, Callable[[Reporter], None]]] = []
    if not store.has("predictions"):
        steps.append(("accuracy", lambda _: measure_accuracy(plan, store, device, weights)))
    if not store.has("costs"):
        steps.append(("costs", lambda _: measure_costs(plan, store, device)))
    if not store.has("rates"):
        steps.append(("rates", lambda _: measure_rates(store, device)))
    if plan.runtimes and device.type == "cpu" and not store.has("runtime-predictions"):
        steps.append(("runtimes", lambda _: runtimes.measure_agreement(plan, store, weights)))
    if plan.of_kind("peers") and device.type == "cpu" and not store.has("peer-predictions"):
        steps.append(("peers", lambda _: peers.measure_readings(plan, store, weights)))
    for cell in plan.of_kind("depth"):
        if not store.has("depth-predictions"):
            steps.append(("depth", lambda _, cell=cell: depth.measure_accuracy(plan, cell, store, weights)))  # type: ignore[misc]
    # Other runtimes, other systems and load are measured on the CPU only.
    cells = [c for c in plan.cells if device.type == "cpu" or c.kind in ("latency", "throughput", "depth")]
    timed = [c for c in cells if c.kind != "load"]
    loads = [c for c in cells if c.kind == "load" and not load.missing()]
    total = len(steps) + sum(c.rounds + c.warmup for c in timed) + sum(len(load.combinations(c)) for c in loads)
    done = sum(rounds_done(store, cell) for cell in timed) + sum(load.measured(store, cell) for cell in loads)
    with progress(f"bench {plan.preset}", total, done) as reporter:
        for name, step in steps:
            step(reporter)
            reporter.advance(name)
        for cell in timed:
            if cell.kind == "peers":
                peers.measure_peers(cell, store, weights, reporter)
            elif cell.kind == "runtimes":
                runtimes.measure_runtimes(cell, store, device, reporter)
            elif cell.kind == "depth":
                depth.measure_depth(cell, store, device, reporter)
            else:
                measure_cell(cell, store, device, reporter)
        for cell in loads:
            load.measure_load(cell, store, weights, reporter)
    facts = store.facts()
    if facts["finished"] is None:
        store.write_facts({**facts, "finished": now()})


def measure_accuracy(plan: Plan, store: Store, device: torch.device, weights: Path | None) -> None:
    """Read the same held-out strings with every variant, and keep readings, sample images and their origin."""
    strings = task_strings(plan.strings)
    digits = strings.digits
    recognizer = load_recognizer(weights or SHIPPED).to(device)
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


def measure_rates(store: Store, device: torch.device) -> None:
    """The machine's best rates, several times."""
    store.write("rates", pd.DataFrame([machine_rates(device) for _ in range(_PEAK_TRIES)]))


def _lengths(cell: Cell) -> tuple[int, ...]:
    return cell.points if cell.kind == "latency" else (TASK_LENGTH,)


def measure_cell(cell: Cell, store: Store, device: torch.device, reporter: Reporter) -> None:
    """Time a cell in interleaved rounds.

    A round visits every point (length or batch size) in random order. At each, the encoder is timed, then every
    variant's decode, in random order, each just after another run of the encoder; so drift of the machine hits all
    alike, and what is compared are ratios within a round. At `TASK_LENGTH` each variant is also timed from pixels to
    text in one go, in turn with the encoder alone, as a check that the sum of the two phases is what a user waits for.
    """
    if not rounds_left(store, cell):
        return
    bound = bind(cell.subject, _lengths(cell), device)
    points = {p: (bound[p], 1) if cell.kind == "latency" else (bound[TASK_LENGTH], p) for p in cell.points}
    inputs = {p: b.pixel_values(batch) for p, (b, batch) in points.items()}

    def one_round(shuffle: random.Random) -> Iterator[dict[str, Any]]:
        for point in shuffle.sample(cell.points, len(cell.points)):
            b, batch = points[point]
            for row in _visit(b, inputs[point], cell.repeats, shuffle):
                yield {"length": b.length, "batch": batch, **row}

    measure_rounds(cell, store, reporter, one_round)


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
                # As in use, decoding follows its encoder, not another variant, which leaves colder caches behind at
                # n = 50 than at n = 1.
                encoder(pixel_values)
                timed(name, "decode", repeat, partial(variants[name], features, length=length))
        if length == TASK_LENGTH and len(pixel_values) == 1:
            for repeat in range(repeats):
                for name in shuffle.sample(["encoder", *variants], len(variants) + 1):
                    timed(name, "whole", repeat, partial(whole, name))
    return rows
