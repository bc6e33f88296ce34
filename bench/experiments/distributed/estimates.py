"""Differences between trainings by other numbers of processes, as numbers, tables and a plot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting

FIRST = 20  # steps in which rounding has not grown
_STEPS = (FIRST, 50, 100, 200)


@dataclass(frozen=True)
class Results:
    """Attributes:
    losses: of every step, by run. runs: facts by run. weights: of each pair compared, the largest difference.
    """

    settings: dict[str, Any]
    losses: dict[str, list[float]]
    runs: dict[str, dict[str, Any]]
    weights: list[dict[str, Any]]
    environment: dict[str, Any]

    def differences(self, one: str, other: str) -> list[float]:
        """Absolute differences of the losses, step by step."""
        return [abs(a - b) for a, b in zip(self.losses[one], self.losses[other], strict=True)]

    def largest(self, precision: str, steps: int | None = None) -> float:
        """The largest difference of losses in the first steps, or in all."""
        pairs = [each["pair"] for each in self.weights if self.runs[each["pair"][0]]["precision"] == precision]
        return max(max(self.differences(*pair)[:steps]) for pair in pairs)

    def label(self, name: str) -> str:
        run = self.runs[name]
        processes = "1 process" if run["processes"] == 1 else f"{run['processes']} processes"
        return processes + (", one killed" if run["killed_at"] else "")

    def pair_label(self, pair: Sequence[str]) -> str:
        one, other = pair
        return f"{self.runs[one]['precision']}: {self.label(one)} against {self.label(other)}"


def short(difference: float) -> str:
    return "0" if difference == 0 else f"{difference:.1e}" if difference < 0.001 else f"{difference:.2g}"


def differences_table(results: Results) -> pd.DataFrame:
    rows = []
    for each in results.weights:
        differences = results.differences(*each["pair"])
        row = {"largest difference": results.pair_label(each["pair"])}
        row |= {f"of losses, {n} steps": short(max(differences[:n])) for n in _STEPS if n <= len(differences)}
        row["of final weights"] = f"{short(each['difference'])} (largest weight: {each['largest']:.2f})"
        rows.append(row)
    return pd.DataFrame(rows)


def exact_table(results: Results) -> pd.DataFrame:
    """Exact match of the validation strings."""
    what = f"exact match of {results.settings['config']['validation_strings']} strings"
    return pd.DataFrame(
        {
            what: f"{run['precision']}: {results.label(name)}",
            **{f"`{head}`": f"{value:.1%}" for head, value in run["exact"].items()},
        }
        for name, run in results.runs.items()
    )


def losses_plot(results: Results) -> Figure:
    """Losses of all runs in float32, and the differences of each pair."""
    figure, (left, right) = plotting.panels(2, 5.2, 3.6)
    runs = [name for name, run in results.runs.items() if run["precision"] == "float32"]
    styles = ("-", "--", ":", "-.")
    for name, style, width in zip(runs, styles, (3.5, 2.2, 1.4, 1.0), strict=True):
        left.plot(results.losses[name], style, lw=width, label=results.label(name))
    left.set(xlabel="step", ylabel="loss, mean of the heads", title="Losses, float32")
    left.legend(frameon=False)
    for each in results.weights:
        # A logarithmic axis has no zero.
        differences = [value or math.nan for value in results.differences(*each["pair"])]
        if not all(map(math.isnan, differences)):
            right.plot(differences, ".-", ms=3, lw=0.8, label=results.pair_label(each["pair"]))
    right.set(yscale="log", ylim=(1e-17, 1e5), xlabel="step", title="How far losses differ, where they do")
    right.legend(frameon=False, fontsize=7, loc="upper left")
    return figure
