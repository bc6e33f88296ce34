"""Cold start: seconds from the start of a process to its first text, its memory, and its speed from then on."""

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
from bench.core.experiment import DEPLOYMENT, Bench, Experiment, Part, Section
from bench.core.fingerprint import of_graph_files
from bench.core.formatting import estimates, not_run, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, Rounds, counted
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
_SLOWER = 10  # RapidOCR takes longer per line: it reads so many times fewer of a folder

# Estimates of a reader: the column of its rows, a factor, and what the report calls it.
_COLUMNS = {
    "first": ("first", 1.0, "first text after, s"),  # since the start of the process
    "mb": ("megabytes", 1.0, "memory, MB"),
    "ms": ("alone", 1e3, "ms per line"),  # from the file to its text, in a process that runs
    "rate": ("rate", 1.0, "lines per second"),  # of a folder, without the start of the process
}


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    many: lines of a folder.
    graphs: digest of the graph files; empty where there are none.
    """

    many: int
    graphs: str = ""


@dataclass(frozen=True)
class Results:
    """Attributes:
    rows: one per round and reader. missing: why readers were not run.
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
    page, order = DEPLOYMENT, 15
    quantities = tuple(column for column, _, _ in _COLUMNS.values())

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        settings = Settings(_MANY[preset], of_graph_files(bench.reader / "onnx"), rounds=_ROUNDS[preset])
        return [Part(self.name, settings, settings.steps, (bench.reader,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A sample is a reader: it reads one line, a folder, and lines one by one, each in a process of its own."""
        settings, folder = part.settings, part.weights[0]
        absent = unavailable([RAPIDOCR])
        if not settings.graphs:
            absent |= dict.fromkeys(_GRAPHS, "no graphs beside these weights")
        bench.store.add_facts(part.name, missing=absent)
        readers = [name for name in (*_GRAPHS, WEIGHTS, RAPIDOCR) if name not in absent]
        with TemporaryDirectory() as scratch:
            counts = (1, _ALONE, settings.many // _SLOWER, settings.many)
            folders = {count: Path(scratch) / f"{count}-lines" for count in counts}
            _write_lines(folders)

            def sample(reader: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
                yield {"reader": reader, **_measure(reader, folder, folders, settings.many)}

            bench.measure_rounds(part, readers, sample, reporter)

    def results(self, store: Store) -> Results | None:
        rows = self.rows(store)
        return Results(rows[self.name], store.facts(self.name)["missing"]) if rows else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"start": estimates({"reader": reader, **results.values(reader)} for reader in results.readers)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        table = pd.DataFrame(
            {"reader": reader} | {_COLUMNS[name][2]: time(value) for name, value in results.values(reader).items()}
            for reader in results.readers
        )
        table = table.reindex(columns=["reader", *(said for _, _, said in _COLUMNS.values())]).fillna("")
        details = {"Readers that are not here": absent} if (absent := not_run(results.missing)) else {}
        return [Section("Cold start", prose("start"), None, table, details)]


EXPERIMENT = Start()


def _write_lines(folders: Mapping[int, Path]) -> None:
    """Lines of `wild` of five digits, in each folder as many as its key."""
    strings = level_strings(held_out_digits(), "wild", 5, max(folders))
    lines = [np.asarray(strings[i][0]) for i in range(len(strings))]
    for count, folder in folders.items():
        folder.mkdir()
        for i in range(count):
            Image.fromarray(lines[i % len(lines)]).save(folder / f"{i:05}.png")


def _measure(reader: str, weights: Path, folders: Mapping[int, Path], many: int) -> dict[str, float]:
    """A row of a reader: see `_COLUMNS`."""
    if reader == RAPIDOCR:  # has no command for folders
        one = _run(_one_by_one(reader, weights, folders[1], "--first"))
        many //= _SLOWER
        whole = _run(_one_by_one(reader, weights, folders[many]))["seconds"]
        more = many  # it reads the first line of a folder twice
    else:
        one, whole = (
            _run(_command(reader, weights, folders[1])),
            _run(_command(reader, weights, folders[many]))["seconds"],
        )
        more = many - 1
    found = {name: one[name] for name in ("first", "megabytes", "seconds")}
    if reader != WEIGHTS:
        found["alone"] = median(json.loads(_run(_one_by_one(reader, weights, folders[_ALONE]))["output"]))
    found["rate"] = more / (whole - one["seconds"]) if whole > one["seconds"] else math.nan
    return found


def _command(reader: str, weights: Path, folder: Path) -> list[str]:
    """What a person would type, to read a folder."""
    directory = weights if reader == WEIGHTS else weights / "onnx"
    where = ["--weights", str(directory), "--device", "cpu", "--head", _GRAPHS.get(reader, _DEFAULT)]
    return [sys.executable, "-m", "seqocr", "read", str(folder), *where]


def _one_by_one(reader: str, weights: Path, folder: Path, *more: str) -> list[str]:
    which = ["rapidocr", str(folder)]
    if reader != RAPIDOCR:
        which = ["graphs", str(folder), str(weights / "onnx"), _GRAPHS[reader]]
    return [sys.executable, read_one_by_one.__file__, *which, *more]


def _run(command: list[str]) -> dict[str, Any]:
    """See `spawn.run`.

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
