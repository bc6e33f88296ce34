"""Decoder depth as an axis (Kasai et al. 2021, "Deep Encoder, Shallow Decoder"): what each layer costs and buys.

Autoregressive heads that differ only in their number of layers are trained alike on the frozen encoder of the evaluated
recognizer, so that what they read better or worse is theirs alone.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.plan import LENGTHS, Cell, Plan
from bench.rounds import measure_rounds, rounds_left, task_strings
from bench.store import Store
from bench.subjects import bind, clock
from seqocr.checkpoints import SHIPPED, load_recognizer
from seqocr import evaluation
from seqocr.data.material import mixture
from seqocr.data.sources import load_digits
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter
from seqocr.train.config import TrainConfig
from seqocr.train.loop import fit


def measure_accuracy(plan: Plan, cell: Cell, store: Store, weights: Path | None) -> None:
    """Train a head of each depth and read the strings of the accuracy table with it."""
    try:
        train, validation = load_digits("train"), load_digits("validation")
    except InputError:
        store.write_facts({**store.facts(), "depth_not_run": "no training digits here, so accuracy is not known"})
        store.write("depth-predictions", pd.DataFrame(columns=["index", "layers", "text", "prediction"]))
        return
    config = TrainConfig(steps=cell.steps, warmup=cell.steps // 20, validate_every=max(1, cell.steps // 4))
    material = mixture(config.level, config.length, config.seed, config.augmentation, (train, validation))
    tables = []
    for layers in cell.points:
        encoder = load_recognizer(weights or SHIPPED)
        recognizer = _with_layers(encoder, layers, encoder.max_length)
        folder = store.path(f"depth-{layers}")
        if not (folder / "config.json").exists() or (folder / "training-state.safetensors").exists():
            fit(recognizer, material, config, folder)
        read = evaluation.predict(load_recognizer(folder), task_strings(plan.strings), ["ar"])
        tables.append(read.drop(columns="head").assign(layers=layers))
    store.write("depth-predictions", pd.concat(tables, ignore_index=True))
    for layers in cell.points:
        shutil.rmtree(store.path(f"depth-{layers}"))  # weights are not measurements


def _with_layers(recognizer: Recognizer, layers: int, max_length: int) -> Recognizer:
    """The same encoder with a new autoregressive head of so many layers."""
    torch.manual_seed(layers)
    settings = {**recognizer.head_settings["ar"], "decoder_layers": layers}
    settings.pop("max_position_embeddings", None)
    return Recognizer(recognizer.encoder, recognizer.processor, {"ar": settings}, recognizer.charset, max_length).eval()


def measure_depth(cell: Cell, store: Store, device: torch.device, reporter: Reporter) -> None:
    """Time decoding with each depth, in random order in each round, at every length."""
    if not rounds_left(store, cell):
        return
    longest = max(LENGTHS)
    bound = bind(cell.subject, (longest,), device)[longest]
    heads = {n: _with_layers(bound.recognizer, n, longest).to(device).heads["ar"] for n in cell.points}
    calls = [(layers, length) for layers in cell.points for length in LENGTHS]
    with torch.inference_mode():
        features = bound.recognizer.encoder(bound.pixel_values(1))

    def one_round(shuffle: random.Random) -> Iterator[dict[str, Any]]:
        for layers, length in shuffle.sample(calls, len(calls)):
            for repeat in range(cell.repeats):
                decoded, seconds = clock(partial(heads[layers].decode, features, length=length), device)
                facts = {"layers": layers, "length": length, "repeat": repeat}
                yield {**facts, "seconds": seconds, "passes": decoded.passes}

    measure_rounds(cell, store, reporter, one_round)
