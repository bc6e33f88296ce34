"""What the report draws of the study."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from bench.core import plotting
from bench.study.design import LENGTH
from bench.study.estimates import AR, Results
from bench.study.label_distributions import LABEL_DISTRIBUTIONS
from seqocr.statistics import Value

_SIGNS = {"better": "▲", "worse": "▼", "the same": "=", "open": "", "": ""}


def dependence_plot(results: Results) -> Figure:
    """`ar` minus each of the others, laws by total correlation (up) against damages (across), with contours of G."""
    laws, damages = results.laws, list(results.size.damages)
    cells = [[(law, law, damage) for damage in damages] for law in laws]
    worth = np.array([[results.mean(cell, "G") for cell in row] for row in cells]) * 100
    figure = Figure(figsize=(10.5, (0.5 * len(laws) + 1.3) * len(results.others) + 0.9), layout="constrained")
    axes = figure.subplots(len(results.others), squeeze=False, sharex=True)[:, 0]
    gaps = {
        other: np.array([[results.gap(cell, AR, other).difference.estimate for cell in row] for row in cells]) * 100
        for other in results.others
    }
    most = max(1.0, *(float(np.abs(each).max()) for each in gaps.values()))
    for axis, (other, found) in zip(axes, gaps.items(), strict=True):
        image = axis.imshow(found, cmap="RdBu_r", norm=TwoSlopeNorm(0, -most, most), aspect="auto", origin="lower")
        for y, row in enumerate(cells):
            for x, cell in enumerate(row):
                colour = "white" if abs(found[y, x]) > 0.6 * most else "black"
                shown = f"{found[y, x]:+.1f}{_SIGNS[results.verdict(cell, other)]}"
                axis.text(x, y, shown, ha="center", va="center", fontsize=8, color=colour)
        if min(worth.shape) > 1 and worth.max() > 1:
            levels = [level for level in (1, 5, 20) if level < worth.max()]
            lines = axis.contour(worth, levels=levels, colors="#222222", linewidths=0.8)
            axis.clabel(lines, fmt=lambda v: f"G = {v:g}", fontsize=7)
        nats = [LABEL_DISTRIBUTIONS[law](LENGTH).total_correlation for law in laws]
        axis.set_yticks(range(len(laws)), [f"{law} ({total:.1f})" for law, total in zip(laws, nats, strict=True)])
        axis.grid(visible=False)
        axis.set_title(f"Exact match of {AR} minus {other}, points", fontsize=11)
    axes[-1].set_xticks(range(len(damages)), damages, rotation=30, ha="right")
    figure.supylabel("label distribution (total correlation, nats)", fontsize=10)
    figure.colorbar(image, ax=list(axes), shrink=0.6, pad=0.01)
    return figure


def likelihoods_plot(results: Results) -> Figure:
    """What strategies that take symbols as independent lose to `ar`, in nats a string, against C; a look a law."""
    table = results.likelihoods()
    figure, axes = plotting.panels(len(results.others), 4.8, 4.0)
    top = max(float(table["C"].max()), 0.1)
    for axis, other in zip(axes, results.others, strict=True):
        for place, law in enumerate(results.laws):
            style = plotting.numbered_style(place)
            for row in table[(table["law"] == law) & (table["other"] == other)].to_dict("records"):
                plotting.point(axis, row["C"], Value.of(row, "nats_lost"), style, alpha=0.8)
            axis.plot([], [], style.marker, color=style.colour, label=law)
        axis.plot([0, top], [0, top], "--", color="#888888", lw=1, label="C")
        axis.set_xlabel("C, nats a string")
        axis.set_ylabel(f"nats that {other} loses to {AR}")
    axes[0].legend(frameon=False, fontsize=8)
    return figure
