"""The two-sample classifier test: kinds that differ are classified, kinds that are alike are not."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from bench.two_sample import classify, run, sheet, synthetic_lines
from seqocr.errors import InputError
from tests.conftest import own_lines
from tests.data.test_strokes import written


def noise(count: int, brightness: float, seed: int) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    return [
        Image.fromarray(generator.normal(brightness, 30, (40, 100)).clip(0, 255).astype(np.uint8)) for _ in range(count)
    ]


def test_kinds_that_differ_are_classified_and_others_are_not():
    different = classify(noise(120, 80, 0), noise(120, 180, 1), seconds=4)
    same = classify(noise(120, 130, 0), noise(120, 130, 1), seconds=4)
    assert different.accuracy > 0.9
    assert 0.25 < same.accuracy < 0.75
    assert (different.lines, same.lines) == (24, 24)
    assert different.low < different.accuracy
    assert different.steps > 1


def test_few_lines_are_refused():
    with pytest.raises(InputError, match="99 lines to classify: give 100 or more"):
        classify(noise(99, 80, 0), noise(200, 80, 1), seconds=1)


def test_a_folder_is_compared_with_a_source(tmp_path):
    strokes = tmp_path / "digits.jsonl"
    written(strokes)
    result, page = run(own_lines(tmp_path / "lines", 110), [str(strokes)], tmp_path / "out", seconds=1)
    kept = json.loads((tmp_path / "out" / "two_sample.json").read_text())
    assert (kept["accuracy"], kept["sources"]) == (result.accuracy, [str(strokes)])
    with Image.open(page) as image:
        assert image.width > 1000
        assert np.asarray(image).std() > 5


def test_synthetic_lines_are_as_many_as_were_given_sources(tmp_path):
    strokes = tmp_path / "digits.jsonl"
    written(strokes)
    assert len(synthetic_lines([str(strokes), str(strokes)], (2, 3), 70)) == 70
    assert sheet(noise(4, 90, 0), noise(4, 90, 1)).mode == "L"


def test_rendered_lines_may_be_of_some_kinds_alone() -> None:
    fonts = f"fonts:{Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'}"
    assert len(synthetic_lines([fonts], (2, 3), 20, ["segments"])) == 20
    with pytest.raises(InputError, match="unknown kind 'wheel': choose among wheels, dashboards"):
        synthetic_lines([fonts], (2, 3), 20, ["wheel"])
