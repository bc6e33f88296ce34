"""What was measured at scale, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from bench.experiments.scale import data_loading
from bench.report.formatting import markdown_table
from seqocr.files import read_json, write_text


def page(found: dict[str, Any]) -> str:
    """As Markdown."""
    about = found["environment"]
    head = [
        "# Reading and training at scale",
        f"{about['cpu']}, {about['cores']} cores, which all processes share. `seqocr predict-batch`, head `parallel`, "
        "int8 graphs of the weights `strings`, a thread a worker. Where nodes die, memory is watched or an object "
        "store is read, the weights are `tiny`, which take less time. `python -m bench scale` writes this page; "
        "docs/scale.md says how to read it.",
    ]
    sections = [section(found[name]) for name, section in _SECTIONS.items() if name in found]
    return "\n\n".join([*head, *sections]) + "\n"


def _middle(values: Sequence[float], places: int = 0) -> str:
    """The median, and least to most."""
    return f"{median(values):,.{places}f} ({min(values):,.{places}f} to {max(values):,.{places}f})"


def _rate(run: dict[str, Any]) -> float:
    return float(run["lines"] / run["seconds"])


def ratios(workers: list[dict[str, Any]]) -> list[float]:
    """Throughput of two workers over that of one, round by round."""
    one, two = ([_rate(run) for run in workers if run["workers"] == count] for count in (1, 2))
    return [b / a for a, b in zip(one, two, strict=True)]


def _workers(workers: list[dict[str, Any]]) -> str:
    by = {count: [_rate(run) for run in workers if run["workers"] == count] for count in (1, 2)}
    table = pd.DataFrame({"workers": count, "lines a second": _middle(rates)} for count, rates in by.items())
    found = ratios(workers)
    return (
        f"## One worker and two\n\n{len(found)} rounds of {workers[0]['lines']:,} lines, in turn, with the "
        f"start of the workers. Two workers over one: {_middle(found, 2)}.\n\n{markdown_table(table)}"
    )


def _killed(killed: dict[str, Any]) -> str:
    table = pd.DataFrame(
        [
            {
                "lines": f"{killed['lines']:,}",
                "nodes killed": killed["kills"],
                "rows": f"{killed['rows']:,}",
                "lost": killed["lost"],
                "doubled": killed["doubled"],
                "other than without kills": killed["different"],
                "seconds": f"{killed['seconds']:,.0f}",
            }
        ]
    )
    return (
        "## Nodes that die\n\nA Ray cluster of three nodes on this machine. At random moments one of them is killed "
        f"(its raylet, and so its workers), and another one joins.\n\n{markdown_table(table)}"
    )


def _store(runs: list[dict[str, Any]]) -> str:
    table = pd.DataFrame(
        {
            "lines": f"{run['lines']:,}",
            "in files": f"{run['files']:,}",
            "lines a second, folder": f"{run['lines'] / run['here_seconds']:,.0f}",
            "object store": f"{run['lines'] / run['store_seconds']:,.0f}",
            "lost": run["lost"],
            "doubled": run["doubled"],
            "other than from the folder": run["different"],
        }
        for run in runs
    )
    return (
        "## An object store\n\nS3's interface, served on this machine by moto, which takes a part of its cores. Two "
        f"workers read from it and write to it.\n\n{markdown_table(table)}"
    )


def _memory(memory: list[dict[str, Any]]) -> str:
    table = pd.DataFrame(
        {
            "lines": f"{run['lines']:,}",
            "a worker, at most, MB": f"{run['worker_mb']:,.0f}",
            "the command itself, MB": f"{run['driver_mb']:,.0f}",
            "lines a second": f"{_rate(run):,.0f}",
        }
        for run in memory
    )
    return f"## Memory\n\n{markdown_table(table)}"


def _model(found: dict[str, Any]) -> str:
    cost, new = found["cost"], found["new"]
    off = new["predicted"] / new["seconds"] - 1
    return (
        "## What it takes\n\n"
        "    seconds = start + (shards × overhead + lines × line) / workers\n\n"
        f"Fitted on {len(found['fitted_on'])} runs: start {cost['start']:.2f} s, overhead {1e3 * cost['overhead']:.1f} "
        f"ms a shard, {1e3 * cost['line']:.2f} ms a line and worker where both cores work. A line's image has "
        f"{found['bytes_a_line']:,.0f} bytes, its row {found['bytes_a_row']:.0f}.\n\n"
        f"A run that it was not fitted on, {new['lines']:,} lines in {new['shards']:,} shards: "
        f"{new['predicted']:.1f} s predicted, {new['seconds']:.1f} s measured ({off:+.0%})."
    )


def _many(runs: list[dict[str, Any]]) -> str:
    table = pd.DataFrame(
        {
            "a machine dies": run["often"],
            "hours": _middle(run["hours"], 2),
            "machines that died": f"{median(run['deaths']):,.0f}",
            "shards begun again": f"{median(run['again']):,.0f}",
        }
        for run in runs
    )
    return (
        "## 100 million lines on 100 cores\n\nSimulated with the cost above: 25 machines of 4 such cores, shards of "
        f"10,000 lines, two minutes until a machine is back. Median and range of {len(runs[0]['hours'])} "
        f"seeds.\n\n{markdown_table(table)}"
    )


_WHAT = {
    data_loading.DRAWING: "drawing alone",
    data_loading.LEARNING: "learning alone",
    data_loading.BOTH: "both",
    data_loading.DEVICE: "drawing, and a device that waits for it",
}


def _feeding(fed: list[dict[str, Any]]) -> str:
    rates = data_loading.rates(fed)
    trainings = list(dict.fromkeys(training for training, _, _ in rates))
    rows = []
    for what, workers in data_loading.TURNS:
        row: dict[str, Any] = {
            "strings a second": _WHAT[what],
            "workers": workers if what != data_loading.LEARNING else "–",
        }
        for training in trainings:
            row[f"`{training}`"] = _middle(rates[training, what, workers])
        rows.append(row)
    size = ", ".join(f"{config.batch_size} (`{training}`)" for training, (_, config) in data_loading.TRAININGS.items())
    return (
        f"## Drawing batches beside learning\n\n{len(rates[trainings[0], data_loading.BOTH, 0])} rounds, each way in "
        f"turn: median, and least to most. Three heads; strings a step: {size}. `tiny` learns five digits on a grid, "
        "`strings` 1 to 10 digits at levels jitter and wild. Workers: processes that draw ahead; 0: the process that "
        f"learns draws.\n\n{markdown_table(pd.DataFrame(rows))}\n\n"
        f"{markdown_table(_workers_worth(rates, trainings))}\n\n"
        "The device takes none of these cores, and for a batch as long as the process that learns takes to draw it, "
        "with all cores. What it waits for is drawing with one thread a worker, and the handing over of batches. What "
        "a device learns in a second, over what one worker draws in a second, is how many workers it wants."
    )


def _workers_worth(rates: dict[tuple[str, str, int], list[float]], trainings: Sequence[str]) -> pd.DataFrame:
    """What workers change: of training, its rate over that without them; of the device, the share of time that it is
    at work. Medians of ratios, round by round."""

    def ratio(training: str, what: str, workers: int, base: str) -> float:
        pairs = zip(rates[training, what, workers], rates[training, base, 0], strict=True)
        return median(one / other for one, other in pairs)

    return pd.DataFrame(
        {
            "workers": workers,
            **{
                f"training `{name}`, times": f"{ratio(name, data_loading.BOTH, workers, data_loading.BOTH):.2f}"
                for name in trainings
            },
            **{
                f"device of `{name}`, at work": f"{ratio(name, data_loading.DEVICE, workers, data_loading.DRAWING):.0%}"
                for name in trainings
            },
        }
        for workers in (0, 1, 2)
    )


def write(out: Path) -> Path:
    """Write scale.md from scale.json."""
    write_text(out / "scale.md", page(read_json(out / "scale.json")))
    return out / "scale.md"


_SECTIONS: dict[str, Callable[[Any], str]] = {
    "workers": _workers,
    "killed": _killed,
    "store": _store,
    "memory": _memory,
    "model": _model,
    "many": _many,
    "feeding": _feeding,
}
