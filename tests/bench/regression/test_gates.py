"""Regression gates: exact counts always, ratios where benchmarks are enabled (`make bench-check`)."""

from __future__ import annotations

import copy
import json
import pkgutil

import pytest
import torch

from bench import backends, regression
from bench.core import strategies
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.heads.parallel import ParallelHead
from tests.bench.regression import gates


@pytest.fixture(scope="module")
def baseline():
    return json.loads(regression.BASELINE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def timed(request):
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("timed: runs in `make bench-check`")
    return regression.timed_ratios()


def test_passes_are_n_plus_one_for_autoregressive_and_one_for_the_others_and_for_right_drafts():
    passes = regression.counts()["passes"]
    for n in regression.LENGTHS:
        for name in strategies.timed():
            strategy = strategies.by_name()[name]
            assert passes[f"{name}, n = {n}"] == (1 if strategy.is_one_pass or strategy.is_speculative else n + 1)


def test_passes_and_flops_are_the_baselines(baseline):
    assert gates.changed_counts(regression.counts(), baseline) == []


def test_ratios_to_the_encoder_have_not_risen(baseline, timed):
    assert gates.risen_ratios(timed["encoder"], baseline) == []


def test_one_pass_decoding_takes_no_longer_for_a_longer_string(timed):
    assert gates.grown_with_length(timed["flatness"]) == []


def test_a_ctc_decode_that_loops_over_symbols_is_caught(timed, monkeypatch):
    once = CTCHead.decode

    def looped(self, features, length=None):
        decoded = once(self, features, length)
        for symbol in range(self.max_length):  # one small operation a symbol, as a careless decode has them
            torch.tensor(symbol).add(1).item()
        return decoded

    monkeypatch.setattr(CTCHead, "decode", looped)
    assert [line.split()[0] for line in gates.grown_with_length(regression.timed_ratios()["flatness"])] == ["ctc"]


def test_an_extra_decoder_pass_is_caught(baseline, monkeypatch):
    budget = TokenVocabulary.budget
    # Not at the longest, which the decoder's positions are just enough for.
    monkeypatch.setattr(
        TokenVocabulary, "budget", lambda self, length: budget(self, length) + (length < max(regression.LENGTHS))
    )
    caught = gates.changed_counts(regression.counts(), baseline)
    assert "passes of ar, n = 5: 7, baseline 6" in caught
    assert any(line.startswith("flops of ar, n = 5") for line in caught)


def test_a_cache_switched_off_is_caught(baseline, monkeypatch):
    monkeypatch.setattr(AutoregressiveHead, "decode", AutoregressiveHead.decode_without_cache)
    caught = gates.changed_counts(regression.counts(), baseline)
    assert any(line.startswith("flops of ar, n = 20") for line in caught)
    assert not any(line.startswith("passes") for line in caught)


def test_a_second_parallel_pass_is_caught_by_flops_even_if_it_does_not_own_up(baseline, monkeypatch):
    once = ParallelHead.logits
    monkeypatch.setattr(ParallelHead, "logits", lambda self, features: (once(self, features), once(self, features))[1])
    assert any(line.startswith("flops of parallel") for line in gates.changed_counts(regression.counts(), baseline))


@pytest.fixture(scope="module")
def through():
    if why := backends.unavailable(regression.RUNTIMES):
        pytest.skip("; ".join(why.values()))
    return regression.through_runtimes()


def test_other_runtimes_read_the_same_in_as_many_passes(baseline, through):
    assert gates.changed_counts(through, baseline) == []
    assert gates.risen_disagreements(through, baseline) == []
    assert through["runtime_passes"]["onnxruntime, ar"] == regression.TASK_LENGTH + 1


def test_an_extra_pass_or_more_disagreements_in_a_runtime_are_caught(baseline, through):
    worse = copy.deepcopy(through)
    worse["runtime_passes"]["onnxruntime, ar"] += 1
    allowed = baseline["disagreements"]["onnxruntime-int8, ctc"] + gates.MORE_DISAGREEMENTS
    worse["disagreements"]["onnxruntime-int8, ctc"] = allowed + 1
    assert gates.changed_counts(worse, baseline) == ["runtime_passes of onnxruntime, ar: 7, baseline 6"]
    assert [line.split(" reads")[0] for line in gates.risen_disagreements(worse, baseline)] == ["onnxruntime-int8, ctc"]


def test_a_risen_ratio_is_caught_and_one_within_tolerance_is_not(baseline):
    slower = copy.deepcopy(baseline["ratios"])
    slower["ctc"] *= gates.TOLERANCE * 1.01
    slower["ar"] *= gates.TOLERANCE * 0.99
    assert [line.split()[0] for line in gates.risen_ratios(slower, baseline)] == ["ctc"]


def test_growth_is_caught_beyond_the_limit_and_not_below():
    found = {"parallel": gates.FLATNESS * 0.99, "ctc": gates.FLATNESS * 1.01}
    assert [line.split()[0] for line in gates.grown_with_length(found)] == ["ctc"]


@pytest.fixture(scope="module")
def paths(request):
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("timed: runs in `make bench-check`")
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    return regression.path_ratios()


def test_paths_to_a_prediction_cost_no_more_than_they_did(baseline, paths):
    assert gates.risen_paths(paths, baseline) == []


def slowed(function, loops):
    """A function that does some pure Python besides, which takes longer on a busy machine as all else does."""

    def slow(*args, **kwargs):
        sum(range(loops))
        return function(*args, **kwargs)

    return slow


@pytest.mark.parametrize(
    ("name", "loops", "caught"),
    [
        ("seqocr.serving.queue.BatchingQueue.submit", 600_000, {"request"}),
        ("seqocr.inference.predict.apply_calibration", 1_500_000, {"predict", "predict_files"}),
        ("seqocr.inference.image_files.line_or_problem", 200_000, {"predict_files"}),
    ],
)
def test_pure_python_that_slows_a_path_is_caught(baseline, paths, monkeypatch, name, loops, caught):
    monkeypatch.setattr(name, slowed(pkgutil.resolve_name(name), loops))
    found = gates.risen_paths(regression.path_ratios(runs=1), baseline)
    assert {line.split()[0] for line in found} >= caught


def test_a_path_that_costs_more_is_caught_beyond_the_tolerance_and_not_below(baseline):
    found = dict(baseline["paths"])
    found["request"] *= gates.TOLERANCE * 1.01
    found["predict"] *= gates.TOLERANCE * 0.99
    assert [line.split()[0] for line in gates.risen_paths(found, baseline)] == ["request"]
