"""What is stored, and what a stored measurement depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bench.core.experiment import Bench
from bench.core.store import Store, changes
from bench.experiments import experiments, throughput
from seqocr.errors import InputError

ROOT = Path(throughput.__file__).parent.parent.parent


def test_tables_are_the_same_bytes_and_texts_stay_texts(tmp_path):
    store = Store(tmp_path)
    rows = pd.DataFrame(
        {"text": ["007", ""], "prediction": ["07", "7"], "confidence": [0.5, None], "disturbed": [True, False]}
    )
    store.write("some", rows)
    first = store.file("some", ".csv.gz").read_bytes()
    store.write("some", store.read("some"))
    assert store.file("some", ".csv.gz").read_bytes() == first
    read = store.read("some")
    assert read["text"].tolist() == ["007", ""]
    assert read["disturbed"].tolist() == [True, False]
    assert read["confidence"].isna().tolist() == [False, True]


def test_names_of_earlier_versions_are_mapped_when_read(tmp_path):
    store, speculative = Store(tmp_path), "ar-speculative"
    for old in ("ar-verified", "ar-speculative"):
        store.write(f"load-eager-{old}", pd.DataFrame({"variant": [f"{old}, onnxruntime", "ctc"], "text": [old, "1"]}))
        store.write_facts(f"load-eager-{old}", {"depends": {"settings": {"way": old}}, "about": {old: 1}})
        assert store.read(f"load-eager-{speculative}")["strategy"].tolist() == [f"{speculative}, onnxruntime", "ctc"]
        assert store.read(f"load-eager-{speculative}")["text"].tolist() == [old, "1"]
        facts = store.facts(f"load-eager-{speculative}")
        assert facts == {"depends": {"settings": {"strategy": speculative}}, "about": {speculative: 1}}
        assert store.parts() == [f"load-eager-{speculative}"]
        store.delete(f"load-eager-{old}")


def test_a_part_with_other_weights_is_begun_again_and_says_what_changed(tmp_path):
    store = Store(tmp_path)
    depends = {"settings": {"rounds": 3}, "weights": {"tiny": "1", "strings": "2"}}
    assert store.begin("part-one", depends) == []
    store.write("part-one", pd.DataFrame({"x": [1]}))
    store.write("part-two", pd.DataFrame({"x": [1]}))
    assert store.begin("part-one", depends) == []  # goes on
    assert store.has("part-one")
    store.finish("part-one")
    assert store.finished("part-one", depends)
    changed = {**depends, "weights": {"tiny": "1", "strings": "3"}}
    assert not store.finished("part-one", changed)
    assert store.begin("part-one", changed) == ["strings"]
    assert not store.has("part-one")
    assert store.has("part-two")
    assert changes(depends, {**depends, "settings": {"rounds": 4}}) == ["rounds"]


def test_a_corrupt_file_is_named_with_the_remedy(tmp_path):
    store = Store(tmp_path)
    store.write("some", pd.DataFrame({"x": [1]}))
    store.file("some", ".csv.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"some\.csv\.gz cannot be read .* measure again"):
        store.read("some")
    store.file("run", ".json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        store.facts("run")


@pytest.mark.parametrize("preset", ["smoke", "default", "full"])
def test_every_experiment_says_what_it_depends_on_as_json(preset, tmp_path):
    bench = Bench(Store(tmp_path))
    names = []
    for experiment in experiments():
        for part in experiment.parts(preset, bench):
            names.append(part.name)
            assert part.name.split("-")[0] == experiment.name
            depends = experiment.depends(part)
            assert json.loads(json.dumps(depends)) == depends
    assert len(set(names)) == len(names)
