"""What plots share: colours, markers, axes, files. The same numbers give the same PNG and SVG."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter

from bench.core import strategies
from seqocr.files import replacing
from seqocr.palette import colours_of
from seqocr.statistics import Value

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.dpi": 150,
    "svg.hashsalt": "seqocr",
    "svg.fonttype": "none",  # text stays text: searchable, and a third of the size
}
_MARKERS = "sovD^P*X<"


@dataclass(frozen=True)
class PlotStyle:
    colour: str
    marker: str
    line: str
    label: str


ENCODER = PlotStyle("#555555", "", "--", "encoder alone")


def style_of(name: str) -> PlotStyle:
    """Style of a decoding strategy, or of "encoder": the same in every plot, by its place in the registry."""
    if name == "encoder":
        return ENCODER
    found = strategies.by_name()
    place = list(found).index(name)
    return PlotStyle(colours_of(found)[name], _MARKERS[place % len(_MARKERS)], "-", found[name].label)


def numbered_style(place: int) -> PlotStyle:
    """Style of anything that is no decoding strategy, by its place in a list."""
    return PlotStyle(f"C{place % 10}", "os^Dv"[(place + place // 10) % 5], "-", "")


def save(name: str, picture: Callable[[], Figure], folder: Path) -> None:
    """Draw a picture as NAME.png and NAME.svg."""
    with mpl.rc_context(_STYLE):
        figure = picture()
        for suffix in (".png", ".svg"):
            with replacing(folder / f"{name}{suffix}") as temporary:
                figure.savefig(temporary, bbox_inches="tight", metadata={"Date": None} if suffix == ".svg" else None)


def panels(count: int, width: float, height: float, columns: int = 2) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    return figure, axes


def legend(figure: Figure, names: Iterable[str]) -> None:
    handles = [Line2D([], [], **_line(style), label=style.label) for style in map(style_of, names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), frameon=False)


def curve(axis: Axes, name: str, x: Sequence[float], values: Sequence[Value]) -> None:
    """Values against x, in the style of a decoding strategy, with the band of their intervals."""
    band(axis, x, values, style_of(name))


def band(axis: Axes, x: Sequence[float], values: Sequence[Value], style: PlotStyle, **more: Any) -> None:
    """Values against x with the band of their intervals."""
    low, high = [v.low for v in values], [v.high for v in values]
    axis.plot(x, [v.estimate for v in values], ms=4, lw=1.4, **_line(style), **more)
    axis.fill_between(x, low, high, color=style.colour, alpha=0.2, lw=0)


def dodged(names: Sequence[str], apart: float) -> dict[str, float]:
    """By name, how far beside its x each is drawn, so that none hides another."""
    return {name: apart * (i - (len(names) - 1) / 2) for i, name in enumerate(names)}


def _line(style: PlotStyle) -> dict[str, Any]:
    return {"color": style.colour, "linestyle": style.line, "marker": style.marker}


def point(axis: Axes, x: Value | float, y: Value | float, style: PlotStyle, **more: Any) -> None:
    """A point with the intervals that it has."""
    errors: dict[str, Any] = {
        name: [[v.estimate - v.low], [v.high - v.estimate]]
        for name, v in (("xerr", x), ("yerr", y))
        if isinstance(v, Value)
    }
    across, up = (v.estimate if isinstance(v, Value) else v for v in (x, y))
    axis.errorbar(across, up, **errors, fmt=style.marker, color=style.colour, capsize=4, ms=6, **more)


def plain_log_axis(axis: Axes, which: str) -> None:
    """1, 2, 5, 10 ... instead of powers; more where these are too few."""
    own = axis.xaxis if which == "x" else axis.yaxis
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    for steps in ((1, 2, 5), (1, 2, 3, 4, 6, 8), range(1, 10)):
        ticks = [m * 10.0**e for e in range(-3, 7) for m in steps if low <= m * 10.0**e <= high]
        if len(ticks) >= 3:
            break
    own.set_ticks(ticks, [f"{t:g}" for t in ticks])
    own.set_minor_formatter(NullFormatter())


def at_points(axis: Axes, values: Sequence[float]) -> None:
    """Ticks of a logarithmic x axis at its own points."""
    axis.set_xticks(np.unique(values))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())
