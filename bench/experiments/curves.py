"""What is the lead of `ar` made of? Learning curves of heads trained alone, together and guided (`make curves`)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.core.experiment import LONGEST_TABLE, Bench, Experiment, Part, Section
from bench.core.formatting import estimates, percent
from bench.core.store import Store
from bench.core.templating import prose
from bench.study import study_of
from bench.study.curve_estimates import ALONE, FIRST, CurveResults
from bench.study.curves import TABLE
from bench.study.estimates import AR, JOINT, MARGINAL, ONE_PASS
from seqocr.progress import Reporter
from seqocr.statistics import Value

_SHOWN = 4  # cells in the picture
_DIRECTION = "erased last"  # beside its mirror image


class LearningCurves(Experiment):
    name = "curves"
    order = 2
    timed = False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return []  # `python -m bench curves` measures them

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        raise NotImplementedError

    def results(self, store: Store) -> CurveResults | None:
        study = study_of(store)
        if study is None or not study.has(TABLE):
            return None
        found = CurveResults(study.read(TABLE), study.facts(TABLE))
        return found if any(True for _ in found.leads()) else None

    def tables(self, results: CurveResults) -> dict[str, pd.DataFrame]:
        parts = results.decomposition().to_dict("records")
        known = ({name: value for name, value in row.items() if value is not None} for row in parts)
        return {"curves": results.table(), "curves_decomposition": estimates(known), "curves_claims": results.family}

    def plots(self, results: CurveResults, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"curves": partial(curves_plot, results)}

    def sections(self, results: CurveResults, everything: Mapping[str, Any]) -> list[Section]:
        cells = list(results.leads())
        rows = [
            {
                "strings, damage": f"`{row['labels']}`, {row['damage']}",
                f"lead at {FIRST:,} steps": _points(row["lead"]),
                "must be lost (G)": _points(row["must_be_lost"]),
                "lead at the end": f"{_points(row['lead_at_last'])} ({row['last']:,})",
                "deeper one pass": _pair(row, "depth_one_pass"),
                "deeper `ar`": _pair(row, "depth_ar"),
                "direction": _pair(row, "direction"),
            }
            for row in results.decomposition().to_dict("records")
        ]
        largest, last = cells[0], max(results.steps(cells[0][0]))
        text = prose(
            "curves",
            results=results,
            first=FIRST,
            cell=largest,
            last=last,
            parts=results.decomposition().iloc[0].to_dict(),
            oracle={name: float(results.oracle(largest, name).mean()) for name in (MARGINAL, JOINT)},
            own=AR,
            one_pass=ONE_PASS,
            seeds=int(results.rows["seed"].nunique()),
            mirrored=_mirrored(results, largest),
        )
        details: dict[str, Any] = {
            "Steps until a head has learned": _learned(results, cells),
            "Learning beside `ar`": _guided(results, cells),
            "Under a form": _forms(results, cells),
        }
        title = "What is the lead of autoregression made of?"
        return [Section(title, text, "curves", pd.DataFrame(rows).head(LONGEST_TABLE), details)]


EXPERIMENT = LearningCurves()


def _points(value: Value | None) -> str:
    return "" if value is None else f"{value.estimate * 100:+.1f}"


def _pair(row: Mapping[str, Any], part: str) -> str:
    """At the first and at the last step."""
    return f"{_points(row[part])}, {_points(row[f'{part}_at_last'])}"


def _mirrored(results: CurveResults, cell: tuple[str, str]) -> dict[str, float] | None:
    """Exact match of `ar` at the end, where the last and where the first symbols are damaged as much."""
    labels, damage = cell
    other = (labels, damage.replace(_DIRECTION, "erased first"))
    if not damage.startswith(_DIRECTION) or other not in results.cells:
        return None
    last = max(results.steps(labels))
    return {each[1]: float(results.exact(each, AR, last).mean()) for each in (cell, other)}


def _learned(results: CurveResults, cells: list[tuple[str, str]]) -> pd.DataFrame:
    def said(cell: tuple[str, str], head: str) -> str:
        steps = results.learned_after(cell, head)
        return f"not within {max(results.steps(cell[0])):,}" if steps is None else f"{steps:,}"

    return pd.DataFrame(
        {
            "strings, damage": f"`{cell[0]}`, {cell[1]}",
            **{f"`{head}`": said(cell, head) for head in ALONE},
        }
        for cell in cells
    )


def _guided(results: CurveResults, cells: list[tuple[str, str]]) -> pd.DataFrame:
    rows = []
    for cell in cells:
        for head in (ONE_PASS, "ctc"):
            for steps in (FIRST, max(results.steps(cell[0]))):
                found = results.guided(cell, head, steps)
                row = {"strings, damage": f"`{cell[0]}`, {cell[1]}", "head": f"`{head}`", "steps": f"{steps:,}"}
                guided = {"gained beside `ar`": _points(found["guided"])}
                rows.append({**row, "lead of `ar`": _points(found["lead"]), **guided})
    return pd.DataFrame(rows)


def _forms(results: CurveResults, cells: list[tuple[str, str]]) -> pd.DataFrame:
    rows = [{"cell": f"`{cell[0]}`, {cell[1]}", **results.under_forms(cell)} for cell in cells]
    shown = pd.DataFrame(rows).rename(columns={"cell": "strings, damage"})
    return shown.map(lambda value: percent(value.estimate) if isinstance(value, Value) else value).fillna("")


def curves_plot(results: CurveResults) -> Figure:
    """Exact match against steps, a panel a cell where `ar` leads most, with what oracle readers read."""
    cells = list(results.leads())[:_SHOWN]
    figure, axes = plotting.panels(len(cells), 5.0, 3.2)
    for axis, cell in zip(axes, cells, strict=True):
        steps = results.steps(cell[0])
        for place, head in enumerate(ALONE):
            style = plotting.style_of(head) if head in strategies.by_name() else plotting.numbered_style(place + 3)
            values = [results.exact(cell, head, n) * 100 for n in steps]
            means = [each.mean() for each in values]
            axis.plot(steps, means, color=style.colour, marker=style.marker, ms=4, label=head)
            low, high = [each.min() for each in values], [each.max() for each in values]
            axis.fill_between(steps, low, high, color=style.colour, alpha=0.15, lw=0)
        for reader, line in ((MARGINAL, "--"), (JOINT, ":")):
            axis.axhline(results.oracle(cell, reader).mean() * 100, color="#555555", ls=line, lw=1.2, label=reader)
        axis.set(xscale="log", ylim=(0, 102), xlabel="steps", ylabel="exact match, %")
        plotting.at_points(axis, steps)
        axis.set_title(f"{cell[0]}, {cell[1]}", fontsize=10)
    figure.suptitle("Heads trained alone: exact match against steps (mean and range over seeds)", fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure
