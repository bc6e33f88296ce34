"""Regression gates: exact counts always, ratios where benchmarks are enabled (`make bench-check`)."""

from __future__ import annotations

import copy

import pytest
import torch

from bench import dependencies, gates, runtimes, ways
from seqocr.models.autoregressive import AutoregressiveHead
from seqocr.models.ctc import CTCHead
from seqocr.models.parallel import ParallelHead


@pytest.fixture(scope="module")
def baseline():
    return gates.read_baseline()


@pytest.fixture(scope="module")
def timed(request):
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("timed: runs in `make bench-check`")
    return gates.timed_ratios()


def test_the_baseline_is_of_this_code(baseline):
    assert gates.outdated(baseline) == []


def test_an_older_baseline_is_refused_by_the_head_it_no_longer_describes(baseline, monkeypatch):
    digests = dependencies.of_module("seqocr.models.ctc")
    changed = dict.fromkeys(digests, "other")
    monkeypatch.setattr(
        dependencies, "of_heads", lambda names: changed if names == ["ctc"] else baseline["code"][names[0]]
    )
    assert [line.split("`")[1] for line in gates.outdated(baseline)] == ["ctc"]


def test_passes_are_n_plus_one_for_autoregressive_and_one_for_the_others_and_for_right_drafts():
    passes = gates.counts()["passes"]
    for n in gates.LENGTHS:
        for name, way in ways.ways().items():
            if way.timed:
                assert passes[f"{name}, n = {n}"] == (1 if way.one_pass or way.drafted else n + 1)


def test_passes_and_flops_are_the_baselines(baseline):
    assert gates.changed_counts(gates.counts(), baseline) == []


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
    assert [line.split()[0] for line in gates.grown_with_length(gates.timed_ratios()["flatness"])] == ["ctc"]


def test_an_extra_decoder_pass_is_caught(baseline, monkeypatch):
    budget = AutoregressiveHead.budget
    # Not at the longest, which the decoder's positions are just enough for.
    monkeypatch.setattr(
        AutoregressiveHead, "budget", lambda self, length: budget(self, length) + (length < max(gates.LENGTHS))
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


def test_growth_is_caught_beyond_the_limit_and_not_below():
    found = {"parallel": gates.FLATNESS * 0.99, "ctc": gates.FLATNESS * 1.01}
    assert [line.split()[0] for line in gates.grown_with_length(found)] == ["ctc"]
