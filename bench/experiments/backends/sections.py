"""What the report says and shows of runtimes."""

from __future__ import annotations

import pandas as pd

from bench.backends import EAGER
from bench.core import strategies
from bench.core.experiment import LONGEST_TABLE, Section
from bench.experiments.backends.estimates import Results, Timed
from bench.report.formatting import listed, not_run, points, ratio, time
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.statistics import Value


def section(results: Results) -> Section:
    absent = not_run({f"`{name}`": why for name, why in results.not_run.items()})
    rest = "Other models, and batches, are in `tables/runtime_speed.csv`."
    text = " ".join(filter(None, [_gap(results.main), _same(results.agreement), rest, absent]))
    return Section("Runtimes", text, "runtimes", _table(results.main).head(LONGEST_TABLE))


def _gap(t: Timed) -> str:
    """How far the best runtime narrows it."""
    generate, own = strategies.autoregressive()[:2]
    best = min((name for name in t.runtimes if own in t.variants(name)), key=lambda name: t.slope(name, own).estimate)
    before, after = t.fastest(EAGER), t.fastest(best)
    return (
        f"{t.subject.label}, batch 1, image to text, confidence included. In eager mode a symbol costs `{own}` "
        f"{ratio(t.over_generate(EAGER, own))} of what it costs `{generate}`; in `{best}`, the best runtime, "
        f"{ratio(t.over_generate(best, own))}. That is the cost of a symbol. One-pass heads gain from a good runtime, "
        f"too. At n = {TASK_LENGTH} in eager mode, `{generate}` takes {ratio(t.over(EAGER, generate, before))} times "
        f"and `{own}` {ratio(t.over(EAGER, own, before))} times as long as `{before}`. In `{best}`, `{own}` takes "
        f"{ratio(t.over(best, own, after))} times as long as `{after}`."
    )


def _same(agreement: pd.DataFrame) -> str:
    """Which runtimes read as eager mode does, and what the others read otherwise."""
    others = agreement[agreement["runtime"] != EAGER]
    if others.empty:
        return ""
    worst = others.loc[others.groupby("runtime", sort=False)["disagreements"].idxmax()].to_dict("records")
    same = [f"`{row['runtime']}`" for row in worst if row["disagreements"] == 0]
    said = (
        [f"{listed(same)} read{'s' if len(same) == 1 else ''} all as eager mode does, with every head"] if same else []
    )
    said += [
        f"`{row['runtime']}` reads {row['disagreements']} otherwise with `{row['head']}`, "
        f"which changes exact match by {points(Value.of(row, 'difference'))} points"
        for row in worst
        if row["disagreements"] > 0
    ]
    return f"Of {others['strings'].max():,} strings of the task, {'; '.join(said)}."


def _table(t: Timed) -> pd.DataFrame:
    """One row a runtime for the autoregressive head, after one for `generate` in eager mode."""
    generate, own = strategies.autoregressive()[:2]
    rows = []
    for runtime, way in [(EAGER, generate), *((name, own) for name in t.runtimes if own in t.variants(name))]:
        head = t.fastest(runtime)
        rows.append(
            {
                "runtime": f"{runtime}, `{way}`",
                "ms a symbol": time(t.slope(runtime, way)),
                f"over eager `{generate}`": ratio(t.over_generate(runtime, way)),
                f"n = {TASK_LENGTH}, ms": time(t.seconds(runtime, way).times(1e3)),
                "over one pass": ratio(t.over(runtime, way, head)),
                **{
                    f"`{name}` over one pass": ratio(t.over(runtime, name, head)) if name in t.variants(runtime) else ""
                    for name in strategies.verified()
                },
                "one pass over encoder": ratio(t.over(runtime, head, "encoder")),
            }
        )
    return pd.DataFrame(rows)
