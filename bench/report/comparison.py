"""What `bench compare` prints."""

from collections.abc import Callable
from functools import partial
from math import inf

import pandas as pd
from rich.table import Table
from rich.text import Text

from bench.core.formatting import digits, percent, points, si
from bench.core.store import Store
from bench.report import repeats
from seqocr.statistics import Value

EXACT = "exact match"  # a quantity of tables of predictions
_SECONDS = ("seconds", "first", "alone")  # columns in seconds


def table_of(rows: pd.DataFrame) -> Table:
    """What `compare` found, by part, for people."""
    table = Table("what", "A", "B", "B / A, or B - A in points")
    for part, group in rows.groupby("part", sort=False):
        table.add_section()
        table.add_row(Text(str(part), "bold"))
        for row in group.to_dict("records"):
            change, quantity = Value.of(row, "change"), row["quantity"]
            shown: Callable[[float], str] = digits
            what = row["what"] if quantity in ("seconds", EXACT) else f"{row['what']}, {quantity}"
            said = f"{change.estimate:.2f} ({change.low:.2f} to {change.high:.2f})"
            if quantity == EXACT:
                shown, said = partial(percent, places=2), points(change)
            elif quantity in _SECONDS:
                shown = _milliseconds
            elif change.low == change.high:
                shown, said = si, f"{change.estimate:.4g}"
            table.add_row(*map(Text, (what, shown(row["a"]), shown(row["b"]), said)))
    return table


def _milliseconds(seconds: float) -> str:
    return f"{digits(seconds * 1e3)} ms"


def summary(rows: pd.DataFrame, *runs: Store) -> list[str]:
    """How many quantities differ, and what intervals leave out."""
    differ, few = rows["differs"].sum(), (rows["change_low"].eq(0) & rows["change_high"].eq(inf)).sum()
    chance = 0.05 * ((rows["change_low"] < rows["change_high"]).sum() - few)
    moved = [found.moved for run in runs if (found := repeats.summary(run.folder.parent.parent))]
    said = f" (in repeated sessions, ratios within a run moved by up to {max(moved):.0%})" if moved else ""
    same = f"{len(rows) - differ:,} do not (--all shows them), {few:,} of these with fewer than six rounds"
    return [
        f"{len(rows):,} quantities: {differ:,} differ at the 5 % level, {same}",
        f"if nothing differed, up to {chance:.0f} would by chance",
        f"a run is one session: intervals leave out the variance between sessions{said}",
    ]
