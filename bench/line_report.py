"""From the saved readings of `bench.lines` to the tables and pictures of the report. Nothing here measures.

All intervals are 95 %: Wilson's for proportions; for milliseconds, of the median, by its order statistics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rapidfuzz.distance import Levenshtein
from scipy import stats

from bench import plots
from bench.formatting import milliseconds, percent, points, proportion
from bench.plan import HEADS
from bench.store import Store
from seqocr import evaluation
from seqocr.data.levels import LEVELS
from seqocr.files import replacing

SURE = 0.9  # confidence from which a text is kept, where some are left to people
_EDITS = {"substituted": "replace", "missed": "delete", "invented": "insert"}  # and what rapidfuzz calls them


class LineResults:
    """Tables of a run of `bench.lines`.

    Attributes:
        levels: one row a level and head, over all lengths.
        pairs: one row a level and pair of heads, on the same strings (see `evaluation.comparisons`).
        lengths: one row a level, length and head.
        real: one row a reader of real lines; empty if there were none.
        trust: one row a level or phase of real lines, and head: how far its confidence can be trusted (see `trust`).
    """

    sure = SURE

    def __init__(self, store: Store) -> None:
        self.store, self.facts = store, store.facts()
        read = store.read("levels")
        self.levels = _rows(read, ["level", "head"])
        self.lengths = _rows(read, ["level", "length", "head"])
        # A string is one of its length.
        apart = read.assign(index=read["length"].astype(str) + "/" + read["index"].astype(str))
        of_level = {level: evaluation.comparisons(part) for level, part in apart.groupby("level", sort=False)}
        self.pairs = pd.concat([part.assign(level=level) for level, part in of_level.items()], ignore_index=True)
        self.real, self.trust = pd.DataFrame(), trust(read.rename(columns={"level": "lines"}))
        if store.has("real"):
            real = store.read("real")
            self.real = _rows(real, ["phase", "reader"])
            ordered = real.sort_values(["phase", "reader"], ascending=[False, True], kind="stable")
            named = ordered.rename(columns={"reader": "head"}).assign(lines="real, " + ordered["phase"])
            self.trust = pd.concat([self.trust, trust(named)], ignore_index=True)

    def tables(self) -> dict[str, pd.DataFrame]:
        return {name: value for name, value in vars(self).items() if isinstance(value, pd.DataFrame) and len(value)}

    def draw(self, folder: Path) -> None:
        """The plot of accuracy against length, and the levels' contact sheets."""
        plots.save("lengths", self.plot, folder)
        for level in LEVELS:
            with replacing(folder / f"{level}.png") as temporary:
                temporary.write_bytes(self.store.path(f"{level}.png").read_bytes())

    def plot(self) -> Figure:
        """Exact match against length, one panel a level."""
        figure, axes = plots.panels(len(LEVELS), 3.6, 3.2, columns=len(LEVELS))
        for axis, level in zip(axes, LEVELS, strict=True):
            for head in HEADS:
                part = self.lengths[(self.lengths["level"] == level) & (self.lengths["head"] == head)]
                shown = part.assign(**{name: part[name] * 100 for name in ("exact", "exact_low", "exact_high")})
                plots.curve(axis, head, shown, "length", "exact", "exact_low", "exact_high")
            axis.set_title(level, fontsize=10)
            axis.set_ylim(0, 101)
            axis.set_xticks(sorted(self.lengths["length"].unique()))
            axis.set_xlabel("digits in the string")
            axis.set_ylabel("exact match, %")
        figure.suptitle("Accuracy against length at every level (95 % CI)", fontsize=11)
        plots.legend(figure, list(HEADS))
        return figure

    def answer(self) -> str:
        """What follows for someone who must choose, in words."""
        said = []
        for level in LEVELS:
            part = self.levels[self.levels["level"] == level]
            best, worst = part.loc[part["exact"].idxmax()], part.loc[part["exact"].idxmin()]
            said.append(f"`{level}` {_read_by(best)}, `{worst['head']}` {percent(worst['exact'])}")
        text = f"**Any length** from 1 to {self.lengths['length'].max()}, best and worst head: {'; '.join(said)}."
        harder = self.pairs[(self.pairs["head"] == "ar") & (self.pairs["level"] != "grid")]
        named = [f"{points(row)} over `{row['other']}` at `{row['level']}`" for row in harder.to_dict("records")]
        if (harder["low"] > 0).all():
            text += f" **Autoregression reads harder lines better**, in points of exact match: {', '.join(named)}."
        else:
            text += f" `ar`, in points of exact match: {', '.join(named)}."
        if len(self.real):
            best_of = [part.loc[part["exact"].idxmax()] for _, part in self.real.groupby("phase", sort=False)]
            listed = "; ".join(f"{row['phase']} {_read_by(row, 'reader')}" for row in best_of)
            text += f" **Real lines**, the best that reads so: {listed}."
        return text

    def level_table(self) -> pd.DataFrame:
        return pd.DataFrame(
            {"level": row["level"], "head": f"`{row['head']}`", **_shown(row)} for row in self.levels.to_dict("records")
        )

    def trust_table(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "lines": row["lines"],
                "head": f"`{row['head']}`",
                "ECE": f"{row['ece']:.4f}",
                "right": percent(row["exact"]),
                f"confidence ≥ {SURE}": percent(row["sure"]),
                "right of those": proportion(row, "sure_exact") if row["sure"] else "",
            }
            for row in self.trust.to_dict("records")
        )

    def real_table(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "reader": f"`{row['reader']}`" if row["reader"] in HEADS else row["reader"],
                "": row["phase"],
                **_shown(row),
                "ms a line": f"{milliseconds(row['ms'])} ({milliseconds(row['ms_low'])} to "
                f"{milliseconds(row['ms_high'])})",
            }
            for row in self.real.sort_values("exact", ascending=False, kind="stable").to_dict("records")
        )


def _rows(read: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row a group: strings, exact match with its interval, CER, edits of each kind, and milliseconds if timed."""
    rows = []
    for key, table in read.groupby(keys, sort=False):
        right = int((table["text"] == table["prediction"]).sum())
        low, high = evaluation.wilson(right, len(table))
        row: dict[str, Any] = dict(zip(keys, key, strict=True))
        row |= {"strings": len(table), "exact": right / len(table), "exact_low": low, "exact_high": high}
        times = _median(table["seconds"]) if "seconds" in table else {}
        rows.append(row | edit_rates(table) | {"cer": evaluation.character_error_rate(table)} | times)
    return pd.DataFrame(rows)


def trust(read: pd.DataFrame) -> pd.DataFrame:
    """One row for each of `lines` and head with a confidence: what is gained by keeping only the texts it is sure of.

    `ece` is `evaluation.expected_calibration_error`; `sure` is the share of lines with a confidence of at least `SURE`,
    `sure_exact` the exact match of those, `exact` of all.
    """
    rows = []
    read = read.reindex(columns=["lines", "head", "text", "prediction", "confidence"])  # earlier runs have none
    for (lines, head), table in read.dropna(subset="confidence").groupby(["lines", "head"], sort=False):
        right, confidences = (table["text"] == table["prediction"]).to_numpy(), table["confidence"].to_numpy()
        sure = confidences >= SURE
        low, high = evaluation.wilson(int(right[sure].sum()), int(sure.sum())) if sure.any() else (0.0, 1.0)
        row = {"lines": lines, "head": head, "strings": len(table), "exact": right.mean(), "sure": sure.mean()}
        row |= {"sure_exact": right[sure].mean() if sure.any() else np.nan, "sure_exact_low": low}
        ece = evaluation.expected_calibration_error(confidences, right)
        rows.append(row | {"sure_exact_high": high, "ece": ece})
    return pd.DataFrame(rows)


def edit_rates(read: pd.DataFrame) -> dict[str, float]:
    """Substituted, missed and invented symbols, as shares of the symbols that there are."""
    symbols = read["text"].str.len().sum()
    edits = [
        edit.tag for pair in zip(read["text"], read["prediction"], strict=True) for edit in Levenshtein.editops(*pair)
    ]
    return {name: edits.count(tag) / symbols for name, tag in _EDITS.items()}


def _read_by(row: Any, name: str = "head") -> str:
    who = f"`{row[name]}`" if row[name] in HEADS else row[name]
    return f"{who} {proportion(row, 'exact')}"


def _median(seconds: pd.Series) -> dict[str, float]:
    """Median milliseconds with the interval between the order statistics that a binomial puts 95 % between."""
    values = np.sort(seconds.to_numpy()) * 1e3
    low, high = stats.binom.interval(0.95, len(values), 0.5)
    last = len(values) - 1
    return {"ms": float(np.median(values)), "ms_low": values[int(low)], "ms_high": values[min(int(high), last)]}


def _shown(row: dict[str, Any]) -> dict[str, str]:
    return {
        "strings": f"{row['strings']:,}",
        "exact match": proportion(row, "exact"),
        "CER": percent(row["cer"]),
        **{name: percent(row[name]) for name in _EDITS},
    }
