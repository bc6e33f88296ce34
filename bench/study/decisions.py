"""Which strategy for which strings: the cheapest that reads within the margin of the best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.core import strategies
from bench.core.formatting import code, percent, points
from bench.study.estimates import AR, ONE_PASS, Cell, Results
from seqocr.statistics import MARGIN, Value

CONSTRAINED, CTC_CONSTRAINED = f"{ONE_PASS} + constraint", "ctc + constraint"
SPECULATIVE = strategies.speculative()[0]
# Kinds of strings, as someone who has to choose a head would name them, and the label distributions of each.
_KINDS = {
    "independent digits": ("uniform", "frequencies"),
    "with a check digit": ("luhn",),
    "dates": ("dates",),
    "chains (a digit depends on the one before)": ("markov-0.5", "markov-0.9"),
    "from a short list": ("lexicon-20", "lexicon-100"),
}
# In the order of what it costs: of these, the first group that is within the margin of the best is advised.
_ADVISED = ((ONE_PASS, "ctc"), (CONSTRAINED, CTC_CONSTRAINED), (AR,))


@dataclass(frozen=True)
class Decision:
    """What to use for a kind of strings.

    Attributes:
        labels: names of the label distributions of its cells.
        exact: exact match by strategy, the mean over cells.
        known: what to use where the label distribution is known as a constraint; learned: where only the data know it,
            empty where what was learned does not hold.
        leads: exact match of a strategy that is advised, minus that of `parallel`.
        passes: of speculative decoding, the mean.
    """

    kind: str
    labels: tuple[str, ...]
    exact: dict[str, float]
    known: list[str]
    learned: list[str]
    leads: dict[str, Value]
    passes: float

    @property
    def name(self) -> str:
        return self.kind.split(",")[0]

    @property
    def row(self) -> dict[str, str]:
        """Of the report's table."""
        there = [name for name in (ONE_PASS, AR, CONSTRAINED) if name in self.exact]
        shown = {shown_as(name): percent(self.exact[name]) for name in there}
        advised = {"use, form known": self.known, "use, form only learned": self.learned}
        use = {when: shown_as(_deployed(names[0])) if names else "" for when, names in advised.items()}
        return {"strings": self.kind, **shown, **use}

    @property
    def detailed_row(self) -> dict[str, str]:
        """Of the table of details."""
        labels = f" ({code(self.labels)})" if self.labels else ""
        shown = {shown_as(name): percent(exact) for name, exact in self.exact.items()}
        advised = {"form known": self.known, "form only learned": self.learned}
        use = {f"use, {when}": self._advice(names) for when, names in advised.items()}
        return {"strings": f"{self.kind}{labels}", **shown, **use, f"`{SPECULATIVE}`, passes": f"{self.passes:.2f}"}

    def _advice(self, names: list[str]) -> str:
        said = " or ".join(shown_as(_deployed(name)) for name in names)
        return said if not names or ONE_PASS in names else f"{said}: {points(self.leads[names[0]])}"


def _deployed(strategy: str) -> str:
    return SPECULATIVE if strategy == AR else strategy


def shown_as(strategy: str) -> str:
    """A strategy or an oracle reader, as tables have it."""
    return strategy if strategy.startswith("oracle") else f"`{strategy}`"


def decisions(results: Results) -> list[Decision]:
    """One a kind of strings in damaged images, one for clean images, and one where what was learned does not hold."""
    clean, damaged = results.size.damages[0], results.size.damages[1:]
    found = []
    for kind, names in _KINDS.items():
        there = tuple(labels for labels in names if labels in results.size.seeds)
        if cells := [(labels, labels, damage) for labels in there for damage in damaged]:
            found.append(_decision(results, f"{kind}, damaged", there, cells))
    cells = [cell for cell in results.own if cell[2] == clean]
    found.append(_decision(results, "any of these, clean", (), cells))
    if shifted := [cell for cell in results.shifted if cell[2] == results.size.shifted[0]]:
        kind = f"independent digits, {results.size.shifted[0]}, another distribution learned"
        found.append(_decision(results, kind, (), shifted, holds=False))
    return found


def _decision(
    results: Results, kind: str, labels: tuple[str, ...], cells: Sequence[Cell], holds: bool = True
) -> Decision:
    there = [name for name in (ONE_PASS, "ctc", AR, CONSTRAINED, CTC_CONSTRAINED) if name in results.strategies]
    exact = {name: float(results.together(cells, name).mean()) for name in there}
    learned = _cheapest({name: value for name, value in exact.items() if name not in (CONSTRAINED, CTC_CONSTRAINED)})
    known = _cheapest(exact) if holds else learned
    leads = {name: results.ahead(cells, name, ONE_PASS) for name in {*known, *learned} - {ONE_PASS}}
    speculative = SPECULATIVE if SPECULATIVE in results.strategies else AR
    passes = float(np.mean([results.mean(cell, "passes", speculative) for cell in cells]))
    return Decision(kind, labels, exact, known, learned if holds else [], leads, passes)


def _cheapest(exact: dict[str, float]) -> list[str]:
    least = max(exact.values()) - MARGIN
    near = ([name for name in group if exact.get(name, 0) >= least] for group in _ADVISED)
    return next(group for group in near if group)
