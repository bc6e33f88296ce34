"""What is the lead of `ar` made of? Learning curves of heads trained alone, together and guided (`make curves`)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.core.experiment import Claim, Reported, Section
from bench.core.formatting import estimates, percent
from bench.core.store import Store
from bench.core.templating import prose
from bench.study import study_of
from bench.study.curve_estimates import ALONE, COUNTED_FORM, EARLY, REVERSED, Cell, CurveResults
from bench.study.curves import COUNTED, TABLE
from bench.study.estimates import AR, JOINT, MARGINAL, ONE_PASS
from seqocr.statistics import Value

_SHOWN = 4  # cells in the picture and the table
_LAST, _FIRST = "erased last", "erased first"  # damages that mirror each other


class LearningCurves(Reported):
    name = "curves"
    order = 2

    def results(self, store: Store) -> CurveResults | None:
        study = study_of(store)
        if study is None or not study.has(TABLE):
            return None
        found = CurveResults(study.read(TABLE), study.facts(TABLE))
        return found if found.leads else None

    def tables(self, results: CurveResults) -> dict[str, pd.DataFrame]:
        known = ({name: value for name, value in row.items() if value is not None} for row in results.decomposition)
        return {
            "curves": results.table(),
            "curves_decomposition": estimates(known),
            "curves_claims": results.family,
        }

    def plots(self, results: CurveResults, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"curves": partial(curves_plot, results)}

    def sections(self, results: CurveResults, everything: Mapping[str, Any]) -> list[Section]:
        rows = [
            {
                "strings, damage": _named((row["labels"], row["damage"])),
                "seeds": row["lead"].n,
                f"lead after {EARLY:,} steps": _points(row["lead"]),
                "after the last": f"{_points(row['lead_at_last'])} ({row['last']:,})",
                "must be lost (G)": _points(row["must_be_lost"]),
                "deeper one pass": _pair(row, "depth_one_pass"),
                "deeper `ar`": _pair(row, "depth_ar"),
                "left to right": _pair(row, "direction"),
                "one pass, counted form": _points(row["counted_form_at_last"]),
            }
            for row in results.decomposition
        ]
        largest, parts = results.leads[0], results.decomposition[0]
        text = prose(
            "curves",
            facts=results.facts,
            early=EARLY,
            cell=largest,
            parts=parts,
            verdict=results.verdict(largest, ONE_PASS),
            own=AR,
            one_pass=ONE_PASS,
            under_counted_form=under_counted_form(results, largest),
        )
        details: dict[str, Any] = {
            "How to read the table": prose("curves_table", early=EARLY, own=AR, one_pass=ONE_PASS),
            "Every lead": pd.DataFrame(rows),
            "By direction of writing": _by_direction(results),
            "Steps until a head has learned": _learned(results),
            "Learning beside `ar`": _guided(results),
            "Under a form": _forms(results),
        }
        title = "What is the lead of autoregression made of?"
        return [Section(title, text, "curves", pd.DataFrame(rows).head(_SHOWN), details)]

    def claims(self, results: CurveResults) -> list[Claim]:
        return Claim.of_family(f"curves, {{labels}}, {{damage}}: `{AR}` beside `{{other}}` in the end", results.family)


EXPERIMENT = LearningCurves()


def _named(cell: Cell) -> str:
    return f"`{cell[0]}`, {cell[1]}"


def _points(value: Value | None) -> str:
    return "" if value is None else f"{value.estimate * 100:+.1f}"


def _pair(row: Mapping[str, Any], part: str) -> str:
    """Early and after the last step; empty where heads were not trained."""
    return ", ".join(filter(None, (_points(row[part]), _points(row[f"{part}_at_last"]))))


def _by_direction(results: CurveResults) -> pd.DataFrame:
    """Exact match of `ar` from left to right and from right to left, where either end is damaged."""
    rows = []
    for labels, damage in results.cells:
        for steps in dict.fromkeys((EARLY, results.last(labels))) if damage.startswith((_FIRST, _LAST)) else ():
            exact = {head: results.exact((labels, damage), head, steps) for head in (AR, REVERSED)}
            shown = {f"`{head}`": percent(each.mean()) if len(each) else "" for head, each in exact.items()}
            rows.append({"strings, damage": _named((labels, damage)), "steps": f"{steps:,}", **shown})
    return pd.DataFrame(rows)


def under_counted_form(results: CurveResults, cell: Cell) -> dict[str, float] | None:
    """Exact match after the last step of `parallel` and of `ar`, under a form counted from the training strings."""
    last = results.last(cell[0])
    found = pd.DataFrame({head: results.exact(cell, f"{head} + {COUNTED}", last, head) for head in (ONE_PASS, AR)})
    of_both = found.dropna()
    return {str(head): float(mean) for head, mean in of_both.mean().items()} if len(of_both) else None


def _learned(results: CurveResults) -> pd.DataFrame:
    def said(cell: Cell, head: str) -> str:
        if not results.is_read(cell, head):
            return ""
        steps = results.learned_after(cell, head)
        return f"not within {results.last(cell[0]):,}" if steps is None else f"{steps:,}"

    return pd.DataFrame(
        {"strings, damage": _named(cell), **{f"`{head}`": said(cell, head) for head in ALONE}} for cell in results.leads
    )


def _guided(results: CurveResults) -> pd.DataFrame:
    rows = []
    for cell in results.leads:
        for head in (ONE_PASS, "ctc"):
            for steps in (EARLY, results.last(cell[0])):
                lead = results.gap(cell, AR, head, steps)
                row = {"strings, damage": _named(cell), "head": f"`{head}`", "steps": f"{steps:,}"}
                row["lead of `ar`"] = _points(lead.difference if lead else None)
                rows.append({**row, "gained beside `ar`": _points(results.guided(cell, head, steps))})
    return pd.DataFrame(rows)


def _forms(results: CurveResults) -> pd.DataFrame:
    rows = [
        {"strings, damage": _named(cell)}
        | {f"`{name}`": percent(value.estimate) for name, value in results.under_forms(cell).items()}
        for cell in results.leads
    ]
    return pd.DataFrame(rows).fillna("")


def curves_plot(results: CurveResults) -> Figure:
    """Exact match against steps, a panel a cell where `ar` leads most, with what oracle readers read."""
    cells = results.leads[:_SHOWN]
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
        constrained = results.exact(cell, COUNTED_FORM, results.last(cell[0]), ONE_PASS)
        if len(constrained):
            colour, last = plotting.style_of(ONE_PASS).colour, results.last(cell[0])
            axis.plot([last], [constrained.mean() * 100], "*", color=colour, ms=13, mec="black", label=COUNTED_FORM)
        for reader, line in ((MARGINAL, "--"), (JOINT, ":")):
            axis.axhline(results.oracle(cell, reader).mean() * 100, color="#555555", ls=line, lw=1.2, label=reader)
        axis.set(xscale="log", ylim=(0, 102), xlabel="steps", ylabel="exact match, %")
        plotting.at_points(axis, steps)
        axis.set_title(f"{cell[0]}, {cell[1]}", fontsize=10)
    figure.suptitle("Heads trained alone: exact match against steps (mean and range over seeds)", fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure
