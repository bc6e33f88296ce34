"""Which head for which labels: what labels and images are like, held against the study of when autoregression pays.

The study's cells are shipped with the package (`study.json`, written by `make report`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from seqocr.advice.structure import Structure, structure_of
from seqocr.errors import InputError
from seqocr.statistics import Value

SHIPPED_STUDY = Path(__file__).parent / "study.json"
LEAST = 30  # strings of one length, below which nothing is estimated

_CONSTRAINED = "parallel + constraint"
_STRATEGIES = ("ar", "ar-speculative", "parallel", _CONSTRAINED)  # that are advised, and compared in the table
_MARGIN = 0.01  # of exact match: less than that is not worth exact decoding


@dataclass(frozen=True)
class Cell:
    """Strings of a label distribution under a damage, as the study measured them."""

    labels: str
    damage: str
    total_correlation: float  # of the labels, nats per string
    C: float  # the same, given the images
    G: float  # what the joint reader gains
    symbols: float  # share of single symbols that their own images tell
    passes: dict[str, float]  # of the decoder, per string, by decoding strategy
    exact: dict[str, Value]  # exact match over seeds, by decoding strategy
    gap: Value  # of `ar` minus `parallel`


@dataclass(frozen=True)
class Study:
    cells: tuple[Cell, ...]
    cost: dict[str, Value]  # time from image to text over that of `parallel`, by strategy; where drafts are right

    @classmethod
    def load(cls, path: Path = SHIPPED_STUDY) -> Study:
        """The shipped study, or another; InputError if it cannot be read."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            cells = [
                Cell(**{**cell, "exact": _values(cell["exact"]), "gap": Value(*cell["gap"])}) for cell in found["cells"]
            ]
            return cls(tuple(cells), _values(found["cost"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error}): install seqocr again") from error


@dataclass(frozen=True)
class Advice:
    head: str | None  # the decoding strategy to use; None: there is not enough data to say
    because: str  # a sentence
    cell: Cell | None  # of the study, the nearest one
    structures: tuple[Structure, ...]  # of every length that has strings enough


def structures_of(texts: Sequence[str], charset: str) -> tuple[Structure, ...]:
    """Of the texts of every length of which there are `LEAST`, the most frequent length first."""
    counts = Counter(map(len, texts))
    lengths = [length for length, count in counts.most_common() if count >= LEAST]
    return tuple(structure_of([text for text in texts if len(text) == length], charset) for length in lengths)


def advise(texts: Sequence[str], charset: str, symbols: float, study: Study) -> Advice:
    """
    Args:
        texts: labels.
        symbols: share of single symbols that a reader which knows nothing of the labels reads right.
    """
    found = structures_of(texts, charset)
    if not found:
        most = Counter(map(len, texts)).most_common(1)[0][1]
        return Advice(None, f"Not enough data: {most} labels of one length are too few; {LEAST} are a start.", None, ())
    main = found[0]
    if not main.enough:
        because = (
            f"Not enough data: {main.strings} labels of {main.length} symbols would not show a dependence that "
            f"matters. About {main.needed:,} would."
        )
        return Advice(None, because, None, found)
    cell = nearest(main, symbols, study)
    return Advice(*_chosen(main, cell), cell, found)


def nearest(structure: Structure, symbols: float, study: Study) -> Cell:
    """The cell whose label distribution is most like the labels, and of those the one whose images are as hard to
    read."""
    nats = {cell.labels: cell.total_correlation for cell in study.cells}
    name = _nearest_distribution(structure, nats)
    return min((cell for cell in study.cells if cell.labels == name), key=lambda cell: abs(cell.symbols - symbols))


def _nearest_distribution(structure: Structure, nats: dict[str, float]) -> str:
    """By kind first: a list of strings, a check digit, a date; or else by how much symbols tell of each other.

    Args:
        nats: total correlation of the study's label distributions, by name.
    """
    if structure.is_list and (lists := sorted(name for name in nats if name.startswith("lexicon"))):
        return min(lists, key=lambda name: abs(int(name.split("-")[1]) - structure.distinct))
    for form in structure.forms:
        kind = "luhn" if "check" in form else "dates"
        if kind in nats:
            return kind
    plain = [name for name in nats if not name.startswith("lexicon") and name not in ("luhn", "dates")]
    # Of distributions that are as near, independent digits.
    return min(plain, key=lambda name: (abs(nats[name] - structure.total_correlation), name != "uniform", name))


def _chosen(structure: Structure, cell: Cell) -> tuple[str, str]:
    """The head, and why."""
    gap = cell.gap
    at = f"In the study's nearest cell (`{cell.labels}`, {cell.damage}),"
    if not structure.depends:
        return "parallel", (
            f"The symbols tell nothing of each other, as far as {structure.strings:,} labels show. {at} `ar` is "
            f"{_points(gap)} points of exact match ahead: it does not pay for its passes."
        )
    if structure.is_known and _CONSTRAINED in cell.exact:
        what = " and ".join(structure.forms) or f"a list of {structure.distinct:,} strings"
        ahead = cell.exact[_CONSTRAINED].estimate - cell.exact["parallel"].estimate
        said = (
            f"The labels satisfy a known constraint ({what}). {at} a one-pass head with constrained decoding "
            f"(`seqocr.decoding`) is {ahead * 100:+.1f} points ahead of the head alone, in one pass"
        )
        return (_CONSTRAINED, f"{said}.") if ahead >= _MARGIN else ("parallel", f"{said}: the images say enough.")
    if gap.low > 0:
        return (
            "ar-speculative",
            f"The symbols depend on each other. {at} `ar` is {_points(gap)} points ahead of `parallel`.",
        )
    return (
        "parallel",
        f"The symbols depend on each other ({structure.total_correlation:.2f} nats a string), but not enough to pay. "
        f"{at} `ar` is {_points(gap)} points of exact match ahead.",
    )


def _points(value: Value) -> str:
    return f"{value.estimate * 100:+.1f} ({value.low * 100:+.1f} to {value.high * 100:+.1f})"


def compared_strategies(found: Advice) -> tuple[str, ...]:
    """Those of the table: constrained decoding only where there is a constraint."""
    if found.cell is None:
        return ()
    known = found.structures[0].is_known
    return tuple(name for name in _STRATEGIES if name in found.cell.exact and (known or name != _CONSTRAINED))


def _values(kept: Mapping[str, Any]) -> dict[str, Value]:
    return {strategy: Value(*value) for strategy, value in kept.items()}


def as_json(study: Study) -> dict[str, Any]:
    """As `Study.load` reads it."""

    def lists(values: Mapping[str, Value]) -> dict[str, list[float]]:
        return {strategy: list(astuple(value)) for strategy, value in values.items()}

    cells = [{**vars(cell), "exact": lists(cell.exact), "gap": list(astuple(cell.gap))} for cell in study.cells]
    return {"cells": cells, "cost": lists(study.cost)}
