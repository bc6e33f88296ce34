"""What a reader with one minute sees: which head to use, a picture, a table. The same in the report and in README."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.core import plotting, strategies
from bench.core.formatting import markdown_table, percent, ratio, share, time
from bench.core.plotting import PlotStyle
from bench.core.templating import prose
from bench.experiments.curves import under_counted_form
from bench.experiments.latency.estimates import fastest
from bench.report.screen_times import ScreenTimes, screen_times
from bench.study.curve_estimates import EARLY, SHALLOW
from bench.study.decisions import CONSTRAINED, SPECULATIVE, Decision, decisions
from bench.study.estimates import AR, ONE_PASS
from bench.study.sections import largest_lead, largest_loss
from bench.workloads.accuracy_tables import Comparison
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.statistics import MARGIN, Value

PICTURE = "answer"  # its name
_HARDEST = "wild"  # the level in the picture and in the table
_NOT_TRAINED = "not trained"  # a head that the weights do not hold
_ADAPTED = "fine-tuned"  # the phase of real lines in the picture and in the table


def first_screen(everything: Mapping[str, Any], plots: str = "plots") -> str:
    """Markdown, from the results of all experiments by name.

    Args:
        plots: where the pictures are, seen from the page.
    """
    times = screen_times(everything)
    generate, own = strategies.autoregressive()[:2]
    head = times.fastest
    curves = everything.get("curves")
    counted = under_counted_form(curves, curves.leads[0]) if curves else None
    answer = prose(
        "answer",
        comparisons=comparisons(everything),
        head=head,
        own=own,
        generate=generate,
        one_pass=ONE_PASS,
        speculative_name=SPECULATIVE,
        faster={name: times.over(name, head).estimate for name in (generate, own)},
        model=times.label,
        length=TASK_LENGTH,
        speculative=_over_one_pass(everything),
        study=summarize_study(everything),
        curves=curves.decomposition[0] if curves else None,
        counted=counted,
        counted_is_enough=counted is not None and counted[ONE_PASS] >= counted[AR] - MARGIN,
        early=EARLY,
        shallow=times.over(SHALLOW, head) if SHALLOW in times.names else None,
    )
    picture = f'<img src="{plots}/{PICTURE}.png" width="100%" alt="string error against latency">'
    caption = prose("answer_picture", elsewhere=_real_elsewhere(everything))
    pictures = [picture, caption] if panels(everything) else []
    below = prose("answer_table", length=TASK_LENGTH, real=everything.get("real"), times=times, shallow=SHALLOW)
    return "\n\n".join([answer, *pictures, markdown_table(heads_table(everything, times)), below])


def comparisons(everything: Mapping[str, Any]) -> list[Comparison]:
    """`ar` beside every one-pass head, on five clean digits, at the levels and on real lines."""
    return [
        each for name in ("accuracy", "levels", "real") if name in everything for each in everything[name].comparisons
    ]


def _over_one_pass(everything: Mapping[str, Any]) -> dict[str, float]:
    """What speculative decoding takes over the fastest one-pass head, least and most of the models."""
    baselines = everything.get("baselines")
    of_restarts = {name: baselines.over(name, 1, SPECULATIVE) for name in baselines.rows} if baselines else {}
    timed = {t.subject.name: t for t in everything["latency"].fixed if SPECULATIVE in t.strategies}
    of_rounds = {name: t.speedup(fastest(t), SPECULATIVE, TASK_LENGTH) for name, t in timed.items()}
    found = [value.estimate for value in (of_rounds | of_restarts).values()]
    return {"least": min(found), "most": max(found)} if found else {}


def summarize_study(everything: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the study decides: strings where constrained decoding, and where learning, gains most over `parallel`."""
    results = everything.get("dependence")
    if results is None:
        return None
    found = decisions(results)

    def most(name: str, among: list[Decision]) -> Decision | None:
        return max(among, key=lambda decision: decision.exact[name] - decision.exact[ONE_PASS], default=None)

    structured = [decision for decision in found if decision.labels and CONSTRAINED in decision.exact]
    return {
        "constrained": most(CONSTRAINED, [decision for decision in structured if CONSTRAINED in decision.known]),
        "at_least": all(decision.exact[CONSTRAINED] >= decision.exact[AR] - MARGIN for decision in structured),
        "learned": most(AR, [decision for decision in found if decision.labels and AR in decision.learned]),
        "lead": largest_lead(results),
        "loss": largest_loss(results),
        "form": CONSTRAINED,
    }


def heads_table(everything: Mapping[str, Any], times: ScreenTimes) -> pd.DataFrame:
    """One row per deployed strategy, and `SHALLOW` where it was timed: what it reads, what it takes, how it grows."""
    levels, real = everything.get("levels"), everything.get("real")

    def cell(name: str, there: Collection[str], exact: Callable[[str], Value]) -> str:
        if name != SHALLOW and name not in strategies.heads():
            return f"as `{strategies.head_of(name)}`"  # other strategies of a head read as it does
        return share(exact(name)) if name in there else _NOT_TRAINED

    rows = []
    for name in times.names:
        exact = _five_digits(everything, name)
        row = {
            "strategy": f"`{name}`",
            "decoder passes": _passes(name),
            f"exact match, {TASK_LENGTH} digits": percent(exact.estimate) if exact else _NOT_TRAINED,
        }
        if levels:
            row[f"`{_HARDEST}`, any length"] = cell(name, levels.heads, partial(levels.exact, _HARDEST))
        if real:
            row["real lines, adapted"] = cell(name, real.heads, partial(real.exact, phase=_ADAPTED))
        row[f"{times.label}, ms"] = time(times.milliseconds(name))
        row["over one pass"] = ratio(times.over(name, times.fastest)) if name != times.fastest else "1"
        rows.append(row)
    return pd.DataFrame(rows)


def _five_digits(everything: Mapping[str, Any], name: str) -> Value | None:
    """Exact match of the task; of `SHALLOW`, by a decoder trained on the frozen encoder of the weights."""
    if name != SHALLOW:
        found: Value | None = everything["accuracy"].exact(name)
        return found
    depth = everything.get("depth")
    return depth.exact(min(depth.layers)) if depth is not None and not depth.right.empty else None


def _passes(name: str) -> str:
    found = strategies.by_name().get(name)
    if found is None or not (found.is_speculative or found.is_one_pass):
        return "n + 1"
    return "1 or more" if found.is_speculative else "1"


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
        found[f"`{_HARDEST}`, {drafts.length} digits"] = [
            Point(style(name), drafts.milliseconds(_HARDEST, name), levels.exact(_HARDEST, name, drafts.length))
            for name in drafts.strategies
        ]
    if real := everything.get("real"):
        found["real lines, adapted"] = [
            Point(style(row["reader"]), real.milliseconds(row["reader"], row["phase"]), Value.of(row, "exact"))
            for row in real.summary.to_dict("records")
            if row["phase"] == _ADAPTED or row["reader"] not in strategies.by_name()
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


def _real_elsewhere(everything: Mapping[str, Any]) -> bool:
    return "real" in everything and bool(everything["real"].about.get("elsewhere"))
