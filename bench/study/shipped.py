"""What of the study the package carries, for `seqocr advise`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core import strategies
from bench.study.decisions import CONSTRAINED, SPECULATIVE
from bench.study.estimates import AR, LOCAL, ONE_PASS, Results
from bench.study.pipeline import SHOWN
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.advice.recommend import SHIPPED_STUDY, Cell, Study, as_json
from seqocr.errors import InputError
from seqocr.files import write_json
from seqocr.statistics import Value, mean

_STRATEGIES = (AR, SPECULATIVE, "ar-1layer", ONE_PASS, "ctc", "refine", CONSTRAINED)
_PLACES = 6  # decimals: beyond them are a machine's own


def study_of(everything: Mapping[str, Any]) -> Study:
    """From the results of the study, and of latency for what a strategy costs beside `parallel`."""
    results: Results = everything["dependence"]
    there = [name for name in _STRATEGIES if name in results.strategies]
    cells = [
        Cell(
            labels=cell[0],
            damage=cell[2],
            total_correlation=round(results.total_correlations[cell[0]], _PLACES),
            C=round(results.mean(cell, "C"), _PLACES),
            G=round(results.mean(cell, "G"), _PLACES),
            symbols=round(results.mean(cell, "symbols", LOCAL), _PLACES),
            exact={name: _rounded(mean(results.exact(cell, name))) for name in there},
            passes={name: round(results.mean(cell, "passes", name), _PLACES) for name in there},
            gap=_rounded(results.gap(cell).difference),
        )
        for cell in results.own
    ]
    timed = everything["latency"].main
    cost = {
        name: _rounded(timed.speedup(ONE_PASS, name, TASK_LENGTH))
        for name in there
        if name in timed.strategies and name in strategies.heads() and name != ONE_PASS
    }
    if results.cost is not None:  # of an encoder that takes less time: so at most as much of a larger one's
        cost |= {CONSTRAINED: _rounded(results.cost.dearest_constraint(ONE_PASS, ONE_PASS))}
    return Study(tuple(cells), cost)


def write_study(everything: Mapping[str, Any], path: Path = SHIPPED_STUDY) -> Path:
    """
    Raises:
        InputError: the study is a small one, whose numbers say nothing.
    """
    if (preset := everything["dependence"].facts["preset"]) != SHOWN:
        raise InputError(f"the study is of preset {preset!r}: make the whole with `make study`")
    write_json(path, as_json(study_of(everything)))
    return path


def _rounded(value: Value) -> Value:
    return value.map(lambda number: round(number, _PLACES))
