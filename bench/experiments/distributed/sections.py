"""What training by several processes gave, as Markdown and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.report.formatting import markdown_table
from bench.report.plotting import panels

_FIRST = 20  # steps, in which rounding has not grown
_UPTO = (_FIRST, 50, 100, 200)


def differences(found: dict[str, Any], one: str, other: str) -> list[float]:
    """Of the losses of two runs, step by step."""
    a, b = (found["runs"][name]["losses"] for name in (one, other))
    return [abs(x - y) for x, y in zip(a, b, strict=True)]


def page(found: dict[str, Any]) -> str:
    """As Markdown."""
    about, config = found["environment"], found["config"]
    killed = next(run for run in found["runs"].values() if run["killed_at"] is not None)
    return "\n\n".join(
        [
            "# Training by several processes",
            f"The same training by 1, 2 and 4 processes of `torchrun`: `tiny`, three heads, {config['batch_size']} "
            f"strings a step in {found['shards']} shards, {config['steps']} steps. {about['cpu']}, {about['cores']} "
            "cores. `python -m bench ranks` writes this page.",
            "## How far losses and weights differ\n\n" + _table(found),
            "Every process draws its part of the same batches, so the first losses are the same but for rounding. "
            "Sums come in another order, each is rounded otherwise, and training makes that grow from step to step. "
            f"Were it anything but rounding, float64 would not change it. There they differ by "
            f"{_short(_largest(found, 'float64', _FIRST))} at most in the first {_FIRST} steps, against "
            f"{_short(_largest(found, 'float32', _FIRST))} in float32, and by "
            f"{_short(_largest(found, 'float64'))} in all, against {_short(_largest(found, 'float32'))}.",
            "![loss, and how far losses differ](ranks.png)",
            f"## A process that is killed\n\nOne of two was killed (kill -9) at step {killed['killed_at']}. `torchrun "
            f"--max-restarts 1` started both again; they went on from step {killed['went_on_from']}, whose state was "
            "saved. The last row of the table compares the end with that of two processes that nobody killed.",
            "## What they read\n\n" + _read(found) + "\n",
        ]
    )


def _table(found: dict[str, Any]) -> str:
    rows = []
    for each in found["weights"]:
        one, other = each["pair"]
        apart = differences(found, one, other)
        row = {"largest difference": _said_of(found, each["pair"])}
        row |= {f"of losses, {upto} steps": _short(max(apart[:upto])) for upto in _UPTO if upto <= len(apart)}
        row["of weights, in the end"] = f"{_short(each['difference'])} (the largest weight is {each['largest']:.2f})"
        rows.append(row)
    return markdown_table(pd.DataFrame(rows))


def _largest(found: dict[str, Any], precision: str, steps: int | None = None) -> float:
    """The largest difference of losses in the first steps, or in all."""
    pairs = [each["pair"] for each in found["weights"] if _precision(found, each["pair"]) == precision]
    return max(max(differences(found, *pair)[:steps]) for pair in pairs)


def _precision(found: dict[str, Any], pair: Sequence[str]) -> str:
    return str(found["runs"][pair[0]]["precision"])


def _short(difference: float) -> str:
    return "0" if difference == 0 else f"{difference:.1e}" if difference < 0.001 else f"{difference:.2g}"


def _said(found: dict[str, Any], name: str) -> str:
    run = found["runs"][name]
    many = "1 process" if run["processes"] == 1 else f"{run['processes']} processes"
    return many + (", one killed" if run["killed_at"] else "")


def _said_of(found: dict[str, Any], pair: Sequence[str]) -> str:
    one, other = pair
    return f"{_precision(found, pair)}: {_said(found, one)} against {_said(found, other)}"


def _read(found: dict[str, Any]) -> str:
    """Exact match of the validation strings."""
    what = f"exact match of {found['config']['validation_strings']} strings"
    rows = [
        {
            what: f"{run['precision']}: {_said(found, name)}",
            **{f"`{head}`": f"{value:.1%}" for head, value in run["exact"].items()},
        }
        for name, run in found["runs"].items()
    ]
    return markdown_table(pd.DataFrame(rows))


def picture(found: dict[str, Any]) -> Figure:
    """Losses of all runs in float32, and the differences of each pair."""
    figure, (left, right) = panels(2, 5.2, 3.6)
    runs = [(name, run) for name, run in found["runs"].items() if run["precision"] == "float32"]
    styles = ("-", "--", ":", "-.")
    for (name, run), style, width in zip(runs, styles, (3.5, 2.2, 1.4, 1.0), strict=True):
        left.plot(run["losses"], style, lw=width, label=_said(found, name))
    left.set(xlabel="step", ylabel="loss, mean of the heads", title="Losses, float32")
    left.legend(frameon=False)
    for each in found["weights"]:
        apart = [value or math.nan for value in differences(found, *each["pair"])]  # nothing has no logarithm
        if not all(map(math.isnan, apart)):
            right.plot(apart, ".-", ms=3, lw=0.8, label=_said_of(found, each["pair"]))
    right.set(yscale="log", ylim=(1e-17, 1e5), xlabel="step", title="How far losses differ, where they do")
    right.legend(frameon=False, fontsize=7, loc="upper left")
    return figure
