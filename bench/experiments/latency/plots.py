"""Plots of latency."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.experiments.latency.estimates import Results
from bench.workloads.timed_models import TASK_LENGTH


def latency_plot(results: Results) -> Figure:
    """Milliseconds a string against its length, one panel a subject, with bands of 95 % confidence."""
    subjects = list(results.subjects.values())
    figure, axes = plotting.panels(len(subjects), 4.6, 3.3)
    for axis, t in zip(axes, subjects, strict=True):
        for strategy in (*t.strategies, "encoder"):
            plotting.curve(axis, strategy, t.lengths, [t.total(strategy, n) for n in t.lengths])
        # Strategies that only the study has may leave the frame, so that the others stay readable.
        axis.set_ylim(0, 1.12 * max(t.total(v, max(t.lengths)).estimate for v in strategies.deployed()))
        axis.set_title(t.subject.label, fontsize=10)
        # 1 and 2 would touch on a long axis.
        axis.set_xticks(t.lengths if max(t.lengths) <= 10 else [n for n in t.lengths if n != 2])
        axis.set_xlabel("symbols written, n")
        axis.set_ylabel("image to text, ms")
    figure.suptitle("Latency against length, batch 1 (95 % CI)", fontsize=11)
    present = {v for t in subjects for v in t.strategies}
    plotting.legend(figure, [*(v for v in strategies.by_name() if v in present), "encoder"])
    return figure


def breakdown_plot(results: Results) -> Figure:
    """Encoder and decoder milliseconds of each strategy, stacked, at the task's length and at the longest."""
    parts = [(t, n) for t in results.fixed for n in sorted({TASK_LENGTH, max(t.lengths)})]
    figure, axes = plotting.panels(len(parts), 4.6, 2.1)
    for axis, (t, n) in zip(axes, parts, strict=True):
        shown = list(strategies.deployed())[::-1]
        encode = t.encode(n).estimate
        decode = [t.decode(v, n).estimate for v in shown]
        axis.barh(shown, [encode] * len(shown), color="#BBBBBB")
        axis.barh(shown, decode, left=encode, color=[plotting.style_of(v).colour for v in shown])
        for y, ms in enumerate(decode):
            axis.text(encode + ms, y, f" {ms / (encode + ms):.0%}", va="center", fontsize=8)
        axis.set_xlim(0, (encode + max(decode)) * 1.14)
        axis.grid(axis="y", visible=False)
        axis.set_title(f"{t.subject.label}, n = {n}", fontsize=10)
        axis.set_xlabel("ms")
    figure.suptitle("Where the time goes: encoder (grey) and decoder (colour, with its share)", fontsize=11)
    return figure
