"""Calibration and operating points, on lines made with known probabilities."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqocr.decoding.calibration import (
    KEY,
    SYNTHETIC,
    Calibration,
    find_operating_point,
    fit_calibration,
    fit_temperature,
    is_synthetic,
    load_calibration,
    scale_temperature,
)
from seqocr.errors import InputError
from seqocr.inference.shipped import READER
from seqocr.metrics import expected_calibration_error


def lines(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Confidences whose calibrated log odds are theirs divided by the temperature, and what came of them."""
    generator = np.random.default_rng(0)
    chance = generator.beta(4, 1, count)
    right = generator.random(count) < chance
    odds = np.log(chance / (1 - chance)) * temperature
    return 1 / (1 + np.exp(-odds)), right


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature):
    confidences, right = lines(temperature)
    assert fit_temperature(confidences, right) == pytest.approx(temperature, rel=0.05)


def test_calibration_lowers_the_error():
    confidences, right = lines(2.5)
    before = expected_calibration_error(confidences, right)
    after = expected_calibration_error(fit_calibration(confidences, right)(confidences), right)
    assert before > 0.05
    assert after < 0.01


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0.1, 10))
def test_the_order_of_confidences_stays(confidences, temperature):
    values = scale_temperature(np.array(confidences), temperature)
    assert (np.diff(values[np.argsort(confidences)]) >= 0).all()
    assert ((values >= 0) & (values <= 1)).all()


def test_what_is_no_number_stays_none():
    assert np.isnan(scale_temperature(np.array([np.nan]), 2.0))[0]
    assert scale_temperature(np.array([0.0, 0.5]), 3.0).tolist() == [0, 0.5]


@pytest.mark.parametrize("right", [True, False])
def test_lines_that_are_all_right_or_all_wrong_give_a_number(right):
    found = fit_calibration(np.full(50, 0.9), np.full(50, right))
    assert 0.05 <= found.temperature <= 20


def test_no_lines_are_refused():
    with pytest.raises(InputError, match="no lines to calibrate by"):
        fit_calibration(np.zeros(0), np.zeros(0, bool))


def test_the_threshold_is_the_lowest_that_is_right_often_enough():
    confidences = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, True, True, False, True, False])
    found = find_operating_point(confidences, right, 0.75)
    assert (found.threshold, found.coverage, found.precision) == (0.6, 5 / 6, 0.8)
    assert find_operating_point(confidences, right, 0.99).threshold == 0.8  # both of 0.8, or neither
    assert find_operating_point(confidences, ~right, 0.99) is None
    tied = find_operating_point(np.array([0.9, 0.9]), np.array([True, False]), 0.9)
    assert tied is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.sampled_from([0.5, 0.9, 0.99]))
def test_what_is_accepted_is_right_as_often_as_said(rows, target):
    confidences, right = (np.array(each) for each in zip(*rows, strict=True))
    found = find_operating_point(confidences, right, target)
    there = confidences >= found.threshold if found else np.zeros(len(right), bool)
    if found:
        assert right[there].mean() == pytest.approx(found.precision)
        assert found.precision >= target
        assert there.mean() == pytest.approx(found.coverage)
    for threshold in confidences[~there]:
        assert right[confidences >= threshold].mean() < target


def test_it_is_kept_in_json_and_found_again():
    confidences, right = lines(1.5, 2000)
    found = fit_calibration(confidences, right)
    kept = {KEY: {"ctc": found.as_json()}}
    again = load_calibration(kept, "ctc")
    assert isinstance(again, Calibration)
    assert (again.temperature, again.lines) == (found.temperature, 2000)
    assert again.threshold(0.95) == pytest.approx(found.threshold(0.95))
    assert load_calibration(kept, "ar") is None
    assert load_calibration({KEY: {"ctc": {"temperature": "hot"}}}, "ctc") is None
    for name, odd in itertools.product(("target", "threshold", "share", "right"), (float("nan"), 0, -0.5, 1.5)):
        points = [{**each, name: odd} for each in kept[KEY]["ctc"]["accepted"]]
        assert load_calibration({KEY: {"ctc": {**kept[KEY]["ctc"], "accepted": points}}}, "ctc") is None
    with pytest.raises(InputError, match=r"--target-precision 0.97: .* known for 0.9, 0.95"):
        again.threshold(0.97)


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        ({KEY: {"ctc": {"source": SYNTHETIC}}, "data": [{"lines": 3}]}, True),
        ({KEY: {"ctc": {"source": "lines of receipts"}}, "data": [{"digits": 3}]}, False),
        ({KEY: {"ctc": {"temperature": 1.0}}, "data": [{"digits": 3}]}, True),
        ({KEY: {"ctc": {"temperature": 1.0}}, "data": [{"digits": 3}, {"lines": 3}]}, False),
        (json.loads((READER / "config.json").read_text())["provenance"], True),
    ],
)
def test_what_a_calibration_was_fitted_on_is_known(provenance: dict[str, Any], expected: bool) -> None:
    assert is_synthetic(provenance) == expected
