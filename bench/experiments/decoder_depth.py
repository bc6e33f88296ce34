"""Decoder depth as an axis (Kasai et al. 2021, "Deep Encoder, Shallow Decoder"): what each layer costs and buys.

Autoregressive heads that differ only in their number of layers are trained alike on the frozen encoder of the evaluated
recognizer, so that what they read better or worse is theirs alone.
"""

import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.fingerprint import of_call
from bench.core.formatting import estimates, ratio, share, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, Rounds, clock
from bench.workloads import fingerprints
from bench.workloads.accuracy_tables import right
from bench.workloads.held_out import predict_images, task_strings
from bench.workloads.timed_models import LENGTHS, TASK_LENGTH, TINY, TimedModel, bind, count_passes
from seqocr.data.sources.datasets import load_digits
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Paired, Value, location, paired_difference, proportion, quotient, verdicts
from seqocr.train.config import TrainConfig
from seqocr.train.loop import Trainer
from seqocr.train.recipe import build_mixture, train_on_digits

LAYERS = (1, 2, 6)


@dataclass(frozen=True)
class Training:
    layers: tuple[int, ...] = LAYERS
    steps: int = 1500
    strings: int = 2000

    @property
    def config(self) -> TrainConfig:
        every = max(1, self.steps // 4)
        return TrainConfig(steps=self.steps, warmup=self.steps // 20, validate_every=every, protocol="frozen")


@dataclass(frozen=True)
class Timing(Rounds):
    subject: TimedModel = TINY
    layers: tuple[int, ...] = LAYERS
    lengths: tuple[int, ...] = LENGTHS
    repeats: int = 2


@dataclass(frozen=True)
class Results:
    """Attributes:
    by: seconds of decoding by round, of (layers, length).
    right: (strings, layers) bool; empty where nothing could be trained, and `not_trained` says why.
    """

    layers: tuple[int, ...]
    lengths: tuple[int, ...]
    by: ByRound
    right: pd.DataFrame
    not_trained: str

    def exact(self, layers: int) -> Value:
        return proportion(int(self.right[layers].sum()), len(self.right))

    @property
    def gained(self) -> Paired | None:
        """Exact match of the deepest decoder minus that of the shallowest; None where nothing could be trained."""
        if self.right.empty:
            return None
        return paired_difference(self.right[max(self.layers)], self.right[min(self.layers)])

    def decode(self, layers: int) -> Value:
        """Milliseconds from features to the task's string, confidence included."""
        return self.by.milliseconds((layers, TASK_LENGTH))

    def slope(self, layers: int) -> Value:
        """Milliseconds a symbol."""
        return location(self._slopes(layers)[0]).times(1e3)

    def over_shallowest(self, layers: int) -> Value:
        """What a symbol costs, over what it costs with the fewest layers."""
        return quotient(*self._slopes(layers, min(self.layers)))

    def _slopes(self, *which: int) -> list[np.ndarray]:
        """Seconds per symbol, by round."""
        return self.by.slopes(self.lengths, *([(layers, n) for n in self.lengths] for layers in which))


class Depth(Experiment):
    name = "depth"
    page, order = DEPLOYMENT, 65

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        if preset != "full":
            return []
        training, timing = Training(), Timing(rounds=3, restarts=8)
        steps = len(training.layers)
        return [
            Part("depth-accuracy", training, steps, (bench.task,), timed=False),
            Part("depth-timing", timing, timing.steps),
        ]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        (self._train if isinstance(part.settings, Training) else self._time)(part, bench, reporter)

    def _train(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Predictions of the task's strings by a head of each depth. A training that was killed goes on."""
        store, settings, held_out = bench.store, part.settings, task_strings(part.settings.strings)
        images: Any
        images, texts = held_out.batch(range(len(held_out)))

        def read(layers: int) -> pd.DataFrame:
            digits = load_digits("train"), load_digits("validation")
            start = load_recognizer(part.weights[0]).to(bench.device)
            recognizer = with_layers(start, layers, start.max_length)
            folder = store.file(part.name, f".{layers}")
            trained = train_on_digits(recognizer, digits, settings.config, folder).to(bench.device).eval()
            return predict_images(partial(_texts, trained), images, texts, layers=layers)

        try:
            bench.measure_each(part, "layers", settings.layers, read, reporter)
        except InputError as error:  # no digits to train on, or no such head
            store.add_facts(part.name, not_trained=str(error))
            store.write(part.name, pd.DataFrame(columns=["index", "layers", "text", "prediction"]))
        for layers in settings.layers:
            shutil.rmtree(store.file(part.name, f".{layers}"), ignore_errors=True)  # weights are no measurements

    def _time(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A sample is one depth: its head writes every length, in random order, from the same features."""
        settings: Timing = part.settings
        heads, features = _timed(settings, bench.device)

        def sample(layers: int, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            every = settings.lengths * settings.repeats
            for n in shuffle.sample(every, len(every)):
                passes, timing = clock(partial(count_passes, heads[layers].decode, features, n), bench.device)
                yield {"layers": layers, "length": n, "passes": passes, **timing}

        bench.measure_rounds(part, settings.layers, sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        settings = part.settings
        if isinstance(settings, Timing):
            return _of_depths(settings)
        return fingerprints.of_training(partial(_trainer, settings, part.weights[0]))

    def results(self, store: Store) -> Results | None:
        parts = self.rows(store)
        if "timing" not in parts:
            return None
        rows, read = parts["timing"], parts.get("accuracy", pd.DataFrame())
        layers, lengths = (tuple(sorted(rows[name].unique().tolist())) for name in ("layers", "length"))
        by_depth = right(read, readers="layers") if len(read) else read
        not_trained = store.facts("depth-accuracy").get("not_trained", "")
        return Results(layers, lengths, ByRound(rows, ["layers", "length"]), by_depth, not_trained)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = []
        for layers in results.layers:
            row: dict[str, Any] = {"layers": layers}
            if len(results.right):
                row |= {"strings": len(results.right), "exact": results.exact(layers)}
            row |= {results.by.units: (slope := results.slope(layers)).n, "ms_a_symbol": slope}
            row |= {"over_shallowest": results.over_shallowest(layers), "decode_ms": results.decode(layers)}
            rows.append(row)
        return {"depth": estimates(rows)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        rows = [
            {
                "decoder layers": layers,
                "exact match": share(results.exact(layers), 2) if len(results.right) else "not trained",
                "ms per symbol": time(results.slope(layers)),
                f"over {min(results.layers)} layer": ratio(results.over_shallowest(layers)),
                f"decoding {TASK_LENGTH} symbols, ms": time(results.decode(layers)),
            }
            for layers in results.layers
        ]
        found = verdicts([gained])[0].word if (gained := results.gained) else ""
        ends = {"few": min(results.layers), "many": max(results.layers)}
        text = prose("depth", results=results, **ends, model=TINY.label, verdict=found)
        return [Section("Decoder depth", text, None, pd.DataFrame(rows))]


EXPERIMENT = Depth()


def with_layers(recognizer: Recognizer, layers: int, max_length: int) -> Recognizer:
    """The same encoder with a new head alone, as the first that is TrOCR's decoder, but of so many layers.

    Raises:
        InputError: there is none that it could be like.
    """
    head = next((name for name, each in recognizer.heads.items() if each.trocr_decoder is not None), None)
    if head is None:
        raise InputError(f"no head of these weights is TrOCR's decoder: they have {', '.join(recognizer.heads)}")
    torch.manual_seed(layers)
    settings = {**recognizer.head_settings[head], "decoder_layers": layers}
    settings.pop("max_position_embeddings", None)
    made = Recognizer(recognizer.encoder, recognizer.processor, {head: settings}, recognizer.charset, max_length)
    return made.to(recognizer.device).eval()


def _timed(settings: Timing, device: torch.device) -> tuple[dict[int, Any], torch.Tensor]:
    """The heads by their layers, and features to decode."""
    longest = max(settings.lengths)
    bound = bind(settings.subject, (longest,), device)[longest]
    made = {n: with_layers(bound.recognizer, n, longest) for n in settings.layers}
    heads: dict[int, Any] = {n: head for n, recognizer in made.items() for head in recognizer.heads.values()}
    with torch.inference_mode():
        return heads, bound.recognizer.encoder(bound.pixel_values(1))


@cache
def _of_depths(settings: Timing) -> dict[str, str]:
    heads, features = _timed(settings, torch.device("cpu"))
    return {f"{n} layers": of_call(partial(count_passes, heads[n].decode, features, TASK_LENGTH)) for n in heads}


def _trainer(settings: Training, weights: Path) -> Trainer:
    """Of the shallowest head, in float32 on every machine."""
    start = load_recognizer(weights)
    digits = load_digits("train"), load_digits("validation")
    config = replace(settings.config, precision="float32")
    recognizer = with_layers(start, min(settings.layers), start.max_length)
    return Trainer(recognizer, build_mixture(config, digits), config, Path("unused"))


def _texts(recognizer: Recognizer, images: torch.Tensor) -> list[str]:
    (head,) = recognizer.heads
    return recognizer.decode(images, head).texts
