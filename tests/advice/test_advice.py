"""Advice: from labels of known distributions and a made-up study, the head that the study says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.study.label_distributions import Independent, LabelDistribution, Lexicon, Luhn, Markov
from seqocr.advice.recommend import Advice, Cell, Study, advise, as_json, compared_strategies, structures_of
from seqocr.errors import InputError
from seqocr.files import write_json
from seqocr.statistics import Value

DIGITS = "0123456789"


def value(estimate: float, half: float = 0.01) -> Value:
    return Value(estimate, estimate - half, estimate + half, 5)


def cell(distribution: str, nats: float, symbols: float, ar: float) -> Cell:
    passes = {"ar": 6.0, "ar-speculative": 1.5, "parallel": 1.0, "parallel + constraint": 1.0}
    exact = {
        "ar": value(0.5 + ar),
        "ar-speculative": value(0.5 + ar),
        "parallel": value(0.5),
        "parallel + constraint": value(0.7),
    }
    return Cell(distribution, f"hard {symbols}", nats, nats / 2, 0.1, symbols, passes, exact, value(ar))


LABEL_DISTRIBUTIONS = {
    "frequencies": 0.0,
    "uniform": 0.0,
    "markov-0.9": 7.2,
    "luhn": 2.3,
    "dates": 0.5,
    "lexicon-20": 8.3,
    "lexicon-100": 6.7,
}


@pytest.fixture
def study() -> Study:
    cells = tuple(
        cell(distribution, nats, symbols, 0.0 if distribution in ("uniform", "frequencies") else 0.2)
        for distribution, nats in LABEL_DISTRIBUTIONS.items()
        for symbols in (0.9, 0.99)
    )
    return Study(cells, {"ar": value(2.2), "parallel": value(1.0, 0)})


def given(distribution: LabelDistribution, count: int, study: Study, symbols: float = 0.985) -> Advice:
    texts = ["".join(map(str, row)) for row in distribution.sample(count, 3).tolist()]
    return advise(texts, DIGITS, symbols, study)


def test_independent_digits_need_one_pass(study: Study) -> None:
    found = given(Independent(5), 2000, study)
    assert found.head == "parallel"
    assert found.cell is not None
    assert (found.cell.labels, found.cell.symbols) == ("uniform", 0.99)
    assert "tell nothing of each other" in found.because


@pytest.mark.parametrize(
    ("distribution", "count", "nearest", "says"),
    [
        (Luhn(8), 400, "luhn", "Luhn check digit"),
        (Lexicon.dates(6), 800, "dates", "date DDMMYY"),
        (Lexicon.sampled(5, 25), 500, "lexicon-20", "a list of 25 strings"),
        (Lexicon.sampled(5, 90), 1500, "lexicon-100", "a list of 90 strings"),
    ],
)
def test_a_known_form_is_decoded_under(
    study: Study, distribution: LabelDistribution, count: int, nearest: str, says: str
) -> None:
    found = given(distribution, count, study)
    assert found.head == "parallel + constraint"
    assert found.cell is not None
    assert found.cell.labels == nearest
    assert says in found.because
    assert "parallel + constraint" in compared_strategies(found)


def test_a_form_that_gains_nothing_is_not_decoded_under(study: Study) -> None:
    cells = tuple(replace(each, exact={**each.exact, "parallel + constraint": value(0.505)}) for each in study.cells)
    found = given(Luhn(8), 400, replace(study, cells=cells))
    assert found.head == "parallel"
    assert "the images say enough" in found.because


def test_exact_decoding_is_compared_only_where_there_is_a_form(study: Study) -> None:
    assert compared_strategies(given(Independent(5), 2000, study)) == ("ar", "ar-speculative", "parallel")
    assert compared_strategies(given(Independent(5), 31, study)) == ()


def test_a_dependence_without_a_form_asks_for_a_verified_draft(study: Study) -> None:
    found = given(Markov(5, 0.9), 1500, study, symbols=0.9)
    assert found.head == "ar-speculative"
    assert found.cell is not None
    assert (found.cell.labels, found.cell.symbols) == ("markov-0.9", 0.9)


@pytest.mark.parametrize("count", [3, 31])
def test_too_few_labels_are_said_to_be_too_few(study: Study, count: int) -> None:
    found = given(Independent(5), count, study)
    assert (found.head, found.cell) == (None, None)
    assert found.because.startswith("Not enough data")


def test_lengths_are_looked_at_one_by_one_the_most_frequent_first() -> None:
    texts = [
        "".join(map(str, row)) for n, count in ((4, 40), (6, 90), (3, 5)) for row in Independent(n).sample(count, 1)
    ]
    assert [(each.length, each.strings) for each in structures_of(texts, DIGITS)] == [(6, 90), (4, 40)]


def test_a_study_is_read_as_it_was_written(study: Study, tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", as_json(study))
    assert Study.load(tmp_path / "study.json") == study


@pytest.mark.parametrize("content", [None, "{", '{"cells": [{}]}', "[]"])
def test_a_study_that_cannot_be_read_is_said_to_be_so(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        Study.load(path)
