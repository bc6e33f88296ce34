"""The section on runtimes, and its plot."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.backends import EAGER
from bench.core import plotting, strategies
from bench.core.experiment import LONGEST_TABLE, Section
from bench.core.formatting import not_run, ratio, time
from bench.core.templating import prose
from bench.experiments.backends.estimates import Results, Timed
from bench.experiments.backends.timing import LENGTHS
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.statistics import Value


def section(results: Results) -> Section:
    t = results.main
    generate, own = strategies.autoregressive()[:2]
    best = min((name for name in t.runtimes if own in t.strategies(name)), key=lambda name: t.slope(name, own).estimate)
    names = {"eager": EAGER, "best": best, "generate": generate, "own": own}
    text = prose("runtimes", t=t, **names, length=TASK_LENGTH, **_agreement(results.agreement))
    absent = not_run({f"`{name}`": why for name, why in results.not_run.items()})
    details = {"Runtimes that are not here": absent} if absent else {}
    return Section("Runtimes", text, "runtimes", _table(t).head(LONGEST_TABLE), details)


def _agreement(agreement: pd.DataFrame) -> dict[str, Any]:
    """Runtimes that read as eager mode does, and of each other one the head that reads most strings differently."""
    others = agreement[agreement["runtime"] != EAGER]
    worst = others.loc[others.groupby("runtime", sort=False)["disagreements"].idxmax()].to_dict("records")
    different = [{**row, "change": Value.of(row, "difference")} for row in worst if row["disagreements"]]
    same = [row["runtime"] for row in worst if not row["disagreements"]]
    return {"strings": others["strings"].max(), "same": same, "different": different}


def _table(t: Timed) -> pd.DataFrame:
    """One row per runtime for the autoregressive head, after one for `generate` in eager mode."""
    generate, own = strategies.autoregressive()[:2]
    rows = []
    for runtime, strategy in [(EAGER, generate), *((name, own) for name in t.runtimes if own in t.strategies(name))]:
        head, here = t.fastest(runtime), t.strategies(runtime)
        rows.append(
            {
                "runtime": f"{runtime}, `{strategy}`",
                "ms per symbol": time(t.slope(runtime, strategy)),
                f"over eager `{generate}`": ratio(t.over_generate(runtime, strategy)),
                f"n = {TASK_LENGTH}, ms": time(t.seconds(runtime, strategy).times(1e3)),
                "over one pass": ratio(t.over(runtime, strategy, head)),
                **{
                    f"`{other}` over one pass": ratio(t.over(runtime, other, head)) if other in here else ""
                    for other in strategies.speculative()
                },
                "one pass over encoder": ratio(t.over(runtime, head, "encoder")),
            }
        )
    return pd.DataFrame(rows)


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
