"""What is stored, and what a stored measurement depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bench.core.experiment import Bench
from bench.core.store import Store, changed_dependencies, changes
from bench.experiments import experiments, throughput
from seqocr import environment
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


DEPENDS = {"settings": {"rounds": 3}, "weights": {"tiny": "1", "strings": "2"}}


def measure(store: Store, value: int, depends: dict = DEPENDS, fingerprint: dict | None = None) -> None:
    unfinished = store.begin("part-one", depends, fingerprint)
    unfinished.write("part-one", pd.DataFrame({"x": [value]}))
    store.finish("part-one")


def test_a_part_goes_on_with_the_same_dependencies_and_is_begun_again_with_others(tmp_path):
    store = Store(tmp_path)
    store.begin("part-one", DEPENDS).write("part-one", pd.DataFrame({"x": [1]}))
    assert store.begin("part-one", DEPENDS).has("part-one")  # goes on
    assert not store.has("part-one")
    store.finish("part-one")
    assert store.finished("part-one", DEPENDS)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    other = {**DEPENDS, "weights": {"tiny": "1", "strings": "3"}}
    assert changes(store.facts("part-one"), other) == ["strings"]
    assert changes(store.facts("part-one"), {**DEPENDS, "settings": {"rounds": 4}}) == ["rounds"]
    assert not store.finished("part-one", other)
    store.begin("part-one", other).write("part-one", pd.DataFrame({"x": [2]}))
    assert not store.begin("part-one", DEPENDS).has("part-one")


def test_a_part_that_behaves_otherwise_is_not_finished_where_that_can_be_compared(tmp_path, monkeypatch):
    store, fingerprint = Store(tmp_path), {"ar, n = 5": "a", "ctc, n = 5": "b", "losses": [1.0, 2.0]}
    measure(store, 1, fingerprint=fingerprint)
    assert store.finished("part-one", DEPENDS, fingerprint)
    assert store.finished("part-one", DEPENDS, {**fingerprint, "losses": [1.0, 2.00001]})
    assert changes(store.facts("part-one"), DEPENDS, {**fingerprint, "losses": [1.0, 2.001]}) == ["losses"]
    assert changes(store.facts("part-one"), DEPENDS, {**fingerprint, "ar, n = 5": "c"}) == ["ar, n = 5"]
    monkeypatch.setattr("bench.core.store.libraries", lambda: {"torch": "another"})
    assert store.finished("part-one", DEPENDS, {**fingerprint, "ar, n = 5": "c"})


@pytest.mark.parametrize("killed_at", range(5))
def test_old_rows_go_only_when_new_ones_are_complete_whenever_it_is_killed(tmp_path, monkeypatch, killed_at):
    store, other = Store(tmp_path), {**DEPENDS, "weights": {"tiny": "9"}}
    measure(store, 1)
    calls = iter(range(100))

    def maybe_kill(do):
        def wrapped(*args, **kwargs):
            if next(calls) == killed_at:
                raise KeyboardInterrupt
            return do(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:  # every step that changes a file
        patch.setattr(Store, "write", maybe_kill(Store.write))
        patch.setattr(Store, "write_facts", maybe_kill(Store.write_facts))
        patch.setattr(Path, "replace", maybe_kill(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            measure(store, 2, other)
    assert store.facts("part-one") == {} or store.read("part-one")["x"].tolist() in ([1], [2])
    complete = bool(store.unfinished("part-one").facts("part-one").get("finished"))
    assert complete or (store.finished("part-one", DEPENDS) and store.read("part-one")["x"].tolist() == [1])
    store.finish_all()
    assert store.finished("part-one", other) == complete
    if not complete:
        measure(store, 2, other)
    assert store.finished("part-one", other)
    assert store.read("part-one")["x"].tolist() == [2]
    assert not (tmp_path / "unfinished").exists()


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


def test_settings_that_were_not_there_are_no_difference() -> None:
    before = {"settings": {"rounds": 3, "training": {"steps": 9, "levels": {"a": 1}}}}
    for training, differ in (
        ({"steps": 9, "levels": {"a": 1, "b": 2}, "new": 0.0}, []),
        ({"steps": 9, "levels": {"a": 2}}, ["training"]),
        ({"levels": {"a": 1}}, ["training"]),
    ):
        after = {"settings": {"rounds": 3, "training": training}}
        assert changed_dependencies(before, after) == differ
    assert changed_dependencies(before, {"settings": {**before["settings"], "new": 1}}) == ["new"]


def test_a_part_measured_on_another_machine_says_which(tmp_path):
    here = environment.describe()
    for name, machine in (("same", here), ("other", {**here, "cpu": "Another"})):
        store = Store(tmp_path / name)
        store.write_facts("run", {"environment": machine})
        unfinished = store.begin("part", {})
        assert unfinished.is_of_another_machine("part") == (name == "other")
    assert store.unfinished("part").environment("part")["cpu"] == here["cpu"]
