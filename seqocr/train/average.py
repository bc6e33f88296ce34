"""Averages of weights: over the steps of one run, or over several runs."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from seqocr.data.digests import learned_digests
from seqocr.decoding.calibration import KEY
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's weights, its initial ones included, with less `decay` at first."""

    def update(averages: Any, weights: Any, updates: Any) -> None:
        step = int(updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, step / (step + 10)))

    average = AveragedModel(model, multi_avg_fn=torch.no_grad()(update))
    average.update_parameters(model)  # the first update only copies: those of steps count from 1
    return average


def average_runs(recognizers: Sequence[Recognizer]) -> Recognizer:
    """A copy of the last recognizer with the mean of all weights, and the commands of all in its provenance (stochastic
    weight averaging, Izmailov et al. 2018). Each run must have started from the one before.

    Raises:
        InputError: there are none, or their architectures differ.
    """
    if not recognizers:
        raise InputError("no recognizers to average: give at least one")
    *others, last = recognizers
    for other in others:
        if {**other.config(), "provenance": None} != {**last.config(), "provenance": None}:
            raise InputError(
                "recognizers of different architecture, charset or length cannot be averaged: give ones that agree"
            )
    mean = copy.deepcopy(last)
    if not others:
        return mean
    weights = [recognizer.state_dict() for recognizer in recognizers]
    mean.load_state_dict({name: torch.stack([each[name] for each in weights]).mean(dim=0) for name in weights[0]})
    provenance = {key: value for key, value in last.provenance.items() if key != KEY}  # which was of the last alone
    mean.provenance = {**provenance, "mean_of": [each.provenance.get("command") for each in recognizers]}
    learned = set().union(*(learned_digests(each.provenance) for each in others)) - learned_digests(provenance)
    if learned:
        lines = {"source": "lines of other runs", "lines": len(learned), "digests": " ".join(sorted(learned))}
        mean.provenance["data"] = [*provenance.get("data", []), lines]
    return mean
