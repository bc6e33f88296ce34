"""Encoders of several sizes, each trained with the same heads on the same strings, so that exact match and time are of
the same weights; shipped weights, which learned for longer, stand beside them. What is compared with what: plan.md.

`python -m bench family` takes hours, and goes on where it was. CRNN learns beside where docTR is installed.
"""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.core.fingerprint import of_weights
from bench.core.store import Store
from bench.study import crnn
from bench.study.curve_estimates import SHALLOW
from bench.study.family_session import INT8
from bench.study.predictions import unread_lines
from bench.workloads.held_out import held_out_digits, level_strings
from seqocr import environment
from seqocr.data.mixture import Lines
from seqocr.data.processor import Processor
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import DIGITS
from seqocr.data.synthetic.layouts import LEVELS, level
from seqocr.inference.export import export
from seqocr.inference.load import load_directory
from seqocr.inference.predictions import predict_lines
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.encoder import Encoder
from seqocr.models.heads.registry import head_class
from seqocr.models.presets import PRESETS
from seqocr.models.recognizer import Recognizer
from seqocr.train.config import TrainConfig
from seqocr.train.recipe import load_splits, train_on_digits
from seqocr.train.state import is_finished

TABLE, TIMES = "family", "family-times"
GRAPHS_EXACT = "graphs_exact"  # fact of a training: strings that its int8 graphs read right
GRAPH_HEADS = ("ar", "parallel", "ctc")
HEADS = ("ar", SHALLOW, "parallel", "ctc", "parseq")
STRATEGIES = ("ar", SHALLOW, "parallel", "ctc", "parseq", "parseq-once", "parseq-refined")
SHIPPED = ("strings", "numbers")  # weights that are read and timed as they are
ABSENT = "-"  # in place of what a head reads that weights do not have
LEARNED, LONGEST = (1, 10), 20  # symbols in strings that are learned, and the most in strings that are read
REPEATED = 0.7  # probability, in a set of its own, that a digit repeats the one before it
OCCLUDED = "covered 60%"  # of five digits, on a grid
RIGHT = "="  # in place of a prediction that is the text


@dataclass(frozen=True)
class Architecture:
    """Attributes:
    width, layers: of the encoder.
    image_size, patch_size: (height, width) in pixels.
    seeds: trainings; longer: how many times the family's steps each takes.
    heads: that learn together.
    """

    width: int
    layers: int
    image_size: tuple[int, int] = (40, 320)
    patch_size: tuple[int, int] = (40, 10)
    seeds: int = 3
    longer: int = 1
    heads: tuple[str, ...] = HEADS


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
        """Names and seeds: shipped weights, then encoder by encoder, the smallest first, so that what is cut short has
        verdicts."""
        trained = [(name, seed) for name, each in self.encoders.items() for seed in range(each.seeds)]
        return [*((name, 0) for name in SHIPPED), *trained]

    def config(self, seed: int, longer: int = 1) -> TrainConfig:
        steps = longer * self.steps
        return TrainConfig(
            level="grid,jitter,wild",
            length=LEARNED,
            repeats=0.15,
            augment=0.5,
            steps=steps,
            batch_size=self.batch,
            learning_rate=1.2e-3,
            warmup=min(200, steps),
            optimizer="muon",
            ema=0.998,
            validate_every=max(1, steps // 4),
            validation_strings=600,
            seed=seed,
        )


def alone(encoder: str, head: str) -> str:
    """What an encoder is called that learned with one head alone."""
    return f"{encoder}-{head}"


SIZES = {
    "smoke": Family({"96x2": Architecture(96, 2, seeds=1)}, 2, 6, 2, restarts=1, rounds=((1, 2),)),
    "full": Family(
        {
            "96x2": Architecture(96, 2),
            "96x2-long": Architecture(96, 2, longer=3),
            **{alone("96x2", head): Architecture(96, 2, heads=(head,)) for head in GRAPH_HEADS},
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
        return Recognizer.build(name, architecture.heads, image_size=architecture.image_size, max_length=LONGEST)
    tiny, width = PRESETS["tiny"], architecture.width
    size = {"image_size": [*architecture.image_size], "patch_size": [*architecture.patch_size]}
    depth = {"num_hidden_layers": architecture.layers, "num_attention_heads": width // 32}
    widths = {"hidden_size": width, "intermediate_size": 4 * width}
    encoder = Encoder.from_config({**tiny.encoder, **size, **depth, **widths})
    heads = {head: head_class(head).default_settings(tiny.decoder) for head in architecture.heads}
    processor = Processor(*encoder.image_size, keep_aspect=True)
    return Recognizer(encoder, processor, heads, DIGITS, LONGEST, {"encoder": name}).eval()


def learn(name: str, seed: int, size: Family, runs: Path) -> str:
    """One training, and what it reads; goes on where it was cut short."""
    kept, folder = Store(runs), runs / f"{name}-seed{seed}"
    with contextlib.redirect_stderr(io.StringIO()):  # all trainings together have a bar
        if is_finished(folder):
            pass
        elif name in SHIPPED:
            save(_with_shallow_head(load_recognizer(weights_path(name)), size, folder / SHALLOW), folder)
        else:
            architecture = size.encoders[name]
            config = size.config(seed, architecture.longer)
            train_on_digits(build(name, architecture, seed), load_splits(), config, folder)
    recognizer = load_recognizer(folder)
    tables = [_read(recognizer, lines).assign(set=title) for title, lines in sets(size.strings)]
    kept.write(table_of(name, seed), pd.concat(tables, ignore_index=True).assign(encoder=name, seed=seed))
    about = recognizer.provenance
    kept.write_facts(
        table_of(name, seed),
        {
            "weights": of_weights(folder),
            "architecture": architecture_of(name, size),
            "parameters": sum(p.numel() for p in recognizer.parameters()),
            "encoder_parameters": sum(p.numel() for p in recognizer.encoder.parameters()),
            **{key: about.get(key) for key in ("step", "seconds", "precision", "strings_seen", "validation")},
            "commit": environment.commit(),
            "cpu": environment.describe()["cpu"],
        },
    )
    read_graphs(name, seed, size, runs)
    return f"learned {name}, seed {seed}"


def architecture_of(name: str, size: Family) -> dict[str, Any] | None:
    """As JSON has it; None of shipped weights."""
    return None if name in SHIPPED else json.loads(json.dumps(asdict(size.encoders[name])))


def is_timed(name: str, size: Family) -> bool:
    """Not encoders with one head, whose times those with all heads have, nor longer trainings."""
    return name in SHIPPED or (size.encoders[name].heads == HEADS and size.encoders[name].longer == 1)


def _with_shallow_head(recognizer: Recognizer, size: Family, folder: Path) -> Recognizer:
    """Shipped weights, and `ar` with one layer, which learns on their frozen encoder from a quarter of the strings."""
    steps = max(1, size.steps // 4)
    config = replace(size.config(0), protocol="frozen", steps=steps, validate_every=steps, warmup=min(200, steps))
    learned = train_on_digits(recognizer.adapted([SHALLOW]), load_splits(), config, folder)
    both = recognizer.adapted([*recognizer.heads, SHALLOW])
    both.heads[SHALLOW].load_state_dict(learned.heads[SHALLOW].state_dict())
    return both


def read_graphs(name: str, seed: int, size: Family, runs: Path) -> str:
    """Add to the facts of a training what int8 graphs of its weights read right, of how many strings, by level."""
    kept, folder = Store(runs), runs / f"{name}-seed{seed}"
    export_int8(folder)
    reader, found = load_directory(folder / INT8), dict[str, dict[str, int]]()
    heads = [head for head in GRAPH_HEADS if head in reader.heads]
    for level_name, lines in level_sets(size.strings):
        read = predict_lines(reader, lines, heads, quiet=True, calibrate=False)
        right = (read["prediction"] == read["text"]).groupby(read["head"]).sum()
        counts = found.setdefault(level_name, dict.fromkeys(("strings", *heads), 0))
        counts["strings"] += len(lines)
        for head in heads:
            counts[head] += int(right[head])
    kept.add_facts(table_of(name, seed), **{GRAPHS_EXACT: found})
    return f"read graphs of {name}, seed {seed}"


def export_int8(folder: Path) -> None:
    """Graphs beside weights."""
    recognizer = load_recognizer(folder)
    export(recognizer, folder / INT8, [head for head in GRAPH_HEADS if head in recognizer.heads], INT8)


def learn_crnn(size: Family, runs: Path) -> str:
    kept, folder = Store(runs), runs / crnn.NAME
    if not crnn.is_learned(folder):
        crnn.learn(size.config(seed=0), folder)
    reader = crnn.Reader(folder)
    kept.write(crnn.NAME, crnn.read_sets(reader, [*sets(size.strings)]))
    facts: dict[str, Any] = {
        "weights": of_weights(folder),
        "parameters": reader.parameters,
        "strings_seen": size.steps * size.batch,
    }
    facts |= {"commit": environment.commit(), "cpu": environment.describe()["cpu"], "made_with": crnn.made_with()}
    kept.write_facts(crnn.NAME, facts)
    return f"learned {crnn.NAME}"


def level_sets(strings: int) -> Iterator[tuple[str, Lines]]:
    """Test strings of every length that is learned, by level."""
    digits = held_out_digits()
    for name in LEVELS:
        yield from ((name, level_strings(digits, name, n, strings)) for n in range(LEARNED[0], LEARNED[1] + 1))


def sets(strings: int) -> Iterator[tuple[str, Lines]]:
    """Test strings by name of the set: levels, strings of repeats, longer ones than were learned, occluded ones."""
    digits = held_out_digits()
    yield from level_sets(strings)
    repeated: Any = {"repeats": REPEATED, "replacement": True, "seed": 1, "layout": level("jitter")}
    yield "repeats", SequenceMNIST(digits, (4, 10), count=10 * strings, **repeated)
    for n in range(LEARNED[1] + 1, LONGEST + 1):
        yield "longer", level_strings(digits, "grid", n, strings // 2)
    yield "occluded", unread_lines("uniform", OCCLUDED, 0, 10 * strings)


def _read(recognizer: Recognizer, lines: Lines) -> pd.DataFrame:
    """One row per line: `index`, `text`, and in `prediction` what each of `STRATEGIES` reads, `RIGHT` where that is the
    text, separated by spaces: a tenth of what a row per strategy would take."""
    there = [name for name in STRATEGIES if name in recognizer.decode_functions()]
    read = predict_lines(recognizer, lines, there, quiet=True, calibrate=False)
    read["prediction"] = read["prediction"].where(read["prediction"] != read["text"], RIGHT)
    rows = read.pivot(index=["index", "text"], columns="head", values="prediction")
    rows = rows.reindex(columns=[*STRATEGIES], fill_value=ABSENT)
    return rows.agg(" ".join, axis=1).rename("prediction").reset_index()


def unpack(rows: pd.DataFrame, strategies: Sequence[str] = STRATEGIES) -> pd.DataFrame:
    """(strings, strategies) predictions of `_read`'s rows, whose strategies stood in this order."""
    found = rows["prediction"].str.split(" ", expand=True).set_axis([*strategies], axis=1)
    return found.apply(lambda read: read.where(read != RIGHT, rows["text"]))


def table_of(name: str, seed: int) -> str:
    return f"{TABLE}-{name}-seed{seed}"
