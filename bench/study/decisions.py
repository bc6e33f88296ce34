"""Which head for which strings: one table, in words, from what was read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.report.formatting import listed, percent, points
from bench.study.estimates import AR, MARGIN, ONE_PASS, Cell, Results

FORM, CTC_FORM = f"{ONE_PASS} + form", "ctc + form"
# Kinds of strings, as someone who has to choose a head would name them, and the laws that stand for each.
_KINDS = {
    "independent digits": ("uniform", "frequencies"),
    "with a check digit": ("luhn",),
    "dates": ("dates",),
    "chains, where a digit tells of the next": ("markov-0.5", "markov-0.9"),
    "of a short list": ("lexicon-20", "lexicon-100"),
}
# What is advised, in the order of what it costs: of these, the first group that is within the margin of the best.
_ADVISED = ((ONE_PASS, "ctc"), (FORM, CTC_FORM), (AR,))


def decisions(results: Results) -> pd.DataFrame:
    """One row a kind of strings: what the heads read of damaged images, and what to use."""
    clean, damaged = results.size.damages[0], results.size.damages[1:]
    rows = []
    for kind, laws in _KINDS.items():
        there = [law for law in laws if law in results.size.seeds]
        cells: list[Cell] = [(law, law, damage) for law in there for damage in damaged]
        if cells:
            rows.append(_decision(results, f"{kind}, damaged ({listed([f'`{law}`' for law in there])})", cells))
    rows.append(_decision(results, "any of these, clean", [(law, law, clean) for law in results.laws]))
    shifted = [cell for cell in results.shifted if cell[2] == results.size.shifted[0]]
    if shifted:
        what = f"independent digits, {results.size.shifted[0]}, by heads that learned another law"
        rows.append(_decision(results, what, shifted, holds=False))
    return pd.DataFrame(rows)


def _decision(results: Results, strings: str, cells: list[Cell], holds: bool = True) -> dict[str, str]:
    names = [name for name in (ONE_PASS, "ctc", AR, FORM) if name in results.strategies]
    row = {"strings": strings, **{f"`{name}`": percent(results.together(cells, name).mean()) for name in names}}
    row["use"] = _advised(results, cells, known=holds)
    row["or, where only the data know the form"] = _advised(results, cells, known=False) if holds else ""
    if (own := verified(results)) != AR:
        row[f"`{own}`, passes"] = f"{np.mean([results.mean(cell, 'passes', own) for cell in cells]):.2f}"
    return row


def _advised(results: Results, cells: list[Cell], known: bool) -> str:
    """The cheapest strategy that reads within the margin of the best one, and how far ahead of `parallel` it is."""
    groups = [
        [name for name in group if name in results.strategies]
        for group in _ADVISED
        if known or not set(group) & {FORM, CTC_FORM}
    ]
    exact = {name: float(results.together(cells, name).mean()) for group in groups for name in group}
    least = max(exact.values()) - MARGIN
    chosen = next(near for group in groups if (near := [name for name in group if exact[name] >= least]))
    names = " or ".join(f"`{verified(results) if name == AR else name}`" for name in chosen)
    return names if ONE_PASS in chosen else f"{names}, {points(results.ahead(cells, chosen[0], ONE_PASS))}"


def verified(results: Results) -> str:
    """The strategy that reads what `ar` reads in the fewest passes."""
    return "ar-speculative" if "ar-speculative" in results.strategies else AR
