"""How fast does each head learn a label distribution? Heads that are trained alone, together or guided by another, read
while they learn. What is compared with what, and why: plan.md.

`python -m bench curves` takes hours, and goes on where it was.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.core.engines import LOCAL, Engine
from bench.core.store import Store
from bench.study import training
from bench.study.design import HEADS as BASE_HEADS
from bench.study.design import Size, Training
from bench.study.label_distributions import LabelDistribution, count_form
from bench.study.pipeline import claim, depends, opened
from bench.study.predictions import read_cell, read_oracles, read_under_forms, unread_lines
from seqocr import environment
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress

TABLE = "curves"
HEADS = ("ar", "ar-1layer", "ar-rtl", "parallel", "slots", "ctc")
# Trained together: each alone, all, and one-pass heads that `ar` guides.
GROUPS = (*((name,) for name in HEADS), HEADS, ("ar", "parallel"), ("ar", "ctc"))
ORACLES = "oracles"  # in place of a training's name
_SAYS = "parallel"  # the head of the base that tells oracle readers what an image says by itself
KNOWN, COUNTED = "known form", "counted form"


@dataclass(frozen=True)
class Curves:
    """How much is trained and read.

    Attributes:
        steps: of each training, by label distribution, those that come first first.
        first: steps that all are trained before any goes further.
        read_after: steps after which every training reads; heads alone read under forms after the first and the last.
        seeds: trainings of each kind.
        damages: names, of `bench.study.design.DAMAGES`; strings: read of each.
        batch: of the trainings; base_steps, base_batch: of the one that all start from.
    """

    steps: dict[str, int]
    first: int
    read_after: tuple[int, ...]
    seeds: int
    damages: tuple[str, ...]
    strings: int
    batch: int
    base_steps: int
    base_batch: int

    def trainings(self) -> list[Training]:
        """Label distribution by label distribution, and seed by seed: what is cut short has whole comparisons."""
        kinds = product(self.steps, range(self.seeds), GROUPS)
        return [Training(labels, seed, heads) for labels, seed, heads in kinds]

    @property
    def base(self) -> Size:
        return Size({}, (), self.base_steps, 0, 0, None, (), self.base_batch, self.batch)


SIZES = {
    "smoke": Curves({"lexicon-100": 4, "amounts": 2}, 2, (1, 2, 4), 1, ("clean", "erased 60%"), 20, 8, 2, 8),
    "full": Curves(
        steps={"lexicon-100": 16_000, "amounts": 4000, "markov-0.5": 4000},
        first=4000,
        read_after=(250, 500, 1000, 2000, 4000, 8000, 16_000),
        seeds=3,
        damages=("clean", "erased 60%", "erased first 40%", "erased last 40%", "noisy 30%"),
        strings=1000,
        batch=32,
        base_steps=3000,
        base_batch=64,
    ),
}


def run(preset: str, out: Path, runs: Path, engine: Engine = LOCAL) -> Path:
    """Train and read what is missing; what is read so far is in the results after each training.

    Args:
        out: results folder; the table lies in its folder `study`, of small ones in `study-PRESET`.
        runs: where recognizers are kept, and the readings of each.

    Returns:
        the table's folder.

    Raises:
        InputError: there is no such preset, or `runs` holds recognizers of another size.
    """
    runs = runs.absolute()  # workers may stand elsewhere
    size, kept, study = opened(preset, SIZES, runs, out)
    claim(kept, TABLE, depends(size), "other curves")
    trainings = size.trainings()
    with progress(f"curves {preset}", 1 + 2 * len(trainings)) as reporter, engine.workers(runs) as pool:
        _take_over(study, size, kept)
        training.train_base(size.base, runs, BASE_HEADS)
        reporter.advance(training.BASE)
        _write(size, kept, study)
        for until in (size.first, max(size.steps.values())):
            todo = [each for each in trainings if not is_read(each, size, kept, until)]
            reporter.advance(steps=len(trainings) - len(todo))
            for future in as_completed([pool.submit(learn, each, size, runs, until) for each in todo]):
                reporter.advance(future.result())
                _write(size, kept, study)
    return study.folder


def is_read(each: Training, size: Curves, kept: Store, until: int) -> bool:
    """Whether what a training reads in so many steps, or fewer if it ends before, is there; its weights need not be."""
    return kept.has(_table(each)) and _has_steps(kept.read(_table(each)), min(until, size.steps[each.labels]))


def _has_steps(rows: pd.DataFrame, steps: int) -> bool:
    return bool((rows["steps"] >= steps).any())


def _take_over(study: Store, size: Curves, kept: Store) -> None:
    """What lies in the results is neither trained nor read again where `runs` lacks it, and what is added starts from
    the same base.

    Raises:
        InputError: `runs` has a base of its own.
    """
    if study.facts(TABLE).get("depends") != depends(size):
        return
    base, own = study.folder / training.BASE, kept.folder / training.BASE
    if own.exists() and not _same_encoder(base, own):
        raise InputError(
            f"{own} is another base than {base}, from which heads in the results have learned: give another --runs, or "
            f"delete {own.parent}"
        )
    rows = study.read(TABLE)
    is_oracle = rows["training"] == ORACLES
    tables = {_oracle_table(*of): found for of, found in rows[is_oracle].groupby(["labels", "seed"])}
    tables |= {f"{TABLE}-{name}": found for name, found in rows[~is_oracle].groupby("training")}
    for name, found in tables.items():
        if not kept.has(name):
            kept.write(name, found)
    if not own.exists():
        save(load_recognizer(base), own)


def _same_encoder(*folders: Path) -> bool:
    one, other = (load_recognizer(folder).encoder.state_dict() for folder in folders)
    return all(torch.equal(weights, other[name]) for name, weights in one.items())


class _FarEnough(Exception):
    """A training is to stop here, and to go on later from its last saved state."""


def learn(each: Training, size: Curves, runs: Path, until: int) -> str:
    """One training, read on the way, of so many steps; goes on where it was cut short."""
    kept, steps = Store(runs), size.steps[each.labels]
    rows = kept.read(_table(each)).to_dict("records") if kept.has(_table(each)) else []

    def read(recognizer: Recognizer, after: int) -> None:
        nonlocal rows
        if after > until:
            raise _FarEnough
        if after in size.read_after or after == steps:
            # Where a training was cut short, or its weights were lost, steps are taken again.
            rows = [row for row in rows if row["steps"] != after] + list(_readings(recognizer, each, after, size))
            rows.sort(key=lambda row: row["steps"])
            kept.write(_table(each), pd.DataFrame(rows))

    # All trainings together have a bar.
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(_FarEnough):
        trainer = training.curve_trainer(each, steps, size.batch, runs, lambda t, after: read(t.averaged, after))
        trainer.fit_or_load()
    return f"learned {each.name}"


@torch.inference_mode()
def _readings(recognizer: Recognizer, each: Training, after: int, size: Curves) -> Iterator[dict[str, Any]]:
    was_training = recognizer.training
    recognizer.eval()
    ends = after in (size.first, size.steps[each.labels])
    alone = each.heads in (("ar",), ("parallel",))
    forms = _forms(each, after * size.batch) if ends and alone else {}
    of = {"training": each.name, "labels": each.labels, "heads": "+".join(each.heads), "seed": each.seed}
    of["commit"] = environment.commit()
    for damage in size.damages:
        lines = unread_lines(each.labels, damage, each.seed, size.strings)
        found = [*read_cell(recognizer, lines), *read_under_forms(recognizer, lines, forms)]
        yield from ({**of, "steps": after, "damage": damage, **row} for row in found)
    recognizer.train(was_training)


def _forms(each: Training, strings: int) -> dict[str, LabelDistribution]:
    """The label distribution that a training learned, as it is, and as it looks by the strings that were learned."""
    learned = training.learned_lines(each)
    epochs = [learned.at_epoch(epoch).strings for epoch in range(-(-strings // training.EPOCH))]
    return {KNOWN: learned.distribution, COUNTED: count_form(np.concatenate(epochs)[:strings])}


def _table(each: Training) -> str:
    return f"{TABLE}-{each.name}"


def _oracle_table(labels: str, seed: int) -> str:
    return f"{ORACLES}-{labels}-seed{seed}"


def _write(size: Curves, kept: Store, study: Store) -> None:
    """What has been read so far, and beside it what oracle readers read of the same lines."""
    tables = {each: kept.read(_table(each)) for each in size.trainings() if kept.has(_table(each))}
    read = [each for each, rows in tables.items() if _has_steps(rows, min(size.first, size.steps[each.labels]))]
    if not read:
        return
    oracles = [
        _oracles(labels, seed, size, kept) for labels, seed in sorted({(each.labels, each.seed) for each in read})
    ]
    if not (study.folder / training.BASE).exists():
        save(load_recognizer(kept.folder / training.BASE).with_heads([_SAYS]), study.folder / training.BASE)
    rows = pd.concat([*oracles, *(tables[each] for each in read)], ignore_index=True)
    study.write(TABLE, rows)
    whole = sum(_has_steps(tables[each], size.steps[each.labels]) for each in read)
    facts = {"depends": depends(size), "trainings": len(read), "whole": whole, "of": len(size.trainings())}
    facts["sums"] = study.sums(TABLE)
    commits = [*rows["commit"].dropna().unique()]
    study.write_facts(TABLE, facts | {"commit": commits[-1], "commits": commits, "environment": environment.describe()})


def _oracles(labels: str, seed: int, size: Curves, kept: Store) -> pd.DataFrame:
    table = _oracle_table(labels, seed)
    if not kept.has(table):
        reference, rows = load_recognizer(kept.folder / training.BASE).eval(), list[dict[str, Any]]()
        for damage in size.damages:
            of = {"training": ORACLES, "labels": labels, "heads": ORACLES, "seed": seed, "steps": 0, "damage": damage}
            with torch.inference_mode():
                rows += [
                    {**of, **row} for row in read_oracles(reference, unread_lines(labels, damage, seed, size.strings))
                ]
        kept.write(table, pd.DataFrame(rows))
    return kept.read(table)
