"""What would people use instead? Other readers on the task's strings, from a line in memory to its text."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from bench.core import strategies
from bench.core.experiment import DEPLOYMENT, LONGEST_TABLE, Bench, Experiment, Part, Section
from bench.core.formatting import estimates, not_run, percent, share, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, Rounds, clock
from bench.peers import peers, unavailable
from bench.peers.base import Peer
from bench.workloads import fingerprints
from bench.workloads.accuracy_tables import exact
from bench.workloads.held_out import predict_images, task_strings, warm_up
from bench.workloads.timed_models import TASK_LENGTH
from seqocr import metrics
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Value

_RUNTIME = ", onnxruntime"  # suffix of our readers that are graphs


@dataclass(frozen=True)
class Readings:
    peers: tuple[str, ...]
    strings: int = 2000


@dataclass(frozen=True)
class Timing(Rounds):
    """Attributes:
    repeats: of a single line in a sample.
    batch: lines at once, besides one.
    """

    peers: tuple[str, ...]
    repeats: int = 3
    batch: int = 16


@dataclass(frozen=True)
class Reader:
    """A peer's results.

    Attributes:
        about: version and settings.
        own: a head of ours.
        trained: it has weights here; otherwise they are random, and it reads nothing.
        exact, cer: on the task.
        ms: milliseconds a line at batch 1.
        rate: lines a second in a batch.
    """

    name: str
    about: str
    own: bool
    trained: bool
    exact: Value
    cer: float
    ms: Value
    rate: Value


@dataclass(frozen=True)
class Results:
    readers: list[Reader]
    strings: int
    batch: int
    units: str  # what intervals of times are over, restarts or rounds
    not_run: dict[str, str]

    @property
    def trained(self) -> list[Reader]:
        return [reader for reader in self.readers if reader.trained]


class Peers(Experiment):
    name = "peers"
    page, order = DEPLOYMENT, 70

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        if preset != "full" or bench.device.type != "cpu":
            return []
        declared = peers()
        reading = Readings(tuple(name for name, peer in declared.items() if peer.trained))
        timing = Timing(tuple(declared), rounds=2, restarts=8)
        return [
            Part("peers-readings", reading, len(reading.peers), weights=(bench.task,), timed=False),
            Part("peers-timing", timing, timing.steps, weights=(bench.task,)),
        ]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        recognizer, declared = load_recognizer(part.weights[0]), peers()
        held, absent = recognizer.decode_functions(), unavailable(part.settings.peers)
        with TemporaryDirectory() as folder:
            made = {
                name: declared[name].load(recognizer, Path(folder), True)
                for name in part.settings.peers
                if name not in absent and (not declared[name].strategy or declared[name].strategy in held)
            }
            (self._read if isinstance(part.settings, Readings) else self._time)(part, bench, reporter, made)
        about = {
            name: {"about": peer.about, "trained": declared[name].trained, "own": bool(declared[name].strategy)}
            for name, peer in made.items()
        }
        bench.store.add_facts(part.name, about=about, not_run=absent)

    def _read(self, part: Part, bench: Bench, reporter: Reporter, made: dict[str, Peer]) -> None:
        """The strings of the accuracy table, by everyone whose weights are trained."""
        strings = task_strings(part.settings.strings)
        lines: Any
        lines, texts = strings.batch(range(len(strings)))
        bench.measure_each(
            part, "peer", made, lambda name: predict_images(made[name].read, lines, texts, peer=name), reporter
        )

    def _time(self, part: Part, bench: Bench, reporter: Reporter, made: dict[str, Peer]) -> None:
        """A sample is one peer at one batch size."""
        settings: Timing = part.settings
        lines: Any = task_strings(settings.batch).batch(range(settings.batch))[0]

        def sample(each: tuple[str, int], shuffle: random.Random) -> Iterator[dict[str, Any]]:
            name, batch = each
            work = partial(made[name].read, lines[:batch])
            warm_up(work)
            for repeat in range(settings.repeats if batch == 1 else 1):
                _, timing = clock(work, torch.device("cpu"))
                yield {"peer": name, "batch": batch, "repeat": repeat, **timing}

        samples = [(name, batch) for name in made for batch in (1, settings.batch)]
        bench.measure_rounds(part, samples, sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        if isinstance(part.settings, Readings):
            return {}
        return fingerprints.of_recognizer(part.weights[0], TASK_LENGTH, strategies.deployed())

    def results(self, store: Store) -> Results | None:
        parts = self.rows(store)
        if len(parts) < 2:
            return None
        rows, read = parts["timing"], parts["readings"]
        by, batch = ByRound(rows, ["peer", "batch"]), int(rows["batch"].max())
        readers = []
        for name, about in store.facts("peers-timing")["about"].items():
            texts = read[read["peer"] == name]
            if about["trained"] and not len(texts):
                continue  # it came to this machine after the predictions
            ms, rate = by.milliseconds((name, 1)), by.milliseconds((name, batch)).map(lambda ms: 1e3 * batch / ms)
            cer = metrics.character_error_rate(texts) if len(texts) else math.nan
            readers.append(Reader(name, **about, exact=exact(texts), cer=cer, ms=ms, rate=rate))
        return Results(readers, read["index"].nunique(), batch, by.units, store.facts("peers-timing")["not_run"])

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = [
            {
                "peer": reader.name,
                "about": reader.about,
                "trained": reader.trained,
                **({"strings": reader.exact.n, "exact": reader.exact, "cer": reader.cer} if reader.trained else {}),
                results.units: reader.ms.n,
                "ms": reader.ms,
                "batch": results.batch,
                "lines_per_second": reader.rate,
            }
            for reader in results.readers
        ]
        return {"peers": estimates(rows)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        ours, others = ([each for each in results.trained if each.own is own] for own in (True, False))
        in_runtime = {reader.name.removesuffix(_RUNTIME): reader for reader in ours if reader.name.endswith(_RUNTIME)}
        shown = [reader for reader in results.trained if reader not in in_runtime.values()]
        table = pd.DataFrame(_row(reader, in_runtime.get(reader.name), results.batch) for reader in shown)
        fastest = min(ours, key=lambda reader: reader.ms.estimate)
        best = max(others, key=lambda reader: reader.exact.estimate, default=None)
        text = prose("peers", results=results, fastest=fastest, best=best)
        details: dict[str, Any] = {}
        bare = [reader for reader in results.readers if not reader.trained]
        if bare:
            rows = ({"reader": reader.name, "ms per line, batch 1": time(reader.ms)} for reader in bare)
            details["Readers without weights here, timed with random ones"] = pd.DataFrame(rows)
        if absent := not_run(results.not_run):
            details["Readers that are not here"] = absent
        return [Section("Other readers", text, None, table.head(LONGEST_TABLE), details)]


EXPERIMENT = Peers()


def _row(reader: Reader, in_runtime: Reader | None, batch: int) -> dict[str, str]:
    return {
        "reader": f"`{reader.name}`" if reader.own else reader.name,
        "exact match": share(reader.exact),
        "CER": percent(reader.cer),
        "ms per line, batch 1": time(reader.ms),
        "in onnxruntime": time(in_runtime.ms) if in_runtime else "",
        f"lines/s, batch {batch}": time(reader.rate),
    }
