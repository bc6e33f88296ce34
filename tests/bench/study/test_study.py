"""The study: its design, its statistics on made-up readings whose answer is known, its page, and a run in small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.core import plotting
from bench.core.experiment import LONGEST_TABLE
from bench.core.store import Store
from bench.report.build import everything, write_report
from bench.study import EXPERIMENT, cost, pipeline, predictions, size_of, training
from bench.study.decisions import SPECULATIVE
from bench.study.design import HEADS, LENGTH, SIZES, Size, Training
from bench.study.estimates import AR, JOINT, LOCAL, MARGINAL, ONE_PASS, SLOTS, Results
from bench.study.label_distributions import Lexicon
from bench.study.sections import largest_lead, largest_loss
from bench.study.shipped import study_of, write_study
from seqocr.advice.recommend import Study, as_json
from seqocr.errors import InputError
from seqocr.files import write_json
from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.refining import RefiningHead
from seqocr.progress import progress
from seqocr.statistics import SAME
from seqocr.train.state import is_finished
from tests.synthetic import finished_run

CLEAN, HARD = "clean", "erased 60%"
SIZE = Size(
    seeds={"uniform": 5, "lexicon-20": 5, "luhn": 3},
    damages=(CLEAN, HARD),
    base_steps=1,
    steps=1,
    strings=2000,
    ablated="lexicon-20",
    shifted=(CLEAN, HARD),
    base_batch=8,
    batch=8,
)
# Exact match by (distribution, read, damage) and strategy: where nothing is said, 0.9.
PLANTED = {
    ("lexicon-20", "lexicon-20", HARD): {
        **{AR: 0.7, "ar-speculative": 0.7, ONE_PASS: 0.4, "ctc": 0.4, SLOTS: 0.6, f"{ONE_PASS} + constraint": 0.8},
        **{LOCAL: 0.1, MARGINAL: 0.6, JOINT: 0.8},
    },
    ("lexicon-20", "uniform", CLEAN): {AR: 0.1, ONE_PASS: 0.7, SLOTS: 0.6},
    ("uniform", "uniform", HARD): {AR: 0.5, ONE_PASS: 0.5, SLOTS: 0.5, "ctc": 0.5, f"{ONE_PASS} + constraint": 0.5},
}
STRATEGIES = (*HEADS, SLOTS, "ar-speculative", LOCAL, MARGINAL, JOINT, f"{ONE_PASS} + constraint")
SCATTER = 0.002  # of exact match, between seeds


def rows_of(size: Size = SIZE) -> pd.DataFrame:
    draw, rows = np.random.default_rng(0), []
    for each in size.trainings():
        for distribution, damage in predictions.cells(each, size):
            of = {
                "training": each.name,
                "labels": each.labels,
                "read": distribution,
                "damage": damage,
                "seed": each.seed,
            }
            hard = (each.labels, distribution, damage) == ("lexicon-20", "lexicon-20", HARD)
            for strategy in STRATEGIES:
                exact = PLANTED.get((each.labels, distribution, damage), {}).get(strategy, 0.9) + draw.normal(
                    0, SCATTER
                )
                right = np.arange(size.strings) < round(exact * size.strings)  # nested: what one reads, the better does
                nats = {AR: 1.0, ONE_PASS: 3.0 if hard else 1.0, SLOTS: 2.5 if hard else 1.0}.get(strategy)
                told = {"C": 2.0 * hard, "G": 0.2 * hard, "worth": 0.7 * hard}
                passes = {AR: 6.0, "ar-speculative": 2.0}.get(strategy, 1.0)
                more = {"right": np.packbits(right).tobytes().hex(), "symbols": 0.95, "passes": passes, "nats": nats}
                rows.append(
                    {**of, "strategy": strategy, "strings": size.strings, "exact": right.mean(), **more, **told}
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(rows_of(), SIZE, {"preset": "full"})


def test_trainings_come_in_whole_replications_independent_digits_first() -> None:
    for size in SIZES.values():
        names = [each.name for each in size.trainings()]
        assert len(set(names)) == len(names)
        seeds = [each.seed for each in size.trainings()]
        assert seeds == sorted(seeds)
        first = {seed: next(each.labels for each in size.trainings() if each.seed == seed) for seed in set(seeds)}
        assert set(first.values()) == {"uniform"}  # the others' evidence comes from it


def test_the_study_is_as_large_as_was_asked_for() -> None:
    full = SIZES["full"]
    assert len(full.seeds) >= 6
    assert len(full.damages) >= 5
    assert min(full.seeds.values()) >= 3
    assert sum(seeds >= 5 for seeds in full.seeds.values()) >= 3


def test_a_difference_is_found_where_it_was_planted_and_nowhere_else(results: Results) -> None:
    hard, shifted = ("lexicon-20", "lexicon-20", HARD), ("lexicon-20", "uniform", CLEAN)
    assert [results.verdict(hard, other) for other in results.others] == ["better", "better"]
    assert [results.verdict(shifted, other) for other in results.others] == ["worse", "worse"]
    family = results.family.set_index(["other", "labels", "read", "damage"])
    planted = [(other, *cell) for other in results.others for cell in (hard, shifted)]
    assert set(family["verdict"].drop(planted)) == {SAME}
    assert family.loc[(ONE_PASS, *hard), "difference"] == pytest.approx(0.3, abs=4 * SCATTER)
    assert family.loc[(SLOTS, *hard), "difference"] == pytest.approx(0.1, abs=4 * SCATTER)
    assert (family["seeds"] == 5).all()
    assert results.verdict(("luhn", "luhn", HARD)) == ""  # too few seeds for a claim
    assert ((family["smallest_seen"] > SCATTER) & (family["smallest_seen"] < 20 * SCATTER)).all()


def test_replications_that_agree_by_chance_are_no_proof() -> None:
    """One string in two thousand, in every seed: what the choice of strings alone makes is not forgotten."""
    rows = rows_of()
    n = SIZE.strings
    for strategy, count in ((AR, 1801), (ONE_PASS, 1800)):
        right = np.arange(n) < count
        here = (rows["labels"] == "uniform") & (rows["strategy"] == strategy)
        rows.loc[here, "exact"], rows.loc[here, "right"] = right.mean(), np.packbits(right).tobytes().hex()
    found = Results(rows, SIZE, {})
    cell = ("uniform", "uniform", CLEAN)
    assert found.gap(cell).difference.estimate == pytest.approx(1 / n)
    assert found.gap(cell).p_value > 0.01
    assert found.verdict(cell) == SAME


def test_shares_of_what_there_is_to_gain(results: Results) -> None:
    hard = ("lexicon-20", "lexicon-20", HARD)
    assert results.worthwhile() == results.worthwhile(LOCAL) == [hard]
    assert results.captured(AR).estimate == pytest.approx(0.5, abs=0.05)  # 0.7, between 0.6 and 0.8
    assert results.captured(ONE_PASS).estimate == pytest.approx(-1, abs=0.1)
    assert results.captured(JOINT).estimate == pytest.approx(1)
    assert results.captured(AR, LOCAL).estimate == pytest.approx(6 / 7, abs=0.02)


def test_the_price_of_a_distribution_that_does_not_hold(results: Results) -> None:
    assert results.price("lexicon-20", AR, CLEAN).estimate == pytest.approx(-0.8, abs=0.01)
    assert results.price("lexicon-20", ONE_PASS, CLEAN).estimate == pytest.approx(-0.2, abs=0.01)
    assert results.price("luhn", AR, CLEAN).n == 3


def test_lost_likelihood_is_held_against_c(results: Results) -> None:
    table = results.likelihoods().set_index(["other", "labels", "damage"])
    hard = [(ONE_PASS, "lexicon-20", HARD), (SLOTS, "lexicon-20", HARD)]
    assert table.loc[hard, "nats_lost"].tolist() == pytest.approx([2.0, 1.5])
    assert table["nats_lost"].drop(hard).abs().max() == pytest.approx(0)


def test_ablations_are_named_by_what_differs_and_have_as_many_seeds(results: Results) -> None:
    table = results.ablations()
    assert set(table["trained"]) == {"as all", "encoder frozen", "each head alone", "2% of the digits"}
    assert set(table["seeds"]) == {3, 6}  # where each head was trained alone, made-up rows have every strategy twice


def test_the_page_says_what_was_planted(results: Results) -> None:
    sections = EXPERIMENT.sections(results, {})
    assert sections[0].title == "When does autoregression pay?"
    for section in sections:
        assert section.table is not None
        assert 1 <= len(section.table) <= LONGEST_TABLE
        assert "nan" not in section.text
    decided = sections[0].table
    assert decided is not None
    rows = {what.split(",")[0]: row for what, row in decided.set_index("strings").to_dict("index").items()}
    assert decided["strings"][0].startswith("independent digits, damaged")
    known, learned = "use, form known", "use, form only learned"
    assert decided[known][0] == f"`{ONE_PASS}`"
    listed = rows["from a short list"]
    assert (listed[known], listed[learned]) == (f"`{ONE_PASS} + constraint`", f"`{SPECULATIVE}`")
    changed = decided.iloc[-1]
    assert "another distribution learned" in changed["strings"]
    assert (changed[known], changed[learned]) == ("`ctc`", "")
    every = sections[0].details["Every strategy"]
    assert isinstance(every, pd.DataFrame)
    leads = every.set_index(every["strings"].str.split(",").str[0])
    assert leads.loc["from a short list", known].startswith((f"{listed[known]}: +40", f"{listed[known]}: +39"))
    assert leads.loc["from a short list", learned].startswith((f"{listed[learned]}: +30", f"{listed[learned]}: +29"))
    assert leads[known].iloc[-1].startswith(("`ctc`: +10", "`ctc`: +9.9"))


def test_the_largest_lead_and_the_largest_loss_are_those_planted(results: Results) -> None:
    lead, loss = largest_lead(results), largest_loss(results)
    assert lead is not None
    assert (lead["labels"], lead["damage"], lead["difference"]) == (
        "lexicon-20",
        HARD,
        pytest.approx(0.3, abs=0.01),
    )
    assert (lead["G"], lead["oracle"]) == (pytest.approx(0.2), pytest.approx(0.6, abs=0.01))
    assert (loss["strategy"], loss["labels"], loss["damage"]) == (AR, "lexicon-20", CLEAN)
    assert loss["price"].estimate == pytest.approx(-0.8, abs=0.01)
    assert loss["other"].estimate == pytest.approx(-0.2, abs=0.01)


def test_what_a_single_seed_would_have_shown(results: Results) -> None:
    assert results.seen_by_one_seed() == (4, 4)  # two planted differences, beside two other strategies


def test_a_distribution_that_ar_does_not_learn_is_left_out_of_the_axis() -> None:
    assert Results(rows_of(), SIZE, {}).unlearned() == []
    rows = rows_of()
    hard = (rows["labels"] == "lexicon-20") & (rows["damage"] == HARD) & (rows["strategy"] == AR)
    rows.loc[hard, "exact"] = 0.12  # of the 0.7 between the local and the joint reader, next to nothing
    assert Results(rows, SIZE, {}).unlearned() == ["lexicon-20"]


def test_every_way_is_timed_once_and_again_only_if_its_code_changed(tmp_path: Path) -> None:
    kept, settings = Store(tmp_path), cost.Settings(rounds=1, distributions=("luhn",), repeats=1, warmup=0)
    assert cost.read(kept) is None
    with progress("times", 1) as reporter:
        cost.measure(settings, kept, reporter)
        rows = kept.read(cost.TABLE)
        passes = rows.set_index("strategy")["passes"].to_dict()
        assert {name: passes[name] for name in (AR, "ar-speculative", ONE_PASS, "refine-2", f"{ONE_PASS} + luhn")} == {
            **{AR: LENGTH + 1, "ar-speculative": 1, ONE_PASS: 1, "refine-2": 3},
            f"{ONE_PASS} + luhn": 1,
        }
        cost.measure(settings, kept, reporter)
        pd.testing.assert_frame_equal(rows, kept.read(cost.TABLE))  # not measured again
    timed = cost.read(kept)
    assert timed is not None
    assert timed.dearest_constraint(ONE_PASS, AR) == timed.over(f"{ONE_PASS} + luhn", AR)
    assert timed.over(ONE_PASS, ONE_PASS).estimate == 1
    assert set(timed.table(ONE_PASS)["strategy"]) == set(passes)
    shown = Results(rows_of(), SIZE, {}, cost=timed, timed_on="a CPU of 1999")
    section = EXPERIMENT.sections(shown, {})[1]
    assert "(tiny 28×140, a CPU of 1999)" in section.text
    table = section.table
    assert table is not None
    assert table.set_index("strategy")[f"time over `{ONE_PASS}`"][f"`{ONE_PASS}`"].startswith("1.00")
    assert "dependence_cost" in EXPERIMENT.tables(shown)


def test_plots_are_drawn(results: Results, tmp_path: Path) -> None:
    for name, draw in EXPERIMENT.plots(results, {}).items():
        plotting.save(name, draw, tmp_path)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def finished_study(folder: Path, size: Size = SIZE) -> Store:
    store = Store(folder)
    store.write(pipeline.READINGS, rows_of(size))
    depends = pipeline.depends(size)
    facts = {"preset": "full", "size": depends["size"], "depends": depends, "seconds": 7200.0, "commit": "abc"}
    store.write_facts("study", {**facts, "finished": "2026-01-01"})
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
    found = everything(store)
    made = study_of(found)
    write_json(tmp_path / "study.json", as_json(made))
    assert Study.load(tmp_path / "study.json") == made
    assert {cell.labels for cell in made.cells} == set(SIZE.seeds)
    assert {cell.passes[AR] for cell in made.cells} == {6}
    assert {cell.symbols for cell in made.cells} == {0.95}
    small = replace(found["dependence"], facts={"preset": "smoke"})
    with pytest.raises(InputError, match="the study is of preset 'smoke'"):
        write_study({**found, "dependence": small}, tmp_path / "study.json")


def test_a_size_is_read_as_it_was_written() -> None:
    for size in SIZES.values():
        assert size_of({"size": pipeline.depends(size)["size"]}) == size


def test_recognizers_of_another_study_are_not_mixed_with_this_one(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    asked = pipeline.depends(SIZE)
    pipeline.claim(kept, "study", asked, "another study")
    kept.write("readings-a", pd.DataFrame({"a": [1]}))
    pipeline.claim(kept, "study", asked, "another study")
    assert kept.has("readings-a")
    for other, named in ((pipeline.depends(replace(SIZE, steps=2)), "steps"), ({**asked, "weights": "0"}, "weights")):
        with pytest.raises(InputError, match=f"recognizers of another study \\(other {named}"):
            pipeline.claim(kept, "study", other, "another study")
    with pytest.raises(InputError, match="unknown preset 'huge'"):
        pipeline.run("huge", tmp_path, tmp_path)


def test_a_cell_in_small_is_trained_and_read(tmp_path: Path) -> None:
    rows = pipeline.cell("lexicon-20", HARD, steps=2, batch=8, strings=30, folder=tmp_path)
    assert {AR, ONE_PASS, "ar-speculative"} <= set(rows["strategy"])
    assert (rows["strings"] == 30).all()
    assert is_finished(tmp_path / Training("lexicon-20", 0, ("ar", "parallel")).name)
    before = (tmp_path / training.BASE / "model.safetensors").read_bytes()
    again = pipeline.cell("lexicon-20", HARD, steps=2, batch=8, strings=30, folder=tmp_path)  # nothing is trained again
    pd.testing.assert_frame_equal(rows, again)
    assert (tmp_path / training.BASE / "model.safetensors").read_bytes() == before


def test_test_digits_are_read_and_never_learned_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []
    load, held_out = training.load_digits, predictions.load_digits_or_validation
    monkeypatch.setattr(training, "load_digits", lambda split: asked.append(("learn", split)) or load(split))
    monkeypatch.setattr(
        predictions, "load_digits_or_validation", lambda split: asked.append(("read", split)) or held_out(split)
    )
    predictions._digits.cache_clear()
    pipeline.cell("luhn", HARD, steps=1, batch=8, strings=10, folder=tmp_path)
    predictions._digits.cache_clear()
    assert set(asked) == {("learn", "train"), ("learn", "validation"), ("read", "test")}


def test_one_pass_heads_are_decoded_under_the_distribution_that_they_learned() -> None:
    """Slots that know nothing but how frequent symbols are give the likeliest string of the distribution."""
    distribution = Lexicon(np.repeat([[0, 1, 1], [0, 2, 2], [1, 2, 1]], (1, 3, 2), axis=0))
    with np.errstate(divide="ignore"):
        frequent = np.log(distribution.marginals)
    frames = np.full((1, 7, 11), np.log(1 / 11))
    read = predictions._constrained(distribution, frequent[None], frames)
    assert read["parallel + constraint"] == ["022"]
    assert read["ctc + constraint"][0] in {"011", "022", "121"}


def test_nats_of_slots_are_those_of_their_first_pass() -> None:
    features = FeatureMap(dim=16, rows=1, columns=5, prefix=2)
    head = RefiningHead(features, "0123456789", 5, width=8, layers=1, attention_heads=2, inner=8).eval()
    x, texts = torch.randn(3, features.tokens, 16), ["01234", "99999", "50505"]
    with torch.no_grad():
        log_probs = head.log_probs(x)
    assert log_probs.exp().sum(dim=2).numpy() == pytest.approx(np.ones((3, 5)), abs=1e-5)
    lost = [-sum(float(row[i, int(symbol)]) for i, symbol in enumerate(text)) for row, text in zip(log_probs, texts)]  # noqa: B905
    assert predictions._lost(head, x, texts) == pytest.approx(lost, rel=1e-5)
    assert head.decode_at_once(x).texts == [head.text_of(row) for row in log_probs.argmax(dim=2).tolist()]
