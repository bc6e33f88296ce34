"""What is stored, and what a stored measurement depends on."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench import dependencies
from bench.experiment import Bench
from bench.experiments import experiments, throughput
from bench.store import Store, changes
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


def test_a_part_of_other_code_is_begun_again_and_says_what_changed(tmp_path):
    store = Store(tmp_path)
    depends = {"settings": {"rounds": 3}, "code": {"a.py": "1", "b.py": "2"}, "weights": {}}
    assert store.begin("part-one", depends) == []
    store.write("part-one", pd.DataFrame({"x": [1]}))
    store.write("part-two", pd.DataFrame({"x": [1]}))
    assert store.begin("part-one", depends) == []  # goes on
    assert store.has("part-one")
    store.finish("part-one")
    assert store.finished("part-one", depends)
    changed = {**depends, "code": {"a.py": "1", "b.py": "3"}}
    assert not store.finished("part-one", changed)
    assert store.begin("part-one", changed) == ["b.py"]
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


def loaded(path: Path, text: str):
    """The experiment of a module with that text."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    dependencies._tree.cache_clear()
    return module.EXPERIMENT


@pytest.fixture
def text():
    return Path(throughput.__file__).read_text()


def digest(path: Path, text: str) -> str:
    (found,) = dependencies.of_measuring(loaded(path, text)).values()
    return found


def test_headings_words_plots_comments_and_docstrings_measure_nothing_again(tmp_path, text):
    path = tmp_path / "copied_throughput.py"
    before = digest(path, text)
    for old, new in (
        ('Section("Throughput", text', 'Section("Other words", text'),
        ('figure.suptitle(f"Throughput', 'figure.suptitle(f"Speed'),
        ('"""How many strings a second', '"""Another docstring'),
        ("        rounds = Rounds(", "        # A comment.\n        rounds = Rounds("),
        ('"full": (', '"fuller": ('),
    ):
        assert old in text
        assert digest(path, text.replace(old, new)) == before


def test_what_measuring_reaches_counts(tmp_path, text):
    path = tmp_path / "copied_throughput.py"
    before = digest(path, text)
    for old, new in (
        (
            "in_turn(bound, ways.timed(deployed=True), inputs[batch], shuffle)",
            "in_turn(bound, (), inputs[batch], shuffle)",
        ),
        ("    warmup: int = 1\n", "    warmup: int = 2\n"),
    ):
        assert old in text
        assert digest(path, text.replace(old, new)) != before


def test_functions_and_constants_that_measuring_reaches_count_and_no_others(tmp_path):
    text = """
N = 3
M = 4


def inner():
    return N


def outer():
    return M


class Toy:
    def measure(self):
        return self.helped()

    def helped(self):
        return inner()

    def drawn(self):
        return outer()


EXPERIMENT = Toy()
"""
    path = tmp_path / "toy_measured.py"
    before = digest(path, text)
    assert digest(path, text.replace("M = 4", "M = 5")) == before
    assert digest(path, text.replace("return outer()", "return 0")) == before
    assert digest(path, text.replace("N = 3", "N = 5")) != before
    assert digest(path, text.replace("return N", "return -N")) != before


def test_a_head_brings_its_own_modules_and_no_other_heads():
    own = dependencies.of_heads(["ar"])
    assert {"seqocr/models/autoregressive.py", "seqocr/models/decoder_step.py", "seqocr/models/base.py"} <= own.keys()
    assert "seqocr/models/ctc.py" not in own
    assert "seqocr/models/ctc.py" in dependencies.of_heads(["ctc"])


def test_only_code_counts(tmp_path, monkeypatch):
    def of(text: str) -> str:
        path = tmp_path / "module.py"
        path.write_text(text)
        dependencies._tree.cache_clear()
        return dependencies.digest_of([dependencies._tree(path)])

    plain = 'def f(x):\n    return f"{x!r:>{3}}"\n'
    assert of(plain) == of('"""Doc."""\n\n\ndef f(x):\n    """Doc."""\n\n    return f"{x!r:>{3}}"  # comment\n')
    assert of(plain) != of(plain.replace("3", "4"))
    assert of("x = 'text'\n") != of("x = 'other'\n")  # a string that is no docstring is code


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
            assert all((ROOT / path).is_file() for path in depends["code"])
    assert len(set(names)) == len(names)
