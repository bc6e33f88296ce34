"""Losses of distributed trainings, and how far they differ."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from bench.core.plotting import panels
from bench.experiments.distributed.estimates import Results


def losses(results: Results) -> Figure:
    """Losses of all runs in float32, and the differences of each pair."""
    figure, (left, right) = panels(2, 5.2, 3.6)
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
