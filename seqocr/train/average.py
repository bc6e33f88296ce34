"""The mean of trained weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from seqocr.decoding.calibration import KEY
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer


def averaged(recognizers: Sequence[Recognizer]) -> Recognizer:
    """A recognizer whose weights are the mean of those of runs that went on from one another.

    Each run ends beside a better place that lies between them (stochastic weight averaging, Izmailov et al. 2018). Of
    runs that have nothing in common the mean reads nothing.

    Returns:
        the last one, with other weights, and in its provenance what they are the mean of.

    Raises:
        InputError: there are none, or one is of another architecture.
    """
    if not recognizers:
        raise InputError("no recognizers to average: give some")
    *others, last = recognizers
    for other in others:
        if {**other.config(), "provenance": None} != {**last.config(), "provenance": None}:
            raise InputError(
                "recognizers of different architecture, charset or length cannot be averaged: give like ones"
            )
    mean = copy.deepcopy(last)
    if not others:
        return mean
    weights = [recognizer.state_dict() for recognizer in recognizers]
    mean.load_state_dict({name: torch.stack([each[name] for each in weights]).mean(dim=0) for name in weights[0]})
    kept = {key: value for key, value in last.provenance.items() if key != KEY}  # of the last one alone
    mean.provenance = {**kept, "mean_of": [each.provenance.get("command") for each in recognizers]}
    return mean
