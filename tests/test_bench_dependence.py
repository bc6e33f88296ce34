"""The study: its design, its statistics on made-up readings whose answer is known, its page, and a run in small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import finished_run

from bench import plots
from bench.experiment import LONGEST_TABLE
from bench.experiments.dependence import EXPERIMENT, reading, size_of, study, training
from bench.experiments.dependence.design import HEADS, SIZES, Size, Training
from bench.experiments.dependence.numbers import AR, JOINT, MARGINAL, ONE_PASS, Results
from bench.experiments.dependence.shipped import study_of
from bench.report import everything, write_report
from bench.store import Store
from seqocr.advice import Study, as_json
from seqocr.errors import InputError
from seqocr.files import write_json
from seqocr.train.state import is_finished

CLEAN, HARD = "clean", "erased 60%"
SIZE = Size(
    seeds={"uniform": 5, "lexicon-20": 5, "luhn": 3},
    damages=(CLEAN, HARD),
    base_steps=1,
    steps=1,
    strings=400,
    ablated="lexicon-20",
    shifted=(CLEAN, HARD),
    base_batch=8,
    batch=8,
)
# Exact match by (law, read, damage) and way: where nothing is said, 0.9.
PLANTED = {
    ("lexicon-20", "lexicon-20", HARD): {
        AR: 0.7, ONE_PASS: 0.4, MARGINAL: 0.6, JOINT: 0.8, f"{ONE_PASS} + form": 0.8, "ar-verified": 0.7,
    },
    ("lexicon-20", "uniform", CLEAN): {AR: 0.1, ONE_PASS: 0.7},
    ("uniform", "uniform", HARD): {AR: 0.5, ONE_PASS: 0.5},
}  # fmt: skip
WAYS = (*HEADS, "ar-verified", "ideal local", MARGINAL, JOINT, f"{ONE_PASS} + form")
SCATTER = 0.002  # of exact match, between seeds


def rows_of(size: Size = SIZE) -> pd.DataFrame:
    draw, rows = np.random.default_rng(0), []
    for each in size.trainings():
        for law, damage in reading.cells(each, size):
            of = {"training": each.name, "law": each.law, "read": law, "damage": damage, "seed": each.seed}
            for way in WAYS:
                exact = PLANTED.get((each.law, law, damage), {}).get(way, 0.9) + draw.normal(0, SCATTER)
                nats = {AR: 1.0, ONE_PASS: 3.0 if (each.law, damage) == ("lexicon-20", HARD) else 1.0}.get(way)
                told = {"C": 2.0 if (each.law, damage) == ("lexicon-20", HARD) else 0.0, "G": 0.2 * (damage == HARD)}
                passes = {AR: 6.0, "ar-verified": 2.0}.get(way, 1.0)
                more = {"strings": size.strings, "exact": exact, "right": "ff", "passes": passes, "nats": nats}
                rows.append({**of, "way": way, **more, **told})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(rows_of(), SIZE, {"preset": "full"})


def test_trainings_come_in_whole_replications_the_base_law_first() -> None:
    for size in SIZES.values():
        names = [each.name for each in size.trainings()]
        assert len(set(names)) == len(names)
        seeds = [each.seed for each in size.trainings()]
        assert seeds == sorted(seeds)
        first = {seed: next(each.law for each in size.trainings() if each.seed == seed) for seed in set(seeds)}
        assert set(first.values()) == {"uniform"}  # the others' evidence comes from it


def test_the_study_is_as_large_as_was_asked_for() -> None:
    full = SIZES["full"]
    assert len(full.seeds) >= 6
    assert len(full.damages) >= 5
    assert min(full.seeds.values()) >= 3
    assert sum(seeds >= 5 for seeds in full.seeds.values()) >= 3


def test_a_difference_is_found_where_it_was_planted_and_nowhere_else(results: Results) -> None:
    assert results.verdict(("lexicon-20", "lexicon-20", HARD)) == "better"
    assert results.verdict(("lexicon-20", "uniform", CLEAN)) == "worse"
    family = results.family.set_index(["law", "read", "damage"])
    assert set(family["verdict"].drop([("lexicon-20", "lexicon-20", HARD), ("lexicon-20", "uniform", CLEAN)])) == {
        "the same"
    }
    assert family.loc[("lexicon-20", "lexicon-20", HARD), "difference"] == pytest.approx(0.3, abs=4 * SCATTER)
    assert (family["seeds"] == 5).all()
    assert results.verdict(("luhn", "luhn", HARD)) == ""  # too few seeds for a claim
    assert ((family["smallest_seen"] > SCATTER) & (family["smallest_seen"] < 20 * SCATTER)).all()


def test_shares_of_what_there_is_to_gain(results: Results) -> None:
    assert results.worthwhile() == [("lexicon-20", "lexicon-20", HARD)]
    assert results.worthwhile("ideal local") == []
    assert results.captured(AR).estimate == pytest.approx(0.5, abs=0.05)  # 0.7, between 0.6 and 0.8
    assert results.captured(ONE_PASS).estimate == pytest.approx(-1, abs=0.1)
    assert results.captured(JOINT).estimate == pytest.approx(1)


def test_the_price_of_a_law_that_does_not_hold(results: Results) -> None:
    assert results.price("lexicon-20", AR, CLEAN).estimate == pytest.approx(-0.8, abs=0.01)
    assert results.price("lexicon-20", ONE_PASS, CLEAN).estimate == pytest.approx(-0.2, abs=0.01)
    assert results.price("luhn", AR, CLEAN).n == 3


def test_lost_likelihood_is_held_against_c(results: Results) -> None:
    table = results.likelihoods().set_index(["law", "damage"])
    assert table.loc[("lexicon-20", HARD), "nats_lost"] == pytest.approx(2.0)
    assert table["nats_lost"].drop(("lexicon-20", HARD)).abs().max() == pytest.approx(0)


def test_ablations_are_named_by_what_differs(results: Results) -> None:
    table = results.ablations()
    assert set(table["trained"]) == {"as all", "encoder frozen", "each head alone", "2% of the digits"}
    alone = table[table["trained"] == "each head alone"]
    assert set(alone["way"]) == {AR, ONE_PASS, "ctc"} & set(alone["way"])


def test_the_page_says_what_was_planted(results: Results) -> None:
    sections = EXPERIMENT.sections(results, {})
    assert sections[0].title == "When does autoregression pay?"
    for section in sections:
        assert section.table is not None
        assert 1 <= len(section.table) <= LONGEST_TABLE
        assert "nan" not in section.text
    decided = sections[0].table
    assert decided is not None
    because = " ".join(decided["because"])
    assert "+30" in because or "+29" in because  # ar ahead
    assert "-80" in because or "-79" in because or "+0" in because


def test_plots_are_drawn(results: Results, tmp_path: Path) -> None:
    for name, draw in EXPERIMENT.plots(results, {}).items():
        plots.save(name, draw, tmp_path)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def finished_study(folder: Path, size: Size = SIZE) -> Store:
    store = Store(folder)
    store.write(study.READINGS, rows_of(size))
    facts = {
        "preset": "full",
        "depends": study.depends(size),
        "commit": "abc",
        "seconds": 7.0,
        "finished": "2026-01-01",
    }
    store.write_facts("study", study._as_json(facts))
    return store


def test_the_report_shows_the_study_that_lies_beside_the_run(tmp_path: Path) -> None:
    store = finished_run(tmp_path)
    finished_study(tmp_path / "study")
    found = everything(store)
    assert found["dependence"].size == SIZE
    text = write_report(store, tmp_path).read_text()
    assert text.index("## When does autoregression pay?") < text.index("## Cost against length")
    assert len(pd.read_csv(tmp_path / "tables" / "dependence_claims.csv")) == len(found["dependence"].family)


def test_what_the_package_carries_is_read_back(tmp_path: Path) -> None:
    store = finished_run(tmp_path)
    finished_study(tmp_path / "study")
    made = study_of(everything(store))
    write_json(tmp_path / "study.json", as_json(made))
    assert Study.load(tmp_path / "study.json") == made
    assert {cell.law for cell in made.cells} == set(SIZE.seeds)
    assert made.passes[AR] == 6


def test_a_size_is_read_as_it_was_written() -> None:
    for size in SIZES.values():
        assert size_of({"depends": study._as_json(study.depends(size))}) == size


def test_recognizers_of_another_study_are_not_mixed_with_this_one(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    study._claim(kept, SIZE)
    study._claim(kept, SIZE)
    with pytest.raises(InputError, match="recognizers of another study"):
        study._claim(kept, replace(SIZE, steps=2))
    with pytest.raises(InputError, match="unknown study preset 'huge'"):
        study.run("huge", tmp_path, tmp_path)


def test_a_cell_in_small_is_trained_and_read(tmp_path: Path) -> None:
    rows = study.cell("lexicon-20", HARD, steps=2, batch=8, strings=30, folder=tmp_path)
    assert {AR, ONE_PASS, "ar-verified"} <= set(rows["way"])
    assert (rows["strings"] == 30).all()
    assert is_finished(tmp_path / Training("lexicon-20", 0, ("ar", "parallel")).name)
    before = (tmp_path / training.BASE / "model.safetensors").read_bytes()
    again = study.cell("lexicon-20", HARD, steps=2, batch=8, strings=30, folder=tmp_path)  # nothing is trained again
    pd.testing.assert_frame_equal(rows, again)
    assert (tmp_path / training.BASE / "model.safetensors").read_bytes() == before


def test_held_out_digits_are_never_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    load = training.load_digits
    monkeypatch.setattr(training, "load_digits", lambda split: asked.append(split) or load(split))
    training._material(Training("luhn", 0))
    assert asked == ["train", "validation"]
