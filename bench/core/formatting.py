"""Numbers and tables as the report writes them; each function is also a filter of its templates."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from seqocr.statistics import Value

UNSTEADY = 0.1  # half an interval, as a share of its estimate, from which a time is marked


def estimates(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A table for tables/*.csv: an estimate takes three columns, NAME, NAME_low and NAME_high."""
    return pd.DataFrame(
        {
            column: number
            for name, value in row.items()
            for column, number in (value.columns(name) if isinstance(value, Value) else {name: value}).items()
        }
        for row in rows
    )


def markdown_table(rows: pd.DataFrame) -> str:
    """A Markdown table; numbers to the right."""
    head = "| " + " | ".join(rows.columns) + " |"
    rule = "|" + "|".join("---" if i == 0 else "---:" for i in range(len(rows.columns))) + "|"
    lines = ["| " + " | ".join(str(value) for value in row) + " |" for row in rows.itertuples(index=False)]
    return "\n".join([head, rule, *lines])


def code(names: Iterable[str]) -> str:
    """`a`, `b` and `c`."""
    return listed(f"`{name}`" for name in names)


def is_unsteady(value: Value) -> bool:
    return (value.high - value.low) / 2 > UNSTEADY * abs(value.estimate)


def digits(number: float, count: int = 3) -> str:
    """To so many significant digits, without an exponent."""
    if number == 0 or abs(number) < 5e-5:
        return "0"
    if abs(number) >= 10 ** (count - 1):
        return f"{number:,.0f}"
    return f"{number:.{count}g}"


def time(value: Value, unit: str = "") -> str:
    """A time or a rate with its interval; marked where the interval is wide."""
    shown = f"{digits(value.estimate)}{unit} ({digits(value.low)} to {digits(value.high)})"
    return f"{shown} ≈" if is_unsteady(value) else shown


def ratio(value: Value) -> str:
    """A ratio with its interval; marked where the interval is wide."""
    shown = f"{value.estimate:.2f} ({value.low:.2f} to {value.high:.2f})"
    return f"{shown} ≈" if is_unsteady(value) else shown


def percent(number: float, places: int = 1) -> str:
    return f"{number * 100:.{places}f} %"


def share(value: Value, places: int = 1) -> str:
    """A proportion with its interval, which may not leave 0 to 100 %."""
    low, high = max(0.0, value.low), min(1.0, value.high)
    return f"{percent(value.estimate, places)} ({low * 100:.{places}f} to {high * 100:.{places}f})"


def points(value: Value) -> str:
    """A difference of proportions in percentage points, with its interval if it has one: one training has none."""
    if not math.isfinite(value.low):
        return f"{value.estimate * 100:+.2f}"
    return f"{value.estimate * 100:+.2f} ({value.low * 100:+.2f} to {value.high * 100:+.2f})"


def si(number: float) -> str:
    """12345678 -> 12.3 M."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:.0f}"


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def not_run(reasons: dict[str, str]) -> str:
    """Names that were not run, grouped by reason; empty if all were."""
    of = {why: [name for name in reasons if reasons[name] == why] for why in dict.fromkeys(reasons.values())}
    return f"Not run: {'; '.join(f'{listed(names)} ({why})' for why, names in of.items())}." if of else ""
