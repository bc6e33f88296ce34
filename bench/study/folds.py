"""Cross-validation of real lines: the default weights, as shipped and adapted to four parts of five, read the fifth.
Identical texts are on one side. What is compared with what, and why: plan.md.

`python -m bench folds FOLDER ...` takes hours, and goes on where it was.
"""

import contextlib
import hashlib
import io
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.engines import LOCAL, Engine
from bench.core.fingerprint import of_weights
from bench.core.store import Store
from bench.study.pipeline import claim
from bench.workloads.held_out import digest
from seqocr import environment
from seqocr.data.folder import LineFolder
from seqocr.errors import InputError
from seqocr.inference.predictions import predict_lines
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress
from seqocr.train.config import TrainConfig
from seqocr.train.recipe import fine_tune, fine_tuning

TABLE = "folds"
PARTS, SEEDS = 5, 3
SHIPPED, ADAPTED = "as shipped", "adapted"
_WHOLE = -1  # fold and seed of what is read as shipped


def parts_of(texts: Sequence[str], seed: int, parts: int = PARTS) -> list[int]:
    """The part of each line, from 0 on. Lines with the same text are in the same part, and parts are as even as that
    allows: texts are dealt out in an order that the seed gives, each to the part with fewest lines."""
    counts, sizes = Counter(texts), [0] * parts
    place: dict[str, int] = {}
    for text in sorted(counts, key=lambda text: hashlib.sha256(f"{seed} {text}".encode()).digest()):
        place[text] = sizes.index(min(sizes))
        sizes[place[text]] += counts[text]
    return [place[text] for text in texts]


def run(
    folders: Sequence[Path], out: Path, runs: Path, engine: Engine = LOCAL, seeds: int = SEEDS, steps: int | None = None
) -> Path:
    """Adapt and read what is missing; what is read so far is in the results after each part.

    Args:
        folders: of labelled lines, each a set by its own name, which may not be that of another.
        out: results folder; the table lies in its folder `study`.
        runs: where readings lie; weights are deleted once they have read their part.
        steps: of each adapting; default: as `seqocr train` adapts.

    Raises:
        InputError: folders cannot be read or have one name, or `runs` has readings of other lines.
    """
    weights, runs = weights_path(None), runs.absolute()  # workers may stand elsewhere
    recognizer = load_recognizer(weights)
    task: Any = {"charset": recognizer.charset, "max_length": recognizer.max_length}
    sets = {folder.resolve().name: LineFolder(folder, **task) for folder in folders}
    if len(sets) < len(folders):
        raise InputError("two folders have one name: give each a name of its own, as results are listed by it")
    config = TrainConfig(**fine_tuning(recognizer.charset))
    config = config if steps is None else replace(config, steps=steps)
    kept, study = Store(runs), Store(out / "study")
    depends = {"weights": of_weights(weights), "steps": config.steps, "parts": PARTS}
    lines = {name: digest(folder) for name, folder in sets.items()}
    for name, value in lines.items():
        claim(kept, f"{TABLE}-{name}", {**depends, "lines": value}, f"other lines called {name}, or other weights")
    todo = [(name, seed, part) for name in sets for seed, part in [(_WHOLE, _WHOLE), *_parts(seeds)]]
    missing = [each for each in todo if not kept.has(_table(*each))]
    with progress("cross-validation", len(todo)) as reporter, engine.workers(runs) as pool:
        reporter.advance(steps=len(todo) - len(missing))
        if not missing:
            _write(study, kept, todo, depends, lines)
        jobs = [pool.submit(_read_part, sets[name], (name, seed, part), config, runs) for name, seed, part in missing]
        for future in as_completed(jobs):
            reporter.advance(future.result())
            _write(study, kept, todo, depends, lines)
    return study.folder


def _write(
    study: Store, kept: Store, todo: list[tuple[str, int, int]], depends: dict[str, Any], lines: dict[str, str]
) -> None:
    """What has been read so far, beside other sets that were read by the same weights before."""
    facts, there = study.facts(TABLE), [kept.read(_table(*each)) for each in todo if kept.has(_table(*each))]
    others: dict[str, Any] = {}
    if facts.get("depends") == depends and study.has(TABLE):
        rows = study.read(TABLE)
        there.insert(0, rows[~rows["set"].isin(lines)])
        others = {name: about for name, about in facts["sets"].items() if name not in lines}
    rows = pd.concat(there, ignore_index=True)
    study.write(TABLE, rows)
    whole = {name: sum(each[0] == name for each in todo) for name in lines}
    read = rows.drop_duplicates(["set", "seed", "part"])["set"].value_counts()
    about = {
        name: {"lines": lines[name], "readings": int(read[name]), "of": whole[name]} for name in lines if name in read
    }
    commits = [*rows["commit"].unique()]
    facts = {"depends": depends, "sets": others | about, "commit": commits[-1], "commits": commits}
    study.write_facts(TABLE, {**facts, "environment": environment.describe(), "sums": study.sums(TABLE)})


def _parts(seeds: int) -> list[tuple[int, int]]:
    return [(seed, part) for seed in range(seeds) for part in range(PARTS)]


def _read_part(lines: LineFolder, which: tuple[str, int, int], config: TrainConfig, runs: Path) -> str:
    name, seed, part = which
    recognizer, phase = load_recognizer(weights_path(None)), SHIPPED
    held_out, tuned = lines, runs / f"{name}-{seed}-{part}"
    if seed != _WHOLE:
        place = parts_of([line.text for line in lines.lines], seed)
        learned, held_out = (
            lines.from_lines(
                lines.directory,
                [line for line, here in zip(lines.lines, place, strict=True) if (here == part) == is_held_out],
                lines.charset,
            )
            for is_held_out in (False, True)
        )
        with contextlib.redirect_stderr(io.StringIO()):  # all parts together have a bar
            recognizer = fine_tune(recognizer, learned, tuned, config=replace(config, seed=seed))
        phase = ADAPTED
    rows = _predictions(recognizer, held_out).assign(set=name, seed=seed, part=part, phase=phase)
    rows["commit"] = environment.commit()
    Store(runs).write(_table(*which), rows)
    shutil.rmtree(tuned, ignore_errors=True)
    return f"{name}, {phase}" + ("" if seed == _WHOLE else f", seed {seed}, part {part + 1} of {PARTS}")


def _predictions(recognizer: Recognizer, lines: LineFolder) -> pd.DataFrame:
    """One row per line and head: the line's `name`, `head`, `text` and `prediction`."""
    read = predict_lines(recognizer, lines, quiet=True, calibrate=False)
    return read.assign(name=[lines.lines[i].name for i in read["index"]])[["name", "head", "text", "prediction"]]


def _table(name: str, seed: int, part: int) -> str:
    return f"{TABLE}-{name}-{seed}-{part}"
