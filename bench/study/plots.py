"""What the report draws of the study."""

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from bench.core import plotting
from bench.study.estimates import AR, Results
from seqocr.statistics import BETTER, SAME, UNDECIDED, WORSE, Value

_TOLD = 1.0  # points
_SIGNS = {BETTER: "▲", WORSE: "▼", SAME: "=", UNDECIDED: "", "": ""}


def dependence_plot(results: Results) -> Figure:
    """`ar` minus each of the others: label distributions (up) against damages (across). Below, where it is `_TOLD` at
    least, G: all of that lead that joint decoding can be the reason of."""
    damages, nats = list(results.size.damages), results.total_correlations
    cells = [[(labels, labels, damage) for damage in damages] for labels in nats]
    gain = np.array([[results.mean(cell, "G") for cell in row] for row in cells]) * 100
    figure = Figure(figsize=(10.5, (0.5 * len(nats) + 1.3) * len(results.others) + 0.9), layout="constrained")
    axes = figure.subplots(len(results.others), squeeze=False, sharex=True)[:, 0]
    gaps = {
        other: np.array([[results.gap(cell, AR, other).difference.estimate for cell in row] for row in cells]) * 100
        for other in results.others
    }
    most = max(1.0, *(float(np.abs(each).max()) for each in gaps.values()))
    for axis, (other, found) in zip(axes, gaps.items(), strict=True):
        image = axis.imshow(found, cmap="RdBu_r", norm=TwoSlopeNorm(0, -most, most), aspect="auto", origin="lower")
        for (y, x), points in np.ndenumerate(found):
            colour = "white" if abs(points) > 0.6 * most else "black"
            verdict = results.verdict(cells[y][x], other)
            shown = f"{points:+.1f} {_SIGNS[verdict]}".rstrip()
            below = f"\nG {gain[y, x]:.1f}" if gain[y, x] >= _TOLD else ""
            weight = "bold" if verdict in (BETTER, WORSE) else "normal"
            axis.text(x, y, shown + below, ha="center", va="center", fontsize=9, color=colour, weight=weight)
        axis.set_yticks(range(len(nats)), [f"{labels} ({total:.1f})" for labels, total in nats.items()])
        axis.grid(visible=False)
        axis.set_title(f"Exact match of {AR} minus {other}, points", fontsize=11)
    axes[-1].set_xticks(range(len(damages)), damages, rotation=30, ha="right")
    figure.supylabel("label distribution (total correlation, nats)", fontsize=10)
    bar = figure.colorbar(image, ax=list(axes), shrink=0.6, pad=0.01)
    bar.set_label("points of exact match")
    return figure


def likelihoods_plot(results: Results) -> Figure:
    """Nats per string that strategies of independent symbols lose to `ar`, against C, by label distribution."""
    table = results.likelihoods()
    figure, axes = plotting.panels(len(results.others), 4.8, 4.0)
    top = max(float(table["C"].max()), 0.1)
    for axis, other in zip(axes, results.others, strict=True):
        for place, labels in enumerate(results.labels):
            style = plotting.numbered_style(place)
            for row in table[(table["labels"] == labels) & (table["other"] == other)].to_dict("records"):
                plotting.point(axis, row["C"], Value.of(row, "nats_lost"), style, alpha=0.8)
            label = labels if axis is axes[0] else None
            axis.plot([], [], style.marker, color=style.colour, label=label)
        axis.plot(
            [0, top], [0, top], "--", color="#888888", lw=1, label="what must be lost, C" if axis is axes[0] else None
        )
        axis.set_title(f"{other} beside {AR}", fontsize=10)
        axis.set_xlabel("C, nats a string")
        axis.set_ylabel(f"lost to {AR}, nats a string")
    figure.suptitle("Likelihood lost by taking symbols as independent", fontsize=11)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure
