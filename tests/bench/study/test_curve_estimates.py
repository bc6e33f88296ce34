"""What learning curves show, of rows with planted curves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
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
STRINGS = 1000


def rows() -> pd.DataFrame:
    """Three seeds each, whose exact match scatters by head and seed, with bits that fit it."""
    found: list[dict[str, Any]] = []
    scatter = np.random.default_rng(0)

    def add(cell: tuple[str, str], heads: str, strategy: str, steps: int, exact: float) -> None:
        of = {"labels": cell[0], "damage": cell[1], "heads": heads, "strategy": strategy, "steps": steps}
        for seed in range(3):
            right = np.arange(STRINGS) < round(STRINGS * exact) + scatter.integers(-1, 2)
            packed = np.packbits(right).tobytes().hex()
            found.append({**of, "seed": seed, "exact": right.mean(), "right": packed, "strings": STRINGS})

    for cell, exact in ((HARD, HARD_EXACT), (EASY, dict.fromkeys(ALONE, (0.96, 0.96)))):
        for head in ALONE:
            for steps, value in zip(STEPS, exact[head], strict=True):
                add(cell, head, head, steps, value)
        for reader, value in ORACLES.items():
            add(cell, "oracles", reader, 0, value)
        for head in ("parallel", "ctc"):
            for steps in STEPS:
                add(cell, f"ar+{head}", head, steps, 0.8)
        for name in ("ar + known form", "parallel + known form", "ar + counted form", "parallel + counted form"):
            add(cell, name.split(" ")[0], name, STEPS[-1], 0.94)
    return pd.DataFrame(found)


@pytest.fixture
def results() -> CurveResults:
    return CurveResults(rows(), {})


def test_steps_that_one_seed_alone_has_reached_do_not_count_yet() -> None:
    some = rows()
    ahead = some[(some["seed"] == 0) & (some["steps"] == STEPS[-1])].assign(steps=8000)
    found = CurveResults(pd.concat([some, ahead]), {})
    assert found.last("lexicon-100") == STEPS[-1]
    assert found.verdict(HARD, "parallel") == BETTER


def test_only_large_leads_are_taken_apart(results: CurveResults) -> None:
    assert results.leads == [HARD]
    (parts,) = results.decomposition
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
    assert {name: parts[name].estimate for name in expected} == pytest.approx(expected, abs=0.008)
    assert parts["lead"].n == 3


def test_a_head_has_learned_at_nine_tenths_of_what_there_is_to_gain(results: CurveResults) -> None:
    found = {head: results.learned_after(HARD, head) for head in ALONE}  # from 0.865 on
    assert found == {"ar": 1000, "ar-1layer": 4000, "ar-rtl": None, "parallel": None, "slots": 4000, "ctc": None}


def test_guided_heads_are_read_alone(results: CurveResults) -> None:
    found = results.guided(HARD, "parallel", 1000)
    assert found is not None
    assert found.estimate == pytest.approx(0.7, abs=0.008)


def test_verdicts_are_of_one_family_at_the_last_step(results: CurveResults) -> None:
    words = results.family.set_index(["damage", "other"])["verdict"]
    assert words[HARD[1]][["parallel", "ctc"]].tolist() == [BETTER, BETTER]
    assert set(words[EASY[1]]) == {SAME}
    assert results.verdict(HARD, "parallel") == BETTER
    assert {claim.verdict for claim in EXPERIMENT.claims(results)} >= {BETTER, SAME}


def test_seeds_that_agree_by_chance_are_no_proof() -> None:
    """One string of a thousand more, in every seed: what the choice of strings alone makes is not forgotten."""
    few = rows()
    for head, count in (("ar", 901), ("parallel", 900)):
        right = np.arange(STRINGS) < count
        here = (few["damage"] == EASY[1]) & (few["strategy"] == head) & (few["heads"] == head)
        few.loc[here, "exact"], few.loc[here, "right"] = right.mean(), np.packbits(right).tobytes().hex()
    gap = CurveResults(few, {}).gap(EASY, "ar", "parallel", STEPS[-1])
    assert gap is not None
    assert gap.difference.estimate == pytest.approx(0.001)
    assert gap.p_value > 0.01
    assert gap.difference.low < 0


def test_of_too_few_trainings_there_is_no_verdict() -> None:
    few = rows()
    found = CurveResults(few[few["seed"] < 2], {})
    assert found.family.empty
    assert "verdict" in EXPERIMENT.tables(found)["curves_claims"]
    assert found.leads == [HARD]


def test_what_is_missing_leaves_the_rest() -> None:
    some = rows()
    some = some[~some["strategy"].isin(("slots", "ar-rtl"))]
    (section,) = EXPERIMENT.sections(CurveResults(some, {"trainings": 30, "whole": 12, "of": 81}), {})
    assert "30 of 81 trainings have been read, 12 to their end" in section.text
    assert section.table is not None
    (row,) = section.table.to_dict("records")
    assert (row["deeper one pass"], row["left to right"]) == ("", "")
    assert row["deeper `ar`"].startswith("+")
    assert "From right to left" not in section.text
    learned = section.details["Steps until a head has learned"]
    assert isinstance(learned, pd.DataFrame)
    assert learned.loc[0, ["`slots`", "`ar`"]].tolist() == ["", "1,000"]


def test_damage_to_the_other_end_tells_what_the_direction_makes() -> None:
    both = rows()
    first = both[both["damage"] == HARD[1]].assign(damage="erased first 40%")
    swapped = first["strategy"].replace({"ar": "ar-rtl", "ar-rtl": "ar"})
    first = first.assign(strategy=swapped, heads=first["heads"].replace({"ar": "ar-rtl", "ar-rtl": "ar"}))
    (section,) = EXPERIMENT.sections(CurveResults(pd.concat([both, first]), {}), {})
    directions = section.details["By direction of writing"]
    assert isinstance(directions, pd.DataFrame)
    found = directions.set_index(["strings, damage", "steps"])
    ours, theirs = (found.loc[("`lexicon-100`, " + damage, "4,000")] for damage in (HARD[1], "erased first 40%"))
    assert (ours["`ar`"], ours["`ar-rtl`"]) == (theirs["`ar-rtl`"], theirs["`ar`"])
    assert float(ours["`ar`"].split()[0]) == pytest.approx(92, abs=0.3)
    assert re.search(r"From right to left, `ar` reads (39|40)\.\d points less there, then 2[12]\.\d\.", section.text)


def test_labels_that_no_head_alone_has_read_are_left_out() -> None:
    other = rows()
    joint = other[other["heads"].isin(("oracles", "ar+parallel"))].assign(labels="amounts")
    found = CurveResults(pd.concat([other, joint]), {})
    assert {labels for labels, _ in found.cells} == {"lexicon-100"}
    assert EXPERIMENT.sections(found, {})


def test_the_section_says_what_was_planted(results: CurveResults) -> None:
    (section,) = EXPERIMENT.sections(results, {})
    lead = r"erased last 40%: by \+(79|80)\.\d+ .* points after 1,000 steps, \+(19|20)\.\d+ .* after 4,000 \(better\)"
    assert re.search(lead, section.text)
    assert "have been read, " not in section.text
    assert re.search(r"`parallel` reads 9[34]\.\d % in one pass, `ar` 9[34]\.\d %", section.text)
    assert section.table is not None
    assert section.table.to_dict("records")[0]["after the last"].endswith(" (4,000)")
    learned = section.details["Steps until a head has learned"]
    assert isinstance(learned, pd.DataFrame)
    assert learned.iloc[0]["`parallel`"] == "not within 4,000"
    tables = EXPERIMENT.tables(results)
    assert tables["curves_decomposition"].loc[0, "lead"] == pytest.approx(0.8, abs=0.008)
    assert len(tables["curves_claims"]) == 6
    assert 0.01 < tables["curves_decomposition"].loc[0, "counted_form_at_last"] < 0.03
    figure = curves_plot(results)
    assert [axis.get_title() for axis in figure.axes] == ["lexicon-100, erased last 40%"]
    assert plotting.style_of("ar").colour in {line.get_color() for line in figure.axes[0].lines}
