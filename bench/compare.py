"""Two runs side by side: of other machines, commits or libraries, or of somebody else.

An experiment declares which columns of its tables name a quantity and which hold one; predictions have exact match.
"""

from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from bench.core.damages import check
from bench.core.experiment import Experiment
from bench.core.formatting import estimates, listed
from bench.core.store import IDENTITY, Store, changed_dependencies
from bench.core.timer import ByRound
from bench.experiments import experiments
from bench.report.comparison import EXACT
from seqocr import statistics
from seqocr.errors import InputError
from seqocr.statistics import Value

_SHOWN = ("preset", "finished", "cpu", "cores", "threads", "torch", "commit")  # of a run, also where runs agree
_ROUNDS = {"round", "warmup", "counts"}  # columns of a table that was measured in rounds
_UNITS = ("index", "length", "text")  # columns that name a line


def run_in(folder: Path) -> Store:
    """`Store.within`, of a run that is not damaged.

    Raises:
        InputError: it is, or there is none.
    """
    store = Store.within(folder)
    check(store)
    if not isinstance(store.facts("run").get("environment"), dict):
        raise InputError(f"{store.folder / 'run.json'} names no machine: copy the run again")
    return store


def compare(*runs: Store) -> tuple[pd.DataFrame, Table, list[str]]:
    """Compare what both of two runs have.

    Returns:
        one row per quantity: `a` and `b` (medians, counts or shares), `change` (b over a; of exact match, b minus a)
        with its interval, and whether it `differs` at the 5 % level; where each run was measured; what was not the same
        then, and what is not compared.

    Raises:
        InputError: they have nothing in common.
    """
    kinds = {each.name: each for each in experiments()}
    parts = [[p for p in run.parts() if run.facts(p).get("finished") and run.has(p)] for run in runs]
    both = [part for part in parts[0] if part in parts[1]]
    found = {part: [*_rows(part, kinds.get(part.split("-")[0], Experiment()), runs)] for part in both}
    if not any(found.values()):
        raise InputError(f"{runs[0].folder} and {runs[1].folder} have no quantity in common: nothing to compare")
    machines = [[run.environment(part) for part in both] for run in runs]
    other = [n for n in (*IDENTITY, "commit") if any(x.get(n) != y.get(n) for x, y in zip(*machines, strict=True))]
    changed = {part: changed_dependencies(*(run.facts(part).get("depends", {}) for run in runs)) for part in both}
    notes = {
        "measured with another": other,
        "with other settings or weights": [f"{part} ({', '.join(names)})" for part, names in changed.items() if names],
        "only in A": [part for part in parts[0] if part not in both],
        "only in B": [part for part in parts[1] if part not in both],
        "not compared, measured neither in rounds nor line by line": [part for part in both if not found[part]],
    }
    about = Table("", "A", "B")
    facts = [{**run.facts("run"), **run.facts("run")["environment"]} for run in runs]
    commits = [listed(dict.fromkeys(str(machine["commit"]) for machine in of_run)) for of_run in machines]
    for name in dict.fromkeys((*_SHOWN, *other)):
        about.add_row(name, *map(Text, commits if name == "commit" else (str(each.get(name)) for each in facts)))
    rows = estimates(row for rows in found.values() for row in rows)
    return rows, about, [f"{said}: {listed(names)}" for said, names in notes.items() if names]


def _rows(part: str, experiment: Experiment, runs: tuple[Store, ...]) -> Iterator[dict[str, Any]]:
    tables = [run.read(part) for run in runs]
    shared = set(tables[0].columns) & set(tables[1].columns)
    lines = shared >= {"text", "prediction"}
    names = [name for name in experiment.names if name in shared and not (lines and name in _UNITS)]
    units = [name for name in _UNITS if name in shared and lines]
    quantities = experiment.counts + experiment.quantities * (lines or shared >= _ROUNDS) + (EXACT,) * lines
    for quantity in (each for each in quantities if names and each in {*shared, EXACT}):
        a, b = (_samples(rows, names, units, quantity) for rows in tables)
        for key in sorted(a.keys() & b.keys()):
            values = zip(names, key if isinstance(key, tuple) else (key,), strict=True)
            what = ", ".join(value if isinstance(value, str) else f"{name} {value}" for name, value in values)
            compared = _compared(a[key], b[key], quantity, quantity in experiment.counts)
            yield {"part": part, "what": what, "quantity": quantity, **compared}


def _samples(rows: pd.DataFrame, names: list[str], units: list[str], quantity: str) -> dict[Any, pd.Series]:
    """By key: a number per line, with `units` as index, or per round; or one count."""
    rounds = not units and set(rows.columns) >= _ROUNDS
    if quantity == EXACT:
        rows = rows.assign(value=rows["text"] == rows["prediction"])
    else:
        rows = rows.assign(value=pd.to_numeric(rows[quantity], errors="coerce") / rows.get("strings", 1))
        rows = rows[rows["value"].between(0, inf, "neither" if units or rounds else "left")]
    if rounds:
        by = ByRound(rows, names, "value")
        return {key: pd.Series(by(key)[0]) for key in by.keys}
    return {key: group["value"] for key, group in (rows.set_index(units) if units else rows).groupby(names)}


def _compared(a: pd.Series, b: pd.Series, quantity: str, exact: bool) -> dict[str, Any]:
    """The last columns of a row of `compare`."""
    same = a.index.intersection(b.index)
    if paired := "text" in same.names and a.index.is_unique and b.index.is_unique and len(same) == min(len(a), len(b)):
        a, b = a[same], b[same]  # the same lines of both
    if quantity == EXACT:
        shares = [statistics.proportion(int(right.sum()), len(right)) for right in (b, a)]
        found = statistics.paired_difference(b, a) if paired else None
        change = found.difference if found else statistics.unpaired_difference(*shares)
        differs = not change.low <= 0 <= change.high and (found is None or found.p_value < 0.05)
        return {"a": shares[1].estimate, "b": shares[0].estimate, "change": change, "differs": differs}
    numbers = {"a": float(a.median()), "b": float(b.median())}
    if exact:
        ratio = 1.0 if numbers["a"] == numbers["b"] else numbers["b"] / numbers["a"] if numbers["a"] else inf
        return {**numbers, "change": Value(ratio, ratio, ratio, 1), "differs": ratio != 1}
    change = statistics.ratio(b, a) if paired else statistics.median_ratio(b, a)
    return {**numbers, "change": change, "differs": not change.low <= 1 <= change.high}
