"""Encoders of several sizes, each trained with the same heads on the same strings, so that exact match and time are of
the same weights. What is compared with what, and why: plan.md.

`python -m bench family` takes hours, and goes on where it was.
"""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.core.engines import LOCAL, Engine
from bench.core.exclusive import alone, refuse_beside_ray
from bench.core.fingerprint import of_weights
from bench.core.store import Store
from bench.study import family_session
from bench.study.family_session import INT8
from bench.study.pipeline import claim, depends, opened
from bench.study.predictions import unread_lines
from bench.workloads.held_out import held_out_digits, level_strings
from bench.workloads.restarts import restart
from seqocr import environment
from seqocr.data.mixture import Lines
from seqocr.data.processor import Processor
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import DIGITS
from seqocr.data.synthetic.layouts import LEVELS, level
from seqocr.inference.export import export
from seqocr.inference.load import load
from seqocr.inference.predictions import predict_lines
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.encoder import Encoder
from seqocr.models.heads.registry import head_class
from seqocr.models.presets import PRESETS
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress
from seqocr.train.config import TrainConfig
from seqocr.train.recipe import load_splits, train_on_digits
from seqocr.train.state import is_finished

TABLE, TIMES = "family", "family-times"
GRAPH_HEADS = ("ar", "parallel", "ctc")
HEADS = ("ar", "ar-1layer", "parallel", "ctc", "parseq")
STRATEGIES = ("ar", "ar-1layer", "parallel", "ctc", "parseq", "parseq-once", "parseq-refined")
LEARNED, LONGEST = (1, 10), 20  # symbols in strings that are learned, and the most in strings that are read
REPEATED = 0.7  # probability, in a set of its own, that a digit repeats the one before it
OCCLUDED = "covered 60%"  # of five digits, on a grid
RIGHT = "="  # in place of a prediction that is the text


@dataclass(frozen=True)
class Architecture:
    """Attributes:
    width, layers: of the encoder.
    image_size, patch_size: (height, width) in pixels.
    seeds: trainings.
    """

    width: int
    layers: int
    image_size: tuple[int, int] = (40, 320)
    patch_size: tuple[int, int] = (40, 10)
    seeds: int = 3


@dataclass(frozen=True)
class Family:
    """Attributes:
    encoders: by name.
    steps, batch: of each training.
    strings: read of every length at every level; of repeats and of occluded strings ten times as many, of every length
        that is longer than any learned half as many.
    restarts: processes that time each encoder; rounds: of each, by batch size.
    """

    encoders: dict[str, Architecture]
    steps: int
    batch: int
    strings: int
    restarts: int = 8
    rounds: tuple[tuple[int, int], ...] = ((1, 12), (64, 3))

    def members(self) -> list[tuple[str, int]]:
        """Names and seeds: encoder by encoder, the smallest first, so that what is cut short has verdicts."""
        return [(name, seed) for name, each in self.encoders.items() for seed in range(each.seeds)]

    def config(self, seed: int) -> TrainConfig:
        return TrainConfig(
            level="grid,jitter,wild",
            length=LEARNED,
            repeats=0.15,
            augment=0.5,
            steps=self.steps,
            batch_size=self.batch,
            learning_rate=1.2e-3,
            warmup=min(200, self.steps),
            optimizer="muon",
            ema=0.998,
            validate_every=max(1, self.steps // 4),
            validation_strings=600,
            seed=seed,
        )


SIZES = {
    "smoke": Family({"96x2": Architecture(96, 2, seeds=1)}, 2, 6, 2, restarts=1, rounds=((1, 2),)),
    "full": Family(
        {
            "96x2": Architecture(96, 2),
            "160x4": Architecture(160, 4),
            "256x8": Architecture(256, 8),
            "small": Architecture(384, 12, (32, 160), (16, 16), seeds=1),
        },
        steps=4000,
        batch=66,
        strings=200,
    ),
}


def build(name: str, architecture: Architecture, seed: int) -> Recognizer:
    """An untrained recognizer; `small` is the preset, the others are as `tiny` but for their size."""
    torch.manual_seed(seed)
    if name in PRESETS:
        return Recognizer.build(name, HEADS, image_size=architecture.image_size, max_length=LONGEST)
    tiny, width = PRESETS["tiny"], architecture.width
    size = {"image_size": [*architecture.image_size], "patch_size": [*architecture.patch_size]}
    depth = {"num_hidden_layers": architecture.layers, "num_attention_heads": width // 32}
    widths = {"hidden_size": width, "intermediate_size": 4 * width}
    encoder = Encoder.from_config({**tiny.encoder, **size, **depth, **widths})
    heads = {head: head_class(head).default_settings(tiny.decoder) for head in HEADS}
    processor = Processor(*encoder.image_size, keep_aspect=True)
    return Recognizer(encoder, processor, heads, DIGITS, LONGEST, {"encoder": name}).eval()


def run(preset: str, out: Path, runs: Path, engine: Engine = LOCAL) -> Path:
    """Train and read what is missing; what is read so far is in the results after each training.

    Args:
        out: results folder; the table lies in its folder `study`, of small ones in `study-PRESET`.
        runs: where recognizers are kept, and the readings of each.

    Returns:
        the table's folder.

    Raises:
        InputError: there is no such preset, `runs` holds recognizers of another size, or something else is timed here.
    """
    runs = runs.absolute()  # workers may stand elsewhere
    size, kept, study = opened(preset, SIZES, runs, out)
    claim(kept, TABLE, _depends(size), "another family")
    members = size.members()
    with progress(f"family {preset}", len(members)) as reporter, engine.workers(runs) as pool:
        _take_over(study, size, kept)
        todo = [each for each in members if not kept.has(_table(*each))]
        if len(todo) < len(members):
            _write(size, kept, study)
        reporter.advance(steps=len(members) - len(todo))
        for future in as_completed([pool.submit(learn, *each, size, runs) for each in todo]):
            reporter.advance(future.result())
            _write(size, kept, study)
    if engine.times:
        _time(size, kept, study)
    return study.folder


def _depends(size: Family) -> dict[str, Any]:
    return {**depends(size), "strategies": [*STRATEGIES]}


def _take_over(study: Store, size: Family, kept: Store) -> None:
    """What lies in the results is neither trained nor read again where `runs` lacks it."""
    facts = study.facts(TABLE)
    if facts.get("depends") != _depends(size):
        return
    for (name, seed), rows in study.read(TABLE).groupby(["encoder", "seed"]):
        table = _table(str(name), int(str(seed)))
        if not kept.has(table):
            kept.write(table, rows)
            kept.write_facts(table, facts["trainings"][f"{name}-seed{seed}"])


def learn(name: str, seed: int, size: Family, runs: Path) -> str:
    """One training, and what it reads; goes on where it was cut short."""
    kept, folder = Store(runs), runs / f"{name}-seed{seed}"
    with contextlib.redirect_stderr(io.StringIO()):  # all trainings together have a bar
        if not is_finished(folder):
            train_on_digits(build(name, size.encoders[name], seed), load_splits(), size.config(seed), folder)
    recognizer = load_recognizer(folder)
    tables = [_read(recognizer, lines).assign(set=title) for title, lines in sets(size.strings)]
    kept.write(_table(name, seed), pd.concat(tables, ignore_index=True).assign(encoder=name, seed=seed))
    about = recognizer.provenance
    kept.write_facts(
        _table(name, seed),
        {
            "weights": of_weights(folder),
            "parameters": sum(p.numel() for p in recognizer.parameters()),
            "encoder_parameters": sum(p.numel() for p in recognizer.encoder.parameters()),
            **{key: about[key] for key in ("step", "seconds", "precision", "strings_seen", "validation")},
            "commit": environment.commit(),
            "cpu": environment.describe()["cpu"],
        },
    )
    return f"learned {name}, seed {seed}"


def sets(strings: int) -> Iterator[tuple[str, Lines]]:
    """Test strings by name of the set: levels, strings of repeats, longer ones than were learned, occluded ones."""
    digits = held_out_digits()
    for name in LEVELS:
        yield from ((name, level_strings(digits, name, n, strings)) for n in range(LEARNED[0], LEARNED[1] + 1))
    repeated: Any = {"repeats": REPEATED, "replacement": True, "seed": 1, "layout": level("jitter")}
    yield "repeats", SequenceMNIST(digits, (4, 10), count=10 * strings, **repeated)
    for n in range(LEARNED[1] + 1, LONGEST + 1):
        yield "longer", level_strings(digits, "grid", n, strings // 2)
    yield "occluded", unread_lines("uniform", OCCLUDED, 0, 10 * strings)


def _read(recognizer: Recognizer, lines: Lines) -> pd.DataFrame:
    """One row per line: `index`, `text`, and in `prediction` what each of `STRATEGIES` reads, `RIGHT` where that is the
    text, separated by spaces: a tenth of what a row per strategy would take."""
    read = predict_lines(recognizer, lines, STRATEGIES, quiet=True, calibrate=False)
    read["prediction"] = read["prediction"].where(read["prediction"] != read["text"], RIGHT)
    rows = read.pivot(index=["index", "text"], columns="head", values="prediction")[[*STRATEGIES]]
    return rows.agg(" ".join, axis=1).rename("prediction").reset_index()


def unpack(rows: pd.DataFrame, strategies: Sequence[str] = STRATEGIES) -> pd.DataFrame:
    """(strings, strategies) predictions of `_read`'s rows, whose strategies stood in this order."""
    found = rows["prediction"].str.split(" ", expand=True).set_axis([*strategies], axis=1)
    return found.apply(lambda read: read.where(read != RIGHT, rows["text"]))


def _time(size: Family, kept: Store, study: Store) -> None:
    """Add the times of weights of the first seed that are here and were not timed yet, and what their graphs read."""
    done = study.read(TIMES) if study.has(TIMES) else pd.DataFrame(columns=["encoder"])
    folders = {name: kept.folder / f"{name}-seed0" for name in size.encoders}
    timed = {name: about["weights"] for name, about in study.facts(TIMES).items() if name in folders}
    there = [name for name, folder in folders.items() if is_finished(folder)]
    todo = [name for name in there if timed.get(name) != of_weights(folders[name])]
    if not todo:
        return
    with alone(), progress("family, times", len(todo) * size.restarts) as reporter:
        refuse_beside_ray()
        for name in todo:
            folder = folders[name]
            export(load_recognizer(folder), folder / INT8, GRAPH_HEADS, INT8)
            tables = []
            for number in range(size.restarts):
                arguments = [str(folder), json.dumps(dict(size.rounds))]
                tables.append(restart(family_session, arguments, number).assign(encoder=name))
                reporter.advance(f"timed {name}")
            facts = {name: {**_provenance(folder), "graphs_exact": _graphs_exact(folder, size.strings)}}
            done = pd.concat([done[done["encoder"] != name], *tables], ignore_index=True)
            study.write(TIMES, done)
            study.write_facts(TIMES, {**study.facts(TIMES), **facts, "sums": study.sums(TIMES)})


def _provenance(folder: Path) -> dict[str, Any]:
    machine = environment.describe()
    return {"weights": of_weights(folder), "environment": machine, "commit": environment.commit()}


def _graphs_exact(folder: Path, strings: int) -> dict[str, dict[str, int]]:
    """Of every level, how many strings there are, and how many each graph reads right."""
    reader, found = load(folder / INT8), dict[str, dict[str, int]]()
    for title, lines in sets(strings):
        if title in LEVELS:
            read = predict_lines(reader, lines, GRAPH_HEADS, quiet=True, calibrate=False)
            right = (read["prediction"] == read["text"]).groupby(read["head"]).sum()
            counts = found.setdefault(title, dict.fromkeys(("strings", *GRAPH_HEADS), 0))
            counts["strings"] += len(lines)
            for head in GRAPH_HEADS:
                counts[head] += int(right[head])
    return found


def _table(name: str, seed: int) -> str:
    return f"{TABLE}-{name}-seed{seed}"


def _write(size: Family, kept: Store, study: Store) -> None:
    read = [each for each in size.members() if kept.has(_table(*each))]
    study.write(TABLE, pd.concat([kept.read(_table(*each)) for each in read], ignore_index=True))
    trainings = {f"{name}-seed{seed}": kept.facts(_table(name, seed)) for name, seed in read}
    facts = {"depends": _depends(size), "trainings": trainings, "of": len(size.members())}
    facts["sums"] = study.sums(TABLE)
    study.write_facts(TABLE, facts | {"commit": environment.commit(), "environment": environment.describe()})
