"""Regression gates: exact counts always, ratios to the encoder where benchmarks are enabled (`make bench-check`)."""

from __future__ import annotations

import copy

import pytest

from bench import gates, runtimes
from seqocr.models.autoregressive import AutoregressiveHead
from seqocr.models.parallel import ParallelHead


@pytest.fixture(scope="module")
def baseline():
    return gates.read_baseline()


def test_passes_are_n_plus_one_for_autoregressive_and_one_for_the_others():
    passes = gates.counts()["passes"]
    for n in gates.LENGTHS:
        assert [passes[f"{v}, n = {n}"] for v in ("ar", "ar-nocache", "ar-generate")] == [n + 1] * 3
        assert [passes[f"{v}, n = {n}"] for v in ("parallel", "ctc")] == [1, 1]


def test_passes_and_flops_are_the_baselines(baseline):
    assert gates.changed_counts(gates.counts(), baseline) == []


def test_ratios_to_the_encoder_have_not_risen(baseline, request):
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("timed: runs in `make bench-check`")
    assert gates.risen_ratios(gates.ratios(), baseline) == []


def test_an_extra_decoder_pass_is_caught(baseline, monkeypatch):
    budget = AutoregressiveHead._budget
    # Not at the longest, which the decoder's positions are just enough for.
    monkeypatch.setattr(
        AutoregressiveHead, "_budget", lambda self, length: budget(self, length) + (length < max(gates.LENGTHS))
    )
    caught = gates.changed_counts(gates.counts(), baseline)
    assert "passes of ar, n = 5: 7, baseline 6" in caught
    assert any(line.startswith("flops of ar, n = 5") for line in caught)


def test_a_cache_switched_off_is_caught(baseline, monkeypatch):
    monkeypatch.setattr(AutoregressiveHead, "decode", AutoregressiveHead.decode_without_cache)
    caught = gates.changed_counts(gates.counts(), baseline)
    assert any(line.startswith("flops of ar, n = 20") for line in caught)
    assert not any(line.startswith("passes") for line in caught)


def test_a_second_parallel_pass_is_caught_by_flops_even_if_it_does_not_own_up(baseline, monkeypatch):
    once = ParallelHead.logits
    monkeypatch.setattr(ParallelHead, "logits", lambda self, features: (once(self, features), once(self, features))[1])
    assert any(line.startswith("flops of parallel") for line in gates.changed_counts(gates.counts(), baseline))


@pytest.fixture(scope="module")
def through():
    if why := "; ".join(filter(None, map(runtimes.missing, gates.RUNTIMES))):
        pytest.skip(why)
    return gates.through_runtimes()


def test_other_runtimes_read_the_same_in_as_many_passes(baseline, through):
    assert gates.changed_counts(through, baseline) == []
    assert gates.risen_disagreements(through, baseline) == []
    assert through["runtime_passes"]["onnxruntime, ar"] == gates.TASK_LENGTH + 1


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
