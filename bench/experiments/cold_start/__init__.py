"""Cold start: how long a process takes to start and read, with how much memory, and how fast it then is."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from bench import __file__ as _BENCH
from bench.core.experiment import DEPLOYMENT as DEPLOYMENT_PAGE
from bench.core.experiment import Bench, Experiment, Part, Section, stored
from bench.core.fingerprint import of_graph_files
from bench.core.formatting import estimates, not_run, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, counted, measure_rounds
from bench.experiments.cold_start import read_one_by_one, spawn
from bench.peers import unavailable
from bench.workloads.held_out import held_out_digits, level_strings
from seqocr.inference.manifest import exported_outputs
from seqocr.inference.predict import default_head
from seqocr.inference.shipped import graphs_path
from seqocr.progress import Reporter
from seqocr.statistics import Value, location

_ROUNDS = {"smoke": 1, "default": 3, "full": 8}
_MANY = {"smoke": 40, "default": 400, "full": 2000}
HEADS = tuple(exported_outputs(graphs_path(None)))  # whose graphs are shipped
_DEFAULT = default_head(exported_outputs(graphs_path(None)))
RAPIDOCR, WEIGHTS = "RapidOCR", f"weights, `{_DEFAULT}`"
_GRAPHS = {f"graphs, `{head}`": head for head in HEADS}
_ALONE = 60  # lines read one by one
_SLOWER = 10  # of many lines, the share that other readers read: they take longer for each


# What is measured of a reader: the column of its rows, a factor, and what the report calls it. From the start of a
# process to its first text; its most memory; a line, from the file to its text, in a process that runs; of a folder,
# without the process's start.
_COLUMNS = {
    "first": ("first", 1.0, "first text after, s"),
    "mb": ("megabytes", 1.0, "memory, MB"),
    "ms": ("alone", 1e3, "ms per line"),
    "rate": ("rate", 1.0, "lines per second"),
}


@dataclass(frozen=True)
class Settings:
    """Attributes:
    many: lines of the folder that is read as one.
    graphs: digest of the graph files; empty where there are none.
    """

    rounds: int
    many: int
    graphs: str = ""
    warmup: int = 1


@dataclass(frozen=True)
class Results:
    """Attributes:
    rows: as measured. missing: what was not run, and why.
    """

    rows: pd.DataFrame
    missing: dict[str, str]

    @property
    def readers(self) -> list[str]:
        return list(dict.fromkeys(self.rows["reader"]))

    def value(self, reader: str, name: str) -> Value | None:
        """One of `_COLUMNS`; None where it was not measured."""
        column, factor, _ = _COLUMNS[name]
        rows = counted(self.rows)
        rows = rows[rows[column].notna()]
        if reader not in set(rows["reader"]):
            return None
        return location(ByRound(rows, ["reader"], column)(reader)[0]).times(factor)

    def values(self, reader: str) -> dict[str, Value]:
        found = {name: self.value(reader, name) for name in _COLUMNS}
        return {name: value for name, value in found.items() if value}


class Start(Experiment):
    name = "start"
    page = DEPLOYMENT_PAGE
    order = 15
    quantities = tuple(column for column, _, _ in _COLUMNS.values())

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        settings = Settings(_ROUNDS[preset], _MANY[preset], of_graph_files(bench.reader / "onnx"))
        steps = settings.rounds + settings.warmup
        return [Part("start", settings, steps, weights=(bench.reader,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A sample is a reader: one line in a process of its own, many lines, and some one by one."""
        settings, folder = part.settings, part.weights[0]
        absent = unavailable([RAPIDOCR])
        if not settings.graphs:
            absent |= dict.fromkeys(_GRAPHS, "no graphs beside these weights")
        bench.store.add_facts(part.name, missing=absent)
        readers = [name for name in (*_GRAPHS, WEIGHTS, RAPIDOCR) if name not in absent]
        with TemporaryDirectory() as scratch:
            folders = {
                count: Path(scratch) / f"{count}-lines"
                for count in (1, _ALONE, settings.many // _SLOWER, settings.many)
            }
            _write_lines(folders)

            def sample(reader: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
                yield {"reader": reader, **_measure_reader(reader, folder, folders, settings.many)}

            measure_rounds(bench.store, part.name, settings.rounds, settings.warmup, readers, sample, reporter)

    def results(self, store: Store) -> Results | None:
        if self.name not in stored(store, self.name):
            return None
        return Results(store.read(self.name), store.facts(self.name)["missing"])

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"start": estimates({"reader": reader, **results.values(reader)} for reader in results.readers)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        shown = {reader: results.values(reader) for reader in results.readers}
        table = pd.DataFrame(
            {
                "reader": reader,
                **{said: time(values[name]) if name in values else "" for name, (_, _, said) in _COLUMNS.items()},
            }
            for reader, values in shown.items()
        )
        details = {"Readers that are not here": absent} if (absent := not_run(results.missing)) else {}
        return [Section("Cold start", prose("start"), None, table, details)]


EXPERIMENT = Start()


def _write_lines(folders: Mapping[int, Path]) -> None:
    """Lines of `wild` of five digits, as many in each folder as it is for."""
    strings = level_strings(held_out_digits(), "wild", 5, max(folders))
    pages = [np.asarray(strings[i % len(strings)][0]) for i in range(min(max(folders), len(strings)))]
    for count, folder in folders.items():
        folder.mkdir()
        for i in range(count):
            Image.fromarray(pages[i % len(pages)]).save(folder / f"{i:05}.png")


def _measure_reader(reader: str, weights: Path, folders: Mapping[int, Path], many: int) -> dict[str, float]:
    many = many // _SLOWER if reader == RAPIDOCR else many
    one = _ran(_command(reader, weights, folders[1], first=True))
    all_ = _alone_or_many(reader, weights, folders[many])
    found = {"first": one["first"], "megabytes": one["megabytes"], "seconds": one["seconds"]}
    if reader != WEIGHTS:
        each = json.loads(_ran(_one_by_one(reader, weights, folders[_ALONE]))["said"])
        found["alone"] = median(each)
    # RapidOCR's process reads the first line of a folder once more than the one that reads only that.
    more = many if reader == RAPIDOCR else many - 1
    found["rate"] = more / (all_ - one["seconds"]) if all_ > one["seconds"] else math.nan
    return found


def _alone_or_many(reader: str, weights: Path, folder: Path) -> float:
    """Seconds that a process takes for a folder."""
    if reader == RAPIDOCR:  # has no command for folders: what its calls took, beside the start
        return _ran(_one_by_one(reader, weights, folder))["seconds"]
    return _ran(_command(reader, weights, folder))["seconds"]


def _command(reader: str, weights: Path, folder: Path, first: bool = False) -> list[str]:
    """What a person would type, to read a folder."""
    if reader == RAPIDOCR:
        return [*_one_by_one(reader, weights, folder), *(["--first"] if first else [])]
    directory = weights if reader == WEIGHTS else weights / "onnx"
    where = ["--weights", str(directory), "--device", "cpu"]
    return [sys.executable, "-m", "seqocr", "read", str(folder), *where, "--head", _GRAPHS.get(reader, _DEFAULT)]


def _one_by_one(reader: str, weights: Path, folder: Path) -> list[str]:
    kind = ["rapidocr", str(folder)]
    if reader != RAPIDOCR:
        kind = ["graphs", str(folder), str(weights / "onnx"), _GRAPHS[reader]]
    return [sys.executable, read_one_by_one.__file__, *kind]


def _ran(command: list[str]) -> dict[str, Any]:
    """See `bench.experiments.cold_start.spawn`.

    Raises:
        RuntimeError: the command failed.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(_BENCH).parent.parent)}
    launched = [sys.executable, spawn.__file__, *command]
    done = subprocess.run(launched, stdout=subprocess.PIPE, env=environment, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["code"]:
        raise RuntimeError(f"{' '.join(command)} ended with {found['code']}: {found['problem']}")
    return found
