"""The picture of the first screen: string error against time. Of the family of encoders where that was timed, else of
readers with trained weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.core import plotting, strategies
from bench.core.plotting import PlotStyle
from bench.experiments.family import family_plot
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.statistics import Value

NAME = "answer"  # of the file
HARDEST = "wild"  # the level in the picture and in the table
ADAPTED = "fine-tuned"  # the phase of real lines in the picture and in the table


def picture(everything: Mapping[str, Any]) -> Callable[[], Figure] | None:
    """None: nothing with trained weights was timed."""
    family = everything.get("family")
    if family and family.main:
        return partial(family_plot, family)
    shown = panels(everything)
    return partial(answer_plot, shown) if shown else None


@dataclass(frozen=True)
class Point:
    """A reader with trained weights that were timed themselves."""

    style: PlotStyle
    ms: Value
    exact: Value
    hollow: bool = False


def panels(everything: Mapping[str, Any]) -> dict[str, list[Point]]:
    """By title, what the picture has: five clean digits, the hardest level, real lines; of these, what was timed."""
    found: dict[str, list[Point]] = {}
    numbered: dict[str, PlotStyle] = {}  # of readers that are not ours

    def style(name: str) -> PlotStyle:
        if name in strategies.by_name():
            return plotting.style_of(name)
        return numbered.setdefault(name, replace(plotting.numbered_style(5 + len(numbered)), marker="x", label=name))

    if peers := everything.get("peers"):
        found[f"{TASK_LENGTH} digits side by side"] = [
            Point(style(reader.name.split(",")[0]), reader.ms, reader.exact, "," in reader.name)
            for reader in peers.trained
        ]
    drafts, levels = everything.get("drafts"), everything.get("levels")
    if drafts and levels:
        found[f"`{HARDEST}`, {drafts.length} digits"] = [
            Point(style(name), drafts.milliseconds(HARDEST, name), levels.exact(HARDEST, name, drafts.length))
            for name in drafts.strategies
        ]
    if real := everything.get("real"):
        found["real lines, adapted"] = [
            Point(style(row["reader"]), real.milliseconds(row["reader"], row["phase"]), Value.of(row, "exact"))
            for row in real.summary.to_dict("records")
            if row["phase"] == ADAPTED or row["reader"] not in strategies.by_name()
        ]
    return found


def answer_plot(shown: Mapping[str, list[Point]]) -> Figure:
    """String error against latency, both logarithmic, a panel a kind of lines; hollow markers are graphs in ONNX
    Runtime."""
    figure, axes = plotting.panels(len(shown), 3.6, 3.4, columns=3)
    drawn = [each for points in shown.values() for each in points]
    limits = min(each.ms.low for each in drawn) / 1.3, max(each.ms.high for each in drawn) * 1.3
    least = min(_error(each).low for each in drawn) / 1.3
    for axis, (title, points) in zip(axes, shown.items(), strict=True):
        for each in points:
            more: dict[str, Any] = {"mfc": "white"} if each.hollow else {}
            plotting.point(axis, each.ms, _error(each), each.style, **more)
        axis.set(xscale="log", yscale="log", xlim=limits, ylim=(least, 110), xlabel="image to text, ms (batch 1)")
        axis.set_title(title.replace("`", ""), fontsize=10)
        plotting.plain_log_axis(axis, "x")
        plotting.plain_log_axis(axis, "y")
    axes[0].set_ylabel("strings not read right, %")
    graphs = Line2D([], [], color="#555555", marker="s", ls="", mfc="white", label="in onnxruntime")
    handles = {
        "" if each.hollow else each.style.label: graphs if each.hollow else _handle(each.style)
        for points in shown.values()
        for each in points
    }
    figure.legend(handles=[*handles.values()], loc="outside lower center", ncols=4, frameon=False)
    return figure


def _error(point: Point) -> Value:
    """Strings that are not read right, in percent; at least a tenth, which a logarithmic axis can show."""
    return point.exact.map(lambda exact: max(100 * (1 - exact), 0.1))


def _handle(style: PlotStyle) -> Line2D:
    return Line2D([], [], color=style.colour, marker=style.marker, ls="", label=style.label)
