"""The mean of trained weights."""

from __future__ import annotations

import pytest
import torch

from seqocr.data.digests import learned_digests
from seqocr.errors import InputError
from seqocr.train.average import average_runs
from tests.conftest import small_recognizer


def test_the_mean_of_runs_has_the_mean_of_their_weights() -> None:
    first, last = small_recognizer(), small_recognizer()
    first.provenance, last.provenance = {"command": "first"}, {"command": "last", "step": 7}
    for p in last.parameters():
        p.data.add_(torch.randn_like(p))
    mean = average_runs([first, last])
    for name, weight in mean.state_dict().items():
        torch.testing.assert_close(weight, (first.state_dict()[name] + last.state_dict()[name]) / 2)
    assert mean.provenance == {"command": "last", "step": 7, "mean_of": ["first", "last"]}
    assert last.provenance == {"command": "last", "step": 7}


def test_runs_of_different_architecture_are_not_averaged() -> None:
    with pytest.raises(InputError, match="different architecture"):
        average_runs([small_recognizer(max_length=3), small_recognizer(max_length=4)])
    with pytest.raises(InputError, match="no recognizers"):
        average_runs([])


def test_the_lines_that_other_runs_learned_from_are_kept_in_mind() -> None:
    first, last = small_recognizer(), small_recognizer()
    first.provenance = {"data": [{"digests": "a b"}]}
    last.provenance = {"data": [{"digests": "b c"}]}
    assert learned_digests(average_runs([first, last]).provenance) == {"a", "b", "c"}
    assert learned_digests(last.provenance) == {"b", "c"}
