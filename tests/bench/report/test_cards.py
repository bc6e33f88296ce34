"""Model cards of shipped weights: metadata that the hub can read, and every source with its license."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from huggingface_hub import ModelCard

from bench.core.store import Store
from bench.report.cards import CARD, WEIGHTS, card, cards
from seqocr.errors import InputError

FONTS = {"source": "fonts", "fonts": 900, "families": 450, "weight": 3}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in WEIGHTS.glob("*/config.json")))
def test_metadata_and_licenses_of_shipped_weights(name):
    text = (WEIGHTS / name / CARD).read_text(encoding="utf-8")
    provenance = json.dumps(json.loads((WEIGHTS / name / "config.json").read_text())["provenance"])
    data = ModelCard(text).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "seqocr", "image-to-text")
    assert all(
        0 < each.metric_args["low"] <= each.metric_value <= each.metric_args["high"]
        for each in data.eval_results or []  # of those that are measured
    )
    rows = {line.split(":")[0][2:]: line for line in text.splitlines() if line.startswith("| ") and ": " in line}
    marks = {"MNIST": '"MNIST', "QMNIST": '"MNIST[^{}]*"writers"', "UNIPEN": "pen strokes", "fonts": '"fonts": '}
    assert {source for source, mark in marks.items() if re.search(mark, provenance)} == rows.keys()
    assert [row for row in rows.values() if not any(word in row for word in ("CC BY", "BSD", "OFL"))] == []


@pytest.fixture
def numbers(tmp_path):
    """Weights of another name that learned from fonts and know marks, and their config."""
    folder = shutil.copytree(WEIGHTS / "tiny", tmp_path / "numbers", ignore=shutil.ignore_patterns("onnx", CARD))
    config = json.loads((folder / "config.json").read_text())
    config["marks"] = ".,-"
    run = {**config["provenance"], "init": config["provenance"], "command": "seqocr train --glyphs fonts:fonts"}
    config["provenance"] = {
        **run,
        "data": [FONTS, {"source": "pen strokes of digits.jsonl.gz", "digits": 9, "writers": 3}],
    }
    return folder, config


def test_other_weights_have_a_card_too(numbers, tmp_path):
    folder, config = numbers
    text = card(folder, config, Store(tmp_path), {})
    assert ModelCard(text).data.model_name == "seqocr-numbers"
    for words in ("900 fonts and 450 families", "OFL-1.1 (", "CC BY 4.0", "`.,-`", "3 runs", "not been measured"):
        assert words in text
    assert [path.parent for path in cards(Store(tmp_path), {}, tmp_path)] == [folder]


def test_sources_without_a_known_license_have_no_card(numbers, tmp_path):
    folder, config = numbers
    config["provenance"]["data"].append({"source": "photographs", "lines": 10})
    with pytest.raises(InputError, match="photographs"):
        card(folder, config, Store(tmp_path), {})
