"""What learning curves show, of rows with planted curves."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.core import plotting
from bench.experiments.curves import EXPERIMENT, curves_plot
from bench.study.curve_estimates import ALONE, CurveResults
from seqocr.statistics import BETTER, SAME

HARD, EASY = ("lexicon-100", "erased last 40%"), ("lexicon-100", "clean")
STEPS = (1000, 4000)
# Exact match of heads trained alone in the hard cell, after each number of steps.
HARD_EXACT = {
    "ar": (0.90, 0.92),
    "ar-1layer": (0.80, 0.90),
    "ar-rtl": (0.50, 0.70),
    "parallel": (0.10, 0.72),
    "slots": (0.30, 0.88),
    "ctc": (0.05, 0.60),
}
ORACLES = {"oracle local": 0.10, "oracle marginal": 0.93, "oracle joint": 0.95}
SCATTER = (-0.001, 0.0, 0.001)  # of three seeds


def rows() -> pd.DataFrame:
    found = []

    def add(cell: tuple[str, str], heads: str, strategy: str, steps: int, exact: float) -> None:
        of = {"labels": cell[0], "damage": cell[1], "heads": heads, "strategy": strategy, "steps": steps}
        found.extend({**of, "seed": seed, "exact": exact + aside} for seed, aside in enumerate(SCATTER))

    for cell, exact in ((HARD, HARD_EXACT), (EASY, dict.fromkeys(ALONE, (0.96, 0.96)))):
        for head in ALONE:
            for steps, value in zip(STEPS, exact[head], strict=True):
                add(cell, head, head, steps, value)
        for reader, value in ORACLES.items():
            add(cell, "oracles", reader, 0, value)
        for head in ("parallel", "ctc"):
            for steps in STEPS:
                add(cell, f"ar+{head}", head, steps, 0.8)
        for name in ("ar + known form", "parallel + known form"):
            add(cell, name.split(" ")[0], name, STEPS[-1], 0.94)
    return pd.DataFrame(found)


@pytest.fixture
def results() -> CurveResults:
    return CurveResults(rows(), {})


def test_only_large_leads_are_taken_apart(results: CurveResults) -> None:
    assert list(results.leads()) == [HARD]
    (parts,) = results.decomposition().to_dict("records")
    expected = {
        "lead": 0.8,
        "lead_at_last": 0.2,
        "must_be_lost": 0.02,
        "speed": 0.6,
        "depth_one_pass": 0.2,
        "depth_one_pass_at_last": 0.16,
        "depth_ar": 0.1,
        "depth_ar_at_last": 0.02,
        "direction": 0.4,
        "direction_at_last": 0.22,
    }
    assert {name: parts[name].estimate for name in expected} == pytest.approx(expected)
    assert parts["lead"].n == 3


def test_a_head_has_learned_at_nine_tenths_of_what_there_is_to_gain(results: CurveResults) -> None:
    found = {head: results.learned_after(HARD, head) for head in ALONE}  # from 0.865 on
    assert found == {"ar": 1000, "ar-1layer": 4000, "ar-rtl": None, "parallel": None, "slots": 4000, "ctc": None}


def test_guided_heads_are_read_alone(results: CurveResults) -> None:
    found = results.guided(HARD, "parallel", 1000)
    assert found["lead"] is not None
    assert found["guided"] is not None
    assert (found["lead"].estimate, found["guided"].estimate) == (pytest.approx(0.8), pytest.approx(0.7))


def test_verdicts_are_of_one_family_at_the_last_step(results: CurveResults) -> None:
    words = results.family.set_index(["damage", "other"])["verdict"]
    assert words[HARD[1]].to_dict() == {"parallel": BETTER, "ctc": BETTER, "ar-1layer": BETTER}
    assert set(words[EASY[1]]) == {SAME}


def test_of_too_few_trainings_there_is_no_verdict() -> None:
    few = rows()
    found = CurveResults(few[few["seed"] < 2], {})
    assert found.family.empty
    assert list(found.leads()) == [HARD]


def test_what_is_missing_leaves_the_rest() -> None:
    some = rows()
    some = some[~some["strategy"].isin(("slots", "ar-rtl"))]
    (row,) = EXPERIMENT.sections(CurveResults(some, {}), {})[0].table.to_dict("records")  # type: ignore[union-attr]
    assert (row["deeper one pass"], row["direction"], row["deeper `ar`"]) == (", ", ", ", "+10.0, +2.0")


def test_the_section_says_what_was_planted(results: CurveResults) -> None:
    (section,) = EXPERIMENT.sections(results, {})
    assert "is 80.0 points after 1,000 steps and 20.0 after 4,000" in section.text
    assert "must lose 2.0 there" in section.text
    assert section.table is not None
    assert section.table.to_dict("records")[0]["lead at the end"] == "+20.0 (4,000)"
    learned = section.details["Steps until a head has learned"]
    assert isinstance(learned, pd.DataFrame)
    assert learned.iloc[0]["`parallel`"] == "not within 4,000"
    tables = EXPERIMENT.tables(results)
    assert tables["curves_decomposition"].loc[0, "lead"] == pytest.approx(0.8)
    assert len(tables["curves_claims"]) == 6
    figure = curves_plot(results)
    assert [axis.get_title() for axis in figure.axes] == ["lexicon-100, erased last 40%"]
    assert plotting.style_of("ar").colour in {line.get_color() for line in figure.axes[0].lines}
