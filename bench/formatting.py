"""Numbers and tables as the report writes them."""

from __future__ import annotations

from typing import Any

import pandas as pd


def markdown_table(table: pd.DataFrame) -> str:
    """A Markdown table; numbers to the right."""
    head = "| " + " | ".join(table.columns) + " |"
    rule = "|" + "|".join("---" if i == 0 else "---:" for i in range(len(table.columns))) + "|"
    rows = ["| " + " | ".join(str(value) for value in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, rule, *rows])


def interval(fit: Any) -> str:
    """A slope with its confidence interval."""
    return f"{signed(fit['b_ms'])} ({signed(fit['b_low'])} to {signed(fit['b_high'])})"


def signed(value: float) -> str:
    """Milliseconds that may be near zero or below it, to three digits."""
    return f"{value:.3g}" if abs(value) >= 1e-4 else "0"


def milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def percent(value: float) -> str:
    return f"{value * 100:.2f} %"


def proportion(row: Any, name: str) -> str:
    """A proportion with its confidence interval, from columns NAME, NAME_low and NAME_high."""
    return f"{percent(row[name])} ({percent(row[f'{name}_low'])} to {percent(row[f'{name}_high'])})"


def points(row: Any) -> str:
    """A difference of proportions in percentage points, with its confidence interval."""
    return f"{row['difference'] * 100:+.2f} ({row['low'] * 100:+.2f} to {row['high'] * 100:+.2f})"


def ratio(row: Any) -> str:
    return f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def si(value: float) -> str:
    """12345678 -> 12.3 M."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f}"
