"""What is damaged in a folder of measurements: what is not as it was written, and numbers that cannot be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.core.sealed import REMEDY
from bench.core.store import Store
from seqocr.errors import InputError
from seqocr.files import file_sum

_MEASURED = ("round", "seconds", "wall", "value", "exact", "flops", "bytes", "strings")
_FLAGS = ("warmup", "counts", "disturbed")  # columns of truth values
_SOMETIMES = ("cpu", "others", "stolen")  # columns that not every measurement has
_TABLE = ".csv.gz"


def check(store: Store) -> None:
    """InputError that names the first file that is damaged."""
    for damage in damages(store):
        raise InputError(damage)


def damages(store: Store) -> Iterator[str]:
    """Facts that cannot be read, and files that are missing or not as they were written; of files without a checksum,
    rows that cannot be read, numbers that are none, times that are negative or infinite."""
    whole: dict[str, dict[str, Any]] = {}
    for name in ["run", *store.parts()]:
        try:
            whole[name] = store.facts(name)
        except InputError as error:
            yield str(error)
    known: set[Path] = set()
    run = whole.get("run", {})
    complete = run.get("parts") if run.get("finished") else None  # none of earlier versions
    for name, facts in whole.items():
        if complete is not None and not store.is_sealed(name):
            yield f"{store.file(name, '.json')} has no checksum: {REMEDY}"
        if "sums" in facts:
            sums = {store.file(each, ""): value for each, value in facts["sums"].items()}
            known |= sums.keys()
            yield from _changed(sums)
        elif facts.get("finished") and "depends" in facts and name != "study" and not store.has(name):
            yield f"{store.file(name, _TABLE)} is missing: {REMEDY}"
    for name in complete or ():
        if not store.file(name, ".json").exists():
            yield f"{store.file(name, '.json')} is missing: {REMEDY}"
    for path in sorted(set(store.folder.glob(f"*{_TABLE}")) - known):
        if known and not store.file(path.name.split(".")[0], ".json").exists():
            yield f"{path} has lost the JSON beside it: {REMEDY}"
        elif complete is not None:  # the JSON beside it is that of another part
            yield f"{path} has no checksum: {REMEDY}"
        yield from _impossible(store, path)


def _changed(sums: dict[Path, str]) -> Iterator[str]:
    for path, value in sums.items():
        if not path.is_file():
            yield f"{path} is missing: {REMEDY}"
        elif file_sum(path) != value:
            yield f"{path} is not as it was written: {REMEDY}"


def _impossible(store: Store, path: Path) -> Iterator[str]:
    try:
        rows = store.read(path.name.removesuffix(_TABLE))
    except InputError as error:
        yield str(error)
        return
    if rows.empty:
        yield f"{path} has no rows: {REMEDY}"
    for name in (name for name in _FLAGS if name in rows.columns and rows[name].dtype != bool):
        yield f"{path} has a {name} that is neither True nor False: {REMEDY}"
    numbers = rows[[name for name in (*_MEASURED, *_SOMETIMES) if name in rows.columns]]
    for name, column in numbers.apply(pd.to_numeric, errors="coerce").items():
        if (name in _MEASURED and column.isna().any()) or np.isinf(column).any():
            yield f"{path} has a {name} that is no number: {REMEDY}"
        elif (column < 0).any():
            yield f"{path} has a {name} below 0: {REMEDY}"
