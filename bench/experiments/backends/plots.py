"""Plots of runtimes."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.experiments.backends.estimates import Results
from bench.experiments.backends.timing import LENGTHS
from bench.workloads.timed_models import TASK_LENGTH


def runtimes_plot(results: Results) -> Figure:
    """Image to text at the task's length by runtime; beside it, what a symbol costs autoregressive heads."""
    figure, axes = plotting.panels(2 * len(results.subjects), 4.6, 2.8)
    shown = strategies.deployed()
    for t, whole, symbol in zip(results.subjects.values(), axes[::2], axes[1::2], strict=True):
        places = {runtime: -place for place, runtime in enumerate(t.runtimes)}
        for runtime, place in places.items():
            for i, strategy in enumerate(shown):
                y = place + 0.12 * ((len(shown) - 1) / 2 - i)  # side by side, so that intervals do not cover
                if strategy in t.strategies(runtime):
                    plotting.point(whole, t.seconds(runtime, strategy).times(1e3), y, plotting.style_of(strategy))
                if strategy in t.strategies(runtime, LENGTHS):
                    plotting.point(symbol, t.slope(runtime, strategy), y, plotting.style_of(strategy))
        for axis, what in ((whole, f"image to text, n = {TASK_LENGTH}, ms"), (symbol, "ms a symbol")):
            axis.set_xscale("log")
            plotting.plain_log_axis(axis, "x")
            axis.set_yticks(list(places.values()), list(places) if axis is whole else [""] * len(places))
            axis.set_ylim(0.5 - len(places), 0.5)
            axis.set_xlabel(what)
            axis.set_title(t.subject.label, fontsize=10)
    figure.suptitle("The same weights in several runtimes, batch 1 (95 % CI)", fontsize=11)
    plotting.legend(figure, shown)
    return figure
