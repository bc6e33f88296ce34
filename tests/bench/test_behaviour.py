"""Evidence is bound to behaviour: edits that change none leave every part as measured, and what changes it is named."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench import study as dependence
from bench import verify as verification
from bench.core import fingerprint, strategies
from bench.core.experiment import Bench, Part
from bench.core.store import Store
from bench.experiments import decoder_depth, experiments
from bench.experiments.distributed import process
from bench.workloads import fingerprints, held_out
from seqocr.data.sources.datasets import Digits, embedded_digits
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.errors import InputError
from seqocr.inference.shipped import SHIPPED
from seqocr.models.config_sum import with_sum
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.heads.parallel import ParallelHead

Changes = Callable[[], dict[str, list[str]]]  # by part, what differs
LINES = 100  # of accuracy that are predicted again
ROOT = Path(verification.__file__).parents[1]
# Parts that run the code of others, and take longer, or longer texts than these weights read.
LEFT_OUT = ("latency-small-32x160", "costs-small-32x160", "levels-grid", "levels-jitter", "forms")


def splits() -> tuple[Digits, Digits]:
    """Digits that need no data set."""
    digits = embedded_digits()
    return Digits(digits.images, digits.labels, digits.source, "train"), digits


def _forget() -> None:
    """Fingerprints are taken once a process, where code and heads stay as they are: between tests they do not."""
    of_models = (fingerprints._of_timed_model, fingerprints._of_recognizer, fingerprints.of_graphs)
    for each in (*of_models, fingerprint.of_weights, held_out._recognizer):
        each.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def _embedded() -> Iterator[None]:
    _forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "held_out_digits", embedded_digits)
        patch.setattr("bench.experiments.difficulty.held_out_digits", embedded_digits)
        patch.setattr(process, "load_splits", splits)
        patch.setattr("bench.study._COMMITTED", Path("nowhere"))
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the parts of a small run, as this code has them, but for what a clock would have said."""
    folder = tmp_path_factory.mktemp("evidence")
    weights = shutil.copytree(SHIPPED, folder / "weights")
    store = Store(folder / "results" / "raw" / "smoke-12345678")
    store.write_facts("run", {"preset": "smoke", "weights": str(weights), "real": None, "finished": "2026-01-01"})
    bench = Bench(store, task=weights, reader=weights)
    named = product(strategies.read(), range(1, 6))  # rows that are predicted again
    rows = pd.DataFrame(named, columns=["head", "length"])
    for experiment in experiments():
        for part in experiment.parts("smoke", bench):
            if part.name not in LEFT_OUT:
                begun = store.begin(part.name, experiment.depends(part), experiment.fingerprint(part, bench))
                predicted = experiment.predict_again(part, bench, rows)
                begun.write(part.name, pd.DataFrame({"seconds": [0.1]}) if predicted is None else predicted)
                store.finish(part.name)
    return folder / "results"


# In a process of its own, since its code is another.
SCRIPT = """
import json, sys
from pathlib import Path
from bench import verify
from bench.experiments import difficulty
from bench.experiments.distributed import process
from bench.workloads import held_out
from seqocr.data.sources.datasets import Digits, embedded_digits
digits = embedded_digits()
held_out.held_out_digits = difficulty.held_out_digits = embedded_digits
process.load_splits = lambda: (Digits(digits.images, digits.labels, digits.source, "train"), digits)
print(json.dumps([verify.__file__, vars(verify.verify(Path(sys.argv[1]), root=Path(sys.argv[1])))]))
"""


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text(encoding="utf-8")
    edited, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
    assert count == 1, f"nothing like {pattern} in {path}: name another edit that changes no behaviour"
    path.write_text(edited, encoding="utf-8")


def _make_neutral_edits(code: Path) -> None:
    """Five that once made 24 to 40 of 41 parts stale, while digests of source text decided."""
    base = code / "seqocr/models/heads/base.py"
    _edit(base, r"^(from seqocr\.\S+ import .*\n)(from seqocr\.\S+ import .*\n)", r"\2\1")  # two imports, swapped
    _edit(base, r"-> (\w+):$", r'-> "\1":')  # an annotation, quoted
    _edit(code / "seqocr/data/sources/datasets.py", r'InputError\(f"unknown', 'InputError(f"there is no such')
    _edit(base, r'^( +)"""', r'\1"""Said otherwise: ')  # a docstring
    for path in [*code.glob("seqocr/**/*.py"), *code.glob("bench/**/*.py")]:  # an attribute, renamed
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"\bis_speculative\b", "verifies_a_draft", text), encoding="utf-8")


def test_of_five_edits_that_change_no_behaviour_no_part_is_measured_again(recorded: Path, tmp_path: Path) -> None:
    for package in ("seqocr", "bench"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    (tmp_path / "seqocr/weights").symlink_to(SHIPPED.parent)
    _make_neutral_edits(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, str(recorded)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, found = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(tmp_path)
    assert found["changed"] == {}
    assert found["failures"] == []
    assert sorted(found["same"]) == Store.latest(recorded).parts()


@pytest.fixture
def changed(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Changes]:
    """What `bench verify` names, of what is timed with random and with trained weights, and of predictions."""
    chosen = [each for each in experiments() if each.name in ("latency", "drafts", "accuracy")]
    monkeypatch.setattr(verification, "experiments", lambda: chosen)

    def verify() -> dict[str, list[str]]:
        _forget()
        return verification.verify(recorded, root=recorded).changed

    yield verify
    _forget()


def test_code_as_it_was_changes_nothing(changed: Changes) -> None:
    assert changed() == {}


def test_an_extra_decoder_pass_is_named(changed: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = TokenVocabulary.budget
    # But of the longest, which the decoder's positions are just enough for.
    monkeypatch.setattr(TokenVocabulary, "budget", lambda self, length: min(budget(self, length) + 1, self.positions))
    assert changed() == {"latency-tiny-28x140": ["ar, n = 1", "ar-generate, n = 1", "ar-speculative, n = 1"]}


def test_a_cache_switched_off_is_named(changed: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoregressiveHead, "decode", AutoregressiveHead.decode_without_cache)
    longer = ["ar, n = 5", "ar-speculative, n = 5"]  # whose pass after the draft is that of `ar`
    assert changed() == {"latency-tiny-28x140": ["ar, n = 1", *longer], "drafts": longer}


def test_a_second_parallel_pass_is_named(changed: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    once = ParallelHead.logits
    monkeypatch.setattr(ParallelHead, "logits", lambda self, features: (once(self, features), once(self, features))[1])
    drafted = [f"{name}, n = {n}" for name in ("ar-speculative", "parallel") for n in (1, 5)]  # the draft is its
    assert changed() == {"latency-tiny-28x140": drafted, "drafts": [name for name in drafted if name.endswith("5")]}


def test_a_ctc_decode_that_loops_over_symbols_is_named(changed: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    once = CTCHead.decode

    def looped(self: CTCHead, features: torch.Tensor, length: int | None = None) -> Any:
        decoded = once(self, features, length)
        for symbol in range(self.max_length):
            torch.tensor(symbol).add(1).item()
        return decoded

    monkeypatch.setattr(CTCHead, "decode", looped)
    assert changed() == {"latency-tiny-28x140": ["ctc, n = 1", "ctc, n = 5"], "drafts": ["ctc, n = 5"]}


def test_a_changed_weight_is_named_and_what_it_makes_of_predictions(changed: Changes, recorded: Path) -> None:
    path = recorded.parent / "weights" / "model.safetensors"
    before, config = path.read_bytes(), path.with_name("config.json")
    trained_anew = {name: value for name, value in json.loads(config.read_text()).items() if name != "files"}
    config.write_text(json.dumps(with_sum(trained_anew)))
    weights = load_file(path)
    weights["heads.ctc.classify.bias"][0] += 1000
    save_file(weights, path)
    try:
        found = changed()
    finally:
        path.write_bytes(before)
    assert found["drafts"][0] == "weights"
    assert found["accuracy"][0] == "weights"
    wrong, read = map(int, re.findall(r"\d+", found["accuracy"][1]))
    of_ctc = [name for name in strategies.read() if "ctc" in name]
    assert (wrong, read) == (LINES * len(of_ctc), LINES * len(strategies.read()))


def test_weights_that_are_not_here_are_asked_for(recorded: Path, changed: Changes) -> None:
    path = recorded.parent / "weights"
    elsewhere = path.rename(path.with_name("elsewhere"))
    try:
        with pytest.raises(InputError, match="holds no weights, but was measured"):
            changed()
    finally:
        elsewhere.rename(path)


def test_a_training_that_learns_otherwise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> dict[str, Any]:
        return fingerprints.of_training(partial(process.trainer, Path("unused")))

    before = found()
    assert len(before["first losses"]) == 2
    assert fingerprint.differences(before, found()) == []
    monkeypatch.setattr(process, "CONFIG", replace(process.CONFIG, learning_rate=2 * process.CONFIG.learning_rate))
    assert fingerprint.differences(before, found()) == ["first losses"]


def test_of_a_training_nothing_is_said_where_there_are_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> Digits:
        raise InputError("MNIST could not be had")

    monkeypatch.setattr("bench.study.training.load_digits", none)
    monkeypatch.setattr("bench.experiments.decoder_depth.load_digits", none)
    bench = Bench(Store(Path("unused")))
    cell = Part("dependence-cell", dependence.Settings(steps=2, batch=8, strings=20))
    depth = Part("depth-accuracy", decoder_depth.Training(), weights=(SHIPPED,))
    assert dependence.EXPERIMENT.fingerprint(cell, bench) == {}
    assert decoder_depth.EXPERIMENT.fingerprint(depth, bench) == {}
    monkeypatch.setattr("bench.study.training.load_digits", lambda split: splits()[split != "train"])
    monkeypatch.setattr("bench.experiments.decoder_depth.load_digits", lambda split: splits()[split != "train"])
    assert len(dependence.EXPERIMENT.fingerprint(cell, bench)["first losses"]) == 2
    assert len(decoder_depth.EXPERIMENT.fingerprint(depth, bench)["first losses"]) == 2
