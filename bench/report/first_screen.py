"""What a reader with one minute sees: a verdict, a table of heads, a table of accuracies, two pictures, one line on how
it was measured. The same at the top of the report and in README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.core import strategies
from bench.core.experiment import Claim
from bench.experiments import experiments
from bench.experiments.latency.estimates import fastest
from bench.report.formatting import listed, markdown_table, ratio, share, time
from bench.study.sections import headline
from bench.workloads import accuracy_tables
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.models.heads.base import Strategy

_PHASES = {"zero-shot": "real, as shipped", "fine-tuned": "real, adapted"}


def first_screen(everything: Mapping[str, Any], plots: str = "plots") -> str:
    """Markdown, from the results of all experiments by name.

    Args:
        plots: where the pictures are, seen from the page.
    """
    blocks = [f"**{verdict(everything)}**"]
    if "dependence" in everything:
        blocks.append(f"**{headline(everything['dependence'])}**")
    blocks.append(markdown_table(heads_table(everything)))
    if "levels" in everything:
        blocks.append(markdown_table(accuracy_table(everything)))
        blocks.append(_accuracy_words(everything))
    shown = ["latency", *(["lengths"] if "levels" in everything else [])]
    blocks.append(" ".join(f'<img src="{plots}/{name}.png" width="49%" alt="{name}">' for name in shown))
    return "\n\n".join(blocks)


def verdict(everything: Mapping[str, Any]) -> str:
    """What answers the project's question, as far as these measurements say."""
    accuracy, latency = everything["accuracy"], everything["latency"]
    subject = latency.main
    head, (generate, own) = fastest(subject), strategies.autoregressive()[:2]
    faster = [
        f"{subject.speedup(head, over, TASK_LENGTH).estimate:.1f} times as fast as `{over}`" for over in (generate, own)
    ]
    read = {"five clean digits": accuracy.verdict}
    if levels := everything.get("levels"):
        read |= {f"`{level}`": found for level, found in levels.verdicts.items()}
    different = [f"{found} at {name}" for name, found in read.items() if found != accuracy_tables.SAME]
    said = f"`ar` reads {listed(different) if different else 'no better and no worse than one pass at any level'}"
    long, short = max(subject.lengths), min(subject.lengths)
    grown, own_grown = subject.flatness(head).estimate, subject.flatness(own).estimate
    return (
        f"{said}; a head that needs one pass (`{head}`) is {listed(faster)} from image to text "
        f"({subject.subject.label}, n = {TASK_LENGTH}). Without the encoder, {long} symbols take `{head}` "
        f"{grown:.1f} times as long as {short}, and `{own}` {own_grown:.0f} times as long."
    )


def heads_table(everything: Mapping[str, Any]) -> pd.DataFrame:
    """One row a head that people deploy: what it reads, what it takes, how it grows."""
    accuracy, latency = everything["accuracy"], everything["latency"]
    found, rows = strategies.by_name(), []
    grown = latency.main
    for strategy in strategies.deployed():
        row = {
            "head": f"`{strategy}`, {_passes(found[strategy])}",
            f"exact match, {TASK_LENGTH} digits": share(read) if (read := accuracy.exact(strategy)) else "not trained",
        }
        for t in latency.fixed:
            row[f"{t.subject.label}, ms"] = time(t.total(strategy, TASK_LENGTH))
        row[f"decoding n = {max(grown.lengths)} over n = {min(grown.lengths)}"] = ratio(grown.flatness(strategy))
        rows.append(row)
    return pd.DataFrame(rows)


def _passes(strategy: Strategy) -> str:
    if strategy.is_speculative:
        return "1 pass where the draft is right"
    return "1 pass" if strategy.is_one_pass else "n + 1 passes"


def accuracy_table(everything: Mapping[str, Any]) -> pd.DataFrame:
    """One row a head: exact match at each level, and on real lines where there are any."""
    levels, real = everything["levels"], everything.get("real")
    rows = []
    for head in levels.heads:
        row = {"exact match": f"`{head}`"}
        row |= {f"`{level}`": share(levels.exact(level, head)) for level in levels.levels}
        if real is not None:
            row |= {name: share(real.exact(head, phase)) for phase, name in _PHASES.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _accuracy_words(everything: Mapping[str, Any]) -> str:
    said = (
        "`grid`: digits side by side. `jitter`: sizes, slants and gaps vary. `wild`: as an amount on a cheque, in one "
        "hand. Strings of 1 to 10 digits. Exact match is of trained weights. Times are of models with random weights "
        "and say nothing of accuracy."
    )
    if "real" in everything:
        said += (
            " `real`: lines kept out of training, read by the shipped weights and by weights adapted to other lines of "
            "the same folder."
        )
    return said


def claims(everything: Mapping[str, Any]) -> list[Claim]:
    """Everything the first screen says that could flip."""
    return [claim for each in experiments() if each.name in everything for claim in each.claims(everything[each.name])]
