"""What the family of encoders shows, of planted rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core import plotting
from bench.experiments.family import EXPERIMENT, _front, family_plot
from bench.study.family import ABSENT, RIGHT, STRATEGIES
from bench.study.family_estimates import FamilyResults
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.statistics import BETTER, SAME, UNDECIDED

EXACT = {**dict.fromkeys(STRATEGIES, 0.90), "parallel": 0.4, "ctc": 0.9}
MS = {"ar": 10.0, "ar-generate": 20.0, "ar-1layer": 6.0, "ar-speculative": 7.0, "parallel": 5.0, "ctc": 5.0}
MS |= {"ctc, int8": 2.0, "crnn": 3.0}
STRINGS = 400


def rows(seeds: int = 3, encoders: Sequence[str] = ("96x2", "small"), more: float = 0.0) -> pd.DataFrame:
    """Strings read right as planted, or a share more; by seed one string more or fewer."""
    found = []
    for encoder, seed, level in product(encoders, range(seeds), LEVELS):
        if encoder == "small" and seed:
            continue
        right = {name: round(STRINGS * (EXACT[name] + more)) + seed for name in STRATEGIES}
        for i in range(STRINGS):
            read = " ".join(RIGHT if i < right[name] else "9" for name in STRATEGIES)
            found.append({"index": i, "text": "0", "prediction": read, "set": level, "encoder": encoder, "seed": seed})
    return pd.DataFrame(found)


def times() -> pd.DataFrame:
    """Restarts in each of which all takes 5 % longer than in the one before."""
    quiet = {"cpu": 0.0, "switches": 0, "stolen": 0.0, "others": 0.0, "core_seconds": 2.0}
    return pd.DataFrame(
        {
            **{"encoder": encoder, "batch": batch, "round": number, "strategy": name, "passes": 1, **quiet},
            **{"restart": restart, "warmup": False, "counts": True, "seconds": ms / 1e3 * batch * 1.05**restart},
        }
        for encoder, batch, restart, number, (name, ms) in product(
            ("96x2", "small"), (1, 64), range(8), range(3), MS.items()
        )
    )


@pytest.fixture
def results() -> FamilyResults:
    counts = {"strings": 400, "ar": 300, "parallel": 300}
    trainings = {f"96x2-seed{seed}": {"graphs_exact": {"wild": {**counts, "ctc": 320 + seed}}} for seed in range(3)}
    crnn = pd.DataFrame({"set": "wild", "text": "12", "prediction": ["12", "12", "1", "12"]})
    return FamilyResults(rows(), {"trainings": trainings, "of": 10}, times(), {}, crnn)


def test_exact_match_is_over_seeds_or_over_the_strings_of_one(results: FamilyResults) -> None:
    three, one = results.exact("96x2", "wild", "ar"), results.exact("small", "wild", "ar")
    assert three.estimate == pytest.approx(0.90 + 1 / STRINGS)
    assert three.n == 3
    assert (one.estimate, one.n) == (0.90, STRINGS)
    assert results.exact("96x2", "wild", "ar-generate") == three
    graph = results.int8_exact("96x2", "wild", "ctc")
    assert graph is not None
    assert (graph.estimate, graph.n) == (pytest.approx(321 / 400), 3)
    assert results.int8_exact("96x2", "wild", "parseq") is None
    assert results.int8_exact("small", "wild", "ctc") is None
    others = results.crnn_exact("wild")
    assert others is not None
    assert (others.estimate, others.n) == (0.75, 4)


def test_comparisons_are_of_encoders_with_enough_seeds_and_fixed_opponents(results: FamilyResults) -> None:
    found = results.family
    assert len(found) == 9
    assert set(found["encoder"]) == {"96x2"}
    assert found.groupby("other")["verdict"].unique().map(list).to_dict() == {
        "parallel": [BETTER],
        "ctc": [SAME],
        "ar-1layer": [SAME],
    }
    leads = results.leads("wild")
    assert [difference.estimate for difference, _ in leads] == pytest.approx([0.5, 0])
    assert [verdict.word for _, verdict in leads] == [BETTER, SAME]
    few = FamilyResults(rows(2), results.facts, results.times, {})
    assert few.family.empty


def test_times_are_over_restarts_and_ratios_within_them(results: FamilyResults) -> None:
    assert results.milliseconds("small", 1, "ar").n == 8
    assert results.milliseconds("small", 64, "ar").estimate == pytest.approx(10 * 1.05**3.5, rel=0.01)
    over = results.over("small", 1, "ar")
    assert (over.estimate, over.low, over.high) == pytest.approx((2, 2, 2))
    assert results.timed_strategies("small")[0] == "ar-generate"
    assert results.timed_strategies("small")[-1] == "ctc, int8"
    assert results.times_of_int8("small", 1, "ctc") == pytest.approx(2.5)
    assert results.main == "small"
    claims = {claim.name: claim for claim in results.time_claims}
    assert len(claims) == 2 * 2 * (len(MS) - 1)
    assert claims["small, batch 64: `ar` over `parallel`"].verdict == "slower"
    assert claims["96x2, batch 1: `ctc, int8` over `parallel`"].verdict == "faster"
    assert claims["96x2, batch 1: `ctc` over `parallel`"].verdict == UNDECIDED


def test_the_section_says_what_is_missing_and_draws_what_is_there(results: FamilyResults) -> None:
    (section,) = EXPERIMENT.sections(results, {})
    assert "**3 of 10 trainings have ended.**" in section.text
    assert "3 find it better, 0 worse, 6 within 1 point, and 0 decide nothing" in section.text
    table = section.table
    assert table is not None
    assert len(table) <= 8
    assert table.set_index("strategy").loc["`ar`", "96x2: `wild`"] == "90.2 %"
    assert table.set_index("strategy").loc["`parallel`", "small, ms"].startswith("5.9")
    assert table.set_index("strategy").loc["`parseq`", "small, ms"] == ""  # which was not timed
    untimed: Any = FamilyResults(results.rows, results.facts, results.times.iloc[:0], {})
    assert (
        "comparisons" not in EXPERIMENT.sections(FamilyResults(rows(2), results.facts, results.times, {}), {})[0].text
    )
    (section,) = EXPERIMENT.sections(untimed, {})
    assert "restarts" not in section.text
    assert untimed.main is None
    assert set(EXPERIMENT.tables(results)) == {"family", "family_claims", "family_times"}
    assert {claim.verdict for claim in EXPERIMENT.claims(results)} <= {BETTER, SAME, UNDECIDED, "slower", "faster"}


def test_the_picture_has_a_point_for_what_was_timed_and_read(results: FamilyResults, tmp_path: Any) -> None:
    left, right = family_plot(results).axes
    timed = 2 * len(MS) - 2  # of small, no graph was read; CRNN belongs to no encoder
    assert len(left.containers) == len(right.containers) == timed
    plotting.save("family", lambda: family_plot(results), tmp_path)
    assert (tmp_path / "family.png").stat().st_size > 10_000


def test_the_front_has_what_nothing_is_faster_and_better_than() -> None:
    points = [(1.0, 9.0), (2.0, 5.0), (2.0, 7.0), (3.0, 6.0), (4.0, 1.0)]
    assert _front(points, least=True) == [(1.0, 9.0), (2.0, 5.0), (4.0, 1.0)]
    assert _front(points, least=False) == [(4.0, 1.0)]
    assert np.isfinite(_front(points, least=True)).all()


def test_shipped_weights_come_last_and_have_fewer_heads() -> None:
    shipped = rows(1, ("strings",))
    shipped["prediction"] = [" ".join([*read.split(" ")[:4], *3 * [ABSENT]]) for read in shipped["prediction"]]
    both = pd.concat([shipped, rows(3, ("96x2",))], ignore_index=True)
    results = FamilyResults(both, {"trainings": {}, "of": 10}, times().replace({"encoder": {"small": "strings"}}), {})
    assert (results.encoders, results.trained, results.main) == (["96x2", "strings"], ["96x2"], "strings")
    assert results.strategies("strings") == ["ar", "ar-1layer", "parallel", "ctc"]
    assert set(results.family["encoder"]) == {"96x2"}
    differing = [(each.where, each.other) for each in results.comparisons if each.verdict.differs]
    assert differing == [(f"`{level}`, `strings`", "parallel") for level in LEVELS]
    assert len(results.comparisons) == 2 * len(LEVELS)
    assert results.longest_trained == "strings"
    (section,) = EXPERIMENT.sections(results, {})
    assert section.table is not None
    assert section.table.set_index("strategy").loc["`parseq`", "strings: `wild`"] == ""
    assert len(results.table()) == len(LEVELS) * (len(STRATEGIES) + 4)


def test_heads_that_learned_alone_are_compared_with_each_other() -> None:
    single = [
        rows(3, (f"96x2-{head}",)).assign(
            prediction=lambda table, place=place: [
                " ".join(read if i == place else ABSENT for i, read in enumerate(line.split(" ")))
                for line in table["prediction"]
            ]
        )
        for head, place in (("ar", 0), ("parallel", 2), ("ctc", 3))
    ]
    all_rows = pd.concat([rows(3, ("96x2",)), *single], ignore_index=True)
    results = FamilyResults(all_rows, {"trainings": {}, "of": 10}, times().iloc[:0], {})
    assert results.trained == results.encoders == ["96x2"]
    assert results.strategies("96x2-parallel") == ["parallel"]
    assert [difference.estimate for difference, _ in results.leads_alone("wild")] == pytest.approx([0.5, 0])
    assert {head: exact.estimate for head, exact in results.exact_alone("wild").items()} == {
        head: pytest.approx(results.exact("96x2", "wild", head).estimate) for head in ("ar", "parallel", "ctc")
    }
    assert len(results.family) == len(LEVELS) * 5
    assert len(results.leads("wild")) == 2
    assert "Learning alone, on 96x2, `ar` reads 90.2 % (together 90.2 %)" in EXPERIMENT.sections(results, {})[0].text


def test_a_longer_training_stands_beside_the_shorter_one() -> None:
    both = pd.concat([rows(3, ("96x2",)), rows(1, ("96x2-long",), more=0.05)], ignore_index=True)
    seen = {"96x2-seed0": {"strings_seen": 264}, "96x2-long-seed0": {"strings_seen": 1792}}
    results = FamilyResults(both, {"trainings": seen, "of": 10}, times().iloc[:0], {})
    assert results.longer == ["96x2-long"]
    assert len(results.leads("wild")) == 2
    text = EXPERIMENT.sections(results, {})[0].text
    assert "96x2-long learned 1,792 strings: `ar` leads `parallel` by 50.0 points and `ctc` by 0.0" in text
